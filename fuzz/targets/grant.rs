//! What one caller lets another ask for.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::grant::Grant);
