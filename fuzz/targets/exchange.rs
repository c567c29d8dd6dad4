//! What an agent tells a peer.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Exchange);
