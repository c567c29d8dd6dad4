//! Polynomials that were drawn before, taken through the three exchanges: the Zcash Foundation's vectors, and those of
//! `vectors/threshold.json`, which another implementation wrote, Taproot's tweak and parities included.

use std::path::PathBuf;

use frost_core::keys::VerifiableSecretSharingCommitment;
use frost_core::keys::dkg::round1::{Package, SecretPackage};
use frost_core::{Field, Scalar, Signature};
use serde_json::Value;

use super::announcement::{Announcement, Shape};
use super::{Announced, Parcels, Plan};
use crate::arithmetic::decode;
use crate::group::identifier;
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
}
