//! Faults planted on purpose, each of which the simulator must find (`tests/planted.rs`).

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// Nothing.
    #[default]
    None,
    /// The agent answers while its log entry is still in the process: a write returns before the operating system has it.
    AnswersBeforeItWrites,
    /// A sync returns without having synced.
    OmitsSyncs,
    /// An agent that starts has lost its tombstones.
    ForgetsTombstones,
    /// An agent that starts has lost its orders, and the tombstones that came of them.
    ForgetsOrders,
    /// An agent that starts has lost the ends of grants.
    ForgetsRevokedGrants,
    /// An agent that starts has forgotten which approvals were spent.
    ForgetsApprovals,
    /// An agent does not look whether it has spent an approval.
    SpendsTwice,
    /// An agent lets a delegate ask for anything.
    WidensGrants,
    /// An agent answers though peers have shown it that it was restored from an old copy.
    AnswersRestored,
    /// An agent answers though it has not heard from its peers since it started.
    AnswersUnheard,
    /// An agent does not look whether it has seen a request's id.
    TakesReplays,
    /// An agent that starts has forgotten how often keys were used.
    ForgetsCounts,
    /// The reconstructor takes any share for good.
    TrustsShares,
    /// The reconstructor takes a mint for done whatever the check of its seats says.
    CountsUnchecked,
    /// An operator has an old token retired before the new one is anywhere but in memory.
    RetiresFirst,
}

impl Planted {
    /// Sets what is wrong inside this thread's agents and reconstructors, where it is built in.
    pub fn arm(self) {
        #[cfg(feature = "planted")]
        {
            evanesce_agent::planted::TAKES_REPLAYS.set(self == Self::TakesReplays);
            evanesce_agent::planted::FORGETS_COUNTS.set(self == Self::ForgetsCounts);
            evanesce_agent::planted::FORGETS_APPROVALS.set(self == Self::ForgetsApprovals);
            evanesce_agent::planted::SPENDS_TWICE.set(self == Self::SpendsTwice);
            evanesce_agent::planted::WIDENS_GRANTS.set(self == Self::WidensGrants);
            evanesce_agent::planted::ANSWERS_RESTORED.set(self == Self::AnswersRestored);
            evanesce_agent::planted::ANSWERS_UNHEARD.set(self == Self::AnswersUnheard);
            evanesce_quorum::planted::TRUSTS_SHARES.set(self == Self::TrustsShares);
            evanesce_quorum::planted::COUNTS_UNCHECKED.set(self == Self::CountsUnchecked);
        }
    }
}
