//! An order with what it takes to judge it.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::SignedOrder);
