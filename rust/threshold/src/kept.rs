//! Shares that their holders keep (kind `mpc`): sealed under the holder's element, and taken for a share again only if they fit.
//!
//! For seat i of a token, with `y_i` the element's answer to `TH("mpc-share", token_id, u32(i))`, the share is sealed with
//! AES-256-GCM under `HKDF-Expand(y_i, "evanesce/v1/mpc-share/" ‖ suite, 32)` and a random nonce, with the additional data
//! `TH("mpc-share-kept", token_id, u32(i), u64(epoch))`. What is at rest is of no use without the element. Labels of their own keep
//! an answer that seals one share from ever masking another, and the other way round.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use evanesce_secret::{Secret, on_crucible};
use evanesce_token::mpc::{self, Kind, formula};

use crate::error::Error;
use crate::group::Group;
use crate::regen::{check_group, judged};
use crate::share::Share;
use crate::suite::Suite;

/// A token whose shares are kept, and whose commitment vector was judged.
pub struct Kept<'t, S: Suite> {
    body: &'t mpc::Body,
    group: Group<S>,
}

/// A share at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedShare {
    /// Random.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub sealed: [u8; 48],
}

impl<'t, S: Suite> Kept<'t, S> {
    /// # Errors
    /// [`Error::Unfit`] for a token of another suite, one whose shares are not kept, or one whose vector is none.
    pub fn new(body: &'t mpc::Body) -> Result<Kept<'t, S>, Error> {
        Self::in_group(body, judged(body)?)
    }

    /// The same, of a token whose group was judged before.
    ///
    /// # Errors
    /// [`Error::Unfit`] also for the group of another token.
    pub fn in_group(body: &'t mpc::Body, group: Group<S>) -> Result<Kept<'t, S>, Error> {
        check_group(body, &group, Kind::Kept)?;
        Ok(Kept { body, group })
    }

    /// The quorum's key.
    pub fn group(&self) -> &Group<S> {
        &self.group
    }

    /// Seals a share under the element's root of `epoch`; `element` as in [`Regen::correct`](crate::Regen::correct).
    ///
    /// # Errors
    /// [`Error::Unfit`] for a share of another group; the element's own.
    pub fn seal<E: From<Error>>(
        &self,
        share: &Share<S>,
        epoch: u64,
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<SealedShare, E> {
        self.group.check_own(share)?;
        let y = self.ask(share.seat(), element)?;
        let aad = formula::keeping_aad(&self.body.id, share.seat().into(), epoch);
        let (mut nonce, mut sealed) = ([0; 12], [0; 48]);
        evanesce_secret::random(&mut nonce);
        let done = on_crucible(|| {
            let key = key::<S>(&y)?;
            // a copy for the cipher to work on: what leaves is sealed
            let mut data = [0; 32];
            data.copy_from_slice(share.expose());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut data);
            sealed[32..].copy_from_slice(tag.ok()?.as_ref());
            sealed[..32].copy_from_slice(&data);
            Some(())
        });
        done.ok_or_else(|| Error::Unfit("the share could not be sealed".into()))?;
        Ok(SealedShare { nonce, sealed })
    }

    /// The share of `seat`, as it was sealed under the root of `epoch`.
    ///
    /// # Errors
    /// [`Error::NotTheShare`] where what is kept, root and token do not belong together; the element's own.
    pub fn open<E: From<Error>>(
        &self,
        seat: u8,
        epoch: u64,
        kept: &SealedShare,
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Share<S>, E> {
        self.group.verifying_share(seat)?;
        let y = self.ask(seat, element)?;
        let aad = formula::keeping_aad(&self.body.id, seat.into(), epoch);
        let mut scalar = Secret::zeroed().map_err(Error::from)?;
        let done = on_crucible(|| {
            let key = key::<S>(&y)?;
            let mut data = kept.sealed;
            let nonce = Nonce::assume_unique_for_key(kept.nonce);
            let plain = key.open_in_place(nonce, Aad::from(aad), &mut data).ok()?;
            scalar.expose_mut().copy_from_slice(plain);
            Some(())
        });
        done.ok_or(Error::NotTheShare { seat })?;
        Ok(self.group.admit(seat, scalar)?)
    }

    fn ask<E: From<Error>>(
        &self,
        seat: u8,
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Secret<32>, E> {
        let mut y = Secret::zeroed().map_err(Error::from)?;
        let contribution = formula::contribution(Kind::Kept, &self.body.id, seat.into());
        element(&contribution, y.expose_mut())?;
        Ok(y)
    }
}

/// On the crucible.
fn key<S: Suite>(y: &Secret<32>) -> Option<LessSafeKey> {
    let mut key = [0; 32];
    formula::keeping_key(y.expose(), S::NAME, &mut key);
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?))
}
