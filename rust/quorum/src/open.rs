//! The opening itself (PROTOCOL §6.3 to §6.6), on the crucible alone.
//!
//! Shares are unsealed, checked against their commitments and combined; the seed is checked against the
//! anchor; the one key is derived or unsealed, compared with the token's public half, used and forgotten.
//! Shares, seed and key material lie on the crucible's stack, which is wiped when the job ends, or in locked
//! memory; nothing here writes them anywhere else. What leaves is filled in place, in memory of the caller's
//! whose every byte is initialised: a value that is moved off the crucible takes along what an earlier call left
//! on that stack where it has padding, or a variant shorter than others.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use evanesce_secret::{Secret, SecretVec, ct_eq};
use evanesce_suite::{Input, Material, Output};
use evanesce_token::limits::SEATS;
use evanesce_token::{formula, sharing};
use evanesce_wire::Id;
use evanesce_wire::session::{SEALED_SHARE, SealingSession, TAG};

use crate::error::Error;
use crate::runtime::{Refusal, Runtime};
use crate::work::{Purpose, ReadyJob, Work};

/// One share as it came, still sealed.
pub(crate) struct SealedShare {
    pub seat: u32,
    pub session: Arc<SealingSession>,
    pub counter: u64,
    pub sealed: [u8; SEALED_SHARE],
    pub request_hash: [u8; 32],
    pub agent: Id,
}

/// One share that matched its commitment, kept while others are awaited.
pub(crate) struct KeptShare {
    /// A word, as the rest of it is words: it leaves the crucible without padding.
    pub seat: u64,
    pub share: Secret<32>,
}

/// What the crucible is given.
pub(crate) struct OpenTask {
    pub work: Arc<Work>,
    pub sealed: Vec<SealedShare>,
    pub kept: Vec<KeptShare>,
    /// Combine and operate if every share is good; otherwise they are only checked and kept.
    pub finish: bool,
    pub verify_before_release: bool,
    pub runtime: Option<Runtime>,
}

/// What comes back: made by the caller, filled on the crucible. Words that are initialised from the start, and
/// boxes for what is not made of such.
#[derive(Default)]
pub(crate) struct Opened {
    pub how_far: HowFar,
    /// One per job, if it came to that.
    pub outputs: Vec<Made>,
    pub failure: Option<Box<Failure>>,
    /// Shares that are good, of a task that was not finished …
    pub kept: Vec<KeptShare>,
    /// … and the seats whose are not.
    pub bad: Vec<(u32, Bad)>,
}

/// One job's output, as a pointer to where the crucible put it.
pub(crate) struct Made(Box<Output>);

impl Made {
    /// Into the caller's memory, part by part, since the bytes that a variant does not use stem from the crucible.
    /// Locked memory is scarce, and public results need not stay there.
    pub fn out_of_the_arena(self) -> Output {
        match *self.0 {
            Output::Public(ref bytes) => Output::Public(bytes.as_slice().to_vec()),
            Output::Secret(secret) => Output::Secret(secret),
            Output::Verified => Output::Verified,
        }
    }
}

/// What became of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum HowFar {
    /// It panicked: nothing was filled in.
    #[default]
    BrokeOff,
    /// Shares were checked, and no more.
    Partly,
    /// Done, or failed for good.
    Finished,
}

/// What is wrong with a released share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Bad {
    /// It does not open under the session, the counter and what it must be bound to.
    Unsealable,
    /// It is not the share that was committed to.
    Mismatch,
}

/// How jobs are done.
struct How<'a> {
    verify_before_release: bool,
    runtime: Option<&'a Runtime>,
}

/// Why nothing came of it; without a word that was made from a secret.
pub(crate) enum Failure {
    /// The seed is not the anchor's.
    Anchor,
    /// The imported key does not unseal.
    Import,
    /// The shares do not suffice, against what the planner said.
    Insufficient,
    /// A job failed: which, and why.
    Job(usize, evanesce_suite::Error),
    /// The runtime did not do a job: which, and why.
    Runtime(usize, Refusal),
    /// The signature that was made does not verify.
    Faulty(usize),
    /// Locked memory ran out.
    Memory(evanesce_secret::Error),
    /// The seed could not be dealt again.
    Deal(Error),
    /// The share of the lost seat is not the one committed to.
    Share,
    /// The job panicked.
    Panicked,
}

impl From<evanesce_secret::Error> for Failure {
    fn from(e: evanesce_secret::Error) -> Self {
        Self::Memory(e)
    }
}

/// As many fresh shares as lie on the stack; further ones go to locked memory at once.
const ON_STACK: usize = 16;

/// Does the task. On the crucible.
pub(crate) fn run(task: OpenTask, opened: &mut Opened) {
    match attempt(task, opened) {
        Ok(how_far) => opened.how_far = how_far,
        Err(failure) => {
            opened.failure = Some(Box::new(failure));
            opened.how_far = HowFar::Finished;
        }
    }
}

fn attempt(task: OpenTask, opened: &mut Opened) -> Result<HowFar, Failure> {
    let OpenTask {
        work,
        sealed,
        mut kept,
        finish,
        verify_before_release,
        runtime,
    } = task;
    let mut fresh = [(0u32, [0u8; 32]); ON_STACK];
    let mut count = 0;
    let mut bad = Vec::new();
    for share in &sealed {
        let mut plain = share.sealed;
        match unseal(&work, share, &mut plain) {
            Ok(plain) if count < ON_STACK => {
                fresh[count] = (share.seat, *plain);
                count += 1;
            }
            Ok(plain) => kept.push(keep(share.seat, plain)?),
            Err(why) => bad.push((share.seat, why)),
        }
    }
    let fresh = &fresh[..count];
    if finish && bad.is_empty() {
        let how = How {
            verify_before_release,
            runtime: runtime.as_ref(),
        };
        opened.outputs = operate(&work, fresh, &kept, &how)?;
        return Ok(HowFar::Finished);
    }
    for (seat, share) in fresh {
        kept.push(keep(*seat, share)?);
    }
    (opened.kept, opened.bad) = (kept, bad);
    Ok(HowFar::Partly)
}

fn keep(seat: u32, share: &[u8; 32]) -> Result<KeptShare, evanesce_secret::Error> {
    Ok(KeptShare {
        seat: seat.into(),
        share: Secret::filled(|out| *out = *share)?,
    })
}

/// The share, if it opens and is the one committed to.
fn unseal<'a>(
    work: &Work,
    share: &SealedShare,
    buffer: &'a mut [u8; SEALED_SHARE],
) -> Result<&'a [u8; 32], Bad> {
    let body = &work.token.body;
    let aad = formula::share_aad(&share.request_hash, &body.id, share.seat, &share.agent);
    let plain = share
        .session
        .open(share.counter, &aad, buffer)
        .map_err(|_| Bad::Unsealable)?;
    let plain: &[u8; 32] = (&*plain).try_into().map_err(|_| Bad::Unsealable)?;
    #[cfg(feature = "planted")]
    if crate::planted::TRUSTS_SHARES.get() {
        return Ok(plain);
    }
    let committed = body
        .commitments
        .get(share.seat as usize)
        .ok_or(Bad::Mismatch)?;
    if ct_eq(
        &formula::commitment(&body.deal, share.seat, plain),
        committed,
    ) {
        Ok(plain)
    } else {
        Err(Bad::Mismatch)
    }
}

fn operate(
    work: &Work,
    fresh: &[(u32, [u8; 32])],
    kept: &[KeptShare],
    how: &How,
) -> Result<Vec<Made>, Failure> {
    let body = &work.token.body;
    let mut shares: [Option<&[u8; 32]>; SEATS] = [None; SEATS];
    for share in kept {
        shares[share.seat as usize] = Some(share.share.expose());
    }
    for (seat, share) in fresh {
        shares[*seat as usize] = Some(share);
    }
    let mut seed = [0u8; 32];
    if !sharing::combine(
        &body.header.quorum,
        &shares[..body.commitments.len()],
        &mut seed,
    ) {
        return Err(Failure::Insufficient);
    }
    if !ct_eq(&formula::anchor(&body.deal, &seed), &body.anchor) {
        return Err(Failure::Anchor);
    }
    match &work.purpose {
        Purpose::Use => {}
        Purpose::Remint(remint) => remint.run(&work.token, &seed)?,
        Purpose::Repair(repair) => {
            repair.run(body, &shares[..body.commitments.len()], &seed)?;
        }
    }
    let mut outputs = Vec::with_capacity(work.jobs.len());
    if let Some(sealed) = &work.token.sealed {
        let key = unseal_import(&seed, &body.deal, sealed)?;
        for (number, job) in work.jobs.iter().enumerate() {
            let material = Material::Imported(key.expose());
            outputs.push(run_job(work, number, job, &material, how)?);
        }
        return Ok(outputs);
    }
    let mut material = [0u8; MATERIAL];
    let mut derived = "";
    for (number, job) in work.jobs.iter().enumerate() {
        let facts = job.suite.facts();
        let material = &mut material[..facts.material];
        if derived != facts.name {
            formula::material(&seed, &body.header.key, facts.name, material);
            derived = facts.name;
        }
        let material = Material::Derived(material);
        outputs.push(run_job(work, number, job, &material, how)?);
    }
    Ok(outputs)
}

/// No suite's material is longer (PROTOCOL §7: at most 72 bytes).
const MATERIAL: usize = 128;

fn run_job(
    work: &Work,
    number: usize,
    job: &ReadyJob,
    material: &Material,
    how: &How,
) -> Result<Made, Failure> {
    let input = job.input.as_input();
    let failed = |e| Failure::Job(number, e);
    let public = work.token.public.get(job.suite.facts().name);
    // One comparison with the public half does for all jobs of a suite.
    let compared = work.jobs[..number]
        .iter()
        .any(|earlier| std::ptr::eq(earlier.suite.facts(), job.suite.facts()));
    let output = match (how.runtime, public) {
        (Some(runtime), _) => {
            elsewhere(runtime, job, material, public).map_err(|why| match why {
                Refusal::Suite(e) => Failure::Job(number, e),
                why => Failure::Runtime(number, why),
            })?
        }
        (None, Some(spki)) if !compared => job
            .suite
            .operate_as(material, spki, &input)
            .map_err(failed)?,
        (None, _) => job.suite.operate(material, &input).map_err(failed)?,
    };
    if let (true, Some(spki), Input::Sign { message }, Output::Public(signature)) =
        (how.verify_before_release, public, input, &output)
    {
        job.suite
            .verify(spki, message, signature)
            .map_err(|_| Failure::Faulty(number))?;
    }
    Ok(Made(Box::new(output)))
}

/// The job in the runtime, with a key that is the token's by its public half.
fn elsewhere(
    runtime: &Runtime,
    job: &ReadyJob,
    material: &Material,
    public: Option<&Vec<u8>>,
) -> Result<Output, Refusal> {
    let spki = public.map(Vec::as_slice);
    if let Some(spki) = spki
        && job.suite.public_key(material).map_err(Refusal::Suite)? != spki
    {
        return Err(Refusal::Suite(evanesce_suite::Error::WrongPublicKey));
    }
    let key = job.suite.portable(material).map_err(Refusal::Suite)?;
    runtime.0.run(job.suite, &key, spki, &job.input.as_input())
}

/// PROTOCOL §8: the sealed key under the one-time AEAD key of this deal.
pub(crate) fn unseal_import(
    seed: &[u8; 32],
    deal: &[u8; 32],
    sealed: &[u8],
) -> Result<SecretVec, Failure> {
    let mut plain = SecretVec::from_slice(sealed)?;
    let length = import_aead(seed, deal)
        .and_then(|key| {
            key.open_in_place(import_nonce(), Aad::from(deal), plain.expose_mut())
                .map(|plain| plain.len())
        })
        .map_err(|_| Failure::Import)?;
    plain.truncate(length);
    Ok(plain)
}

/// PROTOCOL §8: seals a key for a token. On the crucible.
pub(crate) fn seal_import(
    seed: &[u8; 32],
    deal: &[u8; 32],
    key: &SecretVec,
) -> Result<Vec<u8>, Failure> {
    let mut sealed = SecretVec::zeroed(key.len() + TAG)?;
    let (body, tag) = sealed.expose_mut().split_at_mut(key.len());
    body.copy_from_slice(key.expose());
    let made = import_aead(seed, deal)
        .and_then(|aead| aead.seal_in_place_separate_tag(import_nonce(), Aad::from(deal), body))
        .map_err(|_| Failure::Import)?;
    tag.copy_from_slice(made.as_ref());
    Ok(sealed.expose().to_vec())
}

fn import_aead(
    seed: &[u8; 32],
    deal: &[u8; 32],
) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
    let mut key = [0u8; 32];
    formula::import_key(seed, deal, &mut key);
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?))
}

/// All zero: PROTOCOL §8 uses each such key exactly once.
fn import_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
