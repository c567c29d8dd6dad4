//! The reconstructor: the public face of this crate, and what survives a fork.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evanesce_token::{Token, mpc};
use evanesce_wire::client::{Dial, TlsDial};
use evanesce_wire::grant::Signed;
use evanesce_wire::message::{Command, Evidence, Serving, Standing};
use evanesce_wire::{Id, Identity, System, WireError, World};
use tokio::sync::mpsc::UnboundedSender;

use crate::carry::Carried;
use crate::check::CheckTable;
use crate::error::{Code, Error};
use crate::heal::{Healed, RepairSpec, ReshareSpec};
use crate::holder::{Directory, Holder, Settings};
use crate::io::thread::{Message, Setup, start};
use crate::mint::{MintSpec, Minted};
use crate::operation::{Done, Operation, Outcome, Reply};
use crate::order::{Ordered, Version};
use crate::retire::Retirement;
use crate::revoke::RevokedAt;
use crate::settled::Settled;
use crate::status::AgentStatus;
use crate::threshold::{
    Renewal, RenewalSpec, Renewed, ThresholdMinted, ThresholdOperation, ThresholdRepairSpec,
    ThresholdRepaired, ThresholdSpec,
};
use crate::work::Work;

/// Opens this side's identity; called again in a forked child.
pub type IdentitySource = Box<dyn Fn() -> Result<Arc<dyn Identity>, WireError> + Send + Sync>;

/// Makes the ways to the agents for an identity; called again in a forked child.
pub type DialSource = Box<dyn Fn(&Arc<dyn Identity>) -> Arc<dyn Dial> + Send + Sync>;

/// Asks quorums and operates with what they regenerate. Cheap to clone; all clones are one.
///
/// One thread talks to the agents. In a forked child, where that thread and everything secret is gone, the first
/// call starts another one, opens the identity again and connects anew; what the parent had under way stays
/// the parent's. The thread ends when the last clone is dropped and what was begun has ended.
#[derive(Clone)]
pub struct Reconstructor(Arc<Inner>);

/// A chain of grants, and the token that it is for.
type Granted = (Id, Arc<[Vec<u8>]>);

struct Inner {
    identity: IdentitySource,
    directory: Arc<Directory>,
    settings: Settings,
    /// The settings' grants, and the token that they are for.
    grants: Option<Granted>,
    world: Arc<dyn World>,
    dial: DialSource,
    service: Option<Holder>,
    /// The process it was made in, and the thread there.
    home: Running,
    /// The same in a forked child. Never locked at home: a lock that is held in the moment of a fork stays so.
    away: Mutex<Option<Running>>,
}

struct Running {
    generation: u64,
    thread: UnboundedSender<Message>,
}

impl Reconstructor {
    /// Opens the identity and starts the one thread that talks to the agents; connects to none yet.
    ///
    /// # Errors
    /// `identity` if it cannot be opened, `bad-input` where two holders have one name or id.
    pub fn new(
        identity: IdentitySource,
        holders: Vec<Holder>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let dial: DialSource = Box::new(|identity| Arc::new(TlsDial::new(identity.clone())));
        Self::in_world(identity, holders, settings, Arc::new(System), dial)
    }

    /// The same, with all operations done by another reconstructor, the `service`: this side composes them and proves them to
    /// the agents, and holds no key at any moment. Mints, checks and retirements are this side's own; whoever reshares or
    /// repairs must regenerate, and these are refused.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn through(
        service: Holder,
        identity: IdentitySource,
        holders: Vec<Holder>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let dial: DialSource = Box::new(|identity| Arc::new(TlsDial::new(identity.clone())));
        let world = Arc::new(System);
        Self::assemble(identity, holders, settings, world, dial, Some(service))
    }

    /// The same with another clock, other randomness and another network than the real ones. In a world of one thread
    /// it runs as a task of the tokio runtime that this is called in.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_world(
        identity: IdentitySource,
        holders: Vec<Holder>,
        settings: Settings,
        world: Arc<dyn World>,
        dial: DialSource,
    ) -> Result<Self, Error> {
        Self::assemble(identity, holders, settings, world, dial, None)
    }

    fn assemble(
        identity: IdentitySource,
        holders: Vec<Holder>,
        settings: Settings,
        world: Arc<dyn World>,
        dial: DialSource,
        service: Option<Holder>,
    ) -> Result<Self, Error> {
        let directory = Arc::new(Directory::new(holders)?);
        let grants = granted(&settings.grants)?;
        let home = Running::start(&identity, &directory, &settings, &world, &dial, &service)?;
        Ok(Self(Arc::new(Inner {
            identity,
            directory,
            settings,
            grants,
            world,
            dial,
            service,
            home,
            away: Mutex::new(None),
        })))
    }

    /// Begins an operation of another's, who has composed its requests and proven them to the agents; without jobs, an
    /// opening. What the agents are asked is exactly what was proven.
    pub fn carry(&self, operation: Operation, carried: Carried, done: Done<Outcome>) {
        let (usual, world) = (self.0.settings.deadline, &*self.0.world);
        let ready = Work::carried(operation, carried, usual, world);
        self.tell(Message::Submit(vec![(ready, Reply::new(done))]));
    }

    /// What the reconstructor that does this side's operations says of itself.
    pub fn serving(&self, done: Done<Serving>) {
        self.tell(Message::Serving(Reply::new(done)));
    }

    /// The sessions that stand with the agents. Those that do not stand are reached for, for as long as `patience`.
    pub fn sessions(&self, patience: Duration, done: Done<Vec<Standing>>) {
        self.tell(Message::Sessions(patience, Reply::new(done)));
    }

    /// Begins an operation. Never blocks on an agent; operations submitted close together share requests.
    pub fn submit(&self, operation: Operation, done: Done<Outcome>) {
        self.submit_all(vec![(operation, done)]);
    }

    /// Begins several operations at once. What the token itself forbids is refused without asking anyone.
    pub fn submit_all(&self, operations: Vec<(Operation, Done<Outcome>)>) {
        let (usual, world) = (self.0.settings.deadline, &*self.0.world);
        let ready = operations.into_iter().map(|(operation, done)| {
            let mut work = Work::prepare(operation, usual, world);
            if let Ok(work) = &mut work {
                self.0.grant(&work.token, &mut work.evidence);
            }
            (work, Reply::new(done))
        });
        let ready = ready.collect();
        self.tell(Message::Submit(ready));
    }

    /// Mints a key.
    pub fn mint(&self, spec: MintSpec, done: Done<Minted>) {
        self.tell(Message::Mint(Box::new(spec), Reply::new(done)));
    }

    /// Mints a token's seed anew: fresh polynomials and, where asked for, another quorum, other holders, another policy.
    /// The old token stays as it is: [`retire`](Self::retire) it once the new one is durable.
    pub fn reshare(&self, spec: ReshareSpec, done: Done<Healed>) {
        self.reshare_settled(spec, Settled::default(), done);
    }

    /// The same of what people have approved: with a settled header, whose quorum, policy and end are then the new token's.
    pub fn reshare_settled(&self, spec: ReshareSpec, settled: Settled, done: Done<Healed>) {
        self.tell(Message::Reshare(
            Box::new((spec, settled)),
            Reply::new(done),
        ));
    }

    /// Gives a lost seat to a new holder.
    pub fn repair(&self, spec: RepairSpec, done: Done<Healed>) {
        self.repair_settled(spec, Settled::default(), done);
    }

    /// The same of what people have approved.
    pub fn repair_settled(&self, spec: RepairSpec, settled: Settled, done: Done<Healed>) {
        self.tell(Message::Repair(Box::new((spec, settled)), Reply::new(done)));
    }

    /// Asks every seat; with `open`, also regenerates once and verifies the anchor.
    pub fn check(&self, token: Arc<Token>, open: bool, done: Done<CheckTable>) {
        self.check_settled(token, open.then(Settled::default), done);
    }

    /// The same, opened as people have approved. Asked under the settings' grants, if they are for this token.
    pub fn check_settled(
        &self,
        token: Arc<Token>,
        mut open: Option<Settled>,
        done: Done<CheckTable>,
    ) {
        if let Some(settled) = &mut open {
            self.0.grant(&token, &mut settled.evidence);
        }
        let open = open.map(Box::new);
        self.tell(Message::Check(token, open, Reply::new(done)));
    }

    /// Tombstones the token wherever it can be.
    pub fn retire(&self, token: Arc<Token>, done: Done<Retirement>) {
        self.retire_settled(token, Settled::default(), done);
    }

    /// The same as people have approved.
    pub fn retire_settled(&self, token: Arc<Token>, settled: Settled, done: Done<Retirement>) {
        let settled = Box::new(settled);
        self.tell(Message::Retire(token, settled, Reply::new(done)));
    }

    /// Makes a key among its holders, which nobody ever has.
    pub fn create_threshold(&self, spec: ThresholdSpec, done: Done<ThresholdMinted>) {
        self.tell(Message::Create(Box::new(spec), Reply::new(done)));
    }

    /// Signs with a quorum whose key is never put together. This side coordinates it, whoever else does its operations: it
    /// learns nothing secret.
    pub fn sign_together(&self, mut operation: ThresholdOperation, done: Done<Outcome>) {
        if let Some((token, grants)) = &self.0.grants
            && operation.token.id() == token
        {
            operation.evidence.grants = grants.to_vec();
        }
        self.tell(Message::Sign(Box::new(operation), Reply::new(done)));
    }

    /// Renews the shares of such a key: a refresh, the way from shares that are kept to shares that are regenerated, or the
    /// way to other holders and another quorum. Make the new token durable, and [`finish`](Self::finish_renewal).
    pub fn renew(&self, spec: RenewalSpec, done: Done<Renewed>) {
        self.renew_settled(spec, Settled::default(), done);
    }

    /// The same of what people have approved.
    pub fn renew_settled(&self, spec: RenewalSpec, settled: Settled, done: Done<Renewed>) {
        self.tell(Message::Renew(Box::new((spec, settled)), Reply::new(done)));
    }

    /// Lets all holders forget what was dealt, and remove the old shares where these were kept.
    pub fn finish_renewal(&self, renewed: Arc<Renewed>, done: Done<Renewal>) {
        self.tell(Message::Finish(renewed, Reply::new(done)));
    }

    /// Gives a lost seat of such a token to a new holder, as people have approved, where they had to.
    pub fn repair_threshold(
        &self,
        spec: ThresholdRepairSpec,
        settled: Settled,
        done: Done<ThresholdRepaired>,
    ) {
        self.tell(Message::Reseat(Box::new((spec, settled)), Reply::new(done)));
    }

    /// Asks every seat of such a token whether it has its share.
    pub fn check_threshold(&self, token: Arc<mpc::Token>, done: Done<CheckTable>) {
        self.tell(Message::Confirm(token, Reply::new(done)));
    }

    /// As [`order`](Self::order), for a token whose key is never put together.
    pub fn order_threshold(
        &self,
        versions: Vec<Arc<mpc::Token>>,
        command: Command,
        done: Done<Ordered>,
    ) {
        let versions = versions
            .iter()
            .map(|token| Version::second(token))
            .collect();
        self.tell(Message::Order(versions, command, Reply::new(done)));
    }

    /// Orders that a token be revoked, frozen or thawed, at every agent of the directory. `versions` are versions of that
    /// token which differ in their rows: every agent that holds one in any of them counts.
    pub fn order(&self, versions: Vec<Arc<Token>>, command: Command, done: Done<Ordered>) {
        let versions = versions.iter().map(|token| Version::first(token)).collect();
        self.tell(Message::Order(versions, command, Reply::new(done)));
    }

    /// Has every agent of the directory refuse a grant from now on; `revocation` is the grantor's word for it, encoded.
    pub fn revoke_grant(&self, revocation: Vec<u8>, done: Done<Vec<RevokedAt>>) {
        self.tell(Message::Revoke(revocation, Reply::new(done)));
    }

    /// Asks every agent of the directory for its state.
    pub fn status(&self, done: Done<Vec<AgentStatus>>) {
        self.tell(Message::Status(Reply::new(done)));
    }

    fn tell(&self, message: Message) {
        let inner = &self.0;
        if inner.home.generation == evanesce_secret::generation() {
            return inner.home.tell(message);
        }
        let mut away = inner.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away
            .as_ref()
            .is_none_or(|running| running.generation != evanesce_secret::generation())
        {
            match inner.start() {
                // The parent's is left alone: what it points to is not in this process.
                Ok(running) => std::mem::forget(away.replace(running)),
                Err(error) => return message.refuse(error),
            }
        }
        if let Some(running) = &*away {
            running.tell(message);
        }
    }
}

/// The token that a chain of grants is for. They are the agents' to judge.
fn granted(grants: &[Vec<u8>]) -> Result<Option<Granted>, Error> {
    let Some(first) = grants.first() else {
        return Ok(None);
    };
    let (grant, _) = Signed::decode(first)
        .and_then(|signed| signed.verify())
        .map_err(|e| {
            Error::new(
                Code::BadInput,
                e.to_string(),
                "Ask its grantor for another.",
            )
        })?;
    Ok(Some((grant.token, grants.into())))
}

impl Inner {
    /// Puts the grants along, where they are for this token.
    fn grant(&self, token: &Token, evidence: &mut Evidence) {
        if let Some((of, grants)) = &self.grants
            && token.id() == of
        {
            evidence.grants = grants.to_vec();
        }
    }

    fn start(&self) -> Result<Running, Error> {
        Running::start(
            &self.identity,
            &self.directory,
            &self.settings,
            &self.world,
            &self.dial,
            &self.service,
        )
    }
}

impl Running {
    fn start(
        identity: &IdentitySource,
        directory: &Arc<Directory>,
        settings: &Settings,
        world: &Arc<dyn World>,
        dial: &DialSource,
        service: &Option<Holder>,
    ) -> Result<Self, Error> {
        // Locked memory first: from then on a fork is noticed.
        evanesce_secret::on_crucible(|| ());
        let generation = evanesce_secret::generation();
        let identity = identity().map_err(|e| {
            Error::new(
                Code::Identity,
                e.to_string(),
                "Make one with evanesce identity init, or name another file.",
            )
        })?;
        let (directory, settings) = (directory.clone(), settings.clone());
        Ok(Self {
            generation,
            thread: start(Setup {
                dial: dial(&identity),
                identity,
                directory,
                settings,
                world: world.clone(),
                service: service.clone(),
            })?,
        })
    }

    fn tell(&self, message: Message) {
        if let Err(unsent) = self.thread.send(message) {
            unsent
                .0
                .refuse(Error::internal("the reconstructor's thread has ended"));
        }
    }
}
