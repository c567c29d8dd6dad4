//! Shutting the process in: first files and ports, before there are threads; then system calls, for all of them.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

/// What shuts the process in, and what would but could not be applied, in words.
#[derive(Clone, Debug, Default)]
pub struct Hardened {
    /// Done.
    pub applied: Vec<String>,
    /// Not done, and why.
    pub missing: Vec<String>,
}

/// The strictest that is asked for; an older kernel does what it can.
const LANDLOCK: ABI = ABI::V6;

impl Hardened {
    /// Memory undumpable, no core files, everything that secrets lie in made. Before anything else.
    pub fn begin() -> Result<Self, String> {
        evanesce_secret::harden().map_err(|e| e.to_string())?;
        let report = evanesce_secret::report();
        let mut hardened = Self::default();
        if report.undumpable && report.core_limit_zero {
            hardened.applied.push("undumpable, no core files".into());
        } else {
            hardened.missing.push("undumpable".into());
        }
        Ok(hardened)
    }

    /// From here on: only what lies in `folder` is read, nothing is written or executed, and only these TCP ports are
    /// connected to. Binds this thread and those it makes: call it while it is the only one.
    pub fn files_and_ports(&mut self, folder: Option<&Path>, ports: &[u16]) -> Result<(), String> {
        let status = restrict(folder, ports).map_err(|e| format!("Landlock: {e}"))?;
        let what = "Landlock: files, ports, and sockets and signals of other processes";
        match status {
            RulesetStatus::FullyEnforced => self.applied.push(what.into()),
            RulesetStatus::PartiallyEnforced => {
                let part = "Landlock, in part: this kernel (before Linux 6.12) has less of it";
                self.missing.push(part.into());
            }
            RulesetStatus::NotEnforced => {
                let none = "Landlock: this kernel has none, so that nothing keeps connections to the agents' ports";
                self.missing.push(none.into());
            }
        }
        Ok(())
    }

    /// From here on, in all threads, those to come too: only the system calls of `allowed`. No new privileges.
    pub fn system_calls(&mut self) -> Result<(), String> {
        let cannot = |e: &dyn std::fmt::Display| {
            format!("seccomp: {e}; this process does not run unconfined")
        };
        for filter in crate::allowed::filters().map_err(|e| cannot(&e))? {
            seccompiler::apply_filter_all_threads(&filter).map_err(|e| cannot(&e))?;
        }
        self.applied
            .push("seccomp: an allow-list of system calls".into());
        self.applied.push("no new privileges".into());
        Ok(())
    }
}

fn restrict(
    folder: Option<&Path>,
    ports: &[u16],
) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    if let Some(folder) = folder {
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(folder)?, reading))?;
    }
    for port in ports {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}
