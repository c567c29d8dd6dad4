//! What an agent does for a coordinator that is not honest: keys that are never put together, at real agents, spoken to by hand.

mod common;

use common::together::{ask, context, header, opening, refused};
use common::{Caller, EVERY_ROLE, Line, Place, header as first_header, now, tell};
use evanesce_agent::{DECLARATION, Handle, spawn};
use evanesce_threshold::dkg::{Plan, begin, reshare};
use evanesce_threshold::sign::Signing;
use evanesce_threshold::{Ed25519, Group};
use evanesce_token::mpc::{Body, Header, Kind, formula as second};
use evanesce_token::{Gate, formula};
use evanesce_wire::client::Way;
use evanesce_wire::grant::{self, Grant, Revocation};
use evanesce_wire::message::threshold::{
    Agree, Agreed, Announce, Announced, Base, Commit, Committed, Confirm, Confirmed, Deal, Dealt,
    Forget, Forgot, Once, Parcel, Place as Seated, Prepare, Reply, Sign, Signed, Take, Taken,
    agreed_statement, announced_statement, ceremony_hash,
};
use evanesce_wire::message::{
    Batch, Code, Command, Context, Obeyed, Opening, Order, SeatFault, SeatRow, SignedOrder,
};
use evanesce_wire::parcel::{self, BoxKey};
use evanesce_wire::{FileIdentity, Id, Identity, System, World};

/// Three agents, and whoever asks them. A story hands it out of its runtime: agents that stop wait for connections.
struct Company {
    places: Vec<Place>,
    _agents: Vec<Handle>,
    lines: Vec<Line>,
    ops: Caller,
    /// Whom `ops` may let ask.
    bot: Caller,
    header: Header,
    ceremony: [u8; 32],
}

impl Company {
    async fn new(kind: Kind) -> Self {
        Self::of(kind, "").await
    }

    /// Three that keep prepared nonces.
    async fn preparing() -> Self {
        let declared = format!("---[threshold]\nprepared = \"{DECLARATION}\"");
        Self::of(Kind::Regenerated, &declared).await
    }

    async fn of(kind: Kind, more: &str) -> Self {
        let places: Vec<_> = (0..3).map(|_| Place::new(more)).collect();
        let ops = Caller::new("ops", places[0].dir.path());
        let bot = Caller::new("bot", places[0].dir.path());
        let (mut agents, mut lines) = (Vec::new(), Vec::new());
        for place in &places {
            place.know(&[(&ops, EVERY_ROLE), (&bot, "\"caller\", \"minter\"")]);
            let agent = spawn(place.config()).unwrap();
            lines.push(ops.open(agent.address(), agent.id()).await);
            agents.push(agent);
        }
        let mut ceremony = [0; 32];
        evanesce_secret::random(&mut ceremony);
        Self {
            places,
            _agents: agents,
            lines,
            ops,
            bot,
            header: header(kind, ""),
            ceremony,
        }
    }

    fn ids(&self) -> Vec<Id> {
        self.lines.iter().map(|line| line.agent).collect()
    }

    async fn announce(&self) -> Vec<Announced> {
        self.announce_on(None).await
    }

    /// The same, where the shares of what was made before are renewed.
    async fn announce_on(&self, old: Option<&Made>) -> Vec<Announced> {
        let mut all = Vec::new();
        for (seat, line) in (0..).zip(&self.lines) {
            let announce = Announce {
                ceremony: self.ceremony,
                header: self.header.encode(),
                agents: self.ids(),
                seat,
                base: old.map(|old| old.base(line, seat as usize, &self.header)),
            };
            let said = ask(line, "mpc-announce", announce.encode(), Announced::decode).await;
            all.push(said.unwrap());
        }
        all
    }

    async fn agree(&self, seat: usize, announcements: &[Announced]) -> Result<Agreed, Box<Reply>> {
        let agree = Agree {
            ceremony: self.ceremony,
            announcements: announcements.to_vec(),
        };
        ask(
            &self.lines[seat],
            "mpc-agree",
            agree.encode(),
            Agreed::decode,
        )
        .await
    }

    async fn deal(&self, seat: usize, signatures: &[Vec<u8>]) -> Result<Dealt, Box<Reply>> {
        let deal = Deal {
            ceremony: self.ceremony,
            signatures: signatures.to_vec(),
        };
        ask(&self.lines[seat], "mpc-deal", deal.encode(), Dealt::decode).await
    }

    async fn take(&self, seat: usize, parcels: Vec<Parcel>) -> Result<Taken, Box<Reply>> {
        let take = Take {
            ceremony: self.ceremony,
            parcels,
        };
        ask(&self.lines[seat], "mpc-take", take.encode(), Taken::decode).await
    }

    async fn forget(
        &self,
        seat: usize,
        made: &Made,
        signatures: &[Vec<u8>],
    ) -> Result<Forgot, Box<Reply>> {
        let forget = Forget {
            ceremony: self.ceremony,
            epochs: made.rows.iter().map(|row| row.epoch).collect(),
            signatures: signatures.to_vec(),
        };
        ask(
            &self.lines[seat],
            "mpc-forget",
            forget.encode(),
            Forgot::decode,
        )
        .await
    }

    /// Until shares have been dealt: what each seat is sent.
    async fn dealt(&self) -> Vec<Vec<Parcel>> {
        let announced = self.announce().await;
        self.deal_on(announced).await
    }

    async fn deal_on(&self, announced: Vec<Announced>) -> Vec<Vec<Parcel>> {
        let signatures = self.signatures(&announced).await;
        self.inbound(&signatures).await
    }

    async fn signatures(&self, announced: &[Announced]) -> Vec<Vec<u8>> {
        let mut signatures = Vec::new();
        for seat in 0..3 {
            signatures.push(self.agree(seat, announced).await.unwrap().signature);
        }
        signatures
    }

    async fn inbound(&self, signatures: &[Vec<u8>]) -> Vec<Vec<Parcel>> {
        let mut inbound = vec![Vec::new(); 3];
        for from in 0..3 {
            for parcel in self.deal(from, signatures).await.unwrap().parcels {
                let seat = from as u32;
                inbound[parcel.seat as usize].push(Parcel { seat, ..parcel });
            }
        }
        inbound
    }

    async fn made(&self) -> Made {
        let dealt = self.dealt().await;
        self.made_of(dealt).await
    }

    async fn made_of(&self, dealt: Vec<Vec<Parcel>>) -> Made {
        let mut rows = Vec::new();
        let mut body = None;
        for (seat, parcels) in dealt.into_iter().enumerate() {
            let taken = self.take(seat, parcels).await.unwrap();
            let (bytes, transcript) = (self.header.encode(), taken.transcript);
            body = Some(Body::new(bytes, taken.vector, transcript).unwrap());
            rows.push(SeatRow {
                seat: seat as u32,
                holder: self.lines[seat].agent,
                epoch: taken.epoch,
                correction: taken.correction.unwrap_or_default(),
            });
        }
        let body = body.unwrap();
        Made { body, rows }
    }

    /// From here on it renews the shares of what was made.
    fn begin_renewal(&mut self, made: &Made) {
        evanesce_secret::random(&mut self.header.nonce);
        evanesce_secret::random(&mut self.ceremony);
        self.header.replaces = Some(made.body.id);
    }

    /// What begins a reshare at the agent of that seat, under the header as it is by now; the agents in their order, however few.
    fn resharing(&self, old: &Made, seat: usize, givers: &[(u32, u32)], asked: bool) -> Announce {
        let agents = self.ids()[..self.header.quorum.of.len()].to_vec();
        let deal = second::deal(self.header.kind, &self.header.encode());
        let inputs = second::reshare_inputs(&deal, &agents);
        let opening = asked.then(|| old.leave(&self.lines[seat], seat, &inputs));
        Announce {
            ceremony: self.ceremony,
            header: self.header.encode(),
            agents,
            seat: seat as u32,
            base: Some(Base {
                context: old.context(),
                opening,
                givers: Some(givers.to_vec()),
            }),
        }
    }

    /// Has an agent begin so.
    async fn begin(&self, seat: usize, announce: &Announce) -> Result<Announced, Box<Reply>> {
        let line = &self.lines[seat];
        ask(line, "mpc-announce", announce.encode(), Announced::decode).await
    }

    /// Lets `bot` sign with a key in the place of `ops`.
    fn grant(&self, made: &Made) -> grant::Signed {
        let grant = Grant {
            token: made.body.id,
            grantor: self.ops.identity.caller_id(),
            delegate: self.bot.identity.caller_id(),
            parent: None,
            further: false,
            actions: vec!["sign".into()],
            suites: vec!["frost-ed25519".into()],
            bounds: vec![],
            count: None,
            not_before: 0,
            expires: now() + 1800,
            nonce: [7; 16],
        };
        grant::Signed::new(&grant, &*self.ops.identity).unwrap()
    }

    /// Has an agent obey an order about a token.
    async fn order(&self, seat: usize, made: &Made, command: Command) {
        let mut nonce = [0; 16];
        evanesce_secret::random(&mut nonce);
        let order = Order {
            token: made.body.id,
            command,
            caller: self.lines[seat].caller,
            issued: System.unix_millis(),
            nonce,
        };
        let signed = SignedOrder::sign(&order, made.context(), &*self.ops.identity).unwrap();
        let way = &self.lines[seat].connection;
        let answer = way.post("/v1/order", signed.encode()).await.unwrap();
        assert_eq!(Obeyed::decode(&answer).unwrap().code, Code::Done);
    }

    async fn confirm(&self, seat: usize, made: &Made) -> Result<Confirmed, Box<Reply>> {
        let confirm = Confirm {
            context: made.context(),
            row: made.rows[seat].clone(),
        };
        ask(
            &self.lines[seat],
            "mpc-confirm",
            confirm.encode(),
            Confirmed::decode,
        )
        .await
    }
}

struct Made {
    body: Body,
    rows: Vec<SeatRow>,
}

impl Made {
    fn context(&self) -> Context {
        context(&self.body)
    }

    /// What asks whether shares may be renewed under that header, for those who have them.
    fn base(&self, line: &Line, seat: usize, header: &Header) -> Base {
        let deal = second::deal(header.kind, &header.encode());
        let agents: Vec<_> = self.rows.iter().map(|row| row.holder).collect();
        let inputs = second::reshare_inputs(&deal, &agents);
        Base {
            context: self.context(),
            opening: Some(self.leave(line, seat, &inputs)),
            givers: None,
        }
    }

    /// The leave of the agent at an old seat.
    fn leave(&self, line: &Line, seat: usize, inputs: &[&[u8]]) -> Opening {
        let row = &self.rows[seat];
        opening(line, &self.body, row, ("reshare", ""), inputs)
    }

    fn commit(&self, line: &Line, seat: usize, asked: &[u8], given: &[u8]) -> Commit {
        let sign = ("sign", self.body.header.suite.as_str());
        Commit {
            context: self.context(),
            opening: opening(line, &self.body, &self.rows[seat], sign, &[asked]),
            messages: vec![Some(given.to_vec())],
        }
    }
}

/// Has nonces prepared at a seat.
async fn prepare(
    line: &Line,
    made: &Made,
    seat: usize,
    count: usize,
) -> Result<Vec<Seated>, Box<Reply>> {
    let prepare = Prepare {
        context: made.context(),
        row: made.rows[seat].clone(),
        count,
    };
    let said = ask(line, "mpc-prepare", prepare.encode(), Committed::decode).await?;
    let Committed::Points(points) = said else {
        panic!("no commitments")
    };
    let seat = seat as u32;
    let place = |points| Seated { seat, points };
    Ok(points.into_iter().map(place).collect())
}

/// Has one message signed in one round.
async fn once(
    line: &Line,
    made: &Made,
    seat: usize,
    message: &[u8],
    places: &[Seated],
) -> Result<Signed, Box<Reply>> {
    let once = Once {
        commit: made.commit(line, seat, message, message),
        commitments: vec![places.to_vec()],
    };
    ask(line, "mpc-once", once.encode(), Signed::decode).await
}

fn unprepared<T>(found: Result<T, Box<Reply>>) {
    let reply = refused(found, "in two rounds");
    assert!(reply.code == Code::Unprepared && reply.receipt.is_none());
}

#[test]
fn nothing_secret_leaves_where_not_all_were_told_the_same() {
    tell(async {
        let company = Company::new(Kind::Regenerated).await;
        let announced = company.announce().await;
        // the agent at seat 0 says something else to the others: it signs both
        let identity = FileIdentity::open(&company.places[0].path("identity.key")).unwrap();
        let plan = Plan::of(&company.header, &company.ids(), 0).unwrap();
        let (_, announcement) = begin::<Ed25519>(plan).unwrap();
        let (_, key) = BoxKey::draw().unwrap();
        let bytes = company.header.encode();
        let hash = ceremony_hash(&company.ceremony, &bytes, &company.ids());
        let statement = announced_statement(&hash, 0, &announcement, &key);
        let mut other = announced.clone();
        other[0] = Announced {
            spki: identity.spki().to_vec(),
            key,
            signature: identity.sign(&statement).unwrap(),
            announcement,
        };
        let zero = company.agree(0, &announced).await.unwrap();
        let one = company.agree(1, &announced).await.unwrap();
        let two = company.agree(2, &other).await.unwrap();
        assert!(zero.transcript == one.transcript && one.transcript != two.transcript);
        let signatures = [zero.signature, one.signature, two.signature];
        for (seat, blamed) in [(1, 2), (2, 0)] {
            let reply = refused(company.deal(seat, &signatures).await, "told something else");
            assert_eq!(reply.culprits[0].seat, blamed);
        }
        // and a signature that is missing is not had by asking again
        refused(company.deal(1, &signatures).await, "begin anew");
        company
    });
}

#[test]
fn what_a_coordinator_alters_or_leaves_out_is_noticed() {
    tell(async {
        let company = Company::new(Kind::Kept).await;
        let mut announced = company.announce().await;
        announced[1].key[0] ^= 1;
        let reply = refused(
            company.agree(0, &announced).await,
            "not signed by the agent",
        );
        assert_eq!(reply.culprits[0].seat, 1);

        let first = company;
        let company = Company::new(Kind::Kept).await;
        let mut inbound = company.dealt().await;
        // of another caller it takes nothing, and ends nothing
        let line = &company.lines[1];
        let others = company
            .bot
            .open(company._agents[1].address(), line.agent)
            .await;
        let take = Take {
            ceremony: company.ceremony,
            parcels: inbound[1].clone(),
        };
        let taken = ask(&others, "mpc-take", take.encode(), Taken::decode).await;
        refused(taken, "no such ceremony of this caller's");
        inbound[0][0].sealed.sealed[0] ^= 1;
        refused(
            company.take(0, inbound[0].clone()).await,
            "not signed by that one",
        );
        inbound[1].pop();
        refused(
            company.take(1, inbound[1].clone()).await,
            "one share of each other seat",
        );
        // what was meant for another seat, in the place of this one's
        let mut swapped = inbound[2].clone();
        swapped[0].sealed = inbound[0][0].sealed.clone();
        refused(company.take(2, swapped).await, "not signed by that one");
        for place in &company.places {
            assert!(!place.path("shares").exists(), "nothing was kept");
        }
        (first, company, others)
    });
}

#[test]
fn what_was_dealt_is_held_until_all_have_signed_that_they_have_their_shares() {
    for kind in Kind::ALL {
        tell(async {
            let company = Company::new(kind).await;
            let made = company.made().await;
            let mut signatures = Vec::new();
            for seat in 0..3 {
                let confirmed = company.confirm(seat, &made).await.unwrap();
                let statement = second::regenerated_statement(
                    kind,
                    &made.body.id,
                    seat as u32,
                    made.rows[seat].epoch,
                );
                let spki = company.lines[seat].connection.peer_spki().to_vec();
                assert!(evanesce_wire::verify_statement(
                    &spki,
                    &statement,
                    &confirmed.signature
                ));
                signatures.push(confirmed.signature);
            }
            let mut short = signatures.clone();
            short[2] = signatures[1].clone();
            let reply = refused(
                company.forget(0, &made, &short).await,
                "has not signed that it has",
            );
            assert_eq!(reply.culprits[0].seat, 2);
            for seat in 0..3 {
                company.forget(seat, &made, &signatures).await.unwrap();
            }
            let mut altered = made;
            let made_row = altered.rows[0].clone();
            altered.rows[0].correction[0] ^= 1;
            let found = company.confirm(0, &altered).await;
            let regenerated = kind == Kind::Regenerated;
            assert_eq!(
                found.is_err(),
                regenerated,
                "a correction is of use in one kind alone"
            );
            altered.rows[0] = made_row;
            assert!(company.confirm(0, &altered).await.is_ok());
            altered.rows[0].epoch = 9;
            let found = company.confirm(0, &altered).await.unwrap_err();
            assert_eq!(found.fault, Some(SeatFault::EpochNotHeld), "of either kind");
            altered.rows[0].epoch = 1;
            altered.rows[0].seat = 1;
            assert!(company.confirm(0, &altered).await.is_err());
            company
        });
    }
}

#[test]
fn an_agent_signs_once_what_it_decided_on_for_whom_it_decided() {
    tell(async {
        let company = Company::new(Kind::Regenerated).await;
        let made = company.made().await;
        let group = Group::<Ed25519>::new(3, &made.body.vector).unwrap();
        let line = &company.lines[0];
        let commit = async |asked: &[u8], given: &[u8], seat: usize| {
            let line = &company.lines[seat];
            let commit = made.commit(line, seat, asked, given);
            let hash = formula::request_hash(&[&commit.opening.requests[0]]);
            let said = ask(line, "mpc-commit", commit.encode(), Committed::decode).await?;
            let Committed::Points(mut points) = said else {
                panic!("no commitments")
            };
            Ok::<_, Box<Reply>>((hash, points.remove(0)))
        };
        let other = commit(b"pay 1", b"pay 1000", 0).await;
        assert_eq!(
            refused(other, "not that of what is given").code,
            Code::Refused
        );

        let sign = async |line: &Line, request, places: &[Seated]| {
            let sign = Sign {
                request,
                commitments: vec![places.to_vec()],
            };
            ask(line, "mpc-sign", sign.encode(), Committed::decode).await
        };
        let (zero, one) = (
            commit(b"m", b"m", 0).await.unwrap(),
            commit(b"m", b"m", 1).await.unwrap(),
        );
        let place = |seat, points: &Vec<u8>| Seated {
            seat,
            points: points.clone(),
        };
        let places = [place(0, &zero.1), place(1, &one.1)];
        // another session of the same caller neither has the nonces nor ends them
        let address = company._agents[0].address();
        let elsewhere = company.ops.open(address, line.agent).await;
        refused(sign(&elsewhere, zero.0, &places).await, "no nonces wait");
        let mut shares = Vec::new();
        for (seat, request) in [(0, zero.0), (1, one.0)] {
            let signed = sign(&company.lines[seat], request, &places).await.unwrap();
            let Committed::Shares(all) = signed else {
                panic!("no share")
            };
            shares.push((seat as u8, all[0]));
        }
        let both: Vec<_> = places.iter().map(|p| (p.seat as u8, &p.points)).collect();
        let signing = Signing::new(&group, b"m", &both).unwrap();
        let signature = signing.aggregate(&shares).unwrap();
        assert!(group.verify(b"m", &signature));
        // once
        refused(sign(line, zero.0, &places).await, "no nonces wait");
        // commitments that are not its own, in its name: refused, and the nonces are gone all the same
        let again = commit(b"m", b"m", 0).await.unwrap();
        refused(sign(line, again.0, &places).await, "not its own");
        let own = [place(0, &again.1), place(1, &one.1)];
        refused(sign(line, again.0, &own).await, "no nonces wait");
        (company, elsewhere)
    });
}

#[test]
fn a_renewal_does_not_outlive_the_token_that_it_is_of() {
    tell(async {
        let mut company = Company::new(Kind::Kept).await;
        let old = company.made().await;
        for (command, why) in [
            (Command::Freeze, "frozen here"),
            (Command::Revoke, "retired here"),
        ] {
            company.begin_renewal(&old);
            let announced = company.announce_on(Some(&old)).await;
            let inbound = company.deal_on(announced).await;
            company.order(0, &old, command).await;
            refused(company.take(0, inbound[0].clone()).await, why);
            // where nothing was ordered it goes on
            assert!(company.take(1, inbound[1].clone()).await.is_ok());
            if command == Command::Freeze {
                company.order(0, &old, Command::Thaw).await;
            }
        }
        company
    });
}

#[test]
fn shares_are_renewed_at_the_same_seats_of_the_same_quorum() {
    tell(async {
        let mut company = Company::new(Kind::Regenerated).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        for (quorum, why) in [
            ("3 of (a, b, c)", "at the same seats"),
            ("2 of (a, b, d)", "at the same seats"),
        ] {
            company.header.quorum = Gate::parse(quorum).unwrap();
            let line = &company.lines[0];
            let announce = Announce {
                ceremony: company.ceremony,
                header: company.header.encode(),
                agents: company.ids(),
                seat: 0,
                base: Some(old.base(line, 0, &company.header)),
            };
            let said = ask(line, "mpc-announce", announce.encode(), Announced::decode).await;
            refused(said, why);
        }
        company
    });
}

/// The attack on a refresh: rows are outside of the id, so that an agent cannot know who sits beside it. Each honest holder would be led into a
/// ceremony of its own among agents of the coordinator's, and its old share be gone.
#[test]
fn shares_are_renewed_with_those_agents_alone_that_were_named_when_it_was_permitted() {
    for kind in Kind::ALL {
        tell(async {
            let mut company = Company::new(kind).await;
            let old = company.made().await;
            company.begin_renewal(&old);
            for seat in 0..3 {
                let announce = |agents| Announce {
                    ceremony: company.ceremony,
                    header: company.header.encode(),
                    agents,
                    seat,
                    base: Some(old.base(
                        &company.lines[seat as usize],
                        seat as usize,
                        &company.header,
                    )),
                };
                // one of the coordinator's at another seat, and two that have each other's
                let mut foreign = company.ids();
                foreign[(seat as usize + 1) % 3] = [7; 32];
                let mut swapped = company.ids();
                swapped.swap((seat as usize + 1) % 3, (seat as usize + 2) % 3);
                for agents in [foreign, swapped] {
                    let reply = refused(
                        company.begin(seat as usize, &announce(agents)).await,
                        "not that of what is given",
                    );
                    assert_eq!(reply.code, Code::Refused);
                }
                let right = announce(company.ids());
                company.begin(seat as usize, &right).await.unwrap();
            }
            company
        });
    }
}

#[test]
fn an_agent_gives_its_own_share_and_no_other_seat_gives_it() {
    tell(async {
        let mut company = Company::new(Kind::Regenerated).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        let wrong = "the list of givers is wrong of this agent";
        for (givers, asked, why) in [
            // another seat's share is to be had of it, or its own of another
            (&[(0, 1), (2, 2)][..], true, wrong),
            (&[(1, 0), (2, 2)], true, wrong),
            (&[(0, 1), (1, 0)], true, wrong),
            // its own, without its leave
            (&[(0, 0), (2, 2)], false, wrong),
            // more than are needed, one twice, and one that is not there
            (&[(0, 0), (1, 1), (2, 2)], true, "must be 2 of its 3"),
            (&[(1, 2), (2, 2)], true, "must be 2 of its 3"),
            (&[(0, 0), (3, 1)], true, "must be 2 of its 3"),
        ] {
            let announce = company.resharing(&old, 0, givers, asked);
            refused(company.begin(0, &announce).await, why);
        }
        let givers = [(0, 0), (2, 2)];
        let mut other = company.resharing(&old, 0, &givers, true);
        other.agents[1] = [7; 32];
        refused(company.begin(0, &other).await, "not that of what is given");
        company.header.name = "another".into();
        let other = company.resharing(&old, 0, &givers, true);
        refused(company.begin(0, &other).await, "under the same name");
        company.header.name = old.body.header.name.clone();
        company.header.suite = "frost-secp256k1-tr".into();
        let other = company.resharing(&old, 0, &givers, true);
        refused(company.begin(0, &other).await, "in the same suite");
        company.header.suite = old.body.header.suite.clone();
        let right = company.resharing(&old, 0, &givers, true);
        company.begin(0, &right).await.unwrap();
        company
    });
}

#[test]
fn different_lists_of_givers_are_noticed_before_anything_secret_leaves() {
    tell(async {
        let mut company = Company::new(Kind::Kept).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        company.header.quorum = Gate::parse("3 of (a, b, c)").unwrap();
        let mut announced = Vec::new();
        // each is told what is so of it
        for (seat, givers) in [[(0, 0), (1, 1)], [(0, 0), (1, 1)], [(0, 0), (2, 2)]]
            .iter()
            .enumerate()
        {
            let announce = company.resharing(&old, seat, givers, true);
            announced.push(company.begin(seat, &announce).await.unwrap());
        }
        let mut signatures = Vec::new();
        for seat in 0..3 {
            signatures.push(company.agree(seat, &announced).await.unwrap().signature);
        }
        for (seat, blamed) in [(0, 2), (1, 2), (2, 0)] {
            let reply = refused(company.deal(seat, &signatures).await, "told something else");
            assert_eq!(reply.culprits[0].seat, blamed);
        }
        for seat in 0..3 {
            company.confirm(seat, &old).await.unwrap();
        }
        company
    });
}

#[test]
fn of_an_agent_that_was_not_asked_for_its_leave_no_share_is_removed() {
    tell(async {
        let mut company = Company::new(Kind::Kept).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        let mut announced = Vec::new();
        for seat in 0..3 {
            let announce = company.resharing(&old, seat, &[(0, 0), (1, 1)], seat < 2);
            announced.push(company.begin(seat, &announce).await.unwrap());
        }
        let dealt = company.deal_on(announced).await;
        let new = company.made_of(dealt).await;
        assert_eq!(new.body.vector[0], old.body.vector[0]);
        let mut signatures = Vec::new();
        for seat in 0..3 {
            signatures.push(company.confirm(seat, &new).await.unwrap().signature);
        }
        for (seat, removed) in [(0, 1), (1, 1), (2, 0)] {
            let forgot = company.forget(seat, &new, &signatures).await.unwrap();
            assert_eq!(forgot.removed, removed);
        }
        company.confirm(2, &old).await.unwrap();
        let reply = company.confirm(0, &old).await.err().unwrap();
        assert_eq!(reply.fault, Some(SeatFault::CannotRegenerate));
        company
    });
}

#[test]
fn who_is_to_give_a_share_and_deals_something_else_is_named_and_nothing_has_changed() {
    tell(async {
        let mut company = Company::new(Kind::Kept).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        let givers = [(0, 0), (1, 1)];
        let ids = company.ids();
        // the agent at seat 1 signs what the others do, and deals as one that has nothing to give
        let identity = FileIdentity::open(&company.places[1].path("identity.key")).unwrap();
        let plan = Plan::of(&company.header, &ids, 1).unwrap();
        let group = Group::<Ed25519>::new(3, &old.body.vector).unwrap();
        let (liar, announcement) = reshare(plan, &group, &[(0, 0), (2, 2)]).unwrap();
        let (_, key) = BoxKey::draw().unwrap();
        let hash = ceremony_hash(&company.ceremony, &company.header.encode(), &ids);
        let statement = announced_statement(&hash, 1, &announcement, &key);
        let mut announced = Vec::new();
        for seat in [0, 2] {
            let announce = company.resharing(&old, seat, &givers, true);
            announced.push(company.begin(seat, &announce).await.unwrap());
        }
        let said = Announced {
            spki: identity.spki().to_vec(),
            key,
            signature: identity.sign(&statement).unwrap(),
            announcement,
        };
        announced.insert(1, said);
        let zero = company.agree(0, &announced).await.unwrap();
        let two = company.agree(2, &announced).await.unwrap();
        let boxes: Vec<_> = announced.iter().map(|one| one.key).collect();
        let for_all = agreed_statement(&hash, &zero.transcript, &boxes);
        let one = identity.sign(&for_all).unwrap();
        let signatures = [zero.signature, one, two.signature];
        company.deal(0, &signatures).await.unwrap();
        let mut parcels = company.deal(2, &signatures).await.unwrap().parcels;
        parcels.retain(|parcel| parcel.seat == 0);
        parcels[0].seat = 2;

        let said: Vec<_> = announced.iter().map(|one| &one.announcement).collect();
        let heard = liar.hear(&said).unwrap();
        let echoes = vec![heard.digests().to_vec(); 3];
        let (_, shares) = heard.compare(&echoes).unwrap();
        let sealed = parcel::seal(&boxes[0], &parcel::aad(&for_all, 1, 0), &shares[0].1).unwrap();
        let statement = parcel::statement(&for_all, 1, 0, &sealed);
        parcels.push(Parcel {
            seat: 1,
            sealed,
            signature: identity.sign(&statement).unwrap(),
        });
        let reply = refused(
            company.take(0, parcels).await,
            "others have sent what is wrong",
        );
        let named: Vec<_> = reply.culprits.iter().map(|one| one.seat).collect();
        assert_eq!(named, [1]);
        assert!(reply.culprits[0].reason.contains("does not fit"));
        for seat in 0..3 {
            company.confirm(seat, &old).await.unwrap();
        }
        company
    });
}

#[test]
fn what_is_ordered_of_a_key_holds_at_every_turn_in_which_it_goes_to_another_quorum() {
    for (command, why) in [
        (Command::Freeze, "frozen here"),
        (Command::Revoke, "retired here"),
    ] {
        // one that gives, and one that was shown no row
        for seat in [0, 2] {
            tell(async {
                let mut company = Company::new(Kind::Regenerated).await;
                for turn in ["agree", "deal", "take"] {
                    company.header.replaces = None;
                    let old = company.made().await;
                    company.begin_renewal(&old);
                    let mut announced = Vec::new();
                    for seat in 0..3 {
                        let announce = company.resharing(&old, seat, &[(0, 0), (1, 1)], seat < 2);
                        announced.push(company.begin(seat, &announce).await.unwrap());
                    }
                    // where nothing was ordered it goes on
                    if turn == "agree" {
                        company.order(seat, &old, command).await;
                        refused(company.agree(seat, &announced).await, why);
                        refused(company.agree(seat, &announced).await, "begin anew");
                        assert!(company.agree(1, &announced).await.is_ok());
                    } else if turn == "deal" {
                        let signatures = company.signatures(&announced).await;
                        company.order(seat, &old, command).await;
                        refused(company.deal(seat, &signatures).await, why);
                        refused(company.deal(seat, &signatures).await, "begin anew");
                        assert!(company.deal(1, &signatures).await.is_ok());
                    } else {
                        let inbound = company.deal_on(announced).await;
                        company.order(seat, &old, command).await;
                        refused(company.take(seat, inbound[seat].clone()).await, why);
                        refused(
                            company.take(seat, inbound[seat].clone()).await,
                            "begin anew",
                        );
                        assert!(company.take(1, inbound[1].clone()).await.is_ok());
                    }
                    evanesce_secret::random(&mut company.header.nonce);
                    evanesce_secret::random(&mut company.ceremony);
                }
                company
            });
        }
    }
}

#[test]
fn a_reshare_ends_where_a_giver_has_lost_its_share_and_nothing_has_changed() {
    tell(async {
        let mut company = Company::new(Kind::Kept).await;
        let old = company.made().await;
        company.begin_renewal(&old);
        let mut announced = Vec::new();
        for seat in 0..3 {
            let announce = company.resharing(&old, seat, &[(0, 0), (1, 1)], true);
            announced.push(company.begin(seat, &announce).await.unwrap());
        }
        let mut signatures = Vec::new();
        for seat in 0..3 {
            signatures.push(company.agree(seat, &announced).await.unwrap().signature);
        }
        let name = format!("shares/{}", hex::encode(old.body.id));
        std::fs::remove_file(company.places[1].path(&name)).unwrap();
        let reply = company.deal(1, &signatures).await.err().unwrap();
        assert_eq!(reply.fault, Some(SeatFault::CannotRegenerate));
        refused(company.deal(1, &signatures).await, "begin anew");
        company.deal(0, &signatures).await.unwrap();
        let mut parcels = company.deal(2, &signatures).await.unwrap().parcels;
        parcels.retain(|parcel| parcel.seat == 0);
        parcels[0].seat = 2;
        refused(
            company.take(0, parcels).await,
            "one share of each other seat",
        );
        company.confirm(0, &old).await.unwrap();
        company.confirm(2, &old).await.unwrap();
        company
    });
}

#[test]
fn what_was_decided_under_a_grant_is_not_signed_once_that_has_ended() {
    tell(async {
        let mut company = Company::new(Kind::Regenerated).await;
        company.header.policy =
            "@delegable(\"1\") permit(principal == Caller::\"ops\", action, resource);".into();
        let made = company.made().await;
        let mut lines = Vec::new();
        for (agent, line) in company._agents.iter().zip(&company.lines) {
            lines.push(company.bot.open(agent.address(), line.agent).await);
        }
        let grant = company.grant(&made);
        let ask_both = async || {
            let mut places = Vec::new();
            let mut requests = Vec::new();
            for (seat, line) in lines[..2].iter().enumerate() {
                let mut commit = made.commit(line, seat, b"m", b"m");
                commit.opening.evidence.grants = vec![grant.encode()];
                requests.push(formula::request_hash(&[&commit.opening.requests[0]]));
                let said = ask(line, "mpc-commit", commit.encode(), Committed::decode).await;
                let Committed::Points(mut points) = said.unwrap() else {
                    panic!("no commitments")
                };
                places.push(Seated {
                    seat: seat as u32,
                    points: points.remove(0),
                });
            }
            (requests, places)
        };
        let sign = async |request, places: Vec<Seated>| {
            let sign = Sign {
                request,
                commitments: vec![places],
            };
            ask(&lines[0], "mpc-sign", sign.encode(), Committed::decode).await
        };
        let (requests, places) = ask_both().await;
        assert!(sign(requests[0], places).await.is_ok());
        let (requests, places) = ask_both().await;
        let word = Revocation::new(&grant.encode(), &*company.ops.identity).unwrap();
        let way = &company.lines[0].connection;
        way.post("/v1/revoke-grant", word.encode()).await.unwrap();
        refused(sign(requests[0], places).await, "the grant was revoked");
        (company, lines)
    });
}

#[test]
fn nonces_that_were_prepared_sign_in_one_round_what_is_decided_on_and_then_are_gone() {
    tell(async {
        let company = Company::preparing().await;
        let made = company.made().await;
        let group = Group::<Ed25519>::new(3, &made.body.vector).unwrap();
        let lines = &company.lines;
        let zero = prepare(&lines[0], &made, 0, 8).await.unwrap();
        let one = prepare(&lines[1], &made, 1, 2).await.unwrap();
        assert_eq!((zero.len(), one.len()), (8, 2));

        let places = [zero[0].clone(), one[0].clone()];
        let mut shares = Vec::new();
        for (seat, line) in lines[..2].iter().enumerate() {
            let signed = once(line, &made, seat, b"m", &places).await.unwrap();
            assert_eq!(signed.prepared.len(), 1, "others in their place");
            shares.push((seat as u8, signed.shares[0]));
        }
        let both: Vec<_> = places.iter().map(|p| (p.seat as u8, &p.points)).collect();
        let signing = Signing::new(&group, b"m", &both).unwrap();
        let signature = signing.aggregate(&shares).unwrap();
        assert!(group.verify(b"m", &signature));

        // The same again, or for another message: nothing is signed twice under them.
        unprepared(once(&lines[0], &made, 0, b"m", &places).await);
        unprepared(once(&lines[0], &made, 0, b"n", &places).await);

        // Of two at the same moment one finds them.
        let places = [zero[1].clone(), one[1].clone()];
        let (first, second) = tokio::join!(
            once(&lines[0], &made, 0, b"first", &places),
            once(&lines[0], &made, 0, b"second", &places)
        );
        assert!(first.is_ok() != second.is_ok());
        unprepared(if first.is_ok() { second } else { first });

        // What is refused has used them up.
        let with = |n: usize| [zero[n].clone(), one[1].clone()];
        let asked = Once {
            commit: made.commit(&lines[0], 0, b"pay 1", b"pay 1000"),
            commitments: vec![with(2).to_vec()],
        };
        let said = ask(&lines[0], "mpc-once", asked.encode(), Signed::decode).await;
        refused(said, "not that of what is given");
        unprepared(once(&lines[0], &made, 0, b"pay 1", &with(2)).await);

        // Neither commitments of others in its name nor a list without it.
        let mut others = with(3);
        others[0].points = one[1].points.clone();
        unprepared(once(&lines[0], &made, 0, b"m", &others).await);
        let without = [
            one[0].clone(),
            Seated {
                seat: 2,
                ..one[1].clone()
            },
        ];
        let said = once(&lines[0], &made, 0, b"m", &without).await;
        assert_eq!(refused(said, "not among those").code, Code::Malformed);
        once(&lines[0], &made, 0, b"m", &with(3)).await.unwrap();

        // What is ordered holds for them.
        company.order(0, &made, Command::Freeze).await;
        refused(once(&lines[0], &made, 0, b"m", &with(4)).await, "frozen");
        refused(prepare(&lines[0], &made, 0, 1).await, "frozen");
        company
    });
}

#[test]
fn nonces_that_were_prepared_are_of_one_caller_session_and_token_and_of_one_life_of_the_agent() {
    tell(async {
        let mut company = Company::preparing().await;
        let made = company.made().await;
        evanesce_secret::random(&mut company.header.nonce);
        evanesce_secret::random(&mut company.ceremony);
        let other = company.made().await;
        let (line, address) = (&company.lines[0], company._agents[0].address());
        let own = prepare(line, &made, 0, 2).await.unwrap();
        let one = prepare(&company.lines[1], &made, 1, 1).await.unwrap();
        let with = |n: usize| [own[n].clone(), one[0].clone()];
        let elsewhere = company.ops.open(address, line.agent).await;
        unprepared(once(&elsewhere, &made, 0, b"m", &with(0)).await);
        let bot = company.bot.open(address, line.agent).await;
        unprepared(once(&bot, &made, 0, b"m", &with(0)).await);
        unprepared(once(line, &other, 0, b"m", &with(0)).await);
        // none of which has ended them
        once(line, &made, 0, b"m", &with(0)).await.unwrap();

        drop((elsewhere, bot));
        drop(company.lines.remove(0));
        drop(company._agents.remove(0));
        let agent = spawn(company.places[0].config()).unwrap();
        let line = company.ops.open(agent.address(), agent.id()).await;
        unprepared(once(&line, &made, 0, b"m", &with(1)).await);
        (company, agent, line)
    });
}

#[test]
fn an_agent_keeps_no_nonces_unless_it_is_told_in_words() {
    tell(async {
        let company = Company::new(Kind::Regenerated).await;
        let made = company.made().await;
        unprepared(prepare(&company.lines[0], &made, 0, 1).await);
        let place = |seat| Seated {
            seat,
            points: vec![1; 64],
        };
        let said = once(&company.lines[0], &made, 0, b"m", &[place(0), place(1)]).await;
        unprepared(said);
        company
    });
}

#[test]
fn verbs_of_the_one_kind_refuse_tokens_of_the_other_in_words() {
    tell(async {
        let company = Company::new(Kind::Regenerated).await;
        let made = company.made().await;
        let line = &company.lines[0];
        let token = line.mint(first_header("1 of (a)", "")).await.unwrap();
        let commit = Commit {
            context: token.context(),
            ..made.commit(line, 0, b"m", b"m")
        };
        let said = ask(line, "mpc-commit", commit.encode(), Committed::decode).await;
        refused(said, "of the first kind");
        for verb in ["contribute", "check", "retire"] {
            let mut opening = made.commit(line, 0, b"m", b"m").opening;
            if verb == "check" {
                (opening.requests, opening.salts) = (vec![], vec![]);
            }
            let batch = Batch {
                contexts: vec![made.context()],
                openings: vec![opening],
            };
            let answer = &line.ask(verb, &batch).await.openings[0];
            assert_eq!(answer.code, Code::Refused);
            assert!(
                answer.reason.contains("never put together"),
                "{}",
                answer.reason
            );
        }
        company
    });
}
