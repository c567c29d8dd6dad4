//! Chains of every make, and every way to give more than one has.

use super::*;
use crate::FileIdentity;
use proptest::prelude::*;

struct Person(FileIdentity);

fn person() -> Person {
    let dir = tempfile::tempdir().unwrap();
    Person(FileIdentity::create(&dir.path().join("key")).unwrap())
}

fn grant(grantor: &Person, delegate: &Person) -> Grant {
    Grant {
        token: [1; 32],
        grantor: grantor.0.caller_id(),
        delegate: delegate.0.caller_id(),
        parent: None,
        further: true,
        actions: vec!["sign".into(), "mac".into()],
        suites: vec!["ed25519".into(), "hmac-sha256".into()],
        bounds: vec![
            PayloadBound {
                at: vec!["amount".into()],
                must: Must::Range { min: 1, max: 100 },
            },
            PayloadBound {
                at: vec!["to".into(), "name".into()],
                must: Must::Among(vec!["alice".into(), "bob".into()]),
            },
        ],
        count: Some(10),
        not_before: 1000,
        expires: 2000,
        nonce: [2; 16],
    }
}

fn passed_on(parent: &Grant, id: &Id, to: &Person) -> Grant {
    Grant {
        grantor: parent.delegate,
        delegate: to.0.caller_id(),
        parent: Some(*id),
        further: false,
        nonce: [3; 16],
        ..parent.clone()
    }
}

#[test]
fn a_grant_is_its_grantors_word_in_every_byte() {
    let (ops, bot) = (person(), person());
    let given = grant(&ops, &bot);
    assert_eq!(Grant::decode(&given.encode()).unwrap(), given);
    let signed = Signed::new(&given, &ops.0).unwrap();
    let bytes = signed.encode();
    assert_eq!(
        Signed::decode(&bytes).unwrap().verify().unwrap(),
        (given.clone(), grant_id(&given.encode()))
    );
    assert!(
        Signed::new(&given, &bot.0).is_err(),
        "somebody else's grant"
    );
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            let taken = Signed::decode(&flipped).and_then(|signed| signed.verify());
            assert!(taken.is_err(), "byte {place}, bit {bit}");
        }
    }
    // Under the delegate's own key, and with the key of somebody else beside it.
    let forged = Signed {
        signature: bot.0.sign(&grant_id(&signed.grant)).unwrap(),
        ..signed.clone()
    };
    assert!(forged.verify().is_err());
    let forged = Signed {
        spki: bot.0.spki().to_vec(),
        ..forged
    };
    assert!(forged.verify().is_err());
}

#[test]
fn only_its_grantor_revokes_a_grant() {
    let (ops, bot) = (person(), person());
    let signed = Signed::new(&grant(&ops, &bot), &ops.0).unwrap().encode();
    assert!(Revocation::new(&signed, &bot.0).is_err());
    let revocation = Revocation::new(&signed, &ops.0).unwrap();
    let bytes = revocation.encode();
    assert!(Revocation::decode(&bytes).unwrap().verify().is_ok());
    let id = Signed::decode(&signed).unwrap().verify().unwrap().1;
    let forged = Revocation {
        signature: bot.0.sign(&revocation_statement(&id)).unwrap(),
        ..revocation.clone()
    };
    assert!(forged.verify().is_err());
    // The signature of the grant itself is none of its end.
    let signature = Signed::decode(&signed).unwrap().signature;
    assert!(
        Revocation {
            signature,
            ..revocation
        }
        .verify()
        .is_err()
    );
}

#[test]
fn a_chain_is_linked_by_ids_names_and_the_leave_to_pass_on() {
    let (ops, lead, bot) = (person(), person(), person());
    let first = grant(&ops, &lead);
    let id = grant_id(&first.encode());
    let second = passed_on(&first, &id, &bot);
    let second_id = grant_id(&second.encode());
    let chain = |first: &Grant, second: &Grant| {
        let (one, two) = (grant_id(&first.encode()), grant_id(&second.encode()));
        chained(&[(first, &one), (second, &two)])
    };
    assert_eq!(chained(&[(&first, &id)]), Ok(()));
    assert_eq!(chain(&first, &second), Ok(()));
    let refused = |taken: Result<(), String>, what: &str| {
        let why = taken.unwrap_err();
        assert!(why.contains(what), "{what}: {why}");
    };
    refused(chained(&[]), "no grant");
    refused(chained(&[(&second, &second_id)]), "is missing");
    refused(chain(&second, &first), "is missing");
    refused(
        chain(
            &first,
            &Grant {
                parent: Some([9; 32]),
                ..second.clone()
            },
        ),
        "not passed on under",
    );
    refused(
        chain(
            &first,
            &Grant {
                parent: None,
                ..second.clone()
            },
        ),
        "not passed on under",
    );
    refused(
        chain(
            &first,
            &Grant {
                grantor: [9; 32],
                ..second.clone()
            },
        ),
        "not passed on under",
    );
    refused(
        chain(
            &first,
            &Grant {
                token: [9; 32],
                ..second.clone()
            },
        ),
        "another key",
    );
    refused(
        chain(
            &first,
            &Grant {
                further: true,
                ..second.clone()
            },
        ),
        "a second time",
    );
    let kept = Grant {
        further: false,
        ..first.clone()
    };
    let under = Grant {
        parent: Some(grant_id(&kept.encode())),
        ..second.clone()
    };
    refused(chain(&kept, &under), "may not be");
    let third = passed_on(&second, &second_id, &ops);
    let third_id = grant_id(&third.encode());
    refused(
        chained(&[(&first, &id), (&second, &second_id), (&third, &third_id)]),
        "3 grants, at most 2",
    );
}

#[test]
fn what_is_no_grant_is_refused() {
    let (ops, bot) = (person(), person());
    let good = grant(&ops, &bot);
    let broken = |change: &dyn Fn(&mut Grant)| {
        let mut grant = good.clone();
        change(&mut grant);
        assert!(Grant::decode(&grant.encode()).is_err(), "{grant:?}");
    };
    broken(&|g| g.actions.clear());
    broken(&|g| g.actions.push("sign".into()));
    broken(&|g| g.bounds[0].at.clear());
    broken(&|g| g.bounds[0].must = Must::Range { min: 2, max: 1 });
    broken(&|g| g.bounds[1].must = Must::Among(vec![]));
    broken(&|g| g.bounds = vec![g.bounds[0].clone(); LIST + 1]);
}

/// A change of a grant that was passed on, and whether it then gives more than its grantor has.
fn change() -> impl Strategy<Value = (usize, u64)> {
    (0usize..12, 0u64..3000)
}

fn apply(grant: &mut Grant, (field, value): (usize, u64)) {
    let pick = |words: [&str; 4]| words[value as usize % 4].to_owned();
    match field {
        0 => grant.actions = vec![pick(["sign", "mac", "open", "decrypt"])],
        1 => grant
            .actions
            .push(pick(["verify-mac", "open", "derive", "agree"])),
        2 => grant.suites = vec![pick(["ed25519", "hmac-sha256", "ml-dsa-65", "x25519"])],
        3 => grant.suites.clear(),
        4 => grant.not_before = value,
        5 => grant.expires = value,
        6 => grant.count = (value > 20).then_some(value % 20),
        7 => {
            grant.bounds[0].must = Must::Range {
                min: value % 7,
                max: 20 + value % 120,
            }
        }
        8 => grant.bounds[1].must = Must::Among(vec![pick(["alice", "bob", "carol", "alic"])]),
        9 => drop(grant.bounds.remove(value as usize % 2)),
        10 => grant.bounds[0].at.push("x".into()),
        _ => grant.bounds.push(PayloadBound {
            at: vec!["more".into()],
            must: Must::Range { min: 0, max: value },
        }),
    }
}

/// Whether every request that the one lets through the other does, said without looking at how it is checked.
fn within(own: &Grant, parent: &Grant) -> bool {
    let subset = |own: &[String], all: &[String]| own.iter().all(|one| all.contains(one));
    let bounds = parent.bounds.iter().all(|theirs| {
        own.bounds.iter().any(|mine| {
            mine.at == theirs.at
                && match (&mine.must, &theirs.must) {
                    (Must::Range { min: a, max: b }, Must::Range { min: c, max: d }) => {
                        (*a..=*b).all(|n| (*c..=*d).contains(&n))
                    }
                    (Must::Among(a), Must::Among(b)) => subset(a, b),
                    _ => false,
                }
        })
    });
    subset(&own.actions, &parent.actions)
        && subset(&own.suites, &parent.suites)
        && own.not_before >= parent.not_before
        && own.expires <= parent.expires
        && own.count.is_some_and(|n| n <= 10)
        && bounds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("EVANESCE_GRANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
    ))]
    /// Generated chains: what was widened anywhere is refused, and nothing else is.
    #[test]
    fn no_widened_grant_is_taken(changes in prop::collection::vec(change(), 0..4)) {
        thread_local!(static PEOPLE: (Person, Person, Person) = (person(), person(), person()));
        PEOPLE.with(|(ops, lead, bot)| {
            let first = grant(ops, lead);
            let id = grant_id(&first.encode());
            let mut second = passed_on(&first, &id, bot);
            for change in changes {
                if second.bounds.len() > 1 {
                    apply(&mut second, change);
                }
            }
            let second_id = grant_id(&second.encode());
            let taken = chained(&[(&first, &id), (&second, &second_id)]);
            prop_assert_eq!(taken.is_ok(), within(&second, &first), "{:?} {:?}", second, taken);
            Ok(())
        })?;
    }

    #[test]
    fn hostile_bytes_are_refused_in_good_order(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Grant::decode(&bytes);
        let _ = Signed::decode(&bytes);
        let _ = Revocation::decode(&bytes);
    }
}
