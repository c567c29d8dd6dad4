//! Nonces that are drawn before anyone asks, so that signing takes one round (RFC 9591 §5: the first round may be done beforehand, since
//! the binding factor of every signature covers its message and all commitments that are signed under).
//!
//! They save a round trip and cost a danger: whoever brings an earlier state of this memory back, as a snapshot of a virtual machine
//! does, has nonces that have already signed, and a second signature gives the share away. So they lie in locked memory alone, which a
//! forked child has none of, until they are decided on or the process ends; whoever keeps them keeps few, for a short time, and only
//! where someone has said that no such snapshot can be.

use super::Nonces;
use super::nonces::Drawn;
use crate::error::Error;
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;

/// One seat's nonces for one signature that nothing has been decided about yet; wiped when dropped. They are decided on once:
/// ```compile_fail,E0382
/// # use evanesce_threshold::{Suite, sign::Prepared};
/// fn twice<S: Suite>(nonces: Prepared<S>) {
///     let _ = nonces.decided(&[0; 32], b"one");
///     let _ = nonces.decided(&[0; 32], b"other");
/// }
/// ```
pub struct Prepared<S: Suite>(Drawn<S>);

impl<S: Suite> Prepared<S> {
    /// Draws them. The bytes are the commitments to them, which name them: two points.
    ///
    /// Do not call this where a snapshot of the machine, memory included, may be taken and restored: that gives shares away.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn where_no_snapshot_is_restored(
        share: &Share<S>,
    ) -> Result<(Prepared<S>, Vec<u8>), Error> {
        let (drawn, commitments) = Drawn::new(share, &mut Kernel)?;
        Ok((Prepared(drawn), commitments))
    }

    /// From here on they are for this request (its hash, or what else names it for good) and this message, and no other.
    pub fn decided(self, request: &[u8; 32], message: &[u8]) -> Nonces<S> {
        self.0.bound(request, message)
    }
}
