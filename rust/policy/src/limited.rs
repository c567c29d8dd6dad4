//! How often a key may be used, as the policy itself states it: `@limits("total 1000 surviving 1; caller agent 100 per 1h")`
//! on one of its statements.
//!
//! ```text
//! limits = limit *( ";" limit )
//! limit  = [ "caller" ] ( "total" N "surviving" C / "agent" N ) [ "per" span ]
//! span   = number ( "s" / "m" / "h" / "d" )
//! ```
//!
//! `agent N`: what each agent answers. `total N surviving C`: what all agents together answer, C of them being corrupt;
//! what each of them may answer follows from the quorum (PROTOCOL §10). `caller`: for each caller by itself.
//! `per`: in any stretch of time of that length, rather than ever. Words are written as here, one space or more between them.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::PolicySet;
use evanesce_token::Gate;

/// The annotation's name.
const ANNOTATION: &str = "limits";
/// Most limits of one policy.
const LIMITS: usize = 8;
/// Most corrupt agents that a total can survive.
const CORRUPT: usize = 8;
/// Most gates of a quorum under which a total is worked out, so that nobody keeps an agent busy with it.
const GATES: usize = 32;
/// Longest stretch of time, in seconds: 366 days.
const LONGEST: u64 = 366 * 86_400;
/// The largest number: what every language holds exactly.
const NUMBER: u64 = evanesce_token::limits::UINT;

/// One limit, as stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// For each caller by itself, rather than for the key.
    pub per_caller: bool,
    /// How many operations.
    pub most: Most,
    /// In any stretch of so many seconds; `None` for ever.
    pub within: Option<u64>,
}

/// A number of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// At each agent.
    Each(u64),
    /// Of all agents together, so many of which may be corrupt.
    Total { total: u64, corrupt: usize },
}

/// What a limit comes to at each agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The limit that it follows from.
    pub limit: Limit,
    /// Operations that this agent may permit.
    pub most: u64,
}

/// As it is written.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per_caller {
            f.write_str("caller ")?;
        }
        match self.most {
            Most::Each(n) => write!(f, "agent {n}")?,
            Most::Total { total, corrupt } => write!(f, "total {total} surviving {corrupt}")?,
        }
        match self.within {
            None => Ok(()),
            Some(seconds) => write!(f, " per {}", span(seconds)),
        }
    }
}

fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let unit = units
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, letter) = unit.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// The limits that a policy states; none where it states none.
pub fn stated(set: &PolicySet) -> Result<Vec<Limit>, String> {
    let mut found = set
        .policies()
        .filter_map(|policy| policy.annotation(ANNOTATION));
    let Some(text) = found.next() else {
        return Ok(Vec::new());
    };
    if found.next().is_some() {
        return Err("it states its limits twice: one statement has @limits, for all".into());
    }
    let limits: Result<Vec<Limit>, String> = text.split(';').map(read).collect();
    let limits = limits.map_err(|why| format!("@limits states none: {why}"))?;
    if limits.len() > LIMITS {
        return Err(format!(
            "@limits: {} limits, at most {LIMITS}",
            limits.len()
        ));
    }
    Ok(limits)
}

fn read(text: &str) -> Result<Limit, String> {
    const FORM: &str =
        "write [caller] total N surviving C, or [caller] agent N, and per 1h where it is meant so";
    let mut words = text.split_ascii_whitespace().peekable();
    let per_caller = words.next_if_eq(&"caller").is_some();
    let most = match words.next() {
        Some("agent") => Most::Each(number(words.next())?),
        Some("total") => {
            let total = number(words.next())?;
            if words.next() != Some("surviving") {
                return Err(
                    "a total says how many corrupt agents it survives: total 1000 surviving 1"
                        .into(),
                );
            }
            let corrupt = digits(words.next())?;
            if corrupt > CORRUPT as u64 {
                return Err(format!("surviving {corrupt}, at most {CORRUPT}"));
            }
            Most::Total {
                total,
                corrupt: corrupt as usize,
            }
        }
        _ => return Err(FORM.into()),
    };
    let within = match words.next() {
        None => None,
        Some("per") => Some(seconds(words.next())?),
        Some(_) => return Err(FORM.into()),
    };
    if words.next().is_some() {
        return Err(FORM.into());
    }
    Ok(Limit {
        per_caller,
        most,
        within,
    })
}

/// Decimal digits without a leading zero.
fn digits(word: Option<&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let canonical = plain && (word == "0" || !word.starts_with('0'));
    let value = word.parse().ok().filter(|n| canonical && *n <= NUMBER);
    value.ok_or_else(|| "a number is 0 to 2^53-1, in digits".into())
}

fn number(word: Option<&str>) -> Result<u64, String> {
    match digits(word)? {
        0 => Err("a limit of 0 permits nothing, ever".into()),
        n => Ok(n),
    }
}

fn seconds(word: Option<&str>) -> Result<u64, String> {
    let word = word.unwrap_or_default();
    let unit = match word.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => return Err("a stretch of time is a number of s, m, h or d: per 1h".into()),
    };
    let count = digits(Some(&word[..word.len() - 1]))?;
    let seconds = count.saturating_mul(unit);
    match seconds {
        1..=LONGEST => Ok(seconds),
        _ => Err("a stretch of time is between 1s and 366d".into()),
    }
}

/// What each agent of `quorum` may permit, limit by limit; or which of them cannot be promised, and why.
pub fn bounds(limits: &[Limit], quorum: &Gate) -> Result<Vec<Bound>, String> {
    let bound = |limit: &Limit| {
        let most = match limit.most {
            Most::Each(n) => n,
            Most::Total { total, corrupt } => each(quorum, total, corrupt)
                .map_err(|why| format!("\"{limit}\" cannot be promised: {why}"))?,
        };
        Ok(Bound {
            limit: *limit,
            most,
        })
    };
    limits.iter().map(bound).collect()
}

/// Whether totals hold though some agents sit at several seats: `holders` has one name per seat. Agents cannot tell, since
/// a header names seats alone; whoever mints can.
pub fn held(bounds: &[Bound], quorum: &Gate, holders: &[String]) -> Result<(), String> {
    let mut seats: BTreeMap<&str, usize> = BTreeMap::new();
    for holder in holders {
        *seats.entry(holder).or_default() += 1;
    }
    let mut most: Vec<(usize, &str)> = seats.into_iter().map(|(name, n)| (n, name)).collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    for Bound { limit, most: each } in bounds {
        let Most::Total { total, corrupt } = limit.most else {
            continue;
        };
        let seats: usize = most.iter().take(corrupt).map(|(n, _)| n).sum();
        let kept = quorum
            .operations(*each, seats)
            .is_some_and(|all| all <= total);
        if seats > corrupt && !kept {
            let (n, name) = most[0];
            return Err(format!(
                "\"{limit}\" cannot be promised: {name} sits at {n} seats, so that {corrupt} corrupt agents have {seats}; \
                 give each seat an agent of its own, or say surviving {seats}"
            ));
        }
    }
    Ok(())
}

fn each(quorum: &Gate, total: u64, corrupt: usize) -> Result<u64, String> {
    let gates = quorum.gate_count();
    if gates > GATES {
        return Err(format!(
            "the quorum has {gates} gates, and a total is worked out for at most {GATES}"
        ));
    }
    match quorum.each_within(total, corrupt) {
        None => Err(format!("{corrupt} corrupt agents could suffice to open it")),
        Some(0) => {
            let one = quorum.operations(1, corrupt).unwrap_or(u64::MAX);
            Err(format!(
                "though each agent answered once only, {one} operations could be had"
            ))
        }
        Some(each) => Ok(each),
    }
}

/// What a bound comes to, for people.
pub fn explain(bound: &Bound, quorum: &Gate) -> String {
    let Bound { limit, most } = bound;
    let who = if limit.per_caller {
        " of one caller"
    } else {
        ""
    };
    let time = limit
        .within
        .map_or_else(String::new, |seconds| format!(" in any {}", span(seconds)));
    let times = |n: u64| format!("{n} operation{}", if n == 1 { "" } else { "s" });
    let each = format!("each agent permits {}{who}{time}", times(*most));
    match limit.most {
        Most::Each(_) => match quorum.operations(*most, 0) {
            Some(all) => {
                format!("{limit}: {each}; that is at most {all} in all while no agent is corrupt")
            }
            None => format!("{limit}: {each}"),
        },
        Most::Total { total, corrupt } => {
            let honest = quorum.operations(*most, 0).unwrap_or(total);
            format!(
                "{limit}: {each}. At most {total} in all, {corrupt} agents being corrupt ({honest} while none is); \
                 {most} at the least, hedges counted"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiled, check_for};
    use proptest::prelude::*;

    const PERMIT: &str = "permit(principal, action, resource);";

    fn compiled(limits: &str) -> Compiled {
        Compiled::new(&format!("@limits(\"{limits}\") {PERMIT}"))
    }

    fn gate(text: &str) -> Gate {
        Gate::parse(text).unwrap()
    }

    fn most(limits: &str, quorum: &str) -> Result<Vec<u64>, String> {
        let bounds = compiled(limits).bounds(&gate(quorum))?;
        Ok(bounds.iter().map(|bound| bound.most).collect())
    }

    #[test]
    fn what_each_agent_may_permit_follows_from_total_and_quorum() {
        let flat = "3 of (a, b, c, d, e)";
        assert_eq!(most("total 1000 surviving 1", flat), Ok(vec![500]));
        assert_eq!(
            most("total 1000 surviving 0; caller agent 7 per 1h", flat),
            Ok(vec![600, 7])
        );
        assert_eq!(
            most("total 1 surviving 1", "4 of (a, b, c, d, e)"),
            Ok(vec![1])
        );
        assert_eq!(
            most("total 15 surviving 1", "2 of (ceo, 2 of (b1, b2, b3))"),
            Ok(vec![10])
        );
        let refused = |limits: &str, quorum: &str, what: &str| {
            let why = most(limits, quorum).unwrap_err();
            assert!(why.contains(what), "{limits}: {why}");
            let text = format!("@limits(\"{limits}\") {PERMIT}");
            let why = check_for(&text, &gate(quorum), &[]).unwrap_err();
            assert!(why.contains(what), "{limits}: {why}");
        };
        refused(
            "total 9 surviving 3",
            flat,
            "3 corrupt agents could suffice",
        );
        refused(
            "total 1 surviving 1",
            flat,
            "answered once only, 2 operations",
        );
        refused(
            "total 1 surviving 0",
            "1 of (a, b)",
            "once only, 2 operations",
        );
    }

    #[test]
    fn an_agent_at_two_seats_is_two_corrupt_seats() {
        let quorum = gate("3 of (a, b, c, d, e)");
        let check = |limits: &str, holders: &[&str]| {
            let holders: Vec<String> = holders.iter().map(|name| (*name).to_owned()).collect();
            check_for(
                &format!("@limits(\"{limits}\") {PERMIT}"),
                &quorum,
                &holders,
            )
            .map(drop)
        };
        let (apart, twice) = (["1", "2", "3", "4", "5"], ["1", "1", "3", "4", "5"]);
        assert_eq!(check("total 100 surviving 1", &apart), Ok(()));
        assert_eq!(check("total 100 surviving 0; agent 3", &twice), Ok(()));
        assert_eq!(check("total 100 surviving 2", &twice), Err(
            "\"total 100 surviving 2\" cannot be promised: 1 sits at 2 seats, so that 2 corrupt agents have 3; \
             give each seat an agent of its own, or say surviving 3".into()
        ));
        assert!(
            check("total 100 surviving 1", &twice)
                .unwrap_err()
                .contains("surviving 2")
        );
    }

    #[test]
    fn what_states_no_limit_is_refused() {
        for (text, what) in [
            ("", "write [caller] total"),
            ("total", "number is missing"),
            ("total 5", "survives"),
            ("total 5 surviving", "number is missing"),
            ("total 5 surviving 9", "at most 8"),
            ("total 5 surviving one", "in digits"),
            ("total 0 surviving 1", "nothing, ever"),
            ("agent 0", "nothing, ever"),
            ("agent 007", "in digits"),
            ("agent +7", "in digits"),
            ("agent 9007199254740992", "in digits"),
            ("agent 7 per", "s, m, h or d"),
            ("agent 7 per 1w", "s, m, h or d"),
            ("agent 7 per h", "in digits"),
            ("agent 7 per 0s", "between 1s"),
            ("agent 7 per 367d", "between 1s"),
            ("agent 7 per 1h x", "write"),
            ("agent 7 each 1h", "write"),
            ("agent 7; ", "write"),
            ("Agent 7", "write"),
            ("caller caller agent 7", "write"),
            ("agent 7 per 1\u{fc}", "s, m, h or d"),
            (
                "agent 1; agent 2; agent 3; agent 4; agent 5; agent 6; agent 7; agent 8; agent 9",
                "at most 8",
            ),
        ] {
            let compiled = compiled(text);
            let why = compiled
                .invalid()
                .unwrap_or_else(|| panic!("{text} is taken"));
            assert!(why.contains(what), "{text}: {why}");
        }
        let twice = format!("@limits(\"agent 1\") {PERMIT} @limits(\"agent 1\") {PERMIT}");
        assert!(Compiled::new(&twice).invalid().unwrap().contains("twice"));
        assert_eq!(Compiled::new(PERMIT).bounds(&gate("1 of (a)")), Ok(vec![]));
    }

    #[test]
    fn a_bound_is_explained_in_numbers() {
        let quorum = gate("3 of (a, b, c, d, e)");
        let said = |limits: &str| {
            let bounds = compiled(limits).bounds(&quorum).unwrap();
            explain(&bounds[0], &quorum)
        };
        assert_eq!(
            said("total 1000 surviving 1"),
            "total 1000 surviving 1: each agent permits 500 operations. At most 1000 in all, 1 agents being corrupt \
             (833 while none is); 500 at the least, hedges counted"
        );
        assert!(said("caller agent 1 per 90m").contains("1 operation of one caller in any 90m;"));
    }

    proptest! {
        /// What is read is written as it was meant, whatever it is.
        #[test]
        fn a_limit_is_read_as_it_is_written(
            per_caller: bool, n in 1u64..=NUMBER, corrupt in prop::option::of(0usize..=CORRUPT), within in prop::option::of(1u64..=LONGEST),
        ) {
            let most = corrupt.map_or(Most::Each(n), |corrupt| Most::Total { total: n, corrupt });
            let limit = Limit { per_caller, most, within };
            prop_assert_eq!(read(&limit.to_string()), Ok(limit));
        }
    }
}
