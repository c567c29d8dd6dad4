//! An agent's answer to an order.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Obeyed);
