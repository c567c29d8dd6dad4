//! An agent's answer to an offer.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::SessionAnswer);
