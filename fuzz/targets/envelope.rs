//! A sealed request.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Envelope);
