//! What is ordered.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Order);
