//! The one list of suites. A suite that is not here does not exist.

use evanesce_token::Catalogue;

use crate::Suite;

/// The suite of this name (PROTOCOL §7–§8), if there is one.
pub fn find(name: &str) -> Option<&'static dyn Suite> {
    let _ = name;
    todo!()
}

/// What token decoding needs to know about every suite.
pub fn catalogue() -> &'static Catalogue {
    todo!()
}

/// Every suite, in the order of PROTOCOL §7, the imported-only ones last.
pub fn all() -> &'static [&'static dyn Suite] {
    todo!()
}
