//! A lost seat's share, at real agents: one that helps, and one that is to have it. The third, which helps as well, and the coordinator are the
//! test's own, and not always honest.

mod common;

use std::sync::Arc;

use common::together::{ask, context, header, opening, refused};
use common::{Caller, EVERY_ROLE, Line, Place, tell};
use evanesce_agent::{Handle, spawn};
use evanesce_element::Element;
use evanesce_element::software::SoftwareElement;
use evanesce_secret::{Secret, on_crucible};
use evanesce_threshold::dkg::{self, Agreed, Announced, Heard, Parcels, Plan};
use evanesce_threshold::repair::{Points, Repair, prove};
use evanesce_threshold::{Ed25519, Error, Group, Regen, Share};
use evanesce_token::mpc::{Body, Header, Kind};
use evanesce_wire::message::threshold::{
    Await, Awaiting, Confirm, Confirmed, Dealt, Help, Helping, Leave, Parcel, Receive, Received,
    Reply, Split, Sum, awaiting_statement, helping_statement, repair_hash, repairing,
};
use evanesce_wire::message::{Code, Context, SeatRow};
use evanesce_wire::parcel::{self, BoxKey};
use evanesce_wire::{FileIdentity, Id, Identity};

/// Seat 0 is a real agent's, which helps; seat 1 the test's; seat 2 is lost, and another real agent is to have it.
struct Company {
    places: Vec<Place>,
    agents: Vec<Option<Handle>>,
    ops: Caller,
    lines: Vec<Line>,
    body: Body,
    group: Group<Ed25519>,
    /// Of seats 0, 1 and 2.
    first: Share<Ed25519>,
    own: Share<Ed25519>,
    lost: Share<Ed25519>,
    row: SeatRow,
}

const LOST: u32 = 2;
const HELPERS: [u32; 2] = [1, 0];

impl Company {
    async fn new(policy: &str) -> Self {
        Self::of(Kind::Regenerated, policy).await
    }

    /// Where shares are kept, the first agent has no share and cannot help.
    async fn of(kind: Kind, policy: &str) -> Self {
        let places: Vec<_> = (0..2).map(|_| Place::new("")).collect();
        let ops = Caller::new("ops", places[0].dir.path());
        let (mut agents, mut lines) = (Vec::new(), Vec::new());
        for place in &places {
            place.know(&[(&ops, EVERY_ROLE)]);
            let agent = spawn(place.config()).unwrap();
            lines.push(ops.open(agent.address(), agent.id()).await);
            agents.push(Some(agent));
        }
        let header = header(kind, policy);
        // A key whose shares the test knows; the real agent's row is made under its own root.
        let ids = [lines[0].agent, [7; 32], [8; 32]];
        let (mut shares, transcript) = made(&header, &ids);
        let vector = shares[0].0.vector().to_vec();
        let body = Body::new(header.encode(), vector, transcript).unwrap();
        let (lost, own, first) = (shares.remove(2).1, shares.remove(1).1, shares.remove(0));
        let element = SoftwareElement::open(&places[0].path("roots"), None).unwrap();
        let masked = |message: &[u8; 32], y: &mut [u8; 32]| {
            on_crucible(|| element.evaluate(1, message, y)).unwrap();
            Ok::<_, Error>(())
        };
        let correction = match kind {
            Kind::Regenerated => {
                let regen = Regen::<Ed25519>::new(&body).unwrap();
                regen.correct(&first.1, masked).unwrap()
            }
            Kind::Kept => [0; 32],
        };
        let row = SeatRow {
            seat: 0,
            epoch: 1,
            holder: lines[0].agent,
            correction,
        };
        Self {
            places,
            agents,
            ops,
            lines,
            body,
            group: first.0,
            first: first.1,
            own,
            lost,
            row,
        }
    }

    fn context(&self) -> Context {
        context(&self.body)
    }

    fn holder(&self) -> Id {
        self.lines[1].agent
    }

    fn share(&self, seat: u32) -> &Share<Ed25519> {
        [&self.first, &self.own, &self.lost][seat as usize]
    }

    /// What the holder of `lost` is sent when it awaits its share, by helpers that are both the test's.
    async fn helped(&self, lost: u32, helpers: [u32; 2]) -> Result<Receive, Box<Reply>> {
        let mut repair = [0; 32];
        evanesce_secret::random(&mut repair);
        let wait = Await {
            context: self.context(),
            lost,
            repair,
            helpers: helpers.to_vec(),
        };
        let wait = wait.encode();
        let holder = ask(&self.lines[1], "mpc-await", wait, Awaiting::decode).await?;
        let hash = repair_hash(&repair, &self.body.id, lost, &self.holder(), &helpers);
        let identity = self.places[0].dir.path().join(hex::encode(&repair[..4]));
        let identity = FileIdentity::create(&identity).unwrap();
        let seats = helpers.map(|seat| seat as u8);
        let judged = Repair::new(&self.group, &seats, lost as u8).unwrap();
        let (mut said, mut inbound) = (Vec::new(), [Parcels::new(), Parcels::new()]);
        for seat in helpers {
            let (summands, points) = judged.split(self.share(seat)).unwrap();
            let (key, spki) = (BoxKey::draw().unwrap().1, identity.spki().to_vec());
            let statement = helping_statement(&hash, seat, &spki, &key, &points);
            let proof = prove(&self.group, self.share(seat), &statement).unwrap();
            said.push(Helping {
                key,
                spki,
                proof,
                points,
            });
            for (inbound, (_, summand)) in inbound.iter_mut().zip(summands) {
                inbound.push((seat as u8, summand));
            }
        }
        let for_all = repairing(&hash, &said, &holder);
        let points: Vec<Points> = said.iter().map(|one| one.points.clone()).collect();
        let sealed = |(seat, summands): (u32, Parcels)| {
            let sum = judged.gather(seat as u8, &points, summands).unwrap();
            let aad = parcel::aad(&for_all, seat, lost);
            let sealed = parcel::seal(&holder.key, &aad, &sum).unwrap();
            let statement = parcel::statement(&for_all, seat, lost, &sealed);
            Parcel {
                seat,
                sealed,
                signature: identity.sign(&statement).unwrap(),
            }
        };
        let parcels = helpers.into_iter().zip(inbound).map(sealed).collect();
        Ok(Receive {
            repair,
            helpers: said,
            parcels,
        })
    }

    async fn received(&self, told: &Receive) -> Result<Received, Box<Reply>> {
        let told = told.encode();
        ask(&self.lines[1], "mpc-receive", told, Received::decode).await
    }

    /// Whether the holder has the share of `seat`, of those that are kept.
    async fn is_kept(&self, seat: u32) -> bool {
        let confirm = Confirm {
            context: self.context(),
            row: SeatRow {
                seat,
                epoch: 1,
                holder: self.holder(),
                correction: [0; 32],
            },
        };
        let confirm = confirm.encode();
        let asked = ask(&self.lines[1], "mpc-confirm", confirm, Confirmed::decode);
        asked.await.is_ok()
    }

    async fn restart(&mut self, agent: usize) {
        drop(self.agents[agent].take());
        let handle = spawn(self.places[agent].config()).unwrap();
        self.lines[agent] = self.ops.open(handle.address(), handle.id()).await;
        self.agents[agent] = Some(handle);
    }
}

type Seat = (Group<Ed25519>, Share<Ed25519>);

/// A key made by the test alone: the group, each seat's share, and the transcript.
fn made(header: &Header, ids: &[Id]) -> (Vec<Seat>, [u8; 32]) {
    let begin = |seat| dkg::begin(Plan::of(header, ids, seat).unwrap()).unwrap();
    let (announced, said): (Vec<Announced<Ed25519>>, Vec<_>) =
        (0..ids.len() as u8).map(begin).unzip();
    let hear = |one: Announced<Ed25519>| one.hear(&said).unwrap();
    let heard: Vec<Heard<Ed25519>> = announced.into_iter().map(hear).collect();
    let echoes: Vec<_> = heard.iter().map(|heard| heard.digests().to_vec()).collect();
    let transcript = *heard[0].transcript();
    let (mut agreed, mut inbound): (Vec<Agreed<Ed25519>>, Vec<Parcels>) = Default::default();
    inbound.resize_with(ids.len(), Parcels::new);
    for (from, heard) in (0..).zip(heard) {
        let (next, shares) = heard.compare(&echoes).unwrap();
        for (to, share) in shares {
            inbound[usize::from(to)].push((from, share));
        }
        agreed.push(next);
    }
    let finish = |(agreed, shares): (Agreed<Ed25519>, Parcels)| {
        let made = agreed.finish(shares).unwrap();
        (made.group, made.share)
    };
    (
        agreed.into_iter().zip(inbound).map(finish).collect(),
        transcript,
    )
}

/// One repair under way, and the test's own part in it.
struct Attempt<'a> {
    company: &'a Company,
    repair: [u8; 32],
    hash: [u8; 32],
    identity: Arc<FileIdentity>,
    key: BoxKey,
    summands: Parcels,
    said: Helping,
}

impl<'a> Attempt<'a> {
    fn new(company: &'a Company) -> Self {
        let mut repair = [0; 32];
        evanesce_secret::random(&mut repair);
        let identity = company.places[0].dir.path().join(hex::encode(&repair[..4]));
        let identity = Arc::new(FileIdentity::create(&identity).unwrap());
        let judged = Repair::new(&company.group, &[1, 0], LOST as u8).unwrap();
        let (summands, points) = judged.split(&company.own).unwrap();
        let holder = company.holder();
        let hash = repair_hash(&repair, &company.body.id, LOST, &holder, &HELPERS);
        let (key, public) = BoxKey::draw().unwrap();
        let mut attempt = Self {
            company,
            repair,
            hash,
            said: Helping {
                key: public,
                spki: identity.spki().to_vec(),
                proof: Vec::new(),
                points,
            },
            identity,
            key,
            summands,
        };
        attempt.prove(&company.own);
        attempt
    }

    fn prove(&mut self, share: &Share<Ed25519>) {
        let said = &self.said;
        let statement = helping_statement(&self.hash, 1, &said.spki, &said.key, &said.points);
        self.said.proof = prove(&self.company.group, share, &statement).unwrap();
    }

    /// Asks for help to seat `holder`, as it was decided on for `decided`.
    fn ask_for_help(&self, action: &str, holder: &Id, decided: &Id) -> Help {
        let line = &self.company.lines[0];
        let inputs: [&[u8]; 2] = [&LOST.to_be_bytes(), decided];
        let (body, row) = (&self.company.body, &self.company.row);
        Help {
            leave: Leave {
                context: self.company.context(),
                opening: opening(line, body, row, (action, ""), &inputs),
            },
            lost: LOST,
            holder: *holder,
            repair: self.repair,
            helpers: HELPERS.to_vec(),
        }
    }

    async fn help(&self) -> Result<Helping, Box<Reply>> {
        let holder = self.company.holder();
        self.asked(self.ask_for_help("repair", &holder, &holder))
            .await
    }

    async fn asked(&self, help: Help) -> Result<Helping, Box<Reply>> {
        let line = &self.company.lines[0];
        ask(line, "mpc-help", help.encode(), Helping::decode).await
    }

    async fn wait(&self) -> Result<Awaiting, Box<Reply>> {
        let wait = Await {
            context: self.company.context(),
            lost: LOST,
            repair: self.repair,
            helpers: HELPERS.to_vec(),
        };
        ask(
            &self.company.lines[1],
            "mpc-await",
            wait.encode(),
            Awaiting::decode,
        )
        .await
    }

    async fn split(&self, all: &[Helping], holder: &Awaiting) -> Result<Parcel, Box<Reply>> {
        let split = Split {
            repair: self.repair,
            holder: holder.clone(),
            helpers: all.to_vec(),
        };
        let dealt = ask(
            &self.company.lines[0],
            "mpc-split",
            split.encode(),
            Dealt::decode,
        )
        .await;
        dealt.map(|mut dealt| dealt.parcels.remove(0))
    }

    async fn sum(&self, parcel: Parcel) -> Result<Parcel, Box<Reply>> {
        let sum = Sum {
            repair: self.repair,
            parcels: vec![parcel],
        };
        let summed = ask(
            &self.company.lines[0],
            "mpc-sum",
            sum.encode(),
            Dealt::decode,
        )
        .await;
        summed.map(|mut summed| summed.parcels.remove(0))
    }

    async fn receive(&self, all: &[Helping], parcels: Vec<Parcel>) -> Result<Received, Box<Reply>> {
        let receive = Receive {
            repair: self.repair,
            helpers: all.to_vec(),
            parcels,
        };
        ask(
            &self.company.lines[1],
            "mpc-receive",
            receive.encode(),
            Received::decode,
        )
        .await
    }

    /// What the test sends as seat 1.
    fn sealed(&self, for_all: &[u8; 32], to: u32, key: &[u8; 32], secret: &Secret<32>) -> Parcel {
        let sealed = parcel::seal(key, &parcel::aad(for_all, 1, to), secret).unwrap();
        let statement = parcel::statement(for_all, 1, to, &sealed);
        Parcel {
            seat: 1,
            sealed,
            signature: self.identity.sign(&statement).unwrap(),
        }
    }

    /// The sum that seat 1 owes the new holder.
    fn own_sum(&self, for_all: &[u8; 32], all: &[Helping], theirs: &Parcel) -> Secret<32> {
        let aad = parcel::aad(for_all, 0, 1);
        let theirs = self.key.open(&aad, &theirs.sealed).unwrap();
        let own = Secret::filled(|out| *out = *self.summands[0].1.expose()).unwrap();
        let points: Vec<Points> = all.iter().map(|one| one.points.clone()).collect();
        let judged = Repair::new(&self.company.group, &[1, 0], LOST as u8).unwrap();
        judged
            .gather(1, &points, vec![(1, own), (0, theirs)])
            .unwrap()
    }
}

/// Where seat 1 lies.
#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    Summand,
    Sum,
}

/// The whole way, with one lie.
async fn repaired(company: &Company, lie: Lie) -> Result<Received, Box<Reply>> {
    let attempt = Attempt::new(company);
    let (help, holder) = (attempt.help().await?, attempt.wait().await?);
    let all = [attempt.said.clone(), help];
    let theirs = attempt.split(&all, &holder).await?;
    let for_all = repairing(&attempt.hash, &all, &holder);
    let wrong = Secret::random().unwrap();
    let summand = match lie {
        Lie::Summand => &wrong,
        _ => &attempt.summands[1].1,
    };
    let summand = attempt.sealed(&for_all, 0, &all[1].key, summand);
    let mut sum = attempt.sum(summand.clone()).await?;
    assert_eq!(sum.seat, LOST);
    let again = attempt.sum(summand).await;
    refused(again, "begin anew");
    sum.seat = 0;
    let own = match lie {
        Lie::Sum => wrong,
        _ => attempt.own_sum(&for_all, &all, &theirs),
    };
    let own = attempt.sealed(&for_all, LOST, &holder.key, &own);
    attempt.receive(&all, vec![own, sum]).await
}

#[test]
fn an_agent_helps_another_to_the_share_of_a_lost_seat() {
    tell(async {
        let company = Company::new("").await;
        let received = repaired(&company, Lie::None).await.unwrap();
        let row = SeatRow {
            seat: LOST,
            epoch: received.epoch,
            holder: company.holder(),
            correction: received.correction.unwrap(),
        };
        let confirm = Confirm {
            context: company.context(),
            row: row.clone(),
        };
        let confirm = confirm.encode();
        ask(&company.lines[1], "mpc-confirm", confirm, Confirmed::decode)
            .await
            .unwrap();
        // it is the very share that was lost
        let element = SoftwareElement::open(&company.places[1].path("roots"), None).unwrap();
        let regen = Regen::<Ed25519>::new(&company.body).unwrap();
        let share = regen.regenerate(LOST as u8, &row.correction, |message, y| {
            on_crucible(|| element.evaluate(1, message, y)).unwrap();
            Ok::<_, Error>(())
        });
        assert_eq!(share.unwrap().expose(), company.lost.expose());
        company
    });
}

#[test]
fn whoever_sends_a_wrong_part_is_named_by_whom_it_was_sent_to() {
    tell(async {
        let company = Company::new("").await;
        for lie in [Lie::Summand, Lie::Sum] {
            let reply = refused(
                repaired(&company, lie).await,
                "does not fit what it announced",
            );
            let of: Vec<_> = reply.culprits.iter().map(|one| one.seat).collect();
            assert_eq!(of, [1]);
        }
        repaired(&company, Lie::None).await.unwrap();
        company
    });
}

#[test]
fn nothing_is_sent_to_who_has_not_the_share_of_its_seat() {
    tell(async {
        let company = Company::new("").await;
        // another seat's share will not do, nor points that are not of its part
        let other = Company::new("").await;
        let strangers = prove(&other.group, &other.own, &[0; 32]).unwrap();
        type Spoil<'a> = &'a dyn Fn(&mut Attempt<'_>);
        let cases: [(&str, Spoil<'_>); 3] = [
            ("has not proven", &|attempt| {
                attempt.said.proof = strangers.clone();
            }),
            // a box of whoever is in between
            ("has not proven", &|attempt| attempt.said.key = [9; 32]),
            ("does not add up", &|attempt| {
                attempt.said.points[0] = attempt.said.points[1].clone();
                attempt.prove(&company.own);
            }),
        ];
        for (what, spoil) in cases {
            let mut attempt = Attempt::new(&company);
            let (help, holder) = (attempt.help().await.unwrap(), attempt.wait().await.unwrap());
            spoil(&mut attempt);
            let all = [attempt.said.clone(), help];
            let reply = refused(attempt.split(&all, &holder).await, what);
            assert_eq!(reply.culprits[0].seat, 1);
            refused(attempt.split(&all, &holder).await, "begin anew");
        }
        (company, other)
    });
}

#[test]
fn what_was_decided_on_for_one_holder_goes_to_no_other() {
    tell(async {
        let company = Company::new("").await;
        let attempt = Attempt::new(&company);
        // the request is of one holder, and the turn of another
        let holder = company.holder();
        let another = attempt.ask_for_help("repair", &[3; 32], &holder);
        let asked = attempt.asked(another).await;
        refused(asked, "digest");
        let another = attempt.ask_for_help("reshare", &holder, &holder);
        let asked = attempt.asked(another).await;
        assert_eq!(asked.err().unwrap().code, Code::Unfit);
        // nor does one that helps seat itself, for which it would count twice
        let itself = company.lines[0].agent;
        let itself = attempt.ask_for_help("repair", &itself, &itself);
        refused(attempt.asked(itself).await, "would count twice");
        // whoever is in between signs for a box of its own
        let help = attempt.help().await.unwrap();
        let (_, public) = BoxKey::draw().unwrap();
        let statement = awaiting_statement(&attempt.hash, &public);
        let in_between = Awaiting {
            key: public,
            spki: attempt.identity.spki().to_vec(),
            signature: attempt.identity.sign(&statement).unwrap(),
        };
        let all = [attempt.said.clone(), help];
        refused(attempt.split(&all, &in_between).await, "has not signed");
        // one that helps twice counts once
        let attempt = Attempt::new(&company);
        let mut few = attempt.ask_for_help("repair", &holder, &holder);
        few.helpers = vec![0, 0];
        refused(attempt.asked(few).await, "must be different");
        company
    });
}

#[test]
fn parts_are_of_one_repair_and_of_what_all_were_told() {
    tell(async {
        let company = Company::new("").await;
        let attempt = Attempt::new(&company);
        let (help, holder) = (attempt.help().await.unwrap(), attempt.wait().await.unwrap());
        let all = [attempt.said.clone(), help];
        attempt.split(&all, &holder).await.unwrap();
        // sealed for another occasion, as where the test had told others something else
        let mut elsewhere = holder.clone();
        elsewhere.key[0] ^= 1;
        let for_others = repairing(&attempt.hash, &all, &elsewhere);
        let summand = attempt.sealed(&for_others, 0, &all[1].key, &attempt.summands[1].1);
        refused(attempt.sum(summand).await, "is not signed by that one");
        company
    });
}

#[test]
fn a_repair_that_was_stopped_at_any_turn_is_begun_anew() {
    tell(async {
        let mut company = Company::new("").await;
        for turns in 0..4 {
            let attempt = Attempt::new(&company);
            let (repair, said) = (attempt.repair, attempt.said.clone());
            let mut holder = None;
            let mut all = Vec::new();
            if turns > 0 {
                all = vec![said.clone(), attempt.help().await.unwrap()];
            }
            if turns > 1 {
                holder = Some(attempt.wait().await.unwrap());
            }
            if let (Some(holder), true) = (&holder, turns > 2) {
                attempt.split(&all, holder).await.unwrap();
            }
            // whatever it says, it is of a repair that nobody knows any more
            let parcel = attempt.sealed(&[0; 32], LOST, &said.key, &attempt.summands[0].1);
            drop(attempt);
            company.restart(turns % 2).await;
            // what was under way is not gone on with, and nothing is in the way of another
            if let (Some(holder), 0) = (&holder, turns % 2) {
                let split = Split {
                    repair,
                    holder: holder.clone(),
                    helpers: all,
                };
                let split = split.encode();
                refused(
                    ask(&company.lines[0], "mpc-split", split, Dealt::decode).await,
                    "begin anew",
                );
            } else if turns % 2 == 1 {
                let receive = Receive {
                    repair,
                    helpers: all,
                    parcels: vec![parcel.clone(), parcel],
                };
                refused(company.received(&receive).await, "begin anew");
            }
            repaired(&company, Lie::None).await.unwrap();
        }
        company
    });
}

#[test]
fn a_share_that_is_kept_and_whose_row_was_lost_is_received_again() {
    tell(async {
        let mut company = Company::of(Kind::Kept, "").await;
        let told = company.helped(LOST, HELPERS).await.unwrap();
        drop(company.received(&told).await.unwrap());
        company.restart(1).await;
        refused(company.received(&told).await, "begin anew");
        let told = company.helped(LOST, HELPERS).await.unwrap();
        let received = company.received(&told).await.unwrap();
        assert_eq!((received.epoch, received.correction), (1, None));
        assert!(company.is_kept(LOST).await);
        company
    });
}

#[test]
fn a_share_that_is_kept_is_never_replaced_by_another_seats() {
    tell(async {
        let company = Company::of(Kind::Kept, "").await;
        // Both are awaited before either comes.
        let first = company.helped(LOST, HELPERS).await.unwrap();
        let second = company.helped(1, [2, 0]).await.unwrap();
        company.received(&first).await.unwrap();
        refused(company.received(&second).await, "another seat's share");
        assert!(company.is_kept(LOST).await && !company.is_kept(1).await);
        refused(company.helped(1, [2, 0]).await, "another seat's share");
        // What cannot be read now may be read again: nothing takes its place either.
        let file = format!("shares/{}", hex::encode(company.body.id));
        let file = company.places[1].path(&file);
        let kept = std::fs::read(&file).unwrap();
        let third = company.helped(LOST, HELPERS).await.unwrap();
        std::fs::write(&file, &kept[1..]).unwrap();
        refused(company.helped(1, [2, 0]).await, "cannot be read");
        refused(company.received(&third).await, "cannot be read");
        std::fs::write(&file, &kept).unwrap();
        assert!(company.is_kept(LOST).await);
        company
    });
}

#[test]
fn the_policy_decides_to_whom_a_seat_goes() {
    tell(async {
        let policy = "permit(principal, action == Action::\"sign\", resource);";
        let company = Company::new(policy).await;
        let reply = Attempt::new(&company).help().await.err().unwrap();
        assert_eq!(reply.code, Code::Refused);
        assert!(reply.receipt.is_some(), "a refusal is logged");
        company
    });
}
