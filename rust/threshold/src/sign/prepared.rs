//! Nonces that are drawn before anyone asks, so that signing takes one round.
//!
//! They save a round trip and cost a danger: whoever brings an earlier state of this memory back, as a snapshot of a virtual machine
//! does, has nonces that have already signed, and a second signature gives the share away. So they are kept in memory
//! alone, a few, each until it is taken or the process ends (a forked child has none); and only where someone has said that no such snapshot
//! can be.

use std::collections::BTreeMap;

use super::Nonces;
use super::nonces::Drawn;
use crate::error::Error;
use crate::group::Group;
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;

/// Most nonces that are kept for one seat of one key.
pub const PREPARED: usize = 1024;

/// One seat's prepared nonces, by the commitments to them.
pub struct Prepared<S: Suite> {
    group: Group<S>,
    most: usize,
    kept: BTreeMap<Vec<u8>, Drawn<S>>,
}

impl<S: Suite> Prepared<S> {
    /// None yet, and never more than `most`, which is cut to [`PREPARED`].
    ///
    /// Do not call this where a snapshot of the machine, memory included, may be taken and restored: that gives shares away.
    pub fn where_no_snapshot_is_restored(group: &Group<S>, most: usize) -> Prepared<S> {
        Prepared {
            group: group.clone(),
            most: most.min(PREPARED),
            kept: BTreeMap::new(),
        }
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.kept.len()
    }

    /// Draws up to `count` more, as far as there is room. The bytes are commitments, each for one signature.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a share of another key; [`Error::Memory`], then nothing was drawn that is not returned by a later call.
    pub fn prepare(&mut self, share: &Share<S>, count: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.group.check_own(share)?;
        let room = self.most - self.kept.len();
        let mut drawn = Vec::new();
        for _ in 0..count.min(room) {
            drawn.push(Drawn::new(share, &mut Kernel)?);
        }
        let mut all = Vec::with_capacity(drawn.len());
        for (nonces, commitments) in drawn {
            all.push(commitments.clone());
            self.kept.insert(commitments, nonces);
        }
        Ok(all)
    }

    /// Takes out the nonces behind these commitments, for this request and message and no other. They are not here any more.
    pub fn take(
        &mut self,
        commitments: &[u8],
        request: &[u8; 32],
        message: &[u8],
    ) -> Option<Nonces<S>> {
        let drawn = self.kept.remove(commitments)?;
        Some(drawn.bound(request, message))
    }
}
