//! A key made among agents, or its shares renewed, for the same holders or for another quorum: this agent's part, turn by turn.
//!
//! Each turn takes what all have said before, verifies who said it, and gives what this agent says. A turn that fails ends the ceremony
//! here; so does time, and a restart. Nothing secret leaves before every agent has signed the same transcript, and then sealed to whom it is
//! for. What was dealt is held until all have signed that they have their shares from their rows.

use std::collections::HashMap;
use std::sync::Arc;

use evanesce_threshold::dkg::{self, Agreed, Announced, Givers, Heard, Made, Plan};
use evanesce_threshold::{Share, Suite};
use evanesce_token::mpc::{self, Header, Kind, formula};
use evanesce_wire::message::SeatRow;
use evanesce_wire::message::threshold::{
    self as wire, Agree, Announce, Deal, Dealt, Forget, Forgot, Take, Taken, agreed_statement,
    announced_statement, ceremony_hash,
};
use evanesce_wire::parcel::BoxKey;
use evanesce_wire::{Id, verify_statement};

use super::parcels::{opened, sealed};
use super::{Obstacle, with_suite};
use crate::regenerate::Hands;

/// Most ceremonies at a time, in all; a quarter of them one caller's.
const MOST: usize = 64;
/// How long a ceremony may take, in ms.
const PATIENCE: u64 = 300_000;

/// Ceremonies under way, each the caller's that began it.
pub struct Ceremonies<P: ?Sized = dyn Part>(HashMap<Id, Entry<P>>);

struct Entry<P: ?Sized> {
    caller: Id,
    until: u64,
    /// Away while a turn of it is taken.
    part: Option<Box<P>>,
}

impl<P: ?Sized> Default for Ceremonies<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: ?Sized> Ceremonies<P> {
    /// Makes room for one of `caller` that begins at `now` (Unix ms); says why not, where there is none.
    pub fn begin(&mut self, id: Id, caller: &Id, now: u64) -> Result<(), String> {
        self.0.retain(|_, one| one.until >= now);
        if self.0.contains_key(&id) {
            return Err("a ceremony of that name is under way here".into());
        }
        let own = self.0.values().filter(|one| one.caller == *caller).count();
        if self.0.len() >= MOST || own >= MOST / 4 {
            return Err("too many of these are under way here; try again later".into());
        }
        let entry = Entry {
            caller: *caller,
            until: now + PATIENCE,
            part: None,
        };
        self.0.insert(id, entry);
        Ok(())
    }

    /// Takes this agent's part out, for a turn of it.
    pub fn take(&mut self, id: &Id, caller: &Id, now: u64) -> Option<Box<P>> {
        self.0.retain(|_, one| one.until >= now);
        let entry = self.0.get_mut(id).filter(|one| one.caller == *caller)?;
        entry.part.take()
    }

    /// Puts it back.
    pub fn put(&mut self, id: &Id, part: Box<P>) {
        if let Some(entry) = self.0.get_mut(id) {
            entry.part = Some(part);
        }
    }

    /// Ends a ceremony.
    pub fn end(&mut self, id: &Id) {
        self.0.remove(id);
    }
}

/// This agent's part in one ceremony.
pub trait Part: Send {
    /// The token whose shares are renewed, if any are.
    fn base(&self) -> Option<Id>;
    /// The second turn: what all have announced.
    fn agree(&mut self, hands: &Hands, told: &Agree) -> Result<wire::Agreed, Obstacle>;
    /// The third: that all have signed the same.
    fn deal(&mut self, hands: &Hands, told: &Deal) -> Result<Dealt, Obstacle>;
    /// The fourth: what the others have dealt. The token that is made, and this agent's seat in it.
    fn finish(&mut self, hands: &Hands, told: &Take) -> Result<(Arc<mpc::Body>, u32), Obstacle>;
    /// This agent's row in it.
    fn row(&mut self, hands: &Hands) -> Result<Taken, Obstacle>;
    /// The last: that all have their shares.
    fn forget(&mut self, hands: &Hands, told: &Forget) -> Result<Forgot, Obstacle>;
}

/// The token whose shares are renewed, and this agent's row in it.
pub struct Base {
    /// The token.
    pub body: Arc<mpc::Body>,
    /// The row; none where this agent holds no share, of which none is then removed.
    pub row: Option<SeatRow>,
    /// Who gives the key, where another quorum is to have it.
    pub givers: Option<Givers>,
}

impl Base {
    /// This agent's old share.
    fn share<S: Suite>(&self, hands: &Hands) -> Result<Share<S>, Obstacle> {
        let row = self.row.as_ref().ok_or_else(|| {
            Obstacle::refused("this agent was given no row of the token whose shares are renewed")
        })?;
        hands.have::<S>(&self.body, row)
    }
}

/// Begins: draws what this agent announces.
pub fn begin(
    hands: &Hands,
    told: &Announce,
    base: Option<Base>,
) -> Result<(Box<dyn Part>, wire::Announced), Obstacle> {
    let header = Header::decode(&told.header).map_err(|e| Obstacle::refused(e.0))?;
    let suite = header.suite.clone();
    with_suite!(suite.as_str(), begin_in(hands, told, header, base))
}

struct Ceremony<S: Suite> {
    header: Header,
    header_bytes: Vec<u8>,
    agents: Vec<Id>,
    seat: u32,
    /// The ceremony's hash.
    hash: [u8; 32],
    key: BoxKey,
    announced: wire::Announced,
    base: Option<Base>,
    /// Of all, once they have announced.
    spkis: Vec<Vec<u8>>,
    boxes: Vec<[u8; 32]>,
    /// What all sign.
    agreed: [u8; 32],
    stage: Stage<S>,
}

enum Stage<S: Suite> {
    Over,
    Announced(Announced<S>),
    Heard(Heard<S>),
    Agreed(Agreed<S>),
    Made(Box<Made<S>>, Arc<mpc::Body>),
}

fn begin_in<S: Suite>(
    hands: &Hands,
    told: &Announce,
    header: Header,
    base: Option<Base>,
) -> Result<(Box<dyn Part>, wire::Announced), Obstacle> {
    let plan = Plan::of(&header, &told.agents, told.seat as u8)?;
    if told.agents.get(told.seat as usize) != Some(&hands.me) {
        let why = "the seat is another agent's than this one's";
        return Err(Obstacle::refused(why));
    }
    let (stage, announcement) = match &base {
        None => dkg::begin::<S>(plan)?,
        Some(base) => {
            if base.body.header.suite != S::NAME {
                return Err(Obstacle::refused("shares are renewed in their own suite"));
            }
            let group = hands.groups.of::<S>(&base.body)?;
            match &base.givers {
                None => dkg::refresh(plan, &group)?,
                Some(givers) => dkg::reshare(plan, &group, givers)?,
            }
        }
    };
    let (key, public) = BoxKey::draw()?;
    let hash = ceremony_hash(&told.ceremony, &told.header, &told.agents);
    let statement = announced_statement(&hash, told.seat, &announcement, &public);
    let announced = wire::Announced {
        spki: hands.identity.spki().to_vec(),
        key: public,
        announcement,
        signature: hands.identity.sign(&statement)?,
    };
    let part = Ceremony::<S> {
        header,
        header_bytes: told.header.clone(),
        agents: told.agents.clone(),
        seat: told.seat,
        hash,
        key,
        announced: announced.clone(),
        base,
        spkis: Vec::new(),
        boxes: Vec::new(),
        agreed: [0; 32],
        stage: Stage::Announced(stage),
    };
    Ok((Box::new(part), announced))
}

pub fn out_of_turn<T>() -> Result<T, Obstacle> {
    Err(Obstacle::refused(
        "this is not the ceremony's turn: begin anew",
    ))
}

impl<S: Suite> Ceremony<S> {
    /// Refuses anything but one item of each seat.
    fn is_of_all(&self, count: usize) -> Result<(), Obstacle> {
        match self.agents.len() {
            seats if seats == count => Ok(()),
            seats => Err(Obstacle::refused(format!("{count} parts of {seats} seats"))),
        }
    }

    fn seats(&self) -> impl Iterator<Item = u32> + use<S> {
        0..self.agents.len() as u32
    }
}

impl<S: Suite> Part for Ceremony<S> {
    fn base(&self) -> Option<Id> {
        Some(self.base.as_ref()?.body.id)
    }

    fn agree(&mut self, hands: &Hands, told: &Agree) -> Result<wire::Agreed, Obstacle> {
        let Stage::Announced(stage) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return out_of_turn();
        };
        self.is_of_all(told.announcements.len())?;
        if told.announcements[self.seat as usize] != self.announced {
            return Err(Obstacle::refused("this seat's announcement is another's"));
        }
        for ((seat, agent), said) in self.seats().zip(&self.agents).zip(&told.announcements) {
            let statement = announced_statement(&self.hash, seat, &said.announcement, &said.key);
            let is_it = evanesce_token::formula::agent_id(&said.spki) == *agent;
            if !is_it || !verify_statement(&said.spki, &statement, &said.signature) {
                let why = "its announcement is not signed by the agent of that seat";
                return Err(Obstacle::culprit(seat, why));
            }
        }
        let announcements: Vec<_> = told.announcements.iter().map(|a| &a.announcement).collect();
        let heard = stage.hear(&announcements)?;
        let said = told.announcements.iter();
        (self.spkis, self.boxes) = said.map(|said| (said.spki.clone(), said.key)).unzip();
        let transcript = *heard.transcript();
        self.agreed = agreed_statement(&self.hash, &transcript, &self.boxes);
        let signature = hands.identity.sign(&self.agreed)?;
        self.stage = Stage::Heard(heard);
        Ok(wire::Agreed {
            signature,
            transcript,
        })
    }

    fn deal(&mut self, hands: &Hands, told: &Deal) -> Result<Dealt, Obstacle> {
        let Stage::Heard(heard) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return out_of_turn();
        };
        self.is_of_all(told.signatures.len())?;
        for ((seat, spki), signature) in self.seats().zip(&self.spkis).zip(&told.signatures) {
            if !verify_statement(spki, &self.agreed, signature) {
                let why = "it has not signed the transcript that this agent has: it was told something else, or lies";
                return Err(Obstacle::culprit(seat, why));
            }
        }
        // All have signed what covers all announcements: so all have heard what this one has.
        let echoes = vec![heard.digests().to_vec(); self.agents.len()];
        let (agreed, shares) = match &self.base {
            Some(base) if heard.gives().is_some() => {
                heard.compare_giving(&echoes, &base.share(hands)?)?
            }
            _ => heard.compare(&echoes)?,
        };
        let mut parcels = Vec::with_capacity(shares.len());
        for (to, share) in &shares {
            let to = u32::from(*to);
            let key = &self.boxes[to as usize];
            parcels.push(sealed(hands, &self.agreed, (self.seat, to), key, share)?);
        }
        self.stage = Stage::Agreed(agreed);
        Ok(Dealt { parcels })
    }

    fn finish(&mut self, hands: &Hands, told: &Take) -> Result<(Arc<mpc::Body>, u32), Obstacle> {
        let Stage::Agreed(agreed) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return out_of_turn();
        };
        let mut shares = Vec::with_capacity(told.parcels.len());
        for parcel in &told.parcels {
            let from = parcel.seat;
            let Some(spki) = self.spkis.get(from as usize) else {
                return Err(Obstacle::refused(format!("there is no seat {from}")));
            };
            let share = opened(&self.key, &self.agreed, self.seat, parcel, spki, "share")?;
            shares.push((from as u8, share));
        }
        let made = match &self.base {
            None => agreed.finish(shares)?,
            Some(Base {
                givers: Some(_), ..
            }) => agreed.finish_reshare(shares)?,
            Some(base) => agreed.finish_refresh(shares, &base.share(hands)?)?,
        };
        let vector = made.group.vector().to_vec();
        let body = mpc::Body::new(self.header_bytes.clone(), vector, made.transcript)
            .map_err(|e| Obstacle::refused(e.0))?;
        let body = Arc::new(body);
        self.stage = Stage::Made(Box::new(made), body.clone());
        Ok((body, self.seat))
    }

    fn row(&mut self, hands: &Hands) -> Result<Taken, Obstacle> {
        let Stage::Made(made, body) = &self.stage else {
            return out_of_turn();
        };
        let row = hands.seat_share(body, &made.share)?;
        Ok(Taken {
            epoch: row.epoch,
            vector: body.vector.clone(),
            signature: row.signature,
            correction: row.correction,
            transcript: body.transcript,
        })
    }

    fn forget(&mut self, hands: &Hands, told: &Forget) -> Result<Forgot, Obstacle> {
        let Stage::Made(_, body) = &self.stage else {
            return out_of_turn();
        };
        self.is_of_all(told.signatures.len())?;
        self.is_of_all(told.epochs.len())?;
        let both = told.epochs.iter().zip(&told.signatures);
        for ((seat, spki), (epoch, signature)) in self.seats().zip(&self.spkis).zip(both) {
            let kind = self.header.kind;
            let statement = formula::regenerated_statement(kind, &body.id, seat, *epoch);
            if !verify_statement(spki, &statement, signature) {
                let why = "it has not signed that it has its share from its row";
                return Err(Obstacle::culprit(seat, why));
            }
        }
        // Only now: whatever goes wrong before, the shares that there were are still there.
        let mut removed = 0;
        if let Some(base) = &self.base
            && base.row.is_some()
            && base.body.header.kind == Kind::Kept
        {
            let gone = hands.shelf.remove(&base.body.id).map_err(|e| {
                let why = format!("the old share cannot be removed: {e}");
                Obstacle::new(evanesce_wire::message::Code::Unavailable, why)
            })?;
            removed = u64::from(gone);
        }
        self.stage = Stage::Over;
        Ok(Forgot { removed })
    }
}
