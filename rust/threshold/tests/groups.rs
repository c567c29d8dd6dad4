//! Groups that are remembered: each for its own token, and no other.

mod common;

use common::{Outside, made};
use evanesce_threshold::{Ed25519, Error, Group, Groups, Regen, Taproot};
use evanesce_token::Gate;
use evanesce_token::mpc::{Body, Header, Kind};

fn body<S: Outside>(group: &Group<S>, kind: Kind, nonce: u8) -> Body {
    let header = Header {
        kind,
        key: [1; 32],
        nonce: [nonce; 32],
        name: "treasury".into(),
        suite: S::NAME.into(),
        quorum: Gate::parse("2 of (a, b, c)").unwrap(),
        policy: String::new(),
        created: 1_780_000_000,
        expires: None,
        replaces: None,
    };
    Body::new(header.encode(), group.vector().to_vec(), [4; 32]).unwrap()
}

fn groups_are_remembered<S: Outside>() {
    let (one, other) = (made::<S>(2, 3), made::<S>(2, 3));
    let groups = Groups::default();
    let bodies: Vec<_> = (0..255)
        .chain(0..60)
        .enumerate()
        .map(|(n, nonce)| match n < 255 {
            true => body(&one[0].group, Kind::Regenerated, nonce),
            false => body(&other[0].group, Kind::Regenerated, nonce),
        })
        .collect();
    for _ in 0..2 {
        // more than are remembered
        for body in &bodies {
            let group: Group<S> = groups.of(body).unwrap();
            assert_eq!(group.vector(), body.vector);
        }
    }
    let (first, last) = (&bodies[0], &bodies[300]);
    let group: Group<S> = groups.of(first).unwrap();
    assert_eq!(
        group.verifying_share(2).unwrap(),
        one[0].group.verifying_share(2).unwrap()
    );
    assert!(Regen::in_group(first, group.clone()).is_ok());
    let refused = |found: Result<Regen<'_, S>, Error>, why: &str| {
        let error = found.err().expect("refused").to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(Regen::in_group(last, group.clone()), "another token's");
    let kept = body(&one[0].group, Kind::Kept, 7);
    refused(Regen::in_group(&kept, group), "and kind mpc, not of");
}

#[test]
fn a_group_is_remembered_for_its_own_token() {
    groups_are_remembered::<Ed25519>();
    groups_are_remembered::<Taproot>();
    let groups = Groups::default();
    let made = made::<Ed25519>(2, 3);
    let body = body(&made[0].group, Kind::Regenerated, 1);
    for _ in 0..2 {
        assert!(groups.of::<Taproot>(&body).is_err());
        assert!(groups.of::<Ed25519>(&body).is_ok());
    }
}
