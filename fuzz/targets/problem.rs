//! Why an agent answered with another status than 200.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Problem);
