//! Minting: one key dealt to its holders, and the token that is left of it (PROTOCOL §9).
//!
//! Promised: nothing counts before every seat was seated and checked; where anything fails nothing is left
//! behind but log entries at agents; all that is wrong is said at once. A retry draws everything anew.

use std::collections::BTreeMap;

use std::sync::Arc;

use evanesce_secret::{Secret, SecretVec, spawn_on_crucible};
use evanesce_suite::{Material, Suite, catalogue};
use evanesce_token::{Body, Gate, Header, Row, Token, formula, quoted, sharing};
use evanesce_wire::message::{
    LogProof, Receipt, SeatShare, Seated, SeatedResult, SeatedRow, Seating, seat_hash,
};
use evanesce_wire::session::{SEALED_SHARE, TAG};
use evanesce_wire::{Id, verify_statement};
use tokio::spawn;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::answers::Peer;
use crate::error::{Code, Error};
use crate::everyone::{Verb, everyone};
use crate::fault::{Fault, Trouble, remark};
use crate::import;
use crate::io::link::{Down, Live, down};
use crate::io::side::Side;
use crate::open::seal_import;
use crate::outbox::full;
use crate::verdict;
use crate::work::unix_now;

/// Judges a policy: warnings, or why it may not go into a token.
pub type PolicyCheck = Box<dyn FnOnce(&str) -> Result<Vec<String>, String> + Send>;

/// What to mint.
pub struct MintSpec {
    /// The key's name, for people and policies.
    pub name: String,
    /// What the key may ever be used as.
    pub suites: Vec<String>,
    /// Who must come together.
    pub quorum: Gate,
    /// Who sits where: seat name → name in the directory. A seat that is not listed is held by its namesake.
    pub seats: BTreeMap<String, String>,
    /// Cedar policies, or nothing.
    pub policy: String,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// The key's identity where an older token of it exists; otherwise drawn.
    pub key: Option<[u8; 32]>,
    /// The token id this one supersedes, for people.
    pub replaces: Option<[u8; 32]>,
    /// A key to import: PKCS#8 in PEM or DER, or the raw bytes of a symmetric key.
    pub imported: Option<SecretVec>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A token that counts: every seat was checked.
pub struct Minted {
    /// The token.
    pub token: Token,
    /// The agents' log entries for their seats.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
}

/// Mints.
pub(crate) async fn mint(side: &Arc<Side>, spec: MintSpec) -> Result<Minted, Error> {
    let (draft, places, mut warnings) = plan(side, spec)?;
    reach(side, &places).await?;
    let dealt = Arc::new(on_crucible_thread(move || deal(draft)).await?);
    let (rows, mut receipts) = seat(side, &dealt, &places).await?;
    let Dealt {
        body,
        public,
        sealed,
        ..
    } = &*dealt;
    let token = Token::assemble(
        &body.header,
        body.anchor,
        body.commitments.clone(),
        public.clone(),
        sealed.clone(),
        rows,
        catalogue(),
    )
    .map_err(|e| Error::internal(&e.0))?;
    let token = Arc::new(token);
    let (words, more) = everyone(side, &token, Verb::Check).await;
    receipts.extend(more);
    let troubles: Vec<_> = words.iter().filter_map(|word| word.trouble).collect();
    if !troubles.is_empty() {
        let faults = words.into_iter().filter_map(|word| word.fault).collect();
        return Err(unfinished(
            "not every seat can be opened; the mint was given up",
            &troubles,
            faults,
        ));
    }
    warnings.sort();
    warnings.dedup();
    let token = Arc::try_unwrap(token).unwrap_or_else(|shared| Token::clone(&shared));
    Ok(Minted {
        token,
        receipts,
        warnings,
    })
}

/// All that a deal needs, judged.
struct Draft {
    header: Header,
    suites: Vec<&'static dyn Suite>,
    imported: Option<SecretVec>,
}

/// Judges the whole specification; says everything that is wrong with it, not just the first thing.
fn plan(side: &Side, spec: MintSpec) -> Result<(Draft, Vec<usize>, Vec<String>), Error> {
    let MintSpec {
        name,
        suites,
        quorum,
        seats,
        policy,
        expires,
        key,
        replaces,
        imported,
        policy_check,
    } = spec;
    let mut problems = Vec::new();
    quorum
        .validate()
        .map_err(|e| Error::new(Code::BadInput, e.0, "See how quorums are written."))?;
    let names = quorum.seats();
    let mut places = Vec::with_capacity(names.len());
    for seat in &names {
        let holder = seats.get(*seat).map_or(*seat, String::as_str);
        match side.directory.by_name(holder) {
            Some(place) => places.push(place),
            None => problems.push(format!(
                "seat {seat}: no agent named {} is in the quorum file",
                quoted(holder)
            )),
        }
    }
    for seat in seats.keys().filter(|seat| !names.contains(&seat.as_str())) {
        problems.push(format!("the quorum has no seat {}", quoted(seat)));
    }
    let mut known = Vec::with_capacity(suites.len());
    for suite in &suites {
        match evanesce_suite::find(suite) {
            Some(suite) => known.push(suite),
            None => problems.push(format!("no suite is named {}", quoted(suite))),
        }
    }
    let now = unix_now();
    if expires.is_some_and(|expires| expires <= now) {
        problems.push("the token would have expired already".into());
    }
    let mut code = Code::BadInput;
    let mut warnings = Vec::new();
    match policy_check(&policy) {
        Ok(more) => warnings = more,
        Err(why) => {
            code = if problems.is_empty() {
                Code::Policy
            } else {
                code
            };
            problems.push(format!("the policy cannot be enforced: {why}"));
        }
    }
    if problems.is_empty() {
        warnings.extend(margins(side, &quorum, &places));
    }
    let (mut fresh_key, mut nonce) = ([0; 32], [0; 32]);
    evanesce_secret::random(&mut fresh_key);
    evanesce_secret::random(&mut nonce);
    let key = key.unwrap_or(fresh_key);
    let header = Header {
        key,
        nonce,
        name,
        suites,
        quorum,
        policy,
        created: now,
        expires,
        replaces,
    };
    if problems.is_empty() {
        problems.extend(header.validate(catalogue()).err().map(|e| e.0));
    }
    if problems.is_empty() {
        return Ok((
            Draft {
                header,
                suites: known,
                imported,
            },
            places,
            warnings,
        ));
    }
    Err(Error::new(
        code,
        problems.join("; "),
        "Nothing was asked of any agent.",
    ))
}

/// What is worth a second thought about who holds what.
fn margins(side: &Side, quorum: &Gate, places: &[usize]) -> Vec<String> {
    let mut holders = places.to_vec();
    holders.sort_unstable();
    holders.dedup();
    let mut warnings = Vec::new();
    for place in holders {
        let name = &side.directory.all()[place].name;
        let (with, without): (Vec<bool>, Vec<bool>) =
            places.iter().map(|p| (*p == place, *p != place)).unzip();
        if quorum.satisfied(&with) {
            warnings.push(format!("{name} alone can open the token"));
        }
        if !quorum.satisfied(&without) {
            warnings.push(format!(
                "without {name} nobody can open the token: if it is lost, so is the key"
            ));
        }
    }
    warnings
}

/// Connects to everyone who is to be seated; names all that are down.
async fn reach(side: &Arc<Side>, places: &[usize]) -> Result<(), Error> {
    let mut holders = places.to_vec();
    holders.sort_unstable();
    holders.dedup();
    let until = side.until();
    let tasks: Vec<_> = holders
        .into_iter()
        .map(|place| {
            let link = side.links[place].clone();
            let try_it = async move {
                match timeout_at(until, link.ready()).await {
                    Ok(outcome) => outcome.map(drop),
                    Err(_) => Err(Down::new(
                        Trouble::Unreachable,
                        "it does not complete a connection",
                    )),
                }
            };
            (place, spawn(try_it))
        })
        .collect();
    let (mut troubles, mut faults) = (Vec::new(), Vec::new());
    for (place, task) in tasks {
        if let Ok(Err(down)) = task.await {
            troubles.push(down.trouble);
            faults.push(side.fault(place, &down));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(unfinished(
        "a mint needs every holder, and not all can be had",
        &troubles,
        faults,
    ))
}

fn unfinished(message: &str, troubles: &[Trouble], faults: Vec<Fault>) -> Error {
    let code = match verdict::code(troubles.iter().copied(), false) {
        // Said of tokens, and there is none.
        Code::TokenAltered | Code::Expired => Code::QuorumNotMet,
        code => code,
    };
    Error::new(
        code,
        message,
        "Nothing was left behind; put it right and mint again.",
    )
    .with_faults(faults)
}

/// What was dealt. The shares lie in locked memory until they are sealed to their holders.
struct Dealt {
    body: Body,
    public: BTreeMap<String, Vec<u8>>,
    sealed: Option<Vec<u8>>,
    shares: Vec<Secret<32>>,
}

/// Draws the seed and deals it. On the crucible.
fn deal(draft: Draft) -> Result<Dealt, Error> {
    let Draft {
        header,
        suites,
        imported,
    } = draft;
    let imported = imported
        .map(|given| import::admit(given, &suites))
        .transpose()?;
    let mut seed = [0u8; 32];
    evanesce_secret::random(&mut seed);
    let deal = formula::deal(&header.encode());
    let mut public = BTreeMap::new();
    for suite in suites.iter().filter(|suite| suite.facts().public) {
        let facts = suite.facts();
        let mut material = [0u8; 128];
        let spki = match &imported {
            Some(key) => suite.public_key(&Material::Imported(key.expose())),
            None if facts.imported_only => {
                let message = format!("{} keys are imported, never derived", facts.name);
                return Err(Error::new(
                    Code::BadInput,
                    message,
                    "Give the key to import.",
                ));
            }
            None => {
                formula::material(
                    &seed,
                    &header.key,
                    facts.name,
                    &mut material[..facts.material],
                );
                suite.public_key(&Material::Derived(&material[..facts.material]))
            }
        };
        let spki =
            spki.map_err(|e| Error::new(Code::BadInput, format!("{}: {e}", facts.name), ""))?;
        public.insert(facts.name.to_owned(), spki);
    }
    let sealed = match &imported {
        Some(key) => Some(
            seal_import(&seed, &deal, key)
                .map_err(|_| Error::internal("sealing an imported key"))?,
        ),
        None => None,
    };
    let shares = sharing::split(&seed, &header.quorum, &mut evanesce_secret::random)?;
    let commitment =
        |(share, seat): (&Secret<32>, u32)| formula::commitment(&deal, seat, share.expose());
    let commitments = shares.iter().zip(0..).map(commitment).collect();
    let anchor = formula::anchor(&deal, &seed);
    let body = Body::to_mint(
        &header,
        anchor,
        commitments,
        &public,
        sealed.as_deref(),
        catalogue(),
    )
    .map_err(|e| {
        Error::new(
            Code::BadInput,
            format!("no token can be made of this: {e}"),
            "",
        )
    })?;
    Ok(Dealt {
        body,
        public,
        sealed,
        shares,
    })
}

/// Seats every holder, all at once; names all that would not be seated.
async fn seat(
    side: &Arc<Side>,
    dealt: &Arc<Dealt>,
    places: &[usize],
) -> Result<(Vec<Row>, Vec<Receipt>), Error> {
    let mut seats_of: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (place, seat) in places.iter().zip(0..) {
        seats_of.entry(*place).or_default().push(seat);
    }
    let mut tasks = Vec::with_capacity(seats_of.len());
    for (place, seats) in seats_of {
        let (side, dealt, asked) = (side.clone(), dealt.clone(), seats.clone());
        tasks.push((
            place,
            seats,
            spawn(async move { seat_one(&side, &dealt, place, &asked).await }),
        ));
    }
    let mut rows: Vec<Option<Row>> = vec![None; places.len()];
    let (mut receipts, mut troubles, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (place, seats, task) in tasks {
        let outcome = task
            .await
            .unwrap_or_else(|_| Err(Down::new(Trouble::Unreachable, "the task broke off")));
        let (seated, more) = match outcome {
            Ok(seated) => seated,
            Err(down) => (
                seats
                    .iter()
                    .map(|seat| (*seat, Err(down.clone())))
                    .collect(),
                Vec::new(),
            ),
        };
        receipts.extend(more);
        for (seat, result) in seated {
            match result {
                Ok(row) => rows[seat as usize] = Some(row),
                Err(down) => {
                    troubles.push(down.trouble);
                    let mut fault = side.fault(place, &down);
                    fault.seat = dealt
                        .body
                        .header
                        .quorum
                        .seats()
                        .get(seat as usize)
                        .map(|&name| name.to_owned());
                    fault.seat_number = Some(seat);
                    faults.push(fault);
                }
            }
        }
    }
    match rows.into_iter().collect::<Option<Vec<Row>>>() {
        Some(rows) if faults.is_empty() => Ok((rows, receipts)),
        _ => Err(unfinished(
            "not every holder could be seated",
            &troubles,
            faults,
        )),
    }
}

type SeatedAt = (Vec<(u32, Result<Row, Down>)>, Vec<Receipt>);

async fn seat_one(
    side: &Arc<Side>,
    dealt: &Arc<Dealt>,
    place: usize,
    seats: &[u32],
) -> Result<SeatedAt, Down> {
    let compose = |live: &Live| compose(dealt, live, seats);
    let (seated, live) = side.links[place]
        .exchange("seat", side.until(), compose, Seated::decode)
        .await?;
    let in_order = seated
        .seats
        .iter()
        .map(|row| row.seat)
        .eq(seats.iter().copied());
    if !in_order {
        return Err(Down::new(
            Trouble::Lied,
            "answered for other seats than it was given",
        ));
    }
    let mut receipts = Vec::new();
    let mut rows = Vec::with_capacity(seats.len());
    for SeatedRow {
        seat,
        result,
        receipt,
    } in seated.seats
    {
        let proof: Option<LogProof> = receipt;
        receipts.extend(proof.map(|proof| live.peer.receipt(proof, &seated.checkpoint)));
        rows.push((seat, row(&dealt.body.id, seat, result, &live.peer)));
    }
    Ok((rows, receipts))
}

/// The holder's shares, each sealed to its session.
fn compose(dealt: &Dealt, live: &Live, seats: &[u32]) -> Result<Vec<u8>, Down> {
    let token_id = &dealt.body.id;
    let mut shares = Vec::with_capacity(seats.len());
    for &seat in seats {
        let aad = formula::share_aad(&seat_hash(token_id, seat), token_id, seat, &live.peer.id);
        let share = &dealt.shares[seat as usize];
        let sealed = evanesce_secret::on_crucible(|| {
            let mut buffer = [0u8; SEALED_SHARE];
            buffer[..32].copy_from_slice(share.expose());
            let (counter, tag) = live.session.seal(&aad, &mut buffer[..32])?;
            buffer[SEALED_SHARE - TAG..].copy_from_slice(&tag);
            Ok::<_, evanesce_wire::WireError>((counter, buffer))
        });
        let (counter, sealed) = sealed.map_err(|e| down(&e.into()))?;
        shares.push(SeatShare {
            context: 0,
            seat,
            counter,
            sealed,
        });
    }
    Ok(Seating {
        contexts: vec![full(&dealt.body)],
        seats: shares,
    }
    .encode())
}

/// A row as the agent made it, if it signed it.
fn row(token_id: &Id, seat: u32, result: SeatedResult, peer: &Peer) -> Result<Row, Down> {
    let (epoch, correction, signature) = match result {
        SeatedResult::Row {
            epoch,
            correction,
            signature,
        } => (epoch, correction, signature),
        SeatedResult::Refused { reason } => {
            return Err(Down::new(Trouble::Refused, remark(&reason)));
        }
    };
    let statement = formula::row_statement(token_id, seat, epoch, &correction);
    if !verify_statement(&peer.spki, &statement, &signature) {
        return Err(Down::new(Trouble::Lied, "its signature of its row fails"));
    }
    Ok(Row {
        holder: peer.id,
        epoch,
        correction,
        signature,
    })
}

/// Runs `f` on the crucible's own threads, so that what is slow there holds up nobody here.
async fn on_crucible_thread<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (tell, told) = oneshot::channel();
    spawn_on_crucible(move || {
        let _ = tell.send(f());
    });
    told.await
        .unwrap_or_else(|_| Err(Error::internal("a crucible job broke off")))
}
