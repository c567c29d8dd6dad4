//! What is to be minted, judged before anybody is asked.

use evanesce_secret::SecretVec;
use evanesce_suite::{Suite, catalogue};
use evanesce_token::{Gate, Header, quoted};

use super::MintSpec;
use crate::error::{Code, Error};
use crate::io::side::Side;

/// All that a deal needs, judged.
pub(crate) struct Draft {
    pub header: Header,
    pub suites: Vec<&'static dyn Suite>,
    pub imported: Option<SecretVec>,
}

/// Judges the whole specification; says everything that is wrong with it, not just the first thing.
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
    let now = side.world.unix_seconds();
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
    side.world.random(&mut fresh_key);
    side.world.random(&mut nonce);
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
