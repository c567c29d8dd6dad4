//! What was verified of what peers show, so that the same shown again, as by agents at rest, costs no signature.

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

    /// As [`Head::verify`], of a head that `peer` shows. A log's key is endorsed once.
    pub fn head(&self, peer: &Id, head: &Head, spki: &[u8]) -> Result<(u64, Hash), WireError> {
        let mut endorsed = false;
        if let Some(shown) = self.shown().get(peer) {
            for (_, known, good) in shown.heads.iter().filter(|(of, ..)| of == spki) {
                if known == head {
                    return Ok(*good);
                }
                endorsed |= known.log_key == head.log_key && known.endorsement == head.endorsement;
            }
        }
        let good = match endorsed {
            true => note::verify(&head.checkpoint, &formula::agent_id(spki), &head.log_key)?,
            false => head.verify(spki)?,
        };
        let mut shown = self.shown();
        let heads = &mut shown.entry(*peer).or_default().heads;
        heads.push((spki.to_vec(), head.clone(), good));
        if heads.len() > HEADS {
            heads.remove(0);
        }
        Ok(good)
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
