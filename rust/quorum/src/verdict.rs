//! What an opening that failed is called, and how it is explained (PROTOCOL §6.4).
//!
//! "Asked" includes holders that could not be reached: *refused* and *token-altered* are said only when
//! every one of them answered so. Seats whose holder is not in the directory were not asked.

use evanesce_token::Gate;

use crate::error::{Code, Error};
use crate::fault::{Fault, Trouble};

/// The code, from the trouble at every seat that was asked and whether any share was good.
pub fn code(troubles: impl IntoIterator<Item = Trouble>, had_any: bool) -> Code {
    let asked: Vec<Trouble> = troubles
        .into_iter()
        .filter(|t| *t != Trouble::UnknownHolder)
        .collect();
    if asked.is_empty() || had_any {
        return Code::QuorumNotMet;
    }
    let all = |test: fn(&Trouble) -> bool| asked.iter().all(test);
    if all(|t| *t == Trouble::Expired) {
        Code::Expired
    } else if all(|t| matches!(t, Trouble::Stranger | Trouble::OwnIdentity)) {
        Code::Identity
    } else if all(|t| *t == Trouble::Role) {
        Code::Role
    } else if all(|t| *t == Trouble::Overloaded) {
        Code::Overloaded
    } else if all(|t| *t == Trouble::OwnMemory) {
        Code::Memory
    } else if all(|t| t.is_refusal()) {
        Code::Refused
    } else if all(|t| t.is_unable()) {
        Code::TokenAltered
    } else {
        Code::QuorumNotMet
    }
}

/// The error for an opening that failed, its faults in seat order.
pub fn explain(code: Code, gate: &Gate, faults: Vec<Fault>) -> Error {
    let (message, hint) = match code {
        Code::Expired => (
            "every agent asked says that the token has expired".into(),
            "Use a token minted later.",
        ),
        Code::Identity => (
            "this identity is one that no agent asked knows, or cannot be used".into(),
            "Have each agent's operator allow it: evanesce agent allow.",
        ),
        Code::Role => (
            "the agents know this identity, but not in a role that may do this".into(),
            "Have each agent's operator give it the role: evanesce agent allow.",
        ),
        Code::Memory => (
            "no locked memory is left for another session".into(),
            "Raise the locked-memory limit (ulimit -l) or lower the load.",
        ),
        Code::Overloaded => (
            "every agent asked is overloaded".into(),
            "Try again later, or ask for less at once.",
        ),
        Code::Refused => (
            "every agent asked refused".into(),
            "Each agent's reason is with its name; the token's policy and the agents' directories decide.",
        ),
        Code::TokenAltered => (
            "no agent asked could regenerate its share: this is not the token that was dealt"
                .into(),
            "Compare the token's id with the one noted at its mint, and take the token from a trusted copy.",
        ),
        _ => (
            format!("the quorum {} was not met", shown(gate)),
            "See which seats are missing and why; evanesce check asks every seat.",
        ),
    };
    Error::new(code, message, hint).with_faults(faults)
}

/// A quorum as people write it, cut where it is very wide.
fn shown(gate: &Gate) -> String {
    let text = gate.to_string();
    if text.len() <= 200 {
        text
    } else {
        format!("{} of {} seats or gates", gate.t, gate.of.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Trouble::*;

    #[test]
    fn refused_and_altered_need_everyone_asked() {
        assert_eq!(code([Refused, Retired, Malformed], false), Code::Refused);
        assert_eq!(code([Refused, Unreachable], false), Code::QuorumNotMet);
        assert_eq!(code([Refused, Slow], false), Code::QuorumNotMet);
        assert_eq!(code([Refused, Refused], true), Code::QuorumNotMet);
        assert_eq!(
            code([CannotRegenerate, RowAltered, EpochNotHeld], false),
            Code::TokenAltered
        );
        assert_eq!(code([CannotRegenerate, Lied], false), Code::QuorumNotMet);
        assert_eq!(code([CannotRegenerate, Refused], false), Code::QuorumNotMet);
        assert_eq!(code([CannotRegenerate], true), Code::QuorumNotMet);
    }

    #[test]
    fn one_word_of_all_has_its_own_code() {
        assert_eq!(code([Expired, Expired], false), Code::Expired);
        assert_eq!(code([Expired, Refused], false), Code::Refused);
        assert_eq!(code([Role, Role], false), Code::Role);
        assert_eq!(code([Stranger, Stranger], false), Code::Identity);
        assert_eq!(code([Overloaded, Overloaded], false), Code::Overloaded);
        assert_eq!(code([Overloaded, Refused], false), Code::QuorumNotMet);
    }

    #[test]
    fn strangers_to_the_directory_were_not_asked() {
        assert_eq!(code([UnknownHolder, Refused], false), Code::Refused);
        assert_eq!(
            code([UnknownHolder, UnknownHolder], false),
            Code::QuorumNotMet
        );
        assert_eq!(code([], false), Code::QuorumNotMet);
    }
}
