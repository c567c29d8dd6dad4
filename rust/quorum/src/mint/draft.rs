//! What is to be minted, judged before anybody is asked.

use std::collections::BTreeMap;

use evanesce_secret::SecretVec;
use evanesce_suite::{Suite, catalogue};
use evanesce_token::{Gate, Header, Malformed, quoted};

use super::{MintSpec, PolicyCheck};
use crate::error::{Code, Error};
use crate::io::side::Side;

/// All that a deal needs, judged.
pub(crate) struct Draft {
    pub header: Header,
    pub suites: Vec<&'static dyn Suite>,
    pub imported: Option<SecretVec>,
}

/// What every kind of key has, judged: who sits where, until when, under which policy.
pub(crate) struct Judged {
    /// Unix seconds.
    pub now: u64,
    /// The holder of each seat, in the quorum's order; whole where there are no problems.
    pub places: Vec<usize>,
    /// All that is wrong so far.
    pub problems: Vec<String>,
    warnings: Vec<String>,
    unenforceable: Option<String>,
}

/// Judges what every kind of key has.
pub(crate) fn judge(
    side: &Side,
    quorum: &Gate,
    seats: &BTreeMap<String, String>,
    expires: Option<u64>,
    policy: &str,
    policy_check: PolicyCheck,
) -> Result<Judged, Error> {
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
    let now = side.world.unix_seconds();
    if expires.is_some_and(|expires| expires <= now) {
        problems.push("the token would have expired already".into());
    }
    let (mut warnings, unenforceable) = match policy_check(policy) {
        Ok(warnings) => (warnings, None),
        Err(why) => (vec![], Some(why)),
    };
    if places.len() == names.len() {
        warnings.extend(margins(side, quorum, &places));
    }
    Ok(Judged {
        now,
        places,
        problems,
        warnings,
        unenforceable,
    })
}

impl Judged {
    /// Who sits where, and what is worth a second thought; or everything that is wrong, not just the first thing;
    /// `header` is what is wrong with the header made of it.
    pub fn settle(
        mut self,
        header: Result<(), Malformed>,
    ) -> Result<(Vec<usize>, Vec<String>), Error> {
        let mut code = Code::BadInput;
        if let Some(why) = self.unenforceable {
            if self.problems.is_empty() {
                code = Code::Policy;
            }
            self.problems
                .push(format!("the policy cannot be enforced: {why}"));
        }
        self.problems.extend(header.err().map(|e| e.0));
        if self.problems.is_empty() {
            return Ok((self.places, self.warnings));
        }
        Err(Error::new(
            code,
            self.problems.join("; "),
            "Nothing was asked of any agent.",
        ))
    }
}

/// Judges the whole specification.
pub(crate) fn draft(
    side: &Side,
    spec: MintSpec,
) -> Result<(Draft, Vec<usize>, Vec<String>), Error> {
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
    let mut judged = judge(side, &quorum, &seats, expires, &policy, policy_check)?;
    let mut known = Vec::with_capacity(suites.len());
    for suite in &suites {
        match evanesce_suite::find(suite) {
            Some(suite) => known.push(suite),
            None => {
                let problem = format!("no suite is named {}", quoted(suite));
                judged.problems.push(problem);
            }
        }
    }
    let (mut fresh_key, mut nonce) = ([0; 32], [0; 32]);
    side.world.random(&mut fresh_key);
    side.world.random(&mut nonce);
    let header = Header {
        key: key.unwrap_or(fresh_key),
        nonce,
        name,
        suites,
        quorum,
        policy,
        created: judged.now,
        expires,
        replaces,
    };
    // A suite that nobody knows would be named twice.
    let valid = match judged.problems.is_empty() {
        true => header.validate(catalogue()),
        false => Ok(()),
    };
    let (places, warnings) = judged.settle(valid)?;
    let draft = Draft {
        header,
        suites: known,
        imported,
    };
    Ok((draft, places, warnings))
}

/// What is worth a second thought about who holds what.
pub(crate) fn margins(side: &Side, quorum: &Gate, places: &[usize]) -> Vec<String> {
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
