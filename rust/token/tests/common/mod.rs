//! What the tests of this crate share: a catalogue, quorums drawn at random, and tokens of them.

#![allow(dead_code)] // each test file uses its part

use evanesce_token::{Catalogue, Gate, Header, Node, Row, SuiteFacts, Token, formula};
use proptest::prelude::*;

const fn public(
    name: &'static str,
    material: usize,
    operations: &'static [&'static str],
) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: false,
        material,
        operations,
    }
}

const fn symmetric(
    name: &'static str,
    material: usize,
    operations: &'static [&'static str],
) -> SuiteFacts {
    SuiteFacts {
        name,
        public: false,
        imported_only: false,
        material,
        operations,
    }
}

const fn imported(name: &'static str, operations: &'static [&'static str]) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: true,
        material: 0,
        operations,
    }
}

/// Every suite of PROTOCOL §7 and §8.
pub const CATALOGUE: Catalogue = Catalogue(&[
    &public("ed25519", 32, &["sign"]),
    &public("ecdsa-p256", 48, &["sign"]),
    &public("ecdsa-secp256k1", 48, &["sign"]),
    &public("ecdsa-p384", 72, &["sign"]),
    &public("x25519", 32, &["agree"]),
    &public("ml-dsa-44", 32, &["sign"]),
    &public("ml-dsa-65", 32, &["sign"]),
    &public("ml-dsa-87", 32, &["sign"]),
    &public("ml-kem-768", 64, &["decapsulate"]),
    &public("ml-kem-1024", 64, &["decapsulate"]),
    &symmetric("aes-256-gcm", 32, &["encrypt", "decrypt"]),
    &symmetric("xaes-256-gcm", 32, &["encrypt", "decrypt"]),
    &symmetric("hmac-sha256", 32, &["mac", "verify-mac"]),
    &symmetric("hmac-sha512", 64, &["mac", "verify-mac"]),
    &symmetric("aes-cmac", 32, &["mac", "verify-mac"]),
    &symmetric("hkdf-sha256", 32, &["derive"]),
    &imported("rsa-pss-sha256", &["sign"]),
    &imported("rsa-pkcs1-sha256", &["sign"]),
    &imported("rsa-oaep-sha256", &["decrypt"]),
]);

/// Quorums of up to 40 seats in up to 8 levels, their seats numbered in order.
pub fn quorums() -> impl Strategy<Value = Gate> {
    let seat = Just(Node::Seat(String::new()));
    let node = seat.prop_recursive(6, 40, 5, |inner| {
        prop::collection::vec(inner, 1..=5)
            .prop_flat_map(gates)
            .prop_map(Node::Gate)
    });
    prop::collection::vec(node, 1..=6)
        .prop_flat_map(gates)
        .prop_map(|mut gate| {
            name_seats(&mut gate, &mut 0);
            gate
        })
}

fn gates(of: Vec<Node>) -> impl Strategy<Value = Gate> {
    (1..=of.len()).prop_map(move |t| Gate { t, of: of.clone() })
}

fn name_seats(gate: &mut Gate, next: &mut usize) {
    for child in &mut gate.of {
        match child {
            Node::Gate(gate) => name_seats(gate, next),
            Node::Seat(name) => {
                *name = format!("seat-{next}");
                *next += 1;
            }
        }
    }
}

/// A header of that quorum and those suites.
pub fn header(quorum: Gate, suites: &[&str]) -> Header {
    Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "payroll \u{2603}".into(),
        suites: suites.iter().map(|suite| suite.to_string()).collect(),
        quorum,
        policy: "permit(principal, action, resource);".into(),
        created: 1_790_000_000,
        expires: Some(1_800_000_000),
        replaces: None,
    }
}

/// A row of a seat, of no particular holder.
pub fn row(seat: usize) -> Row {
    Row {
        holder: [seat as u8; 32],
        epoch: seat as u64 * 100,
        correction: [3; 32],
        signature: vec![4; 64],
    }
}

/// A well-formed token under that header, which opens to nothing.
pub fn token(header: &Header, sealed: Option<Vec<u8>>) -> Token {
    let seats = header.quorum.seat_count();
    let deal = formula::deal(&header.encode());
    let commitments = (0..seats).map(|seat| formula::commitment(&deal, seat as u32, &[0; 32]));
    let public = header
        .suites
        .iter()
        .filter(|suite| CATALOGUE.find(suite).unwrap().public);
    Token::assemble(
        header,
        formula::anchor(&deal, &[0; 32]),
        commitments.collect(),
        public.map(|suite| (suite.clone(), vec![5; 44])).collect(),
        sealed,
        (0..seats).map(row).collect(),
        &CATALOGUE,
    )
    .unwrap()
}
