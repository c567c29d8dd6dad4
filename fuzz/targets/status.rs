//! What an agent says of itself.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Status);
