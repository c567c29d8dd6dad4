//! What follows from a decision to sign: nonces drawn for the messages that were decided on, and then signatures' shares; or these at once.

use std::sync::Arc;

use evanesce_threshold::sign::{Nonces, Signing, commit};
use evanesce_threshold::{Group, Suite};
use evanesce_token::mpc;
use evanesce_wire::message::SeatRow;
use evanesce_wire::message::threshold::{Place, Signed};

use super::once::{Refill, sign};
use super::prepared::Kept;
use super::{Obstacle, with_suite};
use crate::regenerate::Hands;

/// Messages that an agent has decided to sign, and what came of it.
pub struct Errand {
    /// The token.
    pub body: Arc<mpc::Body>,
    /// The agent's row.
    pub row: SeatRow,
    /// Request hashes and messages.
    pub each: Vec<(Id, Vec<u8>)>,
    /// Where there is to be one round alone.
    at_once: Option<AtOnce>,
    done: Option<Result<Came, Obstacle>>,
}

/// What it takes to sign in one round.
pub struct AtOnce {
    /// Nonces that were prepared, one for each message.
    pub nonces: Vec<Kept>,
    /// The commitments of all who sign, for each message.
    pub commitments: Vec<Vec<Place>>,
    /// Where new ones go.
    pub refill: Refill,
}

/// What came of an errand.
pub enum Came {
    /// Nonces were drawn.
    Committed(Committed),
    /// All was signed.
    Signed(Signed),
}

type Id = [u8; 32];

/// Commitments, and what can sign under them, once.
pub struct Committed {
    /// Two points for each message.
    pub points: Vec<Vec<u8>>,
    /// The nonces.
    pub signer: Box<dyn Signer>,
}

/// Nonces for certain messages. They sign once: whatever comes of it, they are gone.
pub trait Signer: Send {
    /// The shares of the signatures, one a message, from the commitments of all who sign.
    fn sign(
        self: Box<Self>,
        hands: &Hands,
        commitments: &[Vec<Place>],
    ) -> Result<Vec<[u8; 32]>, Obstacle>;
}

impl Errand {
    /// Not done yet.
    pub fn new(
        body: Arc<mpc::Body>,
        row: SeatRow,
        each: Vec<(Id, Vec<u8>)>,
        at_once: Option<AtOnce>,
    ) -> Self {
        Self {
            body,
            row,
            each,
            at_once,
            done: None,
        }
    }

    /// Does it. Not on the crucible: what is secret goes there by itself.
    pub fn run(&mut self, hands: &Hands) {
        let suite = self.body.header.suite.as_str();
        let done = match self.at_once.take() {
            None => with_suite!(suite, draw(hands, self)).map(Came::Committed),
            Some(at_once) => {
                let Self {
                    body, row, each, ..
                } = &*self;
                with_suite!(suite, sign(hands, body, row, each, at_once)).map(Came::Signed)
            }
        };
        self.done = Some(done);
    }

    /// Whether the agent had its share.
    pub fn is_done(&self) -> bool {
        matches!(self.done, Some(Ok(_)))
    }

    /// What came of it.
    pub fn outcome(self) -> Result<Came, Obstacle> {
        let unfinished = || Obstacle::refused("the agent did not finish");
        self.done.unwrap_or_else(|| Err(unfinished()))
    }
}

fn draw<S: Suite>(hands: &Hands, errand: &Errand) -> Result<Committed, Obstacle> {
    let Errand {
        body, row, each, ..
    } = errand;
    let share = hands.have::<S>(body, row)?;
    let (mut points, mut nonces) = (Vec::new(), Vec::new());
    for (request, message) in each {
        let (drawn, commitments) = commit(&share, request, message)?;
        points.push(commitments);
        nonces.push(drawn);
    }
    let signer = Drawn {
        body: body.clone(),
        row: row.clone(),
        each: each.clone(),
        nonces,
    };
    Ok(Committed {
        points,
        signer: Box::new(signer),
    })
}

struct Drawn<S: Suite> {
    body: Arc<mpc::Body>,
    row: SeatRow,
    each: Vec<(Id, Vec<u8>)>,
    nonces: Vec<Nonces<S>>,
}

impl<S: Suite> Signer for Drawn<S> {
    fn sign(
        self: Box<Self>,
        hands: &Hands,
        commitments: &[Vec<Place>],
    ) -> Result<Vec<[u8; 32]>, Obstacle> {
        let Drawn {
            body,
            row,
            each,
            nonces,
        } = *self;
        let group = Group::<S>::new(body.seats(), &body.vector)?;
        let signings = signings(&group, &each, commitments)?;
        let share = hands.have::<S>(&body, &row)?;
        let all = nonces.into_iter().zip(&signings).zip(&each);
        let signed =
            all.map(|((nonces, signing), (request, _))| Ok(nonces.sign(signing, &share, request)?));
        signed.collect()
    }
}

/// Who signs each message with which commitments.
pub fn signings<S: Suite>(
    group: &Group<S>,
    each: &[(Id, Vec<u8>)],
    commitments: &[Vec<Place>],
) -> Result<Vec<Signing<S>>, Obstacle> {
    if commitments.len() != each.len() {
        let why = format!(
            "commitments to {} signatures of {}",
            commitments.len(),
            each.len()
        );
        return Err(Obstacle::refused(why));
    }
    let both = each.iter().zip(commitments);
    let signing = both.map(|((_, message), places)| {
        let places: Vec<_> = places
            .iter()
            .map(|place| (place.seat as u8, &place.points))
            .collect();
        Ok(Signing::new(group, message, &places)?)
    });
    signing.collect()
}
