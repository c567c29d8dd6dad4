//! The numbers of PROTOCOL §2–§4, in one place, with their units.
//!
//! Every length is compared with one of these before anything is allocated for it.

/// Bytes of an encoded token, and of any other encoded item of the protocol.
pub const TOKEN_BYTES: usize = 128 * 1024;

/// Levels of containers inside each other, the outermost being 1.
pub const CONTAINER_DEPTH: usize = 20;

/// The largest unsigned integer, 2^53−1: what every language holds exactly.
pub const UINT: u64 = (1 << 53) - 1;

/// Bytes of a map key are fewer than this, so that both orders of RFC 8949 agree.
pub const KEY_BYTES: usize = 24;

/// Bytes of a key's name.
pub const NAME_BYTES: usize = 255;

/// Bytes of a policy.
pub const POLICY_BYTES: usize = 32 * 1024;

/// Bytes of a seat's name.
pub const SEAT_NAME_BYTES: usize = 64;

/// Seats of a quorum, and children of a gate: child numbers are non-zero bytes.
pub const SEATS: usize = 255;

/// Gates inside each other, the outermost being 1.
pub const GATE_DEPTH: usize = 8;

/// Bytes that a mint reserves for each row's signature: the longest DER form of a P-256 signature.
pub const ROW_SIGNATURE_BYTES: usize = 72;
