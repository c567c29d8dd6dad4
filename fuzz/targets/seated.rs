//! The rows an agent made of them.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Seated);
