//! Who asks: the connection's own identity, or a caller whose proof a reconstructor carries (PROTOCOL §6, Request).
//!
//! Pure. The carrier gives its session, to which shares are sealed; all else (name, groups, roles, the policy's
//! limits and principal, the log's caller) is the caller's; the agent's own rates and room are the carrier's. A reconstructor that carries has no say of its own.

use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::message::{Code, Evidence, Proof};

use crate::gate::{Refusal, Verb};
use crate::known::{Directory, Known};

/// Who asks for an opening of this request hash that came from `carrier`.
pub fn asker(
    verb: Verb,
    carrier: &Arc<Known>,
    evidence: &Evidence,
    request: &Id,
    directory: &Directory,
) -> Result<Arc<Known>, Refusal> {
    let Some(proof) = &evidence.proof else {
        return Ok(carrier.clone());
    };
    let malformed = |why: String| Err(Refusal::new(Code::Malformed, why));
    let refused = |why: String| Err(Refusal::new(Code::Refused, why));
    if verb != Verb::Contribute {
        return malformed(
            "a proof goes with contribute alone: ask for this without a carrier".into(),
        );
    }
    let proof = match Proof::decode(proof) {
        Ok(proof) => proof,
        Err(e) => return malformed(e.to_string()),
    };
    if !proof.hashes.contains(request) {
        return refused("the caller's proof is of other requests".into());
    }
    let id = proof.caller_id();
    let Some(caller) = directory.find(&id) else {
        let id = hex::encode(id);
        return refused(format!(
            "this agent does not know the caller of the proof, {id}"
        ));
    };
    if !proof.verifies() {
        return refused(format!(
            "the proof is not signed by its caller, {}",
            caller.name
        ));
    }
    Ok(caller.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_wire::{FileIdentity, Identity};
    use proptest::prelude::*;

    struct Scene {
        directory: Directory,
        service: Arc<Known>,
        caller: FileIdentity,
        stranger: FileIdentity,
        _folder: tempfile::TempDir,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str| FileIdentity::create(&folder.path().join(name)).unwrap();
        let (service, caller, stranger) = (identity("service"), identity("caller"), identity("x"));
        let line = |name: &str, id: Id, role: &str| {
            let id = hex::encode(id);
            format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = [\"{role}\"]\n")
        };
        let text = line("service", service.caller_id(), "reconstructor")
            + &line("ops", caller.caller_id(), "caller");
        let directory = Directory::parse(&text).unwrap();
        Scene {
            service: directory.find(&service.caller_id()).unwrap().clone(),
            directory,
            caller,
            stranger,
            _folder: folder,
        }
    }

    fn evidence(proof: Vec<u8>) -> Evidence {
        Evidence {
            proof: Some(proof),
            ..Evidence::default()
        }
    }

    impl Scene {
        fn ask(&self, proof: &Proof, request: &Id) -> Result<String, (Code, String)> {
            let evidence = evidence(proof.encode());
            let verb = Verb::Contribute;
            asker(verb, &self.service, &evidence, request, &self.directory)
                .map(|known| known.name.clone())
                .map_err(|refusal| (refusal.code, refusal.reason))
        }
    }

    #[test]
    fn whoever_signed_for_the_request_is_the_one_who_asks() {
        let scene = scene();
        let proof = Proof::sign(&scene.caller, vec![[1; 32], [2; 32]]).unwrap();
        for mine in [[1; 32], [2; 32]] {
            assert_eq!(scene.ask(&proof, &mine), Ok("ops".into()));
        }
        let alone = Evidence::default();
        let verb = Verb::Contribute;
        let itself = asker(verb, &scene.service, &alone, &[1; 32], &scene.directory).unwrap();
        assert_eq!(
            itself.name, "service",
            "without a proof the carrier asks for itself"
        );
    }

    #[test]
    fn a_proof_that_is_of_others_requests_or_of_a_stranger_or_forged_is_refused() {
        let scene = scene();
        let refused = |proof: &Proof, request: &Id, what: &str| {
            let (code, why) = scene.ask(proof, request).unwrap_err();
            assert!(code == Code::Refused && why.contains(what), "{what}: {why}");
        };
        let proof = Proof::sign(&scene.caller, vec![[1; 32]]).unwrap();
        refused(&proof, &[3; 32], "of other requests");
        let strangers = Proof::sign(&scene.stranger, vec![[1; 32]]).unwrap();
        refused(&strangers, &[1; 32], "does not know");
        let forged = Proof {
            caller: scene.caller.spki().to_vec(),
            ..strangers
        };
        refused(&forged, &[1; 32], "not signed by its caller");
        let longer = Proof {
            hashes: vec![[1; 32], [3; 32]],
            ..proof.clone()
        };
        refused(&longer, &[3; 32], "not signed by its caller");
        for verb in [Verb::Retire, Verb::Check, Verb::Seat] {
            let carried = evidence(proof.encode());
            let refusal = asker(verb, &scene.service, &carried, &[1; 32], &scene.directory);
            assert_eq!(refusal.err().map(|r| r.code), Some(Code::Malformed));
        }
    }

    static SCENE: std::sync::LazyLock<Scene> = std::sync::LazyLock::new(scene);

    proptest! {
        /// Whatever single bit of a proof is turned, and whatever is cut off or put behind it, it proves nothing.
        #[test]
        fn no_altered_proof_is_accepted(at: prop::sample::Index, bit in 0u8..8, more: bool) {
            let scene = &*SCENE;
            let good = Proof::sign(&scene.caller, vec![[1; 32], [2; 32]]).unwrap().encode();
            let judge = |bytes: Vec<u8>| {
                let (verb, evidence) = (Verb::Contribute, evidence(bytes));
                asker(verb, &scene.service, &evidence, &[2; 32], &scene.directory).is_ok()
            };
            prop_assert!(judge(good.clone()));
            let mut flipped = good.clone();
            flipped[at.index(good.len())] ^= 1 << bit;
            prop_assert!(!judge(flipped));
            let mut other = good.clone();
            if more { other.push(0) } else { other.truncate(at.index(good.len())) }
            prop_assert!(!judge(other));
        }
    }
}
