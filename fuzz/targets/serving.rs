//! What a reconstructor that works for others says of itself.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Serving);
