//! A caller's proof of its requests.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Proof);
