//! Shares dealt to an agent.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Seating);
