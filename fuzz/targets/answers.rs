//! What an agent answers to openings.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Answers);
