//! The formulas of PROTOCOL §4–§8, one line each, under the protocol's own names.
//!
//! All are pure. Those that take or give a seed, a share, an element's answer or a key do not allocate;
//! call them on a crucible thread, whose stack is locked and wiped.

use std::collections::BTreeMap;

use crate::cbor::{Writer, canonical_order};
use crate::hash::{TaggedHash, hkdf_expand, hkdf_parts, th};

/// §4: `deal`, which names everything in a header and one dealing of its shares.
pub fn deal(header: &[u8]) -> [u8; 32] {
    th("deal", &[header])
}

/// §4: `anchor`, which commits a token to its seed.
pub fn anchor(deal: &[u8; 32], seed: &[u8; 32]) -> [u8; 32] {
    th("anchor", &[deal, seed])
}

/// §4: `commitments[seat]`, which commits a token to one share.
pub fn commitment(deal: &[u8; 32], seat: u32, share: &[u8; 32]) -> [u8; 32] {
    th("share", &[deal, &seat.to_be_bytes(), share])
}

/// §4: `TH("commitments", CBOR(commitments))`.
pub fn commitments_hash(commitments: &[[u8; 32]]) -> [u8; 32] {
    let mut writer = Writer::with_capacity(3 + 34 * commitments.len());
    writer.array(commitments.len());
    for commitment in commitments {
        writer.bytes(commitment);
    }
    th("commitments", &[&writer.into_bytes()])
}

/// §4: `TH("public", CBOR(public))`.
pub fn public_hash(public: &BTreeMap<String, Vec<u8>>) -> [u8; 32] {
    let mut writer = Writer::new();
    write_public(&mut writer, public);
    th("public", &[&writer.into_bytes()])
}

/// Writes `public` in canonical order, which is not that of a `BTreeMap`: shorter names come first.
pub(crate) fn write_public(writer: &mut Writer, public: &BTreeMap<String, Vec<u8>>) {
    let mut suites: Vec<_> = public.iter().collect();
    suites.sort_by(|(a, _), (b, _)| canonical_order(a, b));
    writer.map(suites.len());
    for (suite, spki) in suites {
        writer.key(suite).bytes(spki);
    }
}

/// §4: `TH("sealed", CBOR(sealed))`.
pub fn sealed_hash(sealed: Option<&[u8]>) -> [u8; 32] {
    let mut writer = Writer::new();
    writer.bytes_or_null(sealed);
    th("sealed", &[&writer.into_bytes()])
}

/// §4: `token_id`, which names the key: everything in a token but its rows.
pub fn token_id(
    deal: &[u8; 32],
    anchor: &[u8; 32],
    commitments_hash: &[u8; 32],
    public_hash: &[u8; 32],
    sealed_hash: &[u8; 32],
) -> [u8; 32] {
    th(
        "token",
        &[deal, anchor, commitments_hash, public_hash, sealed_hash],
    )
}

/// §4: the statement that a row's holder signs.
pub fn row_statement(
    token_id: &[u8; 32],
    seat: u32,
    epoch: u64,
    correction: &[u8; 32],
) -> [u8; 32] {
    th(
        "row",
        &[
            token_id,
            &seat.to_be_bytes(),
            &epoch.to_be_bytes(),
            correction,
        ],
    )
}

/// §5: the 32 bytes that an element is asked the HMAC of.
pub fn contribution(token_id: &[u8; 32], seat: u32) -> [u8; 32] {
    th("contribution", &[token_id, &seat.to_be_bytes()])
}

/// §5: the pad that masks a share, from the element's answer `y`.
pub fn pad(y: &[u8; 32], out: &mut [u8; 32]) {
    hkdf_expand(y, b"evanesce/v1/pad", out);
}

/// §6: a request's hash. Of several that travel together, one hash over each in turn.
pub fn request_hash(requests: &[&[u8]]) -> [u8; 32] {
    th("request", requests)
}

/// §6: the digest that stands for an operation's inputs in a request; `salt` stays with the caller.
pub fn input_digest(salt: &[u8; 32], action: &str, suite: &str, inputs: &[&[u8]]) -> [u8; 32] {
    let mut hash = TaggedHash::new("input");
    hash.part(salt);
    hash.part(action.as_bytes());
    hash.part(suite.as_bytes());
    for input in inputs {
        hash.part(input);
    }
    hash.finish()
}

/// §6: the additional data under which a share is sealed to a session.
pub fn share_aad(
    request_hash: &[u8; 32],
    token_id: &[u8; 32],
    seat: u32,
    agent_id: &[u8; 32],
) -> [u8; 32] {
    th(
        "sealed-share",
        &[request_hash, token_id, &seat.to_be_bytes(), agent_id],
    )
}

/// §1: an agent's id, from its SubjectPublicKeyInfo in DER.
pub fn agent_id(spki: &[u8]) -> [u8; 32] {
    th("agent", &[spki])
}

/// §1: a caller's id, from its SubjectPublicKeyInfo in DER.
pub fn caller_id(spki: &[u8]) -> [u8; 32] {
    th("caller", &[spki])
}

/// §7: `material(suite, out.len())` of a seed, under the header's `key`.
pub fn material(seed: &[u8; 32], key: &[u8; 32], suite: &str, out: &mut [u8]) {
    hkdf_parts(seed, key, &[b"key/", suite.as_bytes()], out);
}

/// §8: the AEAD key that seals an imported key, used exactly once.
pub fn import_key(seed: &[u8; 32], deal: &[u8; 32], out: &mut [u8; 32]) {
    hkdf_parts(seed, deal, &[b"import"], out);
}
