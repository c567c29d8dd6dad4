//! A reconstructor's sessions with agents, as callers are told of them.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::message::Sessions);
