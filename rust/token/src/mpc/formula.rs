//! The hashes of the second kind, one line each. All are pure; the one that takes an element's answer does not allocate.

use crate::cbor::Writer;
use crate::hash::{hkdf_expand_parts, th};

/// `deal`, which names everything in a header.
pub fn deal(header: &[u8]) -> [u8; 32] {
    th("mpc-deal", &[header])
}

/// `TH("mpc-vector", CBOR(vector))`.
pub fn vector_hash<P: AsRef<[u8]>>(vector: &[P]) -> [u8; 32] {
    let mut writer = Writer::with_capacity(3 + 35 * vector.len());
    writer.array(vector.len());
    for point in vector {
        writer.bytes(point.as_ref());
    }
    th("mpc-vector", &[&writer.into_bytes()])
}

/// `token_id`: everything in a token but its rows. `key` is the vector's first point, the group's key.
pub fn token_id(
    deal: &[u8; 32],
    transcript: &[u8; 32],
    key: &[u8],
    vector_hash: &[u8; 32],
) -> [u8; 32] {
    th("mpc-token", &[deal, transcript, key, vector_hash])
}

/// The 32 bytes that an element is asked the HMAC of.
pub fn contribution(token_id: &[u8; 32], seat: u32) -> [u8; 32] {
    th("mpc-contribution", &[token_id, &seat.to_be_bytes()])
}

/// The statement that a row's holder signs.
pub fn row_statement(
    token_id: &[u8; 32],
    seat: u32,
    epoch: u64,
    correction: &[u8; 32],
) -> [u8; 32] {
    th(
        "mpc-row",
        &[
            token_id,
            &seat.to_be_bytes(),
            &epoch.to_be_bytes(),
            correction,
        ],
    )
}

/// What a holder signs once it has regenerated its share from the durable row: only when all have, may any forget the share
/// that it was dealt.
pub fn regenerated_statement(token_id: &[u8; 32], seat: u32, epoch: u64) -> [u8; 32] {
    th(
        "mpc-regenerated",
        &[token_id, &seat.to_be_bytes(), &epoch.to_be_bytes()],
    )
}

/// The 64 bytes that, as a big-endian number modulo the group's order, mask a share: from the element's answer `y`.
pub fn wide_mask(y: &[u8; 32], suite: &str, out: &mut [u8; 64]) {
    hkdf_expand_parts(y, &[b"evanesce/v1/scalar/", suite.as_bytes()], out);
}
