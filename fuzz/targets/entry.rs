//! A line of an agent's log.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Entry);
