//! What is counted, in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use evanesce_wire::message::Code;

use crate::gate::Verb;

/// Decisions are counted per verb and code.
const CODES: [Code; 12] = [
    Code::Done,
    Code::Unrouted,
    Code::Refused,
    Code::Expired,
    Code::Retired,
    Code::Unfit,
    Code::ContextUnknown,
    Code::Malformed,
    Code::Replayed,
    Code::Overloaded,
    Code::Unavailable,
    Code::Unprepared,
];

/// Counters and gauges of one agent.
#[derive(Default)]
pub struct Metrics {
    decisions: [[AtomicU64; CODES.len()]; Verb::ALL.len()],
    /// Requests answered 429.
    pub overloads: AtomicU64,
    /// Peers turned away before they asked anything.
    pub turned_away: AtomicU64,
    /// Shares that could not be regenerated, or an element that did not answer.
    pub faulty: AtomicU64,
    /// Commit groups.
    pub groups: AtomicU64,
    /// Groups that could not be logged.
    pub log_failures: AtomicU64,
    /// Entries of the log.
    pub entries: AtomicU64,
    /// Tombstones.
    pub tombstones: AtomicU64,
    /// Tokens that are frozen.
    pub frozen: AtomicU64,
    /// Bytes that orders take up.
    pub order_bytes: AtomicU64,
    /// Connections now.
    pub connections: AtomicU64,
    /// Requests in flight now: until their answers have left.
    pub pending: AtomicU64,
    /// Sealing sessions now.
    pub sessions: AtomicU64,
    /// Bytes of tokens remembered.
    pub token_bytes: AtomicU64,
    /// Bytes of compiled policies remembered.
    pub policy_bytes: AtomicU64,
    /// 1 while the log can be written.
    pub log_works: AtomicU64,
}

impl Metrics {
    /// Counts a decision.
    pub fn decided(&self, verb: Verb, code: Code) {
        if let Some(code) = CODES.iter().position(|known| *known == code) {
            self.decisions[verb as usize][code].fetch_add(1, Relaxed);
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut out = String::from("# TYPE evanesce_agent_decisions_total counter\n");
        for verb in Verb::ALL {
            for (n, code) in CODES.iter().enumerate() {
                let count = self.decisions[verb as usize][n].load(Relaxed);
                let (verb, code) = (verb.as_str(), code.as_str());
                // Writing to a String cannot fail.
                let _ = writeln!(
                    out,
                    "evanesce_agent_decisions_total{{verb=\"{verb}\",code=\"{code}\"}} {count}"
                );
            }
        }
        for (name, kind, value) in [
            ("overloads_total", "counter", &self.overloads),
            ("peers_turned_away_total", "counter", &self.turned_away),
            ("faulty_shares_total", "counter", &self.faulty),
            ("log_groups_total", "counter", &self.groups),
            ("log_failures_total", "counter", &self.log_failures),
            ("log_entries", "gauge", &self.entries),
            ("log_works", "gauge", &self.log_works),
            ("tombstones", "gauge", &self.tombstones),
            ("frozen", "gauge", &self.frozen),
            ("order_bytes", "gauge", &self.order_bytes),
            ("connections", "gauge", &self.connections),
            ("requests_in_flight", "gauge", &self.pending),
            ("sessions", "gauge", &self.sessions),
            ("token_cache_bytes", "gauge", &self.token_bytes),
            ("policy_cache_bytes", "gauge", &self.policy_bytes),
        ] {
            let value = value.load(Relaxed);
            let _ = writeln!(
                out,
                "# TYPE evanesce_agent_{name} {kind}\nevanesce_agent_{name} {value}"
            );
        }
        out
    }
}
