//! What came as an approval: from its form to its statement, and to the browser's own JSON inside.
#![no_main]

use std::sync::LazyLock;

use evanesce_approval::{Approval, Statement};
use evanesce_fuzz::{refusal_is_printable, strict};
use evanesce_policy::RelyingParty;
use libfuzzer_sys::fuzz_target;

static SITE: LazyLock<RelyingParty> =
    LazyLock::new(|| RelyingParty::new("example.com", vec![]).expect("a domain"));

fuzz_target!(|data: &[u8]| {
    let Some(approval) = strict(data, Approval::decode, Approval::encode) else {
        return;
    };
    let said = strict(&approval.statement, Statement::decode, Statement::encode);
    for site in [None, Some(&*SITE)] {
        if let Some(verified) = refusal_is_printable(approval.verify(site)) {
            assert_eq!(site.is_some(), approval.webauthn.is_some());
            assert_eq!(Some(verified), said);
        }
    }
});
