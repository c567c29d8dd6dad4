//! What a caller wants done by the reconstructor that works for it.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Operate);
