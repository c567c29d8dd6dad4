//! A seat's two nonces of one signature: used once, for what they were made for.

use std::marker::PhantomData;

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::hash::th;
use frost_core::keys::SigningShare;
use frost_core::round1::{Nonce, SigningNonces, commit as frost_commit};
use frost_core::round2::sign as frost_sign;
use frost_ed25519::rand_core::{CryptoRng, RngCore};

use super::{Signing, write_commitments};
use crate::error::Error;
use crate::group::identifier;
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;

/// The nonces of one seat for one request and message; wiped when dropped. They sign once:
/// ```compile_fail,E0382
/// # use evanesce_threshold::{Share, Suite, sign::{Nonces, Signing}};
/// fn twice<S: Suite>(nonces: Nonces<S>, one: &Signing<S>, other: &Signing<S>, share: &Share<S>) {
///     let _ = nonces.sign(one, share, &[0; 32]);
///     let _ = nonces.sign(other, share, &[0; 32]);
/// }
/// ```
/// and cannot be printed, nor copied:
/// ```compile_fail,E0277
/// # use evanesce_threshold::{Suite, sign::Nonces};
/// fn print<S: Suite>(nonces: &Nonces<S>) {
///     println!("{nonces:?}");
/// }
/// ```
/// ```compile_fail,E0599
/// # use evanesce_threshold::{Ed25519, sign::Nonces};
/// fn copy(nonces: &Nonces<Ed25519>) -> Nonces<Ed25519> {
///     nonces.clone()
/// }
/// ```
pub struct Nonces<S: Suite> {
    drawn: Drawn<S>,
    occasion: [u8; 32],
}

/// Draws nonces for one request (its hash, or what else names it for good) and one message. The bytes are the commitments to them, for
/// the coordinator: two points.
///
/// They are random, and the share is hashed with them (RFC 9591 §4.1), so that even a weak source of randomness would not repeat one.
pub fn commit<S: Suite>(
    share: &Share<S>,
    request: &[u8; 32],
    message: &[u8],
) -> Result<(Nonces<S>, Vec<u8>), Error> {
    let (drawn, commitments) = Drawn::new(share, &mut Kernel)?;
    Ok((drawn.bound(request, message), commitments))
}

impl<S: Suite> Nonces<S> {
    /// This seat's share of the signature, 32 bytes. Whatever comes of it, the nonces are gone.
    ///
    /// # Errors
    /// [`Error::Unfit`] for another request, message, seat or key than the nonces were made for, and where the commitments among
    /// those that sign are not this seat's own.
    pub fn sign(
        self,
        signing: &Signing<S>,
        share: &Share<S>,
        request: &[u8; 32],
    ) -> Result<[u8; 32], Error> {
        let Nonces { drawn, occasion } = self;
        if occasion != self::occasion(request, signing.message()) {
            return Err(Error::Unfit(
                "the nonces were made for another request or message".into(),
            ));
        }
        drawn.sign(signing, share)
    }
}

/// Nonces that nothing has been decided about yet.
pub(super) struct Drawn<S: Suite> {
    seat: u8,
    group: [u8; 32],
    /// The hiding one and the binding one, encoded.
    nonces: Secret<64>,
    suite: PhantomData<S>,
}

impl<S: Suite> Drawn<S> {
    pub(super) fn new(
        share: &Share<S>,
        rng: &mut (impl RngCore + CryptoRng + Send),
    ) -> Result<(Drawn<S>, Vec<u8>), Error> {
        let mut nonces = Secret::zeroed()?;
        let commitments = on_crucible(|| {
            let share = SigningShare::<S>::deserialize(share.expose()).ok()?;
            let (drawn, commitments) = frost_commit(&share, rng);
            let (hiding, binding) = nonces.expose_mut().split_at_mut(32);
            hiding.copy_from_slice(&drawn.hiding().serialize());
            binding.copy_from_slice(&drawn.binding().serialize());
            write_commitments(&commitments)
        });
        let commitments = commitments.ok_or_else(|| Error::Unfit("a nonce of 0".into()))?;
        let drawn = Drawn {
            seat: share.seat(),
            group: share.group,
            nonces,
            suite: PhantomData,
        };
        Ok((drawn, commitments))
    }

    pub(super) fn bound(self, request: &[u8; 32], message: &[u8]) -> Nonces<S> {
        Nonces {
            drawn: self,
            occasion: occasion(request, message),
        }
    }

    fn sign(self, signing: &Signing<S>, share: &Share<S>) -> Result<[u8; 32], Error> {
        let group = &signing.group;
        group.check_own(share)?;
        if self.group != share.group || self.seat != share.seat() {
            return Err(Error::Unfit(
                "the nonces are of another seat, or another quorum's key".into(),
            ));
        }
        let own = identifier::<S>(self.seat);
        let mut signed = [0; 32];
        let done = on_crucible(|| self.sign_inside(signing, share, &mut signed));
        match done {
            Some(()) => Ok(signed),
            None if signing.commitments_of(&own).is_none() => {
                Err(Error::Unfit(format!("seat {} does not sign", self.seat)))
            }
            None => Err(Error::Unfit(
                "the commitments in this seat's name are not its own".into(),
            )),
        }
    }

    fn sign_inside(
        &self,
        signing: &Signing<S>,
        share: &Share<S>,
        out: &mut [u8; 32],
    ) -> Option<()> {
        let (hiding, binding) = self.nonces.expose().split_at(32);
        let nonces = SigningNonces::from_nonces(
            Nonce::deserialize(hiding).ok()?,
            Nonce::deserialize(binding).ok()?,
        );
        let package = signing.group.key_package(share)?;
        let signed = frost_sign(&signing.package, &nonces, &package).ok()?;
        out.copy_from_slice(&signed.serialize());
        Some(())
    }
}

/// What nonces are bound to.
fn occasion(request: &[u8; 32], message: &[u8]) -> [u8; 32] {
    th("mpc-occasion", &[request, message])
}
