//! The one thread that talks to the agents, and how others talk to it.

use std::sync::Arc;
use std::time::Duration;

use evanesce_token::{Token, mpc};
use evanesce_wire::client::Dial;
use evanesce_wire::message::{Command, Serving, Standing};
use evanesce_wire::{Identity, World};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::check::CheckTable;
use crate::error::{Code, Error};
use crate::heal::{Healed, RepairSpec, ReshareSpec};
use crate::holder::{Directory, Holder, Settings};
use crate::io::driver::Driver;
use crate::mint::{MintSpec, Minted};
use crate::operation::{Outcome, Reply};
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

/// What the thread is told.
pub(crate) enum Message {
    /// Operations, each ready or already refused.
    Submit(Vec<(Result<Work, Error>, Reply<Outcome>)>),
    Mint(Box<MintSpec>, Reply<Minted>),
    Reshare(Box<(ReshareSpec, Settled)>, Reply<Healed>),
    Repair(Box<(RepairSpec, Settled)>, Reply<Healed>),
    Check(Arc<Token>, Option<Box<Settled>>, Reply<CheckTable>),
    Retire(Arc<Token>, Box<Settled>, Reply<Retirement>),
    Order(Vec<Version>, Command, Reply<Ordered>),
    Create(Box<ThresholdSpec>, Reply<ThresholdMinted>),
    Renew(Box<(RenewalSpec, Settled)>, Reply<Renewed>),
    Finish(Arc<Renewed>, Reply<Renewal>),
    Reseat(
        Box<(ThresholdRepairSpec, Settled)>,
        Reply<ThresholdRepaired>,
    ),
    Sign(Box<ThresholdOperation>, Reply<Outcome>),
    Confirm(Arc<mpc::Token>, Reply<CheckTable>),
    Revoke(Vec<u8>, Reply<Vec<RevokedAt>>),
    Status(Reply<Vec<AgentStatus>>),
    Sessions(Duration, Reply<Vec<Standing>>),
    Serving(Reply<Serving>),
}

impl Message {
    /// Answers it without the thread.
    pub fn refuse(self, error: Error) {
        match self {
            Self::Submit(operations) => operations
                .into_iter()
                .for_each(|(_, done)| done.send(Err(error.clone()))),
            Self::Mint(_, done) => done.send(Err(error)),
            Self::Reshare(_, done) => done.send(Err(error)),
            Self::Repair(_, done) => done.send(Err(error)),
            Self::Check(_, _, done) => done.send(Err(error)),
            Self::Retire(_, _, done) => done.send(Err(error)),
            Self::Order(_, _, done) => done.send(Err(error)),
            Self::Create(_, done) => done.send(Err(error)),
            Self::Renew(_, done) => done.send(Err(error)),
            Self::Finish(_, done) => done.send(Err(error)),
            Self::Reseat(_, done) => done.send(Err(error)),
            Self::Sign(_, done) => done.send(Err(error)),
            Self::Confirm(_, done) => done.send(Err(error)),
            Self::Revoke(_, done) => done.send(Err(error)),
            Self::Status(done) => done.send(Err(error)),
            Self::Sessions(_, done) => done.send(Err(error)),
            Self::Serving(done) => done.send(Err(error)),
        }
    }
}

/// What the thread starts from.
pub(crate) struct Setup {
    pub identity: Arc<dyn Identity>,
    pub directory: Arc<Directory>,
    pub settings: Settings,
    pub world: Arc<dyn World>,
    pub dial: Arc<dyn Dial>,
    /// The reconstructor that does this side's operations, if that is not this process.
    pub service: Option<Holder>,
}

/// Starts the thread, or in a world of one thread a task of the present runtime. It ends when every sender is gone
/// and what was begun has ended.
pub(crate) fn start(setup: Setup) -> Result<UnboundedSender<Message>, Error> {
    let cannot = |why: &dyn std::fmt::Display| {
        Error::new(
            Code::Internal,
            format!("the reconstructor's thread cannot start: {why}"),
            "",
        )
    };
    let (sender, receiver) = unbounded_channel();
    if setup.world.single_threaded() {
        tokio::spawn(Driver::new(setup).run(receiver));
        return Ok(sender);
    }
    let (tell, told) = std::sync::mpsc::channel();
    let run = move || match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let _ = tell.send(Ok(()));
            // As a task: what wakes the outermost future of a runtime costs a system call each time.
            let _ =
                runtime.block_on(async { tokio::spawn(Driver::new(setup).run(receiver)).await });
        }
        Err(e) => {
            let _ = tell.send(Err(e));
        }
    };
    std::thread::Builder::new()
        .name("evanesce-quorum".into())
        .spawn(run)
        .map_err(|e| cannot(&e))?;
    told.recv()
        .map_err(|e| cannot(&e))?
        .map_err(|e| cannot(&e))?;
    Ok(sender)
}
