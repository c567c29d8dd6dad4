//! An approval is of one operation, one time and one key, and any change of it is none.

mod common;

use common::{Ceremony, Key};
use evanesce_approval::{AHEAD, Approval, Asked, Statement, TEXT, WORD};
use evanesce_policy::{Payload, RelyingParty};
use evanesce_token::formula;
use evanesce_wire::Identity;
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;

fn asked(payload: Option<&Payload>) -> Asked<'_> {
    Asked {
        token: &[1; 32],
        key: "treasury",
        action: "sign",
        suite: "ed25519",
        input: &[2; 32],
        caller: &[3; 32],
        payload,
    }
}

fn statement(asked: &Asked<'_>, word: &str) -> Statement {
    Statement {
        text: asked.text(word).unwrap(),
        input: *asked.input,
        nonce: [4; 16],
        suite: asked.suite.into(),
        token: *asked.token,
        action: asked.action.into(),
        caller: *asked.caller,
        expires: NOW + 600,
    }
}

fn site() -> RelyingParty {
    RelyingParty::new("example.com", vec![]).unwrap()
}

#[test]
fn what_a_person_reads_says_all_that_agents_check() {
    let payload = Payload::read("{\"amount\":12500,\"to\":\"x\u{202e}\"}".as_bytes()).unwrap();
    let lines = [
        "sign with the key \"treasury\" as ed25519",
        &format!("token {}", "01".repeat(32)),
        &format!("asked for by {}", "03".repeat(32)),
        "payload {",
        "  \"amount\": 12500,",
        "  \"to\": \"x\\u202e\"",
        "}",
    ];
    assert_eq!(asked(Some(&payload)).text("").unwrap(), lines.join("\n"));
    assert_eq!(
        asked(Some(&payload)).text("pay me").unwrap(),
        lines.join("\n"),
        "beside a payload nobody has a word of their own"
    );
    let text = asked(None).text("the release\nof May").unwrap();
    let digest = format!("input digest {}", "02".repeat(32));
    assert!(text.contains(&digest), "{text}");
    assert!(
        text.ends_with("no agent can check:\nthe release\u{fffd}of May"),
        "{text}"
    );
    let hostile = Asked {
        key: "a\"\ntoken 0",
        suite: "",
        ..asked(None)
    };
    let text = hostile.text("").unwrap();
    assert!(
        text.starts_with("sign with the key \"a\\\"\u{fffd}token 0\"\ntoken 01"),
        "{text}"
    );
}

#[test]
fn an_approval_is_believed_of_the_key_that_signed_it() {
    let payload = Payload::read(b"{\"amount\":1}").unwrap();
    for payload in [None, Some(&payload)] {
        let asked = asked(payload);
        let statement = statement(&asked, "the release of May");
        for key in [Key::ed25519(1), Key::p256()] {
            let approval = statement.sign(&key).unwrap();
            let read = Approval::decode(&approval.encode()).unwrap();
            assert_eq!(read, approval);
            assert_eq!(read.approver_id(), formula::caller_id(key.spki()));
            let said = read.verify(None).unwrap();
            assert_eq!(said, statement);
            assert_eq!(asked.is_approved_by(&said, NOW), Ok(()));
            let by_site = read.verify(Some(&site())).unwrap_err();
            assert!(by_site.contains("did not sign it as one"), "{by_site}");
            let authenticated = Ceremony::of(&statement).sign(&key, &statement);
            let read = Approval::decode(&authenticated.encode()).unwrap();
            assert_eq!(read.verify(Some(&site())).unwrap(), statement);
            assert_eq!(
                read.id(),
                approval.id(),
                "one statement and one key are one approval"
            );
            assert!(read.verify(None).unwrap_err().contains("not named as one"));
        }
    }
}

#[test]
fn the_second_signature_of_ecdsa_is_no_second_approval() {
    let statement = statement(&asked(None), "");
    let key = Key::p256();
    let (one, two) = (statement.sign(&key).unwrap(), statement.sign(&key).unwrap());
    assert_ne!(one.signature, two.signature);
    assert_eq!(one.id(), two.id());
    let other = statement.sign(&Key::p256()).unwrap();
    assert_ne!(one.id(), other.id());
}

#[test]
fn a_word_is_the_requesters_alone_and_an_overlong_text_is_none() {
    let word = "x".repeat(WORD);
    let long = asked(None).text(&word).unwrap();
    assert!(long.len() <= TEXT);
    assert!(asked(None).text(&format!("{word}x")).is_err());
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(TEXT));
    let payload = Payload::read(payload.as_bytes()).unwrap();
    assert!(
        asked(Some(&payload))
            .text("")
            .unwrap_err()
            .contains("cannot be approved")
    );
    // What stands behind is the marked word or nothing.
    for tail in ["\nand 5 more", " ", "\n", "x"] {
        let said = Statement {
            text: asked(None).text("").unwrap() + tail,
            ..statement(&asked(None), "")
        };
        assert!(asked(None).is_approved_by(&said, NOW).is_err(), "{tail:?}");
    }
    let said = Statement {
        text: asked(None).text("a").unwrap() + "\nb",
        ..statement(&asked(None), "")
    };
    assert!(asked(None).is_approved_by(&said, NOW).is_err(), "two lines");
}

/// Every field of what was signed, changed by whoever may sign it: none is of the same operation.
#[test]
fn a_statement_is_bound_to_its_operation_by_every_field() {
    let asked = asked(None);
    let said = statement(&asked, "");
    let is = |change: &dyn Fn(&mut Statement)| {
        let mut said = said.clone();
        change(&mut said);
        let signed = said.sign(&Key::ed25519(1)).unwrap();
        asked.is_approved_by(&signed.verify(None).unwrap(), NOW)
    };
    assert_eq!(is(&|_| ()), Ok(()));
    assert_eq!(
        is(&|s| s.nonce[0] ^= 1),
        Ok(()),
        "a nonce is whatever it is"
    );
    let refused = |what: &str, change: &dyn Fn(&mut Statement)| {
        let why = is(change).unwrap_err();
        assert!(why.contains(what), "{what}: {why}");
    };
    refused("another token", &|s| s.token[31] ^= 1);
    refused("another caller", &|s| s.caller[0] ^= 1);
    refused("another operation", &|s| s.action = "mac".into());
    refused("another operation", &|s| s.suite = "ml-dsa-65".into());
    refused("another input", &|s| s.input[5] ^= 1);
    refused("its text", &|s| s.text.push('x'));
    refused("its text", &|s| s.text.clear());
    refused("ended 0 s ago", &|s| s.expires = NOW);
    refused("compare clocks", &|s| s.expires = NOW + AHEAD + 1);
    assert_eq!(is(&|s| s.expires = NOW + AHEAD), Ok(()));
    assert_eq!(is(&|s| s.expires = NOW + 1), Ok(()));
}

#[test]
fn an_assertion_is_of_this_challenge_this_page_and_a_verified_person() {
    let statement = statement(&asked(None), "");
    let key = Key::p256();
    let judged = |change: &dyn Fn(&mut Ceremony)| {
        let mut ceremony = Ceremony::of(&statement);
        change(&mut ceremony);
        let approval = ceremony.sign(&key, &statement);
        approval.verify(Some(&site())).map(drop)
    };
    assert_eq!(judged(&|_| ()), Ok(()));
    assert_eq!(judged(&|c| c.flags = 0x1d), Ok(()), "backed up, or not");
    let with_extensions = |c: &mut Ceremony| {
        c.flags |= 0x80;
        c.extensions = vec![0xa0];
    };
    assert_eq!(judged(&with_extensions), Ok(()));
    let refused = |what: &str, change: &dyn Fn(&mut Ceremony)| {
        let why = judged(change).unwrap_err();
        assert!(why.contains(what), "{what}: {why}");
    };
    let replaced = |from: &'static str, to: &'static str| {
        move |c: &mut Ceremony| c.client_data = c.client_data.replace(from, to)
    };
    refused("nobody was there", &|c| c.flags = 0x04);
    refused("not verified", &|c| c.flags = 0x01);
    refused("not that of an assertion", &|c| c.flags = 0x45);
    refused("not that of an assertion", &|c| c.flags = 0x85);
    refused("not that of an assertion", &|c| c.extensions = vec![0]);
    refused("another relying party", &|c| c.party = "example.org".into());
    refused(
        "something else of WebAuthn",
        &replaced("webauthn.get", "webauthn.create"),
    );
    refused(
        "another page",
        &replaced("console.example.com", "example.com.evil.org"),
    );
    refused("another page", &replaced("https://", "http://"));
    refused(
        "inside another page",
        &replaced("\"crossOrigin\":false", "\"crossOrigin\":true"),
    );
    refused(
        "inside another page",
        &replaced(
            "\"crossOrigin\":false",
            "\"topOrigin\":\"https://example.com\"",
        ),
    );
    refused("another statement", &|c| {
        let at = c.client_data.find("challenge\":\"").unwrap() + 12;
        let other = if c.client_data.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        c.client_data.replace_range(at..=at, other);
    });
    refused("not that of WebAuthn", &replaced("\"type\"", "\"tipe\""));
    refused(
        "not that of WebAuthn",
        &replaced("{\"type\"", "{\"type\":\"webauthn.get\",\"type\""),
    );
    refused("not that of WebAuthn", &|c| c.client_data.push('}'));
    // Signed by another key, or over another client data than is shown.
    let mut other = Ceremony::of(&statement).sign(&Key::p256(), &statement);
    other.approver = key.spki().to_vec();
    assert!(
        other
            .verify(Some(&site()))
            .unwrap_err()
            .contains("not the approver's")
    );
    let mut altered = Ceremony::of(&statement).sign(&key, &statement);
    altered.webauthn.as_mut().unwrap().client_data.push(b' ');
    assert!(
        altered
            .verify(Some(&site()))
            .unwrap_err()
            .contains("not the approver's")
    );
}

proptest! {
    /// Whatever bit of an approval is flipped: it does not decode, does not verify, or is another key's.
    #[test]
    fn no_flipped_bit_is_the_same_keys_approval(
        at: prop::sample::Index,
        bit in 0u8..8,
        kind in 0u8..3,
        amount in 0i64..1_000_000,
    ) {
        let payload = Payload::read(format!("{{\"amount\":{amount}}}").as_bytes()).unwrap();
        let asked = asked(Some(&payload));
        let statement = statement(&asked, "");
        let key = Key::ed25519(9);
        let (approval, site) = match kind {
            0 => (Ceremony::of(&statement).sign(&key, &statement), Some(site())),
            _ => (statement.sign(&key).unwrap(), None),
        };
        let mut bytes = approval.encode();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(flipped) = Approval::decode(&bytes) {
            let same = flipped.approver_id() == approval.approver_id();
            prop_assert!(!same || flipped.verify(site.as_ref()).is_err());
        }
    }

    #[test]
    fn hostile_bytes_are_refused_in_good_order(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Approval::decode(&bytes);
        let _ = Statement::decode(&bytes);
    }
}
