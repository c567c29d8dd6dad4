//! Checkpoints of an agent's log in C2SP form (tlog-checkpoint, signed-note).
//!
//! ```text
//! evanesce/<agent id, hex>          origin
//! 1048576                           leaves
//! <root, base64>
//!
//! — evanesce/<agent id, hex> <key hash ‖ Ed25519 signature, base64>
//! ```

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::merkle::Hash;
use crate::{Id, WireError};

/// Signature type of Ed25519 in a note's key hash.
const ED25519_NOTE: u8 = 1;

/// The origin, and key name, of an agent's log.
pub fn origin(agent: &Id) -> String {
    let hex: String = agent.iter().map(|b| format!("{b:02x}")).collect();
    format!("evanesce/{hex}")
}

/// The signed part of a checkpoint.
pub fn body(origin: &str, size: u64, root: &Hash) -> String {
    format!("{origin}\n{size}\n{}\n", BASE64.encode(root))
}

/// A whole checkpoint from its signed part and an Ed25519 signature over it.
pub fn sign_with(body: &str, origin: &str, key: &[u8; 32], signature: &[u8; 64]) -> String {
    let tagged = [&key_hash(origin, key)[..], signature].concat();
    format!("{body}\n\u{2014} {origin} {}\n", BASE64.encode(tagged))
}

/// Checks a checkpoint against the log's key; gives its size and root.
pub fn verify(note: &str, agent: &Id, key: &[u8; 32]) -> Result<(u64, Hash), WireError> {
    let malformed = |why: &str| WireError::Malformed(format!("checkpoint: {why}"));
    let (body, signatures) = note
        .split_once("\n\n")
        .ok_or_else(|| malformed("no signature"))?;
    let body = format!("{body}\n");
    let mut lines = body.lines();
    let origin = origin(agent);
    if lines.next() != Some(&origin) {
        return Err(malformed("it is of another log"));
    }
    let size = lines
        .next()
        .and_then(|n| n.parse::<u64>().ok().filter(|size| size.to_string() == n))
        .ok_or_else(|| malformed("no size"))?;
    let root = lines
        .next()
        .and_then(|b| BASE64.decode(b).ok())
        .and_then(|b| Hash::try_from(b).ok())
        .ok_or_else(|| malformed("no root"))?;
    let prefix = format!("\u{2014} {origin} ");
    let good = signatures
        .lines()
        .filter_map(|line| BASE64.decode(line.strip_prefix(&prefix)?).ok())
        .any(|tagged| {
            tagged.len() == 68
                && tagged[..4] == key_hash(&origin, key)
                && UnparsedPublicKey::new(&ED25519, key)
                    .verify(body.as_bytes(), &tagged[4..])
                    .is_ok()
        });
    if good {
        Ok((size, root))
    } else {
        Err(malformed("its signature is not the log's"))
    }
}

fn key_hash(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519_NOTE])
        .chain_update(key)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    #[test]
    fn a_checkpoint_verifies_and_a_changed_one_does_not() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let (agent, root) = ([3; 32], [9; 32]);
        let body = body(&origin(&agent), 17, &root);
        let signature = pair.sign(body.as_bytes());
        let note = sign_with(
            &body,
            &origin(&agent),
            &key,
            signature.as_ref().try_into().unwrap(),
        );
        assert_eq!(verify(&note, &agent, &key).unwrap(), (17, root));
        assert!(verify(&note.replace("\n17\n", "\n18\n"), &agent, &key).is_err());
        assert!(verify(&note, &[4; 32], &key).is_err());
        assert!(verify(&note, &agent, &[5; 32]).is_err());
    }
}
