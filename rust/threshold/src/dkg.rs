//! Making a key that nobody ever has: distributed key generation, without a dealer.
//!
//! This is Pedersen's, with proofs of possession, as the FROST paper has it, over a broadcast that is checked. Every agent
//! deals a polynomial of its own to all; the key is the sum of what was dealt. Three exchanges, each a type, so that none
//! can be left out:
//!
//! 1. [`begin`]: every agent draws its polynomial and **announces** its commitments and a proof that it knows the constant.
//!    The announcements of all go to [`Announced::hear`].
//! 2. Every agent tells every other what it heard ([`Heard::digests`]), and signs [`Heard::transcript`]. Only where all
//!    heard the same ([`Heard::compare`]) are there shares to send: who announced different things to different agents has
//!    learned nothing, and is named.
//! 3. Each share goes to its seat alone, sealed by the caller; [`Agreed::finish`] checks them against what their senders
//!    announced, and gives the group and this seat's share of it.
//!
//! Callers must know who sent what: seats are told apart by the order of what is given here. A proof of possession names the
//! seat but not the ceremony; the transcript, which all sign, ties it to this one.
//!
//! A [`refresh`] goes the same way: what is dealt then has a constant of 0, and is added to the shares that there are. So does a
//! [`reshare`], in which some deal their part of the key, and what is dealt are the shares of another quorum.
//!
//! A member who speaks last can choose among keys (every such protocol permits that much); it cannot make one that it
//! knows, nor, of [`Taproot`](crate::Taproot), one with a script hidden in it.

mod announcement;
mod finish;
mod refresh;
mod reshare;
#[cfg(test)]
mod vectors;

use std::collections::BTreeMap;

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::cbor::Writer;
use evanesce_token::hash::th;
use evanesce_token::mpc;
use frost_core::Identifier;
use frost_core::keys::dkg;
use frost_core::keys::refresh::refresh_dkg_part2;

use crate::error::{Culprit, Error, Wrong};
use crate::group::{Group, check_size, identifier};
use crate::random::Kernel;
use crate::suite::Suite;
use announcement::{Announcement, Shape};
pub use finish::Made;
pub(crate) use finish::element;
pub use refresh::refresh;
pub use reshare::{Givers, reshare};

/// Who makes a key with whom, and under which header.
#[derive(Clone)]
pub struct Plan {
    header: Vec<u8>,
    t: usize,
    agents: Vec<[u8; 32]>,
    seat: u8,
}

impl Plan {
    /// A plan for the agent at `seat` (from 0) of a flat quorum, `t` of `agents`; the header is signed with the rest.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a quorum that cannot be, an agent that sits twice, or no such seat.
    pub fn new(header: &[u8], t: usize, agents: &[[u8; 32]], seat: u8) -> Result<Plan, Error> {
        check_size(t, agents.len())?;
        for (i, agent) in agents.iter().enumerate() {
            if let Some(first) = agents[..i].iter().position(|other| other == agent) {
                return Err(Error::Unfit(format!(
                    "one agent has seats {first} and {i}: it would count twice"
                )));
            }
        }
        if usize::from(seat) >= agents.len() {
            let seats = agents.len();
            return Err(Error::Unfit(format!("no seat {seat} among {seats}")));
        }
        Ok(Plan {
            header: header.to_vec(),
            t,
            agents: agents.to_vec(),
            seat,
        })
    }

    /// The plan of a token of the second kind, which is to have this header; `agents` by its seats.
    ///
    /// # Errors
    /// [`Error::Unfit`], also for a header that no decoder would take, or agents that are not one for each seat.
    pub fn of(header: &mpc::Header, agents: &[[u8; 32]], seat: u8) -> Result<Plan, Error> {
        header.validate().map_err(|error| Error::Unfit(error.0))?;
        let (is, seats) = (agents.len(), header.quorum.of.len());
        if is != seats {
            return Err(Error::Unfit(format!("{is} agents for {seats} seats")));
        }
        Plan::new(&header.encode(), header.quorum.t, agents, seat)
    }

    /// `TH("mpc-transcript", header, CBOR(agent ids), CBOR(commitment vectors), CBOR(proofs))`; in a refresh, under the label
    /// `mpc-refresh-transcript`, with the vector that is refreshed for the proofs; in a reshare, under `mpc-reshare-transcript`, with
    /// that vector, and who gives: `CBOR([[new seat, old seat]…])`.
    fn transcript<S: Suite>(&self, heard: &[Announcement<S>], base: Option<&Base<S>>) -> [u8; 32] {
        let mut agents = Writer::new();
        agents.array(self.agents.len());
        let mut vectors = Writer::new();
        vectors.array(heard.len());
        let mut last = Writer::new();
        last.array(base.map_or(heard.len(), |base| base.group.t()));
        for (agent, announcement) in self.agents.iter().zip(heard) {
            agents.bytes(agent);
            vectors.array(announcement.vector.len());
            for point in &announcement.vector {
                vectors.bytes(point);
            }
            if let Some(proof) = &announcement.proof {
                last.bytes(proof);
            }
        }
        for point in base.iter().flat_map(|base| base.group.vector()) {
            last.bytes(point);
        }
        let [agents, vectors, last] = [agents, vectors, last].map(Writer::into_bytes);
        let parts: [&[u8]; 4] = [&self.header, &agents, &vectors, &last];
        match base.map(|base| &base.givers) {
            None => th("mpc-transcript", &parts),
            Some(None) => th("mpc-refresh-transcript", &parts),
            Some(Some(givers)) => {
                let givers = reshare::written_out(givers);
                th(
                    "mpc-reshare-transcript",
                    &[parts[0], parts[1], parts[2], parts[3], &givers],
                )
            }
        }
    }

    /// Every seat but this one.
    fn others(&self) -> impl Iterator<Item = u8> {
        let own = self.seat;
        (0..self.agents.len() as u8).filter(move |seat| *seat != own)
    }

    /// Refuses anything but one item of each seat.
    fn check_count(&self, what: &str, count: usize) -> Result<(), Error> {
        match self.agents.len() {
            seats if seats == count => Ok(()),
            seats => Err(Error::Unfit(format!("{count} {what} of {seats} seats"))),
        }
    }
}

/// Secrets, each with the seat that it goes to or came from.
pub type Parcels = Vec<(u8, Secret<32>)>;

/// Draws this agent's polynomial. The bytes are its announcement, for every other agent.
pub fn begin<S: Suite>(plan: Plan) -> Result<(Announced<S>, Vec<u8>), Error> {
    let (t, seats) = (plan.t as u16, plan.agents.len() as u16);
    let own = identifier::<S>(plan.seat);
    // boxed on the crucible: what is drawn there stays in its memory
    let drawn = on_crucible(|| {
        dkg::part1(own, seats, t, &mut Kernel)
            .ok()
            .map(|(secret, package)| Box::new((secret, package)))
    });
    let drawn = drawn.ok_or_else(|| Error::Unfit("no polynomial could be drawn".into()))?;
    Announced::with(plan, drawn, None)
}

type Drawn<S> = (dkg::round1::SecretPackage<S>, dkg::round1::Package<S>);

/// The key that there is already, where its shares are renewed.
struct Base<S: Suite> {
    group: Group<S>,
    /// Who deals a part of it, where another quorum is to have it.
    givers: Option<Givers>,
}

/// After the first exchange was begun: this agent has announced.
pub struct Announced<S: Suite> {
    plan: Plan,
    base: Option<Base<S>>,
    drawn: Box<Drawn<S>>,
    announcement: Vec<u8>,
}

impl<S: Suite> Announced<S> {
    fn with(
        plan: Plan,
        drawn: Box<Drawn<S>>,
        base: Option<Base<S>>,
    ) -> Result<(Announced<S>, Vec<u8>), Error> {
        let announcement = Announcement::of(&drawn.1, base.is_some())?.encode();
        let announced = Announced {
            plan,
            base,
            drawn,
            announcement: announcement.clone(),
        };
        Ok((announced, announcement))
    }

    /// Takes the announcements of all seats, in their order, this one's own among them.
    ///
    /// # Errors
    /// [`Error::Culprits`]: whose cannot be read, or whose proof of possession is wrong.
    pub fn hear<B: AsRef<[u8]>>(self, announcements: &[B]) -> Result<Heard<S>, Error> {
        let Announced {
            plan,
            base,
            drawn,
            announcement,
        } = self;
        plan.check_count("announcements", announcements.len())?;
        if announcements[usize::from(plan.seat)].as_ref() != announcement {
            return Err(Error::Unfit("this seat's announcement is another's".into()));
        }
        let t = plan.t;
        let shape = match base {
            None => Shape::Fresh { t },
            Some(_) => Shape::Refresh { t, any: &drawn.1 },
        };
        let mut culprits = Vec::new();
        let mut heard = Vec::with_capacity(announcements.len());
        for (seat, bytes) in (0..).zip(announcements) {
            match Announcement::<S>::decode(bytes.as_ref(), shape) {
                Ok(announcement) => heard.push(announcement),
                Err(what) => culprits.push(Culprit {
                    seat,
                    wrong: Wrong::Malformed(what.0),
                }),
            }
        }
        if !culprits.is_empty() {
            return Err(Error::Culprits(culprits));
        }
        let digests = announcements
            .iter()
            .map(|bytes| th("mpc-announcement", &[bytes.as_ref()]));
        let digests = digests.collect();
        let packages: BTreeMap<_, _> = plan
            .others()
            .map(|seat| {
                let package = heard[usize::from(seat)].package.clone();
                (identifier::<S>(seat), package)
            })
            .collect();
        let dealt = deal(&plan, drawn, &packages, base.is_some())?;
        Ok(Heard {
            transcript: plan.transcript(&heard, base.as_ref()),
            plan,
            base,
            packages,
            heard,
            digests,
            dealt,
        })
    }
}

/// What was dealt: this seat's own part, and one share for every other seat.
struct Dealt<S: Suite> {
    kept: Box<dkg::round2::SecretPackage<S>>,
    sent: Parcels,
}

type Packages<S> = BTreeMap<Identifier<S>, dkg::round1::Package<S>>;

/// Checks the proofs, where there are any, and evaluates the polynomial, which is then gone.
fn deal<S: Suite>(
    plan: &Plan,
    drawn: Box<Drawn<S>>,
    packages: &Packages<S>,
    refresh: bool,
) -> Result<Dealt<S>, Error> {
    let mut sent = Parcels::new();
    for seat in plan.others() {
        sent.push((seat, Secret::zeroed()?));
    }
    let dealt = on_crucible(|| {
        let (secret, _) = *drawn;
        let (kept, shares) = match refresh {
            false => dkg::part2(secret, packages),
            true => refresh_dkg_part2(secret, packages),
        }
        .map_err(Box::new)?;
        for (seat, out) in &mut sent {
            let share = shares[&identifier::<S>(*seat)].signing_share().serialize();
            out.expose_mut().copy_from_slice(&share);
        }
        Ok(Box::new(kept))
    });
    let kept = dealt.map_err(|error: Box<frost_core::Error<S>>| {
        let culprits: Vec<_> = error
            .culprits()
            .iter()
            .flat_map(|culprit| {
                plan.others()
                    .find(|seat| identifier::<S>(*seat) == *culprit)
            })
            .map(|seat| Culprit {
                seat,
                wrong: Wrong::Proof,
            })
            .collect();
        match culprits.is_empty() {
            true => Error::Unfit(error.to_string()),
            false => Error::Culprits(culprits),
        }
    })?;
    Ok(Dealt { kept, sent })
}

/// After the first exchange: this agent knows what all have announced to it, and has told nobody anything secret.
pub struct Heard<S: Suite> {
    plan: Plan,
    base: Option<Base<S>>,
    packages: Packages<S>,
    heard: Vec<Announcement<S>>,
    digests: Vec<[u8; 32]>,
    transcript: [u8; 32],
    dealt: Dealt<S>,
}

impl<S: Suite> Heard<S> {
    /// A hash of each seat's announcement as it arrived here: for every other agent, to compare.
    pub fn digests(&self) -> &[[u8; 32]] {
        &self.digests
    }

    /// What every agent signs: the header, all agents' ids, what all announced.
    pub fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }

    /// Takes the [`digests`](Self::digests) of all seats, in their order, and gives the share of every other seat, to be
    /// sealed to it: only if all heard the same. A seat that gives in a reshare [does so](Self::compare_giving).
    ///
    /// # Errors
    /// [`Error::Culprits`], with [`Wrong::Differs`].
    pub fn compare<D: AsRef<[[u8; 32]]>>(
        self,
        echoes: &[D],
    ) -> Result<(Agreed<S>, Parcels), Error> {
        match self.gives() {
            None => self.compared(echoes),
            Some(_) => Err(Error::Unfit(
                "this seat gives: the share that it has is needed".into(),
            )),
        }
    }

    fn compared<D: AsRef<[[u8; 32]]>>(self, echoes: &[D]) -> Result<(Agreed<S>, Parcels), Error> {
        self.plan.check_count("echoes", echoes.len())?;
        let mut culprits = Vec::new();
        for (other, echo) in (0..).zip(echoes) {
            let echo = echo.as_ref();
            if echo.len() != self.digests.len() {
                let (is, seats) = (echo.len(), self.digests.len());
                culprits.push(Culprit {
                    seat: other,
                    wrong: Wrong::Malformed(format!("{is} digests of {seats} seats")),
                });
                continue;
            }
            for (seat, (theirs, ours)) in (0..).zip(echo.iter().zip(&self.digests)) {
                if theirs != ours {
                    let wrong = Wrong::Differs { other };
                    culprits.push(Culprit { seat, wrong });
                }
            }
        }
        if !culprits.is_empty() {
            return Err(Error::Culprits(culprits));
        }
        let Heard {
            plan,
            base,
            packages,
            heard,
            transcript,
            dealt,
            ..
        } = self;
        let agreed = Agreed {
            plan,
            base,
            packages,
            heard,
            transcript,
            kept: dealt.kept,
            gives: None,
        };
        Ok((agreed, dealt.sent))
    }
}

/// After the second exchange: all heard the same, and the shares are on their way.
pub struct Agreed<S: Suite> {
    plan: Plan,
    base: Option<Base<S>>,
    packages: Packages<S>,
    heard: Vec<Announcement<S>>,
    transcript: [u8; 32],
    kept: Box<dkg::round2::SecretPackage<S>>,
    /// What this seat gives of the key, in a reshare.
    gives: Option<Secret<32>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Ed25519;

    /// Whoever signs a transcript signs all of this.
    #[test]
    fn the_transcript_covers_header_agents_vectors_and_proofs() {
        let plan = Plan::new(b"header", 2, &[[1; 32], [2; 32]], 0).unwrap();
        let heard = || -> Vec<Announcement<Ed25519>> {
            let drawn = (0..2).map(|_| begin::<Ed25519>(plan.clone()).unwrap().1);
            drawn
                .map(|bytes| Announcement::decode(&bytes, Shape::Fresh { t: 2 }).unwrap())
                .collect()
        };
        let (heard, others) = (heard(), heard());
        let transcript = plan.transcript(&heard, None);
        assert_eq!(transcript, plan.transcript(&heard, None));

        let another = Plan::new(b"headen", 2, &[[1; 32], [2; 32]], 0).unwrap();
        assert_ne!(another.transcript(&heard, None), transcript);
        for agents in [[[2; 32], [1; 32]], [[1; 32], [3; 32]]] {
            let another = Plan::new(b"header", 2, &agents, 0).unwrap();
            assert_ne!(another.transcript(&heard, None), transcript);
        }
        let from = |one: usize, vector: &Announcement<Ed25519>, proof: &Announcement<Ed25519>| {
            let mut heard: Vec<_> = heard
                .iter()
                .map(|heard| (heard.vector.clone(), heard.proof.clone()))
                .collect();
            heard[one] = (vector.vector.clone(), proof.proof.clone());
            let heard = heard.into_iter().map(|(vector, proof)| Announcement {
                vector,
                proof,
                package: others[0].package.clone(),
            });
            plan.transcript(&heard.collect::<Vec<_>>(), None)
        };
        assert_eq!(from(1, &heard[1], &heard[1]), transcript);
        for one in 0..2 {
            assert_ne!(from(one, &others[one], &heard[one]), transcript);
            assert_ne!(from(one, &heard[one], &others[one]), transcript);
        }
    }
}
