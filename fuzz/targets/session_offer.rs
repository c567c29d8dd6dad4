//! A reconstructor's offer of a sealing session.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::session::Offer);
