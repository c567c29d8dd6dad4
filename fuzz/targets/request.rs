//! What a caller wants done with a token (PROTOCOL §6).
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Request);
