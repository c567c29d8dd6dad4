//! Every bound of the wire, in one place, with its unit.

use std::time::Duration;

/// Largest body of a request or an answer, in bytes.
pub const BODY: usize = 4 << 20;
/// Deepest nesting of a body's CBOR.
pub const DEPTH: usize = 24;
/// Most token contexts, and most openings, in one request.
pub const OPENINGS: usize = 1024;
/// Most operations decided under one opening, so that its log entry keeps within 64 KiB.
pub const REQUESTS_PER_OPENING: usize = 400;
/// Most messages signed under one request by a quorum whose key is never put together.
pub const SIGNATURES: usize = 64;
/// A header above this many bytes may be sent by token id once the agent has seen it.
pub const INLINE_HEADER: usize = 4096;
/// Longest life of a sealing session (PROTOCOL §6).
pub const SESSION_LIFE: Duration = Duration::from_secs(3600);
/// How far ahead of an agent's clock a request's `not_after` may lie, in seconds.
pub const REQUEST_AHEAD: u64 = 300;
/// Sealed messages may arrive out of order within this many counters.
pub const REPLAY_WINDOW: u64 = 4096;
/// Longest caller's proof, in bytes.
pub const PROOF: usize = 16 << 10;
/// Longest grant, in bytes.
pub const GRANT: usize = 8 << 10;
/// Longest approval, in bytes: a WebAuthn assertion and the text that was seen.
pub const APPROVAL: usize = 8 << 10;
/// Longest chain of grants.
pub const GRANTS: usize = 2;
/// Most approvals of one opening.
pub const APPROVALS: usize = 16;
/// Longest payload of one request, in bytes.
pub const PAYLOAD: usize = 64 << 10;
/// Most bytes of all payloads under one opening: an agent judges these in one go, at up to 0.3 µs a byte.
pub const PAYLOADS: usize = 2 * PAYLOAD;
