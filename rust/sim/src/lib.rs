//! A deterministic simulator over the real agent and reconstructor (`docs/simulation.md`).
//!
//! A schedule is drawn from a seed: agents, callers, faults and what is asked meanwhile. It is played on one thread, in
//! virtual time, over simulated disks, clocks and a network; sessions, bodies, policies, logs and openings are the
//! product's own. Then the invariants are judged by what left the agents and what callers were told. The same seed gives
//! the same run: seeds of keys and sessions apart, which decide nothing.
//!
//! | to learn | read |
//! |---|---|
//! | what happens | `schedule`, `scenario` |
//! | what must hold | `invariants`, `ordered`, `granted`, `approved`, `heals` |
//! | what stands in for the world | `disk`, `syncer`, `world`, `net`, `node`, `coordinator`, `liar`, `people` |
//! | how a schedule is played | `run`, `stage`, `ledger` |
//! | what it would find | `planted` |
#![forbid(unsafe_code)]

pub mod approved;
pub mod coordinator;
pub mod disk;
pub mod granted;
pub mod heals;
pub mod invariants;
pub mod ledger;
mod liar;
pub mod net;
pub mod node;
pub mod ordered;
pub mod people;
pub mod planted;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod stage;
mod syncer;
pub mod world;
