//! What an agent keeps of its peers' logs.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Kept);
