//! Polynomials that were drawn before, taken through the three exchanges: the Zcash Foundation's vectors, and those of
//! `vectors/threshold.json`, which another implementation wrote, Taproot's tweak and parities included.

use std::path::PathBuf;

use evanesce_secret::Secret;
use frost_core::keys::VerifiableSecretSharingCommitment;
use frost_core::keys::dkg::round1::{Package, SecretPackage};
use frost_core::{Field, Scalar, Signature};
use serde_json::Value;

use super::announcement::{Announcement, Shape};
use super::{Announced, Parcels, Plan, reshare};
use crate::arithmetic::{FieldOf, decode};
use crate::group::{Group, identifier};
use crate::suite::{Ed25519, Suite, Taproot};

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn scalar<S: Suite>(value: &Value) -> Scalar<S> {
    decode::<S>(&bytes(value).try_into().unwrap()).unwrap()
}

fn drawn<S: Suite>(seat: u8, own: &Value) -> Announced<S> {
    let points = own["vss_commitments"].as_array().unwrap().iter().map(bytes);
    let commitment = VerifiableSecretSharingCommitment::<S>::deserialize(points).unwrap();
    let coefficients = vec![
        scalar::<S>(&own["signing_key"]),
        scalar::<S>(&own["coefficient"]),
    ];
    let id = identifier::<S>(seat);
    let secret = SecretPackage::new(id, coefficients, commitment.clone(), 2, 3);
    let proof = Signature::deserialize(&bytes(&own["proof_of_knowledge"])).unwrap();
    let package = Package::new(commitment, proof);
    let announcement = Announcement::of(&package, false).unwrap().encode();
    let agents = [[0; 32], [1; 32], [2; 32]];
    Announced {
        plan: Plan::new(b"header", 2, &agents, seat).unwrap(),
        base: None,
        drawn: Box::new((secret, package)),
        announcement,
    }
}

fn the_vectors_key_is_made<S: Suite>(taproot: bool) {
    let file = format!(
        "{}/tests/vectors/dkg-{}.json",
        env!("CARGO_MANIFEST_DIR"),
        S::NAME
    );
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let inputs = &vectors["inputs"];
    let own = |seat: u8| &inputs[(seat + 1).to_string()];

    let announced: Vec<Announced<S>> = (0..3).map(|seat| drawn(seat, own(seat))).collect();
    let announcements: Vec<_> = announced.iter().map(|a| a.announcement.clone()).collect();
    let heard: Vec<_> = announced
        .into_iter()
        .map(|a| a.hear(&announcements).unwrap())
        .collect();
    let echoes: Vec<_> = heard.iter().map(|h| h.digests().to_vec()).collect();
    let agreed: Vec<_> = heard
        .into_iter()
        .map(|h| h.compare(&echoes).unwrap())
        .collect();
    let mut sent: Vec<Parcels> = (0..3).map(|_| Vec::new()).collect();
    let mut waiting = Vec::new();
    for (from, (agreed, shares)) in (0..).zip(agreed) {
        for (to, share) in shares {
            // of each seat, what it is sent
            let given = &own(to)["signing_shares"][(from + 1).to_string()];
            assert_eq!(share.expose()[..], bytes(given), "from {from} to {to}");
            sent[usize::from(to)].push((from, share));
        }
        waiting.push(agreed);
    }
    for ((seat, waiting), shares) in (0..).zip(waiting).zip(sent) {
        let made = waiting.finish(shares).unwrap();
        if !taproot {
            assert_eq!(made.share.expose()[..], bytes(&own(seat)["signing_share"]));
            assert_eq!(made.group.vector()[0], bytes(&inputs["verifying_key"]));
            let verifying = made.group.verifying_share(seat).unwrap();
            assert_eq!(verifying, bytes(&own(seat)["verifying_share"]));
            continue;
        }
        // as given, or all negative
        let given = scalar::<S>(&own(seat)["signing_share"]);
        type F<S> = <<S as frost_core::Ciphersuite>::Group as frost_core::Group>::Field;
        let share = decode::<S>(made.share.expose()).unwrap();
        assert!(share == given || share == F::<S>::zero() - given);
        assert_eq!(
            made.group.vector()[0][1..],
            bytes(&inputs["verifying_key"])[1..]
        );
    }
}

#[test]
fn the_keys_of_the_vectors_are_made() {
    the_vectors_key_is_made::<Ed25519>(false);
    the_vectors_key_is_made::<Taproot>(true);
}

fn a_ceremony_goes_as_written<S: Suite>(ceremony: &Value) {
    let name = &ceremony["name"];
    let list = |field: &str| -> Vec<Vec<u8>> {
        ceremony[field]
            .as_array()
            .unwrap()
            .iter()
            .map(bytes)
            .collect()
    };
    let agents: Vec<[u8; 32]> = list("agents")
        .into_iter()
        .map(|id| id.try_into().unwrap())
        .collect();
    let announcements = list("announcements");
    let t = ceremony["vector"].as_array().unwrap().len();
    let header = bytes(&ceremony["header"]);
    let mut heard = Vec::new();
    for (seat, announcement) in (0..).zip(&announcements) {
        let polynomial = ceremony["polynomials"][usize::from(seat)]
            .as_array()
            .unwrap();
        let coefficients = polynomial.iter().map(scalar::<S>).collect();
        let own = Announcement::decode(announcement, Shape::Fresh { t }).unwrap();
        let (id, commitment) = (identifier::<S>(seat), own.package.commitment().clone());
        let (least, most) = (t as u16, agents.len() as u16);
        let secret = SecretPackage::new(id, coefficients, commitment, least, most);
        let announced = Announced {
            plan: Plan::new(&header, t, &agents, seat).unwrap(),
            base: None,
            drawn: Box::new((secret, own.package)),
            announcement: announcement.clone(),
        };
        heard.push(announced.hear(&announcements).unwrap());
    }
    let mut sent: Vec<Parcels> = agents.iter().map(|_| Parcels::new()).collect();
    let mut waiting = Vec::new();
    let echoes = vec![heard[0].digests().to_vec(); agents.len()];
    for (from, heard) in (0..).zip(heard) {
        assert_eq!(heard.digests().concat(), list("digests").concat(), "{name}");
        assert_eq!(
            heard.transcript()[..],
            bytes(&ceremony["transcript"]),
            "{name}"
        );
        let (agreed, shares) = heard.compare(&echoes).unwrap();
        for (to, share) in shares {
            sent[usize::from(to)].push((from, share));
        }
        waiting.push(agreed);
    }
    for ((waiting, shares), share) in waiting.into_iter().zip(sent).zip(list("shares")) {
        let made = waiting.finish(shares).unwrap();
        assert_eq!(made.group.vector(), list("vector"), "{name}");
        assert_eq!(made.share.expose()[..], share, "{name}");
    }
}

fn a_reshare_goes_as_written<S: Suite>(written: &Value) {
    let name = &written["name"];
    let list = |field: &str| -> Vec<Vec<u8>> {
        let items = written[field].as_array().unwrap().iter();
        items.map(bytes).collect()
    };
    let array = |bytes: Vec<u8>| -> [u8; 32] { bytes.try_into().unwrap() };
    let agents: Vec<_> = list("agents").into_iter().map(array).collect();
    let (header, announcements) = (bytes(&written["header"]), list("announcements"));
    let (t, seats) = (list("vector").len(), agents.len());
    let givers = written["givers"].as_array().unwrap().iter();
    let number = |pair: &Value, at: usize| pair[at].as_u64().unwrap() as u8;
    let givers: Vec<_> = givers
        .map(|pair| (number(pair, 0), number(pair, 1)))
        .collect();
    let old = list("old_shares");
    let group = Group::<S>::new(old.len(), &list("old_vector")).unwrap();
    let mut heard = Vec::new();
    for (seat, announcement) in (0..).zip(&announcements) {
        let plan = Plan::new(&header, t, &agents, seat).unwrap();
        let (mut announced, _) = reshare(plan, &group, &givers).unwrap();
        let any = &announced.drawn.1;
        let own = Announcement::decode(announcement, Shape::Refresh { t, any }).unwrap();
        let polynomial = &written["polynomials"][usize::from(seat)];
        let others = polynomial.as_array().unwrap().iter().map(scalar::<S>);
        let coefficients = std::iter::once(FieldOf::<S>::zero())
            .chain(others)
            .collect();
        let (id, commitment) = (identifier::<S>(seat), own.package.commitment().clone());
        let secret = SecretPackage::new(id, coefficients, commitment, t as u16, seats as u16);
        announced.drawn = Box::new((secret, own.package));
        announced.announcement = announcement.clone();
        heard.push(announced.hear(&announcements).unwrap());
    }
    let echoes = vec![heard[0].digests().to_vec(); seats];
    let (mut waiting, mut sent) = (Vec::new(), Vec::new());
    sent.resize_with(seats, Parcels::new);
    for (from, heard) in (0..).zip(heard) {
        assert_eq!(heard.digests().concat(), list("digests").concat(), "{name}");
        let transcript = bytes(&written["transcript"]);
        assert_eq!(heard.transcript()[..], transcript, "{name}");
        let compared = match heard.gives() {
            None => heard.compare(&echoes),
            Some(seat) => {
                let mut share = Secret::zeroed().unwrap();
                share.expose_mut().copy_from_slice(&old[usize::from(seat)]);
                heard.compare_giving(&echoes, &group.admit(seat, share).unwrap())
            }
        };
        let (agreed, shares) = compared.unwrap();
        for (to, share) in shares {
            sent[usize::from(to)].push((from, share));
        }
        waiting.push(agreed);
    }
    for ((waiting, shares), share) in waiting.into_iter().zip(sent).zip(list("shares")) {
        let made = waiting.finish_reshare(shares).unwrap();
        assert_eq!(made.group.vector(), list("vector"), "{name}");
        assert_eq!(made.group.vector()[0], group.vector()[0], "{name}");
        assert_eq!(made.share.expose()[..], share, "{name}");
    }
}

#[test]
fn the_ceremonies_of_another_implementation_go_as_written() {
    let shared = std::env::var_os("EVANESCE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    let file = std::fs::read(shared.join("vectors/threshold.json")).unwrap();
    let vectors: Value = serde_json::from_slice(&file).unwrap();
    let ceremonies = vectors["ceremonies"].as_array().unwrap();
    assert!(ceremonies.len() >= 9);
    for ceremony in ceremonies {
        match ceremony["suite"] == Taproot::NAME {
            true => a_ceremony_goes_as_written::<Taproot>(ceremony),
            false => a_ceremony_goes_as_written::<Ed25519>(ceremony),
        }
    }
    let reshares = vectors["reshares"].as_array().unwrap();
    assert!(reshares.len() >= 4);
    for reshare in reshares {
        match reshare["suite"] == Taproot::NAME {
            true => a_reshare_goes_as_written::<Taproot>(reshare),
            false => a_reshare_goes_as_written::<Ed25519>(reshare),
        }
    }
}
