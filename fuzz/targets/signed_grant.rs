//! A grant with its grantor's signature.
#![no_main]

evanesce_fuzz::message!(evanesce_wire::grant::Signed);
