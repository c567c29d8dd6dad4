//! Shares that are never stored: a seat's share masked by its agent's element, and had back from there.
//!
//! For seat i of a token, with `y_i` the element's answer to `TH("mpc-contribution", token_id, u32(i))` and q the group's
//! order, `p_i = HKDF-Expand(y_i, "evanesce/v1/scalar/" ‖ suite, 64) mod q` (a big-endian number), and the row's correction
//! is `share_i − p_i mod q`.
//!
//! Whoever knows a share and its correction knows `p_i`; and an agent that made a correction for a share of somebody
//! else's choosing would say what masks the true one. So there is one way to a correction, [`Regen::correct`], and it takes
//! a [`Share`]: one that fits the vector which the token's id covers. And what comes back out of a row is compared with that
//! vector before it is anything. The element is asked from in here, for this token and seat and nothing else.

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::mpc::{self, Kind, formula};

use crate::arithmetic;
use crate::error::Error;
use crate::group::Group;
use crate::share::Share;
use crate::suite::Suite;

/// A token of the second kind whose commitment vector was judged.
pub struct Regen<'t, S: Suite> {
    body: &'t mpc::Body,
    group: Group<S>,
}

impl<'t, S: Suite> Regen<'t, S> {
    /// # Errors
    /// [`Error::Unfit`] for a token of another suite, one whose shares are kept, or one whose vector is none.
    pub fn new(body: &'t mpc::Body) -> Result<Regen<'t, S>, Error> {
        Self::in_group(body, judged(body)?)
    }

    /// The same, of a token whose group was judged before.
    ///
    /// # Errors
    /// [`Error::Unfit`] also for the group of another token.
    pub fn in_group(body: &'t mpc::Body, group: Group<S>) -> Result<Regen<'t, S>, Error> {
        check_group(body, &group, Kind::Regenerated)?;
        Ok(Regen { body, group })
    }

    /// The quorum's key.
    pub fn group(&self) -> &Group<S> {
        &self.group
    }

    /// The correction that lets this seat's share be regenerated: for the row, and public.
    ///
    /// `element` gets the 32 bytes to ask for the HMAC of, and where to put the answer: locked memory, wiped afterwards.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a share of another group; the element's own.
    pub fn correct<E: From<Error>>(
        &self,
        share: &Share<S>,
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<[u8; 32], E> {
        self.group.check_own(share)?;
        let y = self.ask(share.seat(), element)?;
        let mut correction = [0; 32];
        let made = on_crucible(|| {
            let share = arithmetic::decode::<S>(share.expose())?;
            arithmetic::encode::<S>(&(share - mask::<S>(&y)), &mut correction);
            Some(())
        });
        made.ok_or_else(|| Error::NotTheShare { seat: share.seat() })?;
        Ok(correction)
    }

    /// The share of `seat`, from its row's correction; `element` as in [`correct`](Self::correct).
    ///
    /// # Errors
    /// [`Error::NotTheShare`] where correction, root and token do not belong together; the element's own.
    pub fn regenerate<E: From<Error>>(
        &self,
        seat: u8,
        correction: &[u8; 32],
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Share<S>, E> {
        // no element need be asked for a correction that is no scalar, or a seat that is not there
        let correction = arithmetic::decode::<S>(correction).ok_or(Error::NotTheShare { seat })?;
        self.group.verifying_share(seat)?;
        let y = self.ask(seat, element)?;
        let mut scalar = Secret::zeroed().map_err(Error::from)?;
        on_crucible(|| {
            arithmetic::encode::<S>(&(correction + mask::<S>(&y)), scalar.expose_mut());
        });
        Ok(self.group.admit(seat, scalar)?)
    }

    fn ask<E: From<Error>>(
        &self,
        seat: u8,
        element: impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Secret<32>, E> {
        let mut y = Secret::zeroed().map_err(Error::from)?;
        let contribution = formula::contribution(Kind::Regenerated, &self.body.id, seat.into());
        element(&contribution, y.expose_mut())?;
        Ok(y)
    }
}

/// The group of a token of this suite.
pub(crate) fn judged<S: Suite>(body: &mpc::Body) -> Result<Group<S>, Error> {
    match body.header.suite.as_str() {
        suite if suite == S::NAME => Group::new(body.seats(), &body.vector),
        suite => Err(Error::Unfit(format!(
            "the token is of {suite}, not of {}",
            S::NAME
        ))),
    }
}

/// Refuses a group that is not this token's, and a token of another kind.
pub(crate) fn check_group<S: Suite>(
    body: &mpc::Body,
    group: &Group<S>,
    kind: Kind,
) -> Result<(), Error> {
    let header = &body.header;
    if header.suite != S::NAME || header.kind != kind {
        return Err(Error::Unfit(format!(
            "the token is of {} and kind {}, not of {} and kind {}",
            header.suite,
            header.kind.as_str(),
            S::NAME,
            kind.as_str()
        )));
    }
    match body.seats() == group.seats() && body.vector == group.vector() {
        true => Ok(()),
        false => Err(Error::Unfit("the group is another token's".into())),
    }
}

/// `p_i`. On the crucible.
fn mask<S: Suite>(y: &Secret<32>) -> frost_core::Scalar<S> {
    let mut wide = [0; 64];
    formula::wide_mask(y.expose(), S::NAME, &mut wide);
    arithmetic::reduce::<S>(&wide)
}
