//! A lost seat given to a new holder: t of the others give it its share, of which neither they nor this side learns anything. Header, key
//! and vector stay, and with them the token's id; the seat has another row.
//!
//! Whoever helps wrongly is named, and others are asked in its place, from the beginning: what was sent before is of no use to anybody. An agent
//! can say of another that it was sent something wrong by it, and nobody else can know: neither is asked again while there are others, and never
//! both together.

use std::collections::BTreeSet;
use std::sync::Arc;

use evanesce_token::Row;
use evanesce_token::mpc::{Kind, Token, formula};
use evanesce_wire::message::Receipt;
use evanesce_wire::message::threshold::{
    Await, Awaiting, Dealt, Help, Helping, Parcel, Receive, Received, Split, Sum,
};
use evanesce_wire::{WireError, verify_statement};
use tokio::spawn;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::sign::patience;
use super::{Answered, ask_naming, check, fault, leave, whole};
use crate::error::{Code, Error};
use crate::fault::{Fault, Trouble};
use crate::heal::{crowding, seat_and_place};
use crate::io::link::{Down, Live};
use crate::io::side::Side;
use crate::mint::{Words, reach, unfinished};
use crate::settled::Settled;
use crate::verdict;

/// Which seat goes to whom.
pub struct ThresholdRepairSpec {
    /// The token, decoded and pinned by the caller.
    pub token: Arc<Token>,
    /// The lost seat's name.
    pub seat: String,
    /// The new holder's name in the directory. One that sits at another seat of the token is refused: it would count twice.
    pub holder: String,
}

/// A token with another holder at one seat, who has signed that it has the share.
pub struct ThresholdRepaired {
    /// The same token with another row.
    pub token: Token,
    /// The log entries of those that helped, and of the new holder.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
    /// Seats that did not help, or wrongly, though it went on without them.
    pub faults: Vec<Fault>,
    /// The salt of the input digest under which they helped.
    pub salt: [u8; 32],
}

const WORDS: Words = Words {
    what: "repair",
    hint: "The token is as it was; put it right and begin again.",
};

/// Repairs; waits for agents until `until`.
pub(crate) async fn repair(
    side: &Arc<Side>,
    spec: ThresholdRepairSpec,
    settled: Settled,
    until: Instant,
) -> Result<ThresholdRepaired, Error> {
    let ThresholdRepairSpec {
        token,
        seat,
        holder,
    } = spec;
    let header = &token.body.header;
    if header.expired_at(side.world.unix_seconds()) {
        let hint = "Nothing was asked of any agent.";
        return Err(Error::new(Code::Expired, "the token has expired", hint));
    }
    let (lost, place) = seat_and_place(side, &header.quorum, &token.rows, &seat, &holder, false)?;
    reach(side, &[place], WORDS, until).await?;
    let (salt, settled) = settled.salted(&*side.world);
    let mut hands = Candidates::that_have_their_shares(side, &token, lost, until).await;
    loop {
        let helpers = hands.next()?;
        let round = Round {
            side,
            token: &token,
            lost,
            place,
            helpers: &helpers,
            until,
        };
        match round.run(&settled).await {
            Ok((row, receipts)) => {
                let mut repaired = Token::clone(&token);
                repaired.rows[lost as usize] = row;
                let checked = check::one(side, &repaired, lost, until).await;
                checked.map_err(|down| round.at_holder(&down))?;
                hands.out.retain(|(trouble, fault)| {
                    let seat = fault.seat_number;
                    let helped = seat.is_some_and(|seat| helpers.contains(&seat));
                    *trouble != Trouble::Slow || !helped
                });
                return Ok(ThresholdRepaired {
                    warnings: crowding(side, &header.quorum, &repaired.rows),
                    token: repaired,
                    receipts,
                    faults: hands.out.into_iter().map(|(_, fault)| fault).collect(),
                    salt,
                });
            }
            Err(Stopped::Holder(error)) => return Err(error),
            Err(Stopped::Helpers(found)) => hands.without(&helpers, found),
        }
    }
}

/// Who may help yet, those that are trusted least last.
struct Candidates<'a> {
    side: &'a Side,
    token: &'a Token,
    seats: Vec<u32>,
    /// Who has accused whom.
    pairs: Vec<(u32, u32)>,
    /// What went wrong at those that could not help, or not rightly.
    out: Vec<(Trouble, Fault)>,
}

impl<'a> Candidates<'a> {
    /// Asks all before any is asked to help: to help spends what people have approved, and is for nothing where one of those that
    /// were chosen is away. Whoever answers first comes first; whoever is late when enough have answered, last.
    async fn that_have_their_shares(
        side: &'a Arc<Side>,
        token: &'a Arc<Token>,
        lost: u32,
        until: Instant,
    ) -> Self {
        let (began, until) = (Instant::now(), half_way(until));
        let mut late: BTreeSet<u32> = (0..token.rows.len() as u32).collect();
        late.remove(&lost);
        let mut asked = JoinSet::new();
        for seat in late.iter().copied() {
            let (side, token) = (side.clone(), token.clone());
            asked.spawn(async move { (seat, check::one(&side, &token, seat, until).await) });
        }
        let mut hands = Self {
            side,
            token,
            seats: Vec::new(),
            pairs: Vec::new(),
            out: Vec::new(),
        };
        let mut limit = until;
        while let Ok(Some(done)) = timeout_at(limit, asked.join_next()).await {
            // One whose task broke off is as one that is late.
            let Ok((seat, had)) = done else { continue };
            late.remove(&seat);
            match &had {
                Ok(_) => hands.seats.push(seat),
                Err(down) => hands.found(seat, down),
            }
            if had.is_ok() && hands.seats.len() == token.body.header.quorum.t {
                limit = patience(began.elapsed(), true, until);
            }
        }
        for seat in late {
            hands.found(seat, &Down::slow());
            hands.seats.push(seat);
        }
        hands.out.sort_by_key(|(_, fault)| fault.seat_number);
        hands
    }

    fn found(&mut self, seat: u32, down: &Down) {
        let fault = fault(self.side, self.token, seat, down);
        self.out.push((down.trouble, fault));
    }

    /// t of them.
    fn next(&mut self) -> Result<Vec<u32>, Error> {
        let quorum = &self.token.body.header.quorum;
        // The word of an accuser is all that there is: who has to do with one is asked last.
        let accused = |seat: &u32| self.pairs.iter().any(|(by, of)| by == seat || of == seat);
        self.seats.sort_by_key(accused);
        if let Some(helpers) = at_peace(&self.seats, &self.pairs, quorum.t) {
            return Ok(helpers);
        }
        let (troubles, faults): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.out).into_iter().unzip();
        let code = verdict::code(troubles, !self.seats.is_empty());
        let error = verdict::explain(code, quorum, faults);
        let t = quorum.t;
        Err(Error {
            hint: format!("{t} seats must help that are not lost. {}", WORDS.hint),
            ..error
        })
    }

    /// Goes on without whoever is to blame, of those that were to help.
    fn without(&mut self, helpers: &[u32], found: Vec<Found>) {
        for Found {
            seat,
            down,
            mut says_of,
        } in found
        {
            says_of.retain(|(of, _)| *of != seat && helpers.contains(of));
            if says_of.is_empty() {
                self.seats.retain(|other| *other != seat);
                self.found(seat, &down);
                continue;
            }
            for (accused, why) in says_of {
                let by = self.token.body.header.quorum.seats()[seat as usize].to_owned();
                let down = Down::new(Trouble::Lied, format!("{by} says of it: {why}"));
                self.found(accused, &down);
                match helpers.contains(&seat) {
                    true => self.pairs.push((seat, accused)),
                    // The new holder's word is taken.
                    false => self.seats.retain(|other| *other != accused),
                }
            }
        }
    }
}

/// The first t of `seats` of which none has accused another, once as few as may be are left out for it; those that are in most `pairs`
/// (accuser, accused) first, and of a pair the accused. None, where there are no such t. An honest agent accuses no other, so that t honest
/// ones are found whatever the rest say.
fn at_peace(seats: &[u32], pairs: &[(u32, u32)], t: usize) -> Option<Vec<u32>> {
    let spare = seats.len().checked_sub(t)?;
    let there = |(by, of): &&(u32, u32)| seats.contains(by) && seats.contains(of);
    let open: Vec<_> = pairs.iter().filter(there).copied().collect();
    let weight = |seat: u32| {
        let (by, of) = open.iter().fold((0, 0), |(accuses, accused), (by, of)| {
            (
                accuses + usize::from(*by == seat),
                accused + usize::from(*of == seat),
            )
        });
        (by + of, of)
    };
    let worst = seats.iter().copied().max_by_key(|seat| weight(*seat));
    let worst = match worst {
        Some(worst) if !open.is_empty() => worst,
        _ => return Some(seats[..t].to_vec()),
    };
    // Whoever is left out settles no more pairs than the worst.
    if open.len() > spare * weight(worst).0 {
        return None;
    }
    let without = |out: &dyn Fn(u32) -> bool| {
        let left: Vec<u32> = seats.iter().copied().filter(|seat| !out(*seat)).collect();
        at_peace(&left, &open, t)
    };
    without(&|seat| seat == worst).or_else(|| {
        without(&|seat| {
            let with =
                |(by, of): &(u32, u32)| (*by, *of) == (seat, worst) || (*by, *of) == (worst, seat);
            open.iter().any(with)
        })
    })
}

/// What went wrong at one agent, and what it says of others' seats.
struct Found {
    seat: u32,
    down: Down,
    says_of: Vec<(u32, String)>,
}

enum Stopped {
    /// The new holder's doing, or nobody's: others would not help.
    Holder(Error),
    /// Helpers that failed, or were accused.
    Helpers(Vec<Found>),
}

/// One attempt, with certain helpers.
struct Round<'a> {
    side: &'a Arc<Side>,
    token: &'a Arc<Token>,
    lost: u32,
    /// The new holder's.
    place: usize,
    helpers: &'a [u32],
    until: Instant,
}

impl Round<'_> {
    async fn run(&self, settled: &Settled) -> Result<(Row, Vec<Receipt>), Stopped> {
        let mut repair = [0; 32];
        self.side.world.random(&mut repair);
        let holder = self.side.directory.all()[self.place].id;
        let (lost, helpers) = (self.lost, self.helpers.to_vec());
        let wait = Await {
            context: whole(&self.token.body),
            lost,
            repair,
            helpers: helpers.clone(),
        };
        let awaiting = self
            .ask_holder("mpc-await", wait.encode(), Awaiting::decode)
            .await?
            .value;
        let help = {
            let (side, token) = (self.side.clone(), self.token.clone());
            let (helpers, settled) = (helpers.clone(), settled.clone());
            move |seat: u32, live: &Live| {
                let inputs: [&[u8]; 2] = [&lost.to_be_bytes(), &holder];
                Help {
                    leave: leave(&side, &token, seat, live, "repair", &inputs, &settled),
                    lost,
                    holder,
                    repair,
                    helpers: helpers.clone(),
                }
                .encode()
            }
        };
        let helping = self.turn("mpc-help", help, Helping::decode).await?;
        let mut receipts: Vec<_> = helping
            .iter()
            .filter_map(|one| one.receipt.clone())
            .collect();
        let published: Vec<_> = helping.into_iter().map(|one| one.value).collect();
        let split = Split {
            repair,
            holder: awaiting,
            helpers: published.clone(),
        };
        let split = split.encode();
        let sent = self
            .turn("mpc-split", move |_, _| split.clone(), Dealt::decode)
            .await?;
        let sent: Vec<_> = sent.into_iter().map(|one| one.value.parcels).collect();
        let inbound = delivered(self.helpers, &sent);
        let sum = move |seat: u32, _: &Live| {
            let at = helpers.iter().position(|helper| *helper == seat);
            let parcels = at.map_or_else(Vec::new, |at| inbound[at].clone());
            Sum { repair, parcels }.encode()
        };
        let sums = self.turn("mpc-sum", sum, Dealt::decode).await?;
        let mut parcels = Vec::with_capacity(sums.len());
        for (seat, one) in self.helpers.iter().zip(sums) {
            for parcel in one.value.parcels {
                parcels.push(Parcel {
                    seat: *seat,
                    ..parcel
                });
            }
        }
        let receive = Receive {
            repair,
            helpers: published,
            parcels,
        };
        let received = self
            .ask_holder("mpc-receive", receive.encode(), Received::decode)
            .await?;
        receipts.extend(received.receipt.clone());
        Ok((self.row(&received)?, receipts))
    }

    fn row(&self, received: &Answered<Received>) -> Result<Row, Stopped> {
        let said = &received.value;
        let kind = self.token.body.header.kind;
        let peer = &received.live.peer;
        let correction = said.correction.unwrap_or_default();
        let statement =
            formula::row_statement(kind, self.token.id(), self.lost, said.epoch, &correction);
        let why = if said.correction.is_some() != (kind == Kind::Regenerated) {
            "its row is of another kind"
        } else if !verify_statement(&peer.spki, &statement, &said.signature) {
            "its row is not signed by it"
        } else {
            return Ok(Row {
                holder: peer.id,
                epoch: said.epoch,
                correction,
                signature: said.signature.clone(),
            });
        };
        Err(Stopped::Holder(
            self.at_holder(&Down::new(Trouble::Lied, why)),
        ))
    }

    /// Asks every helper; whoever fails stops it.
    async fn turn<T: Send + 'static>(
        &self,
        verb: &'static str,
        body: impl Fn(u32, &Live) -> Vec<u8> + Send + Sync + 'static,
        decode: fn(&[u8]) -> Result<T, WireError>,
    ) -> Result<Vec<Answered<T>>, Stopped> {
        let body = Arc::new(body);
        let mut tasks = Vec::with_capacity(self.helpers.len());
        for seat in self.helpers.iter().copied() {
            let (side, body, until) = (self.side.clone(), body.clone(), half_way(self.until));
            let holder = self.token.rows[seat as usize].holder;
            tasks.push(spawn(async move {
                let place = side
                    .directory
                    .by_id(&holder)
                    .ok_or_else(|| (Down::unknown_holder(), Vec::new()))?;
                let compose = |live: &Live| Ok(body(seat, live));
                ask_naming(&side, place, verb, until, compose, decode).await
            }));
        }
        let (mut all, mut found) = (Vec::new(), Vec::new());
        for (seat, task) in self.helpers.iter().zip(tasks) {
            let broke_off = |_| Err((Down::broke_off(), Vec::new()));
            match task.await.unwrap_or_else(broke_off) {
                Ok(answered) => all.push(answered),
                Err((down, says_of)) => found.push(Found {
                    seat: *seat,
                    down,
                    says_of,
                }),
            }
        }
        match found.is_empty() {
            true => Ok(all),
            false => Err(Stopped::Helpers(found)),
        }
    }

    /// Asks the new holder. What it says of helpers is taken for true: it is its share.
    async fn ask_holder<T>(
        &self,
        verb: &str,
        body: Vec<u8>,
        decode: fn(&[u8]) -> Result<T, WireError>,
    ) -> Result<Answered<T>, Stopped> {
        let (until, compose) = (half_way(self.until), |_: &Live| Ok(body.clone()));
        let asked = ask_naming(self.side, self.place, verb, until, compose, decode).await;
        asked.map_err(|(down, says_of)| {
            let of_helpers = says_of.iter().any(|(of, _)| self.helpers.contains(of));
            match of_helpers {
                true => Stopped::Helpers(vec![Found {
                    seat: self.lost,
                    down,
                    says_of,
                }]),
                false => Stopped::Holder(self.at_holder(&down)),
            }
        })
    }

    fn at_holder(&self, down: &Down) -> Error {
        let names = self.token.body.header.quorum.seats();
        let fault = Fault {
            seat: names.get(self.lost as usize).map(|name| (*name).to_owned()),
            seat_number: Some(self.lost),
            ..self.side.fault(self.place, down)
        };
        let message = "the new holder could not be seated";
        unfinished(message, &[down.trouble], vec![fault], WORDS)
    }
}

/// When half of the time that is left is over: whoever is silent must leave time for others.
fn half_way(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}

/// What each helper is sent, from what each has sent, both in their order.
fn delivered(helpers: &[u32], sent: &[Vec<Parcel>]) -> Vec<Vec<Parcel>> {
    let mut inbound = vec![Vec::new(); helpers.len()];
    for (seat, parcels) in helpers.iter().zip(sent) {
        for parcel in parcels {
            if let Some(at) = helpers.iter().position(|helper| *helper == parcel.seat) {
                inbound[at].push(Parcel {
                    seat: *seat,
                    ..parcel.clone()
                });
            }
        }
    }
    inbound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_never_accused_each_other_are_found_whatever_others_say() {
        assert_eq!(at_peace(&[4, 0, 2], &[], 2).unwrap(), [4, 0]);
        assert_eq!(at_peace(&[4], &[], 2), None);
        // of one pair the accused is left out, where there are others at all
        assert_eq!(at_peace(&[1, 2, 3, 0], &[(0, 3)], 3).unwrap(), [1, 2, 0]);
        assert_eq!(at_peace(&[1, 2, 3], &[(0, 3)], 3).unwrap(), [1, 2, 3]);
        assert_eq!(at_peace(&[1, 2], &[(2, 1)], 2), None);
        // one liar that accuses one after the other is alone with it, and so is one that is accused by all
        let (by, of) = ([(0, 2), (0, 3)], [(2, 0), (3, 0)]);
        for pairs in [by, of] {
            assert_eq!(at_peace(&[0, 2, 3, 4], &pairs, 3).unwrap(), [2, 3, 4]);
        }
        // as many liars as may be, of which each says something else
        let pairs = [(0, 2), (1, 3), (3, 0), (1, 4), (0, 1)];
        assert_eq!(at_peace(&[0, 1, 2, 3, 4], &pairs, 3).unwrap(), [2, 3, 4]);
        // more than may be, and many: told at once
        let seats: Vec<u32> = (0..200).collect();
        let pairs: Vec<_> = (0..100).map(|seat| (seat, seat + 100)).collect();
        assert_eq!(at_peace(&seats, &pairs, 101), None);
        assert_eq!(at_peace(&seats, &pairs, 100).unwrap(), seats[..100]);
    }
}
