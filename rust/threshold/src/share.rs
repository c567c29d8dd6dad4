//! One seat's share of a key that nobody has.

use std::marker::PhantomData;

use evanesce_secret::Secret;

use crate::suite::Suite;

/// A share that fits its group: `share · G` was computed and compared. There is no other way to get one, so that what
/// takes one need not check again.
pub struct Share<S: Suite> {
    seat: u8,
    /// The group's fingerprint.
    pub(crate) group: [u8; 32],
    /// The scalar, in its suite's encoding.
    scalar: Secret<32>,
    suite: PhantomData<S>,
}

impl<S: Suite> Share<S> {
    pub(crate) fn checked(seat: u8, group: [u8; 32], scalar: Secret<32>) -> Share<S> {
        let suite = PhantomData;
        Share {
            seat,
            group,
            scalar,
            suite,
        }
    }

    /// Whose it is, from 0.
    pub fn seat(&self) -> u8 {
        self.seat
    }

    /// The scalar, for this crate to add up.
    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.scalar
    }

    /// The scalar in its suite's encoding, for who keeps shares (and seals them); on the crucible, and nowhere else.
    pub fn expose(&self) -> &[u8; 32] {
        self.scalar.expose()
    }
}
