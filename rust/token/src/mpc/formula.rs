//! The hashes of the second kind, one line each. All are pure; those that take an element's answer do not allocate.

use super::Kind;
use crate::cbor::Writer;
use crate::hash::{hkdf_expand_parts, th};

/// `deal`, which names everything in a header.
pub fn deal(kind: Kind, header: &[u8]) -> [u8; 32] {
    th(kind.label("mpc-deal", "mpc-kept-deal"), &[header])
}

/// The inputs of a request to renew a key's shares, whoever is to have them: the new `deal`, and the agents' ids in the order of the new
/// seats. A header says no more than the seats' names.
pub fn reshare_inputs<'a>(deal: &'a [u8; 32], agents: &'a [[u8; 32]]) -> Vec<&'a [u8]> {
    let ids = agents.iter().map(|id| &id[..]);
    std::iter::once(&deal[..]).chain(ids).collect()
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
    kind: Kind,
    deal: &[u8; 32],
    transcript: &[u8; 32],
    key: &[u8],
    vector_hash: &[u8; 32],
) -> [u8; 32] {
    let label = kind.label("mpc-token", "mpc-kept-token");
    th(label, &[deal, transcript, key, vector_hash])
}

/// The 32 bytes that an element is asked the HMAC of: for what masks a share, or for what seals one that is kept.
pub fn contribution(kind: Kind, token_id: &[u8; 32], seat: u32) -> [u8; 32] {
    let label = kind.label("mpc-contribution", "mpc-share");
    th(label, &[token_id, &seat.to_be_bytes()])
}

/// The statement that a row's holder signs. Where shares are kept there is no correction in it.
pub fn row_statement(
    kind: Kind,
    token_id: &[u8; 32],
    seat: u32,
    epoch: u64,
    correction: &[u8; 32],
) -> [u8; 32] {
    let (seat, epoch) = (seat.to_be_bytes(), epoch.to_be_bytes());
    match kind {
        Kind::Regenerated => th("mpc-row", &[token_id, &seat, &epoch, correction]),
        Kind::Kept => th("mpc-kept-row", &[token_id, &seat, &epoch]),
    }
}

/// What a holder signs once it has its share again from the durable row, or from its disk: only when all have, may any forget
/// the share that it was dealt.
pub fn regenerated_statement(kind: Kind, token_id: &[u8; 32], seat: u32, epoch: u64) -> [u8; 32] {
    let label = kind.label("mpc-regenerated", "mpc-kept");
    th(
        label,
        &[token_id, &seat.to_be_bytes(), &epoch.to_be_bytes()],
    )
}

/// The AES-256 key that seals a share which is kept: from the element's answer `y`.
pub fn keeping_key(y: &[u8; 32], suite: &str, out: &mut [u8; 32]) {
    hkdf_expand_parts(y, &[b"evanesce/v1/mpc-share/", suite.as_bytes()], out);
}

/// Additional data under which a share that is kept is sealed.
pub fn keeping_aad(token_id: &[u8; 32], seat: u32, epoch: u64) -> [u8; 32] {
    let (seat, epoch) = (seat.to_be_bytes(), epoch.to_be_bytes());
    th("mpc-share-kept", &[token_id, &seat, &epoch])
}

/// The 64 bytes that, as a big-endian number modulo the group's order, mask a share: from the element's answer `y`.
pub fn wide_mask(y: &[u8; 32], suite: &str, out: &mut [u8; 64]) {
    hkdf_expand_parts(y, &[b"evanesce/v1/scalar/", suite.as_bytes()], out);
}
