//! Tokens of the second kind: round trips, every rule broken once, and every single bit flipped.

use evanesce_token::mpc::{Body, Header, Kind, Token, formula};
use evanesce_token::{Gate, Malformed, Node, Row, limits};
use proptest::prelude::*;

fn flat(t: usize, seats: usize) -> Gate {
    Gate {
        t,
        of: (0..seats)
            .map(|i| Node::Seat(format!("seat-{i}")))
            .collect(),
    }
}

fn header(t: usize, seats: usize) -> Header {
    Header {
        kind: Kind::Regenerated,
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suite: "frost-ed25519".into(),
        quorum: flat(t, seats),
        policy: String::new(),
        created: 1_780_000_000,
        expires: None,
        replaces: None,
    }
}

fn row(epoch: u64, signature: usize) -> Row {
    Row {
        holder: [3; 32],
        epoch,
        correction: [4; 32],
        signature: vec![5; signature],
    }
}

fn token(header: &Header) -> Token {
    let point = header.facts().unwrap().point;
    let vector = (0..header.quorum.t).map(|k| vec![k as u8; point]).collect();
    let body = Body::new(header.encode(), vector, [6; 32]).unwrap();
    let rows = (0..header.quorum.of.len()).map(|_| row(1, 64)).collect();
    Token::assemble(body, rows).unwrap()
}

proptest! {
    #[test]
    fn a_token_comes_back_from_its_bytes(
        seats in 2..40usize,
        fewer in 0..38usize,
        taproot: bool,
        name in "\\PC{0,60}",
        policy in "\\PC{0,200}",
        created in 0..=limits::UINT,
        expires in prop::option::of(0..=limits::UINT),
        replaces: Option<[u8; 32]>,
    ) {
        let t = seats.saturating_sub(fewer).max(2);
        let suite = if taproot { "frost-secp256k1-tr" } else { "frost-ed25519" }.to_owned();
        let header = Header { name, suite, policy, created, expires, replaces, ..header(t, seats) };
        prop_assert_eq!(header.validate(), Ok(()));
        let token = token(&header);
        let bytes = token.encode();
        let decoded = Token::decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&token));
        prop_assert_eq!(decoded.unwrap().encode(), bytes);
        let body = &token.body;
        let id = formula::token_id(
            header.kind,
            &formula::deal(header.kind, &header.encode()),
            &body.transcript,
            &body.vector[0],
            &formula::vector_hash(&body.vector),
        );
        prop_assert_eq!(token.id(), &id);
    }
}

fn refused(header: &Header, why: &str) {
    let Malformed(said) = header.validate().unwrap_err();
    assert!(said.contains(why), "{why}: {said}");
}

#[test]
fn every_rule_of_a_header_is_kept() {
    let good = header(2, 3);
    assert_eq!(good.validate(), Ok(()));
    for (suite, why) in [
        ("ed25519", "no threshold suite"),
        ("frost-p256", "no threshold suite"),
        ("", "no threshold suite"),
    ] {
        let suite = suite.into();
        refused(
            &Header {
                suite,
                ..good.clone()
            },
            why,
        );
    }
    refused(&header(1, 3), "2 or more");
    refused(&header(4, 3), "quorum");
    refused(&header(2, 256), "quorum");
    let quorum = Gate::parse("2 of (a, b, 1 of (c, d))").unwrap();
    refused(
        &Header {
            quorum,
            ..good.clone()
        },
        "flat",
    );
    let name = "x".repeat(256);
    refused(
        &Header {
            name,
            ..good.clone()
        },
        "name",
    );
    let policy = "x".repeat(limits::POLICY_BYTES + 1);
    refused(
        &Header {
            policy,
            ..good.clone()
        },
        "policy",
    );
}

#[test]
fn the_kind_is_part_of_the_header() {
    let bytes = header(2, 3).encode();
    let at = bytes.windows(9).position(|w| w == b"regen-mpc").unwrap();
    let mut other = bytes.clone();
    other[at] = b'R';
    let Malformed(said) = Header::decode(&other).unwrap_err();
    assert_eq!(
        said,
        "header.kind: kind \"Regen-mpc\" is unknown, must be regen-mpc or mpc"
    );
}

#[test]
fn a_vector_has_t_points_of_the_suites_length() {
    let header = header(2, 3);
    for (vector, why) in [
        (vec![vec![0; 32]; 1], "1 points, must be t, 2"),
        (vec![vec![0; 32]; 3], "3 points, must be t, 2"),
        (
            vec![vec![0; 32], vec![0; 33]],
            "vector[1]: 33 bytes, must be 32",
        ),
    ] {
        let Malformed(said) = Body::new(header.encode(), vector, [0; 32]).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn there_is_one_row_for_each_seat() {
    let whole = token(&header(2, 3));
    for rows in [2, 4] {
        let rows = (0..rows).map(|_| row(1, 64)).collect();
        let token = Token {
            rows,
            ..whole.clone()
        };
        assert!(Token::decode(&token.encode()).is_err());
        assert!(Token::assemble(token.body, token.rows).is_err());
    }
}

/// So that every seat can be re-rooted forever, without a rule for it.
#[test]
fn the_largest_token_fits() {
    let seats = (0..255).map(|i| Node::Seat(format!("{i:0>64}"))).collect();
    let header = Header {
        name: "n".repeat(limits::NAME_BYTES),
        suite: "frost-secp256k1-tr".into(),
        quorum: Gate { t: 255, of: seats },
        policy: "p".repeat(limits::POLICY_BYTES),
        created: limits::UINT,
        expires: Some(limits::UINT),
        replaces: Some([7; 32]),
        ..header(2, 3)
    };
    let body = token(&header).body;
    let rows = (0..255)
        .map(|_| row(limits::UINT, limits::ROW_SIGNATURE_BYTES))
        .collect();
    let token = Token::assemble(body, rows).unwrap();
    assert!(token.encode().len() <= limits::TOKEN_BYTES);
    assert_eq!(Token::decode(&token.encode()).as_ref(), Ok(&token));
}

/// A flipped bit is refused, or is in a row, or makes another id.
#[test]
fn every_flipped_bit_is_refused_or_changes_the_id_or_a_row() {
    let token = token(&header(2, 3));
    let bytes = token.encode();
    let mut accepted = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(other) = Token::decode(&flipped) else {
            continue;
        };
        assert_eq!(other.encode(), flipped);
        assert!(
            other.id() != token.id() || other.rows != token.rows,
            "bit {bit}"
        );
        accepted += 1;
    }
    assert!(accepted > 0);
}

/// Nothing that names one thing of the first kind names another of the second, nor of one form of the second what is of the
/// other.
#[test]
fn its_hashes_are_not_those_of_the_first_kind() {
    use evanesce_token::formula as first;
    let (id, y) = ([1; 32], [2; 32]);
    let both = |hash: &dyn Fn(Kind) -> [u8; 32]| Kind::ALL.map(hash);
    let all = [
        both(&|kind| formula::deal(kind, b"h")),
        both(&|kind| formula::token_id(kind, &id, &y, b"k", &y)),
        both(&|kind| formula::contribution(kind, &id, 0)),
        both(&|kind| formula::row_statement(kind, &id, 0, 1, &y)),
        both(&|kind| formula::regenerated_statement(kind, &id, 0, 1)),
        [first::deal(b"h"), first::contribution(&id, 0)],
        [
            first::row_statement(&id, 0, 1, &y),
            formula::keeping_aad(&id, 0, 1),
        ],
    ];
    let mut hashes = all.as_flattened().to_vec();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), all.as_flattened().len());
    let (mut wide, mut other, mut pad, mut key) = ([0; 64], [0; 64], [0; 32], [0; 32]);
    formula::wide_mask(&y, "frost-ed25519", &mut wide);
    formula::wide_mask(&y, "frost-secp256k1-tr", &mut other);
    formula::keeping_key(&y, "frost-ed25519", &mut key);
    first::pad(&y, &mut pad);
    assert_ne!(wide, other);
    assert!(wide[..32] != pad && wide[..32] != key && pad != key);
}

/// A row of one form does not go into a token of the other.
#[test]
fn rows_have_corrections_where_shares_are_regenerated_and_none_where_they_are_kept() {
    let regenerated = header(2, 3);
    let kept = Header {
        kind: Kind::Kept,
        ..regenerated.clone()
    };
    for (one, other) in [(&regenerated, &kept), (&kept, &regenerated)] {
        let whole = token(one);
        assert_eq!(
            Token::decode(&whole.encode()).unwrap().encode(),
            whole.encode()
        );
        let (mut bytes, header) = (whole.encode(), other.encode());
        assert_ne!(token(other).id(), whole.id());
        let at = bytes.windows(6).position(|w| w == b"header").unwrap();
        let mut length = vec![0x58, header.len() as u8];
        if header.len() > 255 {
            length = vec![0x59, (header.len() >> 8) as u8, header.len() as u8];
        }
        let had = if one.encode().len() > 255 { 3 } else { 2 };
        bytes.splice(
            at + 6..at + 6 + had + one.encode().len(),
            [length, header].concat(),
        );
        let Malformed(said) = Token::decode(&bytes).unwrap_err();
        assert!(said.contains("correction"), "{said}");
    }
}
