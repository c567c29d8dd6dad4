//! The second kind of token: the published vectors, which another implementation wrote, and a key that is made and masked
//! here.
//!
//! The vectors are in `vectors/` at the root of the repository, or under `EVANESCE_SHARED`.

mod common;

use std::path::PathBuf;

use common::{Outside, agents, made};
use evanesce_threshold::{Ed25519, Error, Group, Kept, Regen, SealedShare, Suite, Taproot};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::mpc::{self, Body, Header, Token};
use evanesce_token::{Catalogue, Gate, Row};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let shared = std::env::var_os("EVANESCE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    let text = std::fs::read(shared.join("vectors/threshold.json")).unwrap();
    let vectors: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(vectors["kind"], mpc::Kind::Regenerated.as_str());
    vectors["cases"].as_array().unwrap().clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// What an agent with this root would answer.
fn element(root: &[u8]) -> impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), Error> + use<'_> {
    move |message, y| {
        hmac_sha256(root, message, y);
        Ok(())
    }
}

fn root_of(case: &Value, row: &Row) -> Vec<u8> {
    let mut agents = case["agents"].as_array().unwrap().iter();
    let agent = agents
        .find(|agent| bytes(&agent["id"]) == row.holder)
        .unwrap();
    bytes(&agent["roots"][row.epoch.to_string()])
}

fn every_seat_is_as_expected<S: Outside>(case: &Value, token: &Token) {
    let name = &case["name"];
    let regen = Regen::<S>::new(&token.body).unwrap();
    let group = regen.group();
    assert_eq!(group.public_key()[..], bytes(&case["public_key"]), "{name}");
    let (message, signature) = (bytes(&case["message"]), bytes(&case["signature"]));
    let signature: [u8; 64] = signature.try_into().unwrap();
    assert!(group.verify(&message, &signature), "{name}");
    assert!(
        S::outside_accepts(group.public_key(), &message, &signature),
        "{name}"
    );

    let mut faulty = Vec::new();
    for ((seat, row), seat_name) in (0..).zip(&token.rows).zip(token.body.header.quorum.seats()) {
        let root = root_of(case, row);
        match regen.regenerate(seat, &row.correction, element(&root)) {
            Ok(share) => {
                assert_eq!(share.seat(), seat);
                let again = regen.correct(&share, element(&root)).unwrap();
                assert_eq!(again, row.correction, "{name}");
            }
            Err(error) => {
                assert_eq!(error, Error::NotTheShare { seat });
                faulty.push(seat_name);
            }
        }
    }
    let expected: Vec<_> = case["faulty"].as_array().unwrap().iter().collect();
    assert_eq!(faulty, expected, "{name}");
}

#[test]
fn published_tokens_give_every_share_that_they_should_and_no_other() {
    let (mut read, mut malformed, mut unfit) = (0, 0, 0);
    for case in cases() {
        let name = &case["name"];
        let decoded = Token::decode(&bytes(&case["token"]));
        if case["error"] == "malformed" {
            assert!(decoded.is_err(), "{name}");
            malformed += 1;
            continue;
        }
        let token = decoded.unwrap();
        assert_eq!(token.encode(), bytes(&case["token"]), "{name}");
        let taproot = token.body.header.suite == Taproot::NAME;
        if case["error"] == "unfit" {
            let error = match taproot {
                true => Regen::<Taproot>::new(&token.body).err(),
                false => Regen::<Ed25519>::new(&token.body).err(),
            };
            assert!(matches!(error, Some(Error::Unfit(_))), "{name}");
            unfit += 1;
            continue;
        }
        assert_eq!(token.id()[..], bytes(&case["token_id"]), "{name}");
        match taproot {
            true => every_seat_is_as_expected::<Taproot>(&case, &token),
            false => every_seat_is_as_expected::<Ed25519>(&case, &token),
        }
        read += 1;
    }
    assert_eq!((read, malformed, unfit), (12, 9, 5));
}

/// The verbs of the first kind begin by reading a header, or a token.
#[test]
fn the_first_kind_refuses_the_second_and_says_why() {
    const CATALOGUE: Catalogue = Catalogue(&[]);
    let case = cases().remove(0);
    let token = Token::decode(&bytes(&case["token"])).unwrap();
    let refusals = [
        evanesce_token::Token::decode(&token.encode(), &CATALOGUE).err(),
        evanesce_token::Header::decode(&token.body.header_bytes, &CATALOGUE).err(),
        evanesce_token::Body::new(
            token.body.header_bytes.clone(),
            [0; 32],
            vec![[0; 32]; 3],
            [0; 32],
            [0; 32],
            &CATALOGUE,
        )
        .err(),
    ];
    for refusal in refusals {
        let said = refusal.unwrap().0;
        assert!(said.contains("of the second kind, regen-mpc"), "{said}");
    }
}

fn header<S: Suite>(quorum: &str) -> Header {
    Header {
        kind: mpc::Kind::Regenerated,
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suite: S::NAME.into(),
        quorum: Gate::parse(quorum).unwrap(),
        policy: String::new(),
        created: 1_780_000_000,
        expires: None,
        replaces: None,
    }
}

fn a_made_key_is_masked_and_regenerated<S: Outside>() {
    let header = header::<S>("2 of (a, b, c)");
    let made = made::<S>(2, 3);
    let vector = made[0].group.vector().to_vec();
    let body = Body::new(header.encode(), vector, made[0].transcript).unwrap();
    let regen = Regen::<S>::new(&body).unwrap();
    let rows: Vec<Row> = made
        .iter()
        .zip(agents(3))
        .map(|(made, holder)| Row {
            holder,
            epoch: 1,
            correction: regen.correct(&made.share, element(&holder)).unwrap(),
            signature: vec![0; 64],
        })
        .collect();
    let token = Token::assemble(body.clone(), rows).unwrap();
    let token = Token::decode(&token.encode()).unwrap();
    let regen = Regen::<S>::new(&token.body).unwrap();
    for (seat, row) in (0..).zip(&token.rows) {
        let share = regen
            .regenerate(seat, &row.correction, element(&row.holder))
            .unwrap();
        assert_eq!(share.expose(), made[usize::from(seat)].share.expose());
        // another root, another seat, one bit
        let not = Some(Error::NotTheShare { seat });
        assert_eq!(
            regen
                .regenerate(seat, &row.correction, element(b"other"))
                .err(),
            not
        );
        let mut flipped = row.correction;
        flipped[15] ^= 1;
        assert_eq!(
            regen.regenerate(seat, &flipped, element(&row.holder)).err(),
            not
        );
        let next = (seat + 1) % 3;
        let not = Some(Error::NotTheShare { seat: next });
        assert_eq!(
            regen
                .regenerate(next, &row.correction, element(&row.holder))
                .err(),
            not
        );
    }
    // whatever the id covers: the same rows under another transcript are of no use
    let body = Body::new(header.encode(), body.vector, [9; 32]).unwrap();
    let other = Regen::<S>::new(&body).unwrap();
    let row = &token.rows[0];
    let regenerated = other.regenerate(0, &row.correction, element(&row.holder));
    assert_eq!(regenerated.err(), Some(Error::NotTheShare { seat: 0 }));
}

#[test]
fn a_key_that_was_made_is_masked_and_regenerated() {
    a_made_key_is_masked_and_regenerated::<Ed25519>();
    a_made_key_is_masked_and_regenerated::<Taproot>();
}

/// The attack that the rule is against: a share that the attacker knows, dealt under a vector of its own, for a token whose
/// masks it wants. The element is not even asked.
#[test]
fn no_correction_is_made_for_a_share_of_another_vector() {
    let (victim, dealt) = (made::<Ed25519>(2, 3), made::<Ed25519>(2, 3));
    let header = header::<Ed25519>("2 of (a, b, c)");
    let vector = victim[0].group.vector().to_vec();
    let body = Body::new(header.encode(), vector, victim[0].transcript).unwrap();
    let regen = Regen::<Ed25519>::new(&body).unwrap();
    let element = |_: &[u8; 32], _: &mut [u8; 32]| -> Result<(), Error> { panic!("asked") };
    let refused = regen.correct(&dealt[1].share, element);
    assert!(matches!(refused, Err(Error::Unfit(_))));
    // nor can the scalar be taken for a share of the victim's group
    let scalar = evanesce_secret::Secret::filled(|out| *out = *dealt[1].share.expose()).unwrap();
    let admitted = victim[0].group.admit(1, scalar);
    assert_eq!(admitted.err(), Some(Error::NotTheShare { seat: 1 }));
}

#[test]
fn a_token_of_one_suite_is_not_taken_for_another() {
    let header = header::<Ed25519>("2 of (a, b)");
    let vector = made::<Ed25519>(2, 2)[0].group.vector().to_vec();
    let body = Body::new(header.encode(), vector, [0; 32]).unwrap();
    assert!(matches!(
        Regen::<Taproot>::new(&body).err(),
        Some(Error::Unfit(_))
    ));
}

#[test]
fn the_token_layer_and_this_crate_know_the_same_suites() {
    let here = [
        (Ed25519::NAME, Ed25519::POINT),
        (Taproot::NAME, Taproot::POINT),
    ];
    assert_eq!(
        mpc::SUITES
            .each_ref()
            .map(|suite| (suite.name, suite.point)),
        here
    );
}

#[test]
fn a_plan_is_made_from_a_header() {
    use evanesce_threshold::dkg::Plan;
    let header = header::<Ed25519>("2 of (a, b, c)");
    assert!(Plan::of(&header, &agents(3), 2).is_ok());
    assert!(matches!(
        Plan::of(&header, &agents(2), 0).err(),
        Some(Error::Unfit(_))
    ));
    let nested = Header {
        quorum: Gate::parse("2 of (a, 2 of (b, c))").unwrap(),
        ..header
    };
    assert!(matches!(
        Plan::of(&nested, &agents(2), 0).err(),
        Some(Error::Unfit(_))
    ));
}

#[test]
fn a_group_needs_as_many_points_as_sign_together() {
    let made = made::<Ed25519>(3, 4);
    let vector = made[0].group.vector();
    assert_eq!(Group::<Ed25519>::new(4, vector).unwrap().t(), 3);
}

fn kept_shares_come_back_from_their_seals_alone<S: Outside>() {
    let made = made::<S>(2, 3);
    let header = |kind| Header {
        kind,
        ..header::<S>("2 of (a, b, c)")
    };
    let body = |kind| {
        let vector = made[0].group.vector().to_vec();
        Body::new(header(kind).encode(), vector, made[0].transcript).unwrap()
    };
    let (body, regenerated) = (body(mpc::Kind::Kept), body(mpc::Kind::Regenerated));
    let kept = Kept::<S>::new(&body).unwrap();
    assert!(Kept::<S>::new(&regenerated).is_err() && Regen::<S>::new(&body).is_err());
    let (root, share) = ([7; 32], &made[1].share);
    let sealed = kept.seal(share, 3, element(&root)).unwrap();
    let again = kept.open(1, 3, &sealed, element(&root)).unwrap();
    assert_eq!(again.expose(), share.expose());
    assert_ne!(sealed.sealed[..32], share.expose()[..]);
    let not = Err(Error::NotTheShare { seat: 1 });
    let open = |seat, epoch, sealed: &SealedShare, root| {
        let opened = kept.open(seat, epoch, sealed, element(root));
        opened.map(|share| *share.expose())
    };
    assert_eq!(open(1, 4, &sealed, &root), not, "another epoch");
    assert_eq!(open(1, 3, &sealed, &[8; 32]), not, "another root");
    assert!(open(0, 3, &sealed, &root).is_err(), "another seat");
    for bit in 0..48 * 8 {
        let mut other = sealed.clone();
        other.sealed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(1, 3, &other, &root), not, "bit {bit}");
    }
}

#[test]
fn a_share_that_is_kept_comes_back_from_its_seal_and_its_root_alone() {
    kept_shares_come_back_from_their_seals_alone::<Ed25519>();
    kept_shares_come_back_from_their_seals_alone::<Taproot>();
}
