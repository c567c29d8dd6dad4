//! Every bound of an agent, in one place, with its unit. Bounds of message forms are the wire's.

use std::time::Duration;

use serde::Deserialize;

/// Longest log entry, in bytes: what an entry bundle of C2SP tlog-tiles can hold.
pub const ENTRY: usize = u16::MAX as usize;
/// Most operations under one opening, so that its entry keeps within [`ENTRY`].
pub const OPERATIONS: usize = evanesce_wire::limits::REQUESTS_PER_OPENING;
/// Most operations, and most rows, in one request.
pub const WORK: usize = 4096;
/// Longest reason in an answer or an entry, in characters.
pub const REASON: usize = 300;
/// Longest text that an element says of itself, in characters.
pub const ELEMENT_TEXT: usize = 120;
/// Most weaknesses named. The probe's tables know fewer, so that a module which lets everything through has each
/// named.
pub const WEAKNESSES: usize = 128;
/// Most bytes of all weaknesses together, so that an entry of [`OPERATIONS`] keeps within [`ENTRY`].
pub const WEAKNESS_BYTES: usize = 8 << 10;
/// A peer must complete TLS within this time.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections at once whose peer has not proven its key yet; they take no place of those whose peer is known.
pub const ARRIVING: usize = 256;
/// How many of these may come from one source, so that one that only connects keeps out nobody else.
pub const ARRIVING_PER_SOURCE: usize = ARRIVING / 4;
/// A request's body must arrive within this time, and an answer's be taken.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// An unknown peer is told so, and cut, within this time; so many at once.
pub const STRANGER_TIME: Duration = Duration::from_secs(2);
/// Unknown peers connected at once.
pub const STRANGERS: usize = 16;
/// What is in flight when the agent is stopped has this long to finish.
pub const STOPPING: Duration = Duration::from_secs(2);
/// Entries are synced this soon after they were written, where they are not synced before the answer.
pub const SYNC_AFTER: Duration = Duration::from_millis(5);
/// The log's head is stored at most this often.
pub const HEAD_EVERY: Duration = Duration::from_secs(1);
/// Of what all callers have in common, one caller may take up one part of so many.
pub const PARTS: usize = 4;
/// Orders to revoke, freeze or thaw that one caller may give, per second; ten times that at once.
pub const ORDERS_PER_SECOND: u64 = 20;
/// The judge lets other work of its thread run after this long.
pub const TURN: Duration = Duration::from_millis(1);

/// The bounds that an operator may set, `[limits]` in `agent.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of known callers at once.
    pub connections: usize,
    /// Connections of one caller.
    pub connections_per_caller: usize,
    /// Requests at once on one connection.
    pub streams: u32,
    /// Requests at once in all, until their answers have left, a quarter of them one caller's; more are answered 429.
    pub pending: usize,
    /// Bytes of bodies being received or worked on, and of answers that have not left, a quarter of them one caller's
    /// but always one body; more are answered 429.
    pub buffered_bytes: usize,
    /// Sealing sessions at once; the least recently used gives way.
    pub sessions: usize,
    /// Sealing sessions of one caller.
    pub sessions_per_caller: usize,
    /// Request ids remembered until their requests end, half of them one caller's; 8 bytes each.
    pub request_ids: usize,
    /// Bytes of tokens remembered.
    pub token_bytes: usize,
    /// Bytes of compiled policies remembered.
    pub policy_bytes: usize,
    /// Policy text that one caller may have compiled, in bytes a second; sixteen times that at once.
    pub compile_per_second: u64,
    /// Bytes that orders and revocations of grants may take up on the disk, a quarter of them one signer's, and the last
    /// quarter only minters'.
    pub orders_bytes: u64,
    /// Seats that one caller may have checked, per second; four times that at once.
    pub checks_per_second: u64,
    /// Operations that one caller may ask for, per second; four times that at once. 0: as many as there is room for.
    pub operations_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_caller: 32,
            streams: 128,
            pending: 512,
            buffered_bytes: 64 << 20,
            sessions: 512,
            sessions_per_caller: 32,
            // One caller's half lets it ask 35,000 times a second for requests that live a minute.
            request_ids: 1 << 22,
            token_bytes: 16 << 20,
            policy_bytes: 32 << 20,
            compile_per_second: 256 << 10,
            orders_bytes: 256 << 20,
            checks_per_second: 2000,
            operations_per_second: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::named;
    use evanesce_wire::limits as wire;
    use evanesce_wire::message::{Basis, Counted, Entry, EntryOperation, Spent};

    #[test]
    fn the_longest_entry_that_can_be_asked_for_keeps_within_its_bound() {
        let longest = |words: &mut dyn Iterator<Item = &'static str>| {
            words.max_by_key(|word| word.len()).unwrap().to_owned()
        };
        let suites = evanesce_suite::catalogue().0;
        let operations = suites.iter().flat_map(|suite| suite.operations);
        let operation = EntryOperation {
            action: longest(&mut operations.copied()),
            suite: longest(&mut suites.iter().map(|suite| suite.name)),
            input: [6; 32],
            request: [7; 32],
        };
        // Four bytes a character, where the character is not ours to choose.
        let text = |characters: usize| "\u{1f511}".repeat(characters) + "...";
        let spent = Spent {
            id: [1; 32],
            name: "a".repeat(128),
            approver: [2; 32],
        };
        let entry = Entry {
            agent: [1; 32],
            time: (1 << 53) - 1,
            verb: "contribute".into(),
            token: [2; 32],
            key_name: "k".repeat(255),
            seats: (0..255).collect(),
            caller: [3; 32],
            caller_name: "c".repeat(128),
            operations: vec![operation; OPERATIONS],
            code: "malformed".into(),
            reason: text(REASON),
            element: text(ELEMENT_TEXT),
            weaknesses: vec![],
            basis: Basis {
                grants: vec![[8; 32]; wire::GRANTS],
                approvals: vec![spent; wire::APPROVALS],
                reconstructor: Some([9; 32]),
                uses: Some(Counted {
                    of: [9; 32],
                    key: (1 << 53) - 1,
                    caller: (1 << 53) - 1,
                }),
            },
        };
        // As many as are named, short or long.
        for length in [0, WEAKNESS_BYTES / WEAKNESSES / 4, ELEMENT_TEXT] {
            let weaknesses = named(vec!["\u{1f511}".repeat(length); 1000]);
            let entry = Entry {
                weaknesses,
                ..entry.clone()
            };
            let encoded = entry.encode();
            assert!(encoded.len() <= ENTRY, "{} bytes", encoded.len());
            assert_eq!(Entry::decode(&encoded).unwrap(), entry);
        }
    }
}
