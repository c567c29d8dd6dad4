//! The published vectors, which a second implementation has written.

use evanesce_approval::{Approval, Asked};
use evanesce_policy::{Payload, RelyingParty};
use serde_json::Value;

fn id(case: &Value, key: &str) -> [u8; 32] {
    let bytes = hex::decode(case[key].as_str().unwrap()).unwrap();
    bytes.try_into().unwrap()
}

#[test]
fn every_published_approval_is_judged_as_it_should_be() {
    let vectors = include_str!("../../../vectors/approvals.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let payload = case["payload"].as_str();
        let payload = payload.map(|text| Payload::read(text.as_bytes()).unwrap());
        let site = case["site"].as_str();
        let site = site.map(|domain| RelyingParty::new(domain, vec![]).unwrap());
        let (token, input, caller) = (id(case, "token"), id(case, "input"), id(case, "caller"));
        let asked = Asked {
            token: &token,
            key: case["key"].as_str().unwrap(),
            action: case["action"].as_str().unwrap(),
            suite: case["suite"].as_str().unwrap(),
            input: &input,
            caller: &caller,
            payload: payload.as_ref(),
        };
        let text = asked.text(case["word"].as_str().unwrap()).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{name}");
        let bytes = hex::decode(case["approval"].as_str().unwrap()).unwrap();
        let approval = Approval::decode(&bytes).unwrap();
        assert_eq!(approval.encode(), bytes, "{name}");
        assert_eq!(approval.id(), id(case, "id"), "{name}");
        assert_eq!(approval.approver_id(), id(case, "approver"), "{name}");
        let now = case["now"].as_u64().unwrap();
        let said = approval.verify(site.as_ref());
        let judged = said.and_then(|said| asked.is_approved_by(&said, now));
        assert_eq!(
            judged.is_ok(),
            case["good"].as_bool().unwrap(),
            "{name}: {judged:?}"
        );
    }
    assert!(cases.len() > 25, "{} cases", cases.len());
}
