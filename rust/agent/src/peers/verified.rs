//! What was verified of what peers show, so that the same shown again, as by agents at rest, costs no signature. A head is
//! what it is whoever shows it: peers show this agent what it has told them, and each other's keys do not change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evanesce_token::formula;
use evanesce_wire::merkle::Hash;
use evanesce_wire::message::Head;
use evanesce_wire::{Id, WireError, note, verify_statement};

/// Most heads remembered of what one peer shows: its own newest, and of this agent's logs the highest that it has seen.
const HEADS: usize = 10;

/// A head, the key of the agent that it is of, and what it comes to.
type Good = (Vec<u8>, Head, (u64, Hash));

#[derive(Default)]
struct Shown {
    heads: Vec<Good>,
    /// A statement and the peer's signature over it.
    signed: Option<([u8; 32], Vec<u8>)>,
}

/// The newest of it, by who has shown it.
#[derive(Default)]
pub struct Verified(Mutex<HashMap<Id, Shown>>);

impl Verified {
    fn shown(&self) -> MutexGuard<'_, HashMap<Id, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What such a head of the agent with that key comes to, if it was verified, and whether its log's key was endorsed.
    fn known(&self, head: &Head, spki: &[u8]) -> (Option<(u64, Hash)>, bool) {
        let shown = self.shown();
        let heads = shown.values().flat_map(|shown| &shown.heads);
        let mut endorsed = false;
        for (_, known, good) in heads.filter(|(of, ..)| of == spki) {
            if known == head {
                return (Some(*good), true);
            }
            endorsed |= known.log_key == head.log_key && known.endorsement == head.endorsement;
        }
        (None, endorsed)
    }

    fn remember(&self, by: &Id, head: &Head, spki: &[u8], good: (u64, Hash)) {
        let mut shown = self.shown();
        let heads = &mut shown.entry(*by).or_default().heads;
        heads.push((spki.to_vec(), head.clone(), good));
        if heads.len() > HEADS {
            heads.remove(0);
        }
    }

    /// As [`Head::verify`], of a head that `peer` shows. A log's key is endorsed once.
    pub fn head(&self, peer: &Id, head: &Head, spki: &[u8]) -> Result<(u64, Hash), WireError> {
        let good = match self.known(head, spki) {
            (Some(good), _) => return Ok(good),
            (None, true) => {
                note::verify(&head.checkpoint, &formula::agent_id(spki), &head.log_key)?
            }
            (None, false) => head.verify(spki)?,
        };
        self.remember(peer, head, spki, good);
        Ok(good)
    }

    /// A head of this agent's own log, signed by itself, which peers will show it: `me` has the key `spki`.
    pub fn own(&self, me: &Id, head: &Head, spki: &[u8], good: (u64, Hash)) {
        if self.known(head, spki).0.is_none() {
            self.remember(me, head, spki, good);
        }
    }

    /// Whether that is the signature over the statement of `peer`, whose key is `spki`.
    pub fn signature(
        &self,
        peer: &Id,
        spki: &[u8],
        statement: &[u8; 32],
        signature: &[u8],
    ) -> bool {
        let known = |shown: &Shown| {
            let signed = shown.signed.as_ref();
            signed.is_some_and(|(of, by)| of == statement && by == signature)
        };
        if self.shown().get(peer).is_some_and(known) {
            return true;
        }
        let good = verify_statement(spki, statement, signature);
        if good {
            let signed = (*statement, signature.to_vec());
            self.shown().entry(*peer).or_default().signed = Some(signed);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_wire::message::log_key_statement;
    use evanesce_wire::{FileIdentity, Identity};

    fn head(agent: &FileIdentity, log: &FileIdentity, size: u64) -> Head {
        let (me, origin) = (agent.agent_id(), note::origin(&agent.agent_id()));
        let log_key = *log.spki().last_chunk().unwrap();
        let body = note::body(&origin, size, &[size as u8; 32]);
        let signature = log.sign(body.as_bytes()).unwrap().try_into().unwrap();
        Head {
            log_key,
            checkpoint: note::sign_with(&body, &origin, &log_key, &signature),
            endorsement: agent.sign(&log_key_statement(&me, &log_key)).unwrap(),
        }
    }

    #[test]
    fn what_was_verified_is_known_whoever_shows_it_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str| FileIdentity::create(&folder.path().join(name)).unwrap();
        let (agent, other, log) = (key("agent"), key("other"), key("log"));
        let verified = Verified::default();
        let first = head(&agent, &log, 3);
        let good = Some((3, [3; 32]));
        assert_eq!(verified.head(&[1; 32], &first, agent.spki()).ok(), good);
        assert_eq!(verified.known(&first, agent.spki()), (good, true));
        assert_eq!(verified.head(&[2; 32], &first, agent.spki()).ok(), good);
        // Nothing of it speaks for another agent, or for another head.
        assert_eq!(verified.known(&first, other.spki()), (None, false));
        assert!(verified.head(&[2; 32], &first, other.spki()).is_err());
        let mut forged = first.clone();
        forged.checkpoint = forged.checkpoint.replace("\n3\n", "\n4\n");
        assert!(verified.head(&[1; 32], &forged, agent.spki()).is_err());
        let mut forged = head(&agent, &log, 4);
        forged.endorsement[0] ^= 1;
        assert!(verified.head(&[1; 32], &forged, agent.spki()).is_err());
        // One that the agent has told others it knows without a signature; the next one it does not.
        let told = head(&other, &log, 5);
        verified.own(&other.agent_id(), &told, other.spki(), (5, [5; 32]));
        assert!(verified.known(&told, other.spki()).0.is_some());
        let next = head(&other, &log, 6);
        assert_eq!(verified.known(&next, other.spki()), (None, true));
        assert!(verified.head(&[1; 32], &next, other.spki()).is_ok());
    }
}
