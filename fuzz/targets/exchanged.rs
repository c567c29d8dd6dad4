//! What a peer answers.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Exchanged);
