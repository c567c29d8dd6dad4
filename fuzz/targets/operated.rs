//! What a reconstructor that works for others answers.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Operated);
