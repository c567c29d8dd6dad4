//! The end of a grant.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::grant::Revocation);
