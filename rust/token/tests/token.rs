//! Tokens: round trips, every rule of PROTOCOL §3, §4 and §8 broken once, and every single bit flipped.

mod common;

use std::collections::BTreeMap;

use common::{CATALOGUE, header, quorums, row, token};
use evanesce_token::{Body, Gate, Header, Malformed, Node, Token, armor, formula, limits};
use proptest::prelude::*;

fn suites() -> impl Strategy<Value = Vec<&'static str>> {
    let derived: Vec<_> = CATALOGUE
        .0
        .iter()
        .filter(|suite| !suite.imported_only)
        .map(|suite| suite.name)
        .collect();
    let count = derived.len();
    prop::sample::subsequence(derived, 1..=count).prop_shuffle()
}

fn flat(t: usize, n: usize) -> Gate {
    Gate {
        t,
        of: (0..n).map(|i| Node::Seat(format!("seat-{i}"))).collect(),
    }
}

fn refusal(header: &Header) -> String {
    let by_decoding = Header::decode(&header.encode(), &CATALOGUE).unwrap_err();
    header
        .validate(&CATALOGUE)
        .expect_err("decoding refused it");
    by_decoding.0
}

proptest! {
    #[test]
    fn a_token_comes_back_from_its_bytes(
        quorum in quorums(),
        suites in suites(),
        name in "\\PC{0,60}",
        policy in "\\PC{0,200}",
        created in 0..=limits::UINT,
        expires in prop::option::of(0..=limits::UINT),
        replaces: Option<[u8; 32]>,
        imported: bool,
    ) {
        let suites = if imported { &suites[..1] } else { &suites[..] };
        let header = Header { name, policy, created, expires, replaces, ..header(quorum, suites) };
        prop_assert_eq!(header.validate(&CATALOGUE), Ok(()));
        let token = token(&header, imported.then(|| vec![9; 48]));
        let bytes = token.encode();
        let decoded = Token::decode(&bytes, &CATALOGUE);
        prop_assert_eq!(decoded.as_ref(), Ok(&token));
        prop_assert_eq!(decoded.unwrap().encode(), bytes.clone());
        prop_assert_eq!(armor::decode(&armor::encode(&bytes)), Ok(bytes));

        // an agent comes to the same id by its own way
        let Body { header_bytes, anchor, commitments, public_hash, sealed_hash, .. } = token.body.clone();
        let body = Body::new(header_bytes, anchor, commitments, public_hash, sealed_hash, &CATALOGUE);
        prop_assert_eq!(body, Ok(token.body));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Token::decode(&bytes, &CATALOGUE).is_err());
        prop_assert!(Header::decode(&bytes, &CATALOGUE).is_err());
    }

    #[test]
    fn altered_tokens_are_refused_or_canonical(
        alterations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let original = token(&header(flat(2, 3), &["ed25519", "hmac-sha256"]), None);
        let mut bytes = original.encode();
        for (place, byte) in alterations {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(altered) = Token::decode(&bytes, &CATALOGUE) {
            prop_assert_eq!(altered.encode(), bytes);
            let same = altered.body == original.body
                && altered.public == original.public
                && altered.sealed == original.sealed;
            prop_assert_eq!(altered.id() == original.id(), same);
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_changes_the_id_or_touches_rows_alone() {
    let nested = Gate::parse("2 of (ceo, cfo, 2 of (board-1, board-2))").unwrap();
    let plain = header(nested, &["hmac-sha256", "ed25519", "ml-dsa-44"]);
    let mut replacing = header(flat(1, 1), &["rsa-pss-sha256", "rsa-pkcs1-sha256"]);
    replacing.replaces = Some([8; 32]);
    let (mut refused, mut renamed, mut rows) = (0, 0, 0);
    for original in [token(&plain, None), token(&replacing, Some(vec![7; 40]))] {
        let bytes = original.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match Token::decode(&flipped, &CATALOGUE) {
                Err(_) => refused += 1,
                Ok(token) if token.id() != original.id() => {
                    assert_eq!(token.encode(), flipped);
                    renamed += 1;
                }
                Ok(token) => {
                    assert_eq!(token.encode(), flipped);
                    assert_ne!(token.rows, original.rows);
                    assert_eq!(
                        Token {
                            rows: original.rows.clone(),
                            ..token
                        },
                        original
                    );
                    rows += 1;
                }
            }
        }
    }
    assert!(
        refused > 500 && renamed > 1000 && rows > 1000,
        "{refused} {renamed} {rows}"
    );
}

#[test]
fn every_cut_and_every_added_byte_is_refused() {
    let bytes = token(&header(flat(2, 3), &["ed25519"]), None).encode();
    for length in 0..bytes.len() {
        assert!(Token::decode(&bytes[..length], &CATALOGUE).is_err());
    }
    for byte in 0..=255 {
        let longer = [&bytes[..], &[byte]].concat();
        assert!(Token::decode(&longer, &CATALOGUE).is_err());
    }
}

#[test]
fn headers_out_of_bounds_are_refused_by_name() {
    let good = header(flat(2, 3), &["ed25519"]);
    assert_eq!(good.validate(&CATALOGUE), Ok(()));
    let quorum = |quorum| Header {
        quorum,
        ..good.clone()
    };
    let suites = |suites: &[&str]| header(flat(1, 1), suites);
    for (header, why) in [
        (
            Header {
                name: "n".repeat(256),
                ..good.clone()
            },
            "header.name: 256 bytes, at most 255",
        ),
        (
            Header {
                policy: "p".repeat(32769),
                ..good.clone()
            },
            "header.policy: 32769 bytes, at most 32768",
        ),
        (
            Header {
                created: 1 << 53,
                ..good.clone()
            },
            "header.created: an integer above 2^53-1",
        ),
        (
            Header {
                expires: Some(u64::MAX),
                ..good.clone()
            },
            "header.expires: an integer above 2^53-1",
        ),
        (suites(&[]), "header.suites: 0 entries, must be 1 to 19"),
        (
            suites(&["ed25519", "ed25519"]),
            "header.suites[1]: suite \"ed25519\" is listed twice",
        ),
        (
            suites(&["Ed25519"]),
            "header.suites[0]: suite \"Ed25519\" is unknown",
        ),
        (
            quorum(flat(0, 3)),
            "header.quorum.of: a gate needs at least 1 of its children, not 0",
        ),
        (
            quorum(flat(4, 3)),
            "header.quorum.of: a gate needs 4 of its 3 children",
        ),
        (
            quorum(flat(1, 0)),
            "header.quorum.of: 0 entries, must be 1 to 255",
        ),
        (
            quorum(flat(1, 256)),
            "header.quorum.of: 256 entries, must be 1 to 255",
        ),
        (
            quorum(Gate {
                t: 1,
                of: vec![Node::Seat("a".into()), Node::Seat("a".into())],
            }),
            "header.quorum: seat \"a\" is named twice",
        ),
        (
            quorum(Gate {
                t: 1,
                of: vec![Node::Seat("a b".into())],
            }),
            "header.quorum.of[0].seat: seat \"a b\": its name may hold A-Z a-z 0-9 . _ @ - alone",
        ),
        (
            quorum(Gate {
                t: 1,
                of: vec![Node::Seat("".into())],
            }),
            "header.quorum.of[0].seat: a seat's name of 0 bytes, must be 1 to 64",
        ),
    ] {
        assert_eq!(refusal(&header), why);
    }
    let wide = (0..4).map(|g| {
        let of = (0..64).map(|i| Node::Seat(format!("{g}-{i}"))).collect();
        Node::Gate(Gate { t: 1, of })
    });
    let said = refusal(&quorum(Gate {
        t: 1,
        of: wide.collect(),
    }));
    assert_eq!(said, "header.quorum.of[3].of[63].seat: more than 255 seats");

    let nested = |depth| {
        (1..depth).fold(flat(1, 1), |gate, _| Gate {
            t: 1,
            of: vec![Node::Gate(gate)],
        })
    };
    assert_eq!(quorum(nested(8)).validate(&CATALOGUE), Ok(()));
    assert!(refusal(&quorum(nested(9))).ends_with("gates more than 8 deep"));
}

#[test]
fn the_limits_themselves_are_within() {
    let header = Header {
        name: "n".repeat(255),
        policy: "p".repeat(32768),
        created: limits::UINT,
        expires: Some(limits::UINT),
        quorum: flat(255, 255),
        ..header(flat(1, 1), &["ed25519"])
    };
    assert_eq!(header.validate(&CATALOGUE), Ok(()));
    assert!(token(&header, None).fits());
}

#[test]
fn a_quorum_is_a_gate_and_the_version_is_one() {
    let good = header(flat(1, 1), &["ed25519"]).encode();
    let altered = |from: &str, to: &str| {
        let hex = hex::encode(&good);
        assert_eq!(hex.matches(from).count(), 1);
        let bytes = hex::decode(hex.replace(from, to)).unwrap();
        Header::decode(&bytes, &CATALOGUE).unwrap_err().0
    };
    let seat = "a1647365617466736561742d30"; // {"seat": "seat-0"}
    let gate = format!("a2617401626f6681{seat}"); // {"t": 1, "of": [seat]}
    assert_eq!(
        altered(&gate, seat),
        "header.quorum: a seat, must be a gate"
    );
    assert_eq!(
        altered("617601", "617602"),
        "header.v: version 2 is unknown, must be 1"
    );
    assert_eq!(
        altered("617601", "6176f5"),
        "header.v: a simple value other than null, must be an unsigned integer"
    );
}

/// Assembles a token of these suites, public keys and imported key.
fn assembled(suites: &[&str], public: &[&str], sealed: bool) -> Result<Token, Malformed> {
    Token::assemble(
        &header(flat(1, 1), suites),
        [1; 32],
        vec![[2; 32]],
        public
            .iter()
            .map(|suite| (suite.to_string(), vec![5; 44]))
            .collect(),
        sealed.then(|| vec![9; 48]),
        vec![row(0)],
        &CATALOGUE,
    )
}

#[test]
fn imported_keys_have_one_suite_and_public_keys_are_exactly_those_needed() {
    for (suites, public, sealed, why) in [
        (&["hmac-sha256"][..], &[][..], true, None),
        (&["ed25519"], &["ed25519"], true, None),
        (&["rsa-oaep-sha256"], &["rsa-oaep-sha256"], true, None),
        (
            &["rsa-pss-sha256", "rsa-pkcs1-sha256"],
            &["rsa-pss-sha256", "rsa-pkcs1-sha256"],
            true,
            None,
        ),
        (
            &["rsa-pkcs1-sha256", "rsa-pss-sha256"],
            &["rsa-pss-sha256", "rsa-pkcs1-sha256"],
            true,
            None,
        ),
        (
            &["rsa-pss-sha256", "rsa-oaep-sha256"],
            &["rsa-pss-sha256", "rsa-oaep-sha256"],
            true,
            Some("token.sealed: an imported key for 2 suites, must be for one"),
        ),
        (
            &["hmac-sha256", "aes-cmac"],
            &[],
            true,
            Some("token.sealed: an imported key for 2 suites, must be for one"),
        ),
        (
            &["rsa-pss-sha256"],
            &["rsa-pss-sha256"],
            false,
            Some("token.sealed: null, but suite rsa-pss-sha256 needs an imported key"),
        ),
        (
            &["ed25519", "hmac-sha256"],
            &[],
            false,
            Some("token.public: no key for suite ed25519"),
        ),
        (
            &["ed25519"],
            &["ed25519", "x25519"],
            false,
            Some("token.public: a key for \"x25519\", which is no asymmetric suite of it"),
        ),
        (
            &["hmac-sha256"],
            &["hmac-sha256"],
            false,
            Some("token.public: a key for \"hmac-sha256\", which is no asymmetric suite of it"),
        ),
        (
            &["hmac-sha256"],
            &["a suite that nobody has heard of"],
            false,
            Some(
                "token.public: a key for \"a suite that nobody has heard of\", which is no asymmetric suite of it",
            ),
        ),
    ] {
        match assembled(suites, public, sealed) {
            Ok(token) => {
                assert_eq!(why, None, "{suites:?}");
                assert_eq!(Token::decode(&token.encode(), &CATALOGUE), Ok(token));
            }
            Err(Malformed(said)) => assert_eq!(Some(said.as_str()), why, "{suites:?}"),
        }
    }
}

#[test]
fn an_agent_too_refuses_an_imported_key_for_several_suites() {
    let body = |suites: &[&str], sealed: Option<&[u8]>, commitments: usize| {
        let bytes = header(flat(1, 2), suites).encode();
        let public = formula::public_hash(&BTreeMap::new());
        Body::new(
            bytes,
            [0; 32],
            vec![[0; 32]; commitments],
            public,
            formula::sealed_hash(sealed),
            &CATALOGUE,
        )
    };
    assert!(body(&["hmac-sha256"], Some(b"key"), 2).is_ok());
    assert!(body(&["hmac-sha256", "aes-cmac"], None, 2).is_ok());
    let Malformed(said) = body(&["hmac-sha256", "aes-cmac"], Some(b"key"), 2).unwrap_err();
    assert_eq!(
        said,
        "body.sealed: an imported key for 2 suites, must be for one"
    );
    let Malformed(said) = body(&["rsa-oaep-sha256"], None, 2).unwrap_err();
    assert_eq!(
        said,
        "body.sealed: null, but suite rsa-oaep-sha256 needs an imported key"
    );
    let Malformed(said) = body(&["hmac-sha256"], None, 1).unwrap_err();
    assert_eq!(said, "body.commitments: 1 of them for 2 seats");
}

#[test]
fn a_mint_fits_whatever_its_rows_will_be() {
    let header = header(flat(1, 255), &["hmac-sha256"]);
    let mint = |sealed: usize, signature: usize| {
        let mut rows: Vec<_> = (0..255).map(row).collect();
        rows.iter_mut()
            .for_each(|row| row.signature = vec![4; signature]);
        let sealed = Some(vec![9; sealed]);
        Token::assemble(
            &header,
            [0; 32],
            vec![[0; 32]; 255],
            BTreeMap::new(),
            sealed,
            rows,
            &CATALOGUE,
        )
    };
    let widest = |token: &Token| {
        let mut token = token.clone();
        token
            .rows
            .iter_mut()
            .for_each(|row| row.epoch = limits::UINT);
        token.encode()
    };
    let some = limits::TOKEN_BYTES / 2;
    let largest = some + limits::TOKEN_BYTES - widest(&mint(some, 72).unwrap()).len();
    let token = mint(largest, 72).unwrap();
    assert!(token.fits());
    let widest = widest(&token);
    assert_eq!(widest.len(), limits::TOKEN_BYTES);
    assert!(Token::decode(&widest, &CATALOGUE).is_ok());

    // one byte more would do today, with short signatures and low epochs, but not forever
    let Malformed(said) = mint(largest + 1, 64).unwrap_err();
    assert_eq!(
        said,
        "token: 131073 bytes once its rows are at their longest, at most 131072"
    );
    let mut grown = mint(largest, 64).unwrap();
    grown.sealed = Some(vec![9; largest + 1]);
    let today = Token::decode(&grown.encode(), &CATALOGUE).unwrap();
    assert!(!today.fits());
}

#[test]
fn rows_out_of_bounds_are_refused() {
    let header = header(flat(1, 2), &["hmac-sha256"]);
    let mint = |rows| {
        let commitments = vec![[0; 32]; 2];
        Token::assemble(
            &header,
            [0; 32],
            commitments,
            BTreeMap::new(),
            None,
            rows,
            &CATALOGUE,
        )
        .map_err(|Malformed(said)| said)
    };
    assert!(mint(vec![row(0), row(1)]).is_ok());
    assert_eq!(
        mint(vec![row(0)]).unwrap_err(),
        "token.rows: 1 of them for 2 seats"
    );
    let mut late = row(1);
    late.epoch = 1 << 53;
    assert_eq!(
        mint(vec![row(0), late]).unwrap_err(),
        "token.rows[1].epoch: above 2^53-1"
    );
}

#[test]
fn a_token_expires_when_its_time_comes() {
    let mut token = token(&header(flat(1, 1), &["hmac-sha256"]), None);
    assert!(!token.expired_at(1_799_999_999));
    assert!(token.expired_at(1_800_000_000));
    token.body.header.expires = None;
    assert!(!token.expired_at(u64::MAX));
}
