//! Checkpoints of an agent's log in C2SP form (tlog-checkpoint, signed-note), and what witnesses add to them
//! (tlog-cosignature).
//!
//! ```text
//! evanesce/<agent id, hex>          origin
//! 1048576                           leaves
//! <root, base64>
//!
//! — evanesce/<agent id, hex> <key hash ‖ Ed25519 signature, base64>
//! — <witness> <key hash ‖ u64 Unix seconds ‖ Ed25519 signature, base64>
//! ```
//!
//! A witness signs that the log has only grown since it last looked (`cosignature/v1`); whether it has is for the
//! witness to check first.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::identity::verify_ed25519;
use crate::merkle::Hash;
use crate::{Id, Identity, WireError};

/// Signature type of Ed25519 in a note's key hash.
const ED25519_NOTE: u8 = 1;
/// Signature type of a timestamped Ed25519 cosignature.
const COSIGNATURE: u8 = 4;
/// Longest checkpoint that is read, in bytes; some hundreds of cosignatures.
pub const LONGEST: usize = 64 << 10;

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
    let tagged = [&key_hash(origin, ED25519_NOTE, key)[..], signature].concat();
    format!("{body}\n\u{2014} {origin} {}\n", BASE64.encode(tagged))
}

/// Checks a checkpoint against the log's key; gives its size and root.
pub fn verify(note: &str, agent: &Id, key: &[u8; 32]) -> Result<(u64, Hash), WireError> {
    let checkpoint = Checkpoint::parse(note)?;
    if checkpoint.origin != origin(agent) {
        return Err(malformed("it is of another log"));
    }
    match checkpoint.signed_by(key) {
        true => Ok((checkpoint.size, checkpoint.root)),
        false => Err(malformed("its signature is not the log's")),
    }
}

fn malformed(why: &str) -> WireError {
    WireError::Malformed(format!("checkpoint: {why}"))
}

/// A checkpoint taken apart; believed only as far as its signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The tree's hash.
    pub root: Hash,
    /// What is signed: everything before the empty line.
    pub body: String,
    /// Key names, and what stands beside them: key hash ‖ signature.
    signatures: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// Reads a checkpoint: an origin, a size, a root, perhaps extension lines, and at least one signature line.
    pub fn parse(note: &str) -> Result<Self, WireError> {
        if note.len() > LONGEST {
            return Err(malformed("it is too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(malformed("it holds control characters"));
        }
        let (body, signatures) = note
            .split_once("\n\n")
            .ok_or_else(|| malformed("no signature"))?;
        let body = format!("{body}\n");
        let mut lines = body.lines();
        let origin = lines
            .next()
            .filter(|origin| !origin.is_empty())
            .ok_or_else(|| malformed("no origin"))?;
        let size = lines
            .next()
            .and_then(|n| n.parse::<u64>().ok().filter(|size| size.to_string() == n))
            .ok_or_else(|| malformed("no size"))?;
        let root = lines
            .next()
            .and_then(|b| BASE64.decode(b).ok())
            .and_then(|b| Hash::try_from(b).ok())
            .ok_or_else(|| malformed("no root"))?;
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or_else(|| malformed("its last line is cut short"))?
            .split('\n')
            .map(|line| {
                let (name, tagged) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
                let tagged = BASE64.decode(tagged).ok().filter(|t| t.len() > 4)?;
                name_is_valid(name).then(|| (name.to_owned(), tagged))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| malformed("a signature line is not one"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            signatures,
            body,
        })
    }

    /// One that nobody has signed: a tree's size and root under a name.
    pub fn unsigned(origin: &str, size: u64, root: &Hash) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root: *root,
            body: body(origin, size, root),
            signatures: Vec::new(),
        }
    }

    /// The agent whose log this is; None where the origin is not an agent's.
    pub fn agent(&self) -> Option<Id> {
        let mut agent = [0; 32];
        hex::decode_to_slice(self.origin.strip_prefix("evanesce/")?, &mut agent).ok()?;
        (origin(&agent) == self.origin).then_some(agent)
    }

    /// Whether the log's key signed it, under the log's own name.
    pub fn signed_by(&self, key: &[u8; 32]) -> bool {
        self.of(&self.origin, &key_hash(&self.origin, ED25519_NOTE, key))
            .any(|signature| verifies(key, self.body.as_bytes(), signature))
    }

    /// When this witness says that it saw the log consistent up to here, in Unix seconds; None where it does not say so.
    /// Of several words of one witness the latest counts.
    pub fn cosigned_by(&self, witness: &WitnessKey) -> Option<u64> {
        self.of(&witness.name, &witness.key_hash())
            .filter_map(|stamped| {
                let (time, signature) = stamped.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                let message = cosigned(&self.body, time);
                (i64::try_from(time).is_ok()
                    && verifies(&witness.key, message.as_bytes(), signature))
                .then_some(time)
            })
            .max()
    }

    /// The checkpoint's text with this witness's cosignature of `time` (Unix seconds) added, instead of an earlier one of
    /// its own. `key` is an Ed25519 key that signs nothing else: a cosignature is no statement of an identity (PROTOCOL
    /// §1).
    pub fn cosign(&self, name: &str, key: &dyn Identity, time: u64) -> Result<String, WireError> {
        let witness = WitnessKey::of(name, key)?;
        if i64::try_from(time).is_err() {
            return Err(malformed("a time that no cosignature can have"));
        }
        let signature = key.sign(cosigned(&self.body, time).as_bytes())?;
        let hash = witness.key_hash();
        let tagged = [&hash[..], &time.to_be_bytes(), &signature].concat();
        let mut cosigned = self.clone();
        cosigned
            .signatures
            .retain(|(by, tagged)| by != name || !tagged.starts_with(&hash));
        cosigned.signatures.push((name.to_owned(), tagged));
        Ok(cosigned.to_string())
    }

    fn of<'a>(&'a self, name: &'a str, hash: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        self.signatures
            .iter()
            .filter(move |(by, _)| by == name)
            .filter_map(move |(_, tagged)| tagged.strip_prefix(hash))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.body)?;
        for (name, tagged) in &self.signatures {
            writeln!(f, "\u{2014} {name} {}", BASE64.encode(tagged))?;
        }
        Ok(())
    }
}

/// What a witness signs (C2SP tlog-cosignature, `cosignature/v1`).
fn cosigned(body: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{body}")
}

/// A witness as others know it: a vkey of signature type 4, `name+hash+base64(0x04 ‖ key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    /// Its name on signature lines.
    pub name: String,
    /// Ed25519 public key.
    pub key: [u8; 32],
}

impl WitnessKey {
    /// Reads a vkey.
    pub fn parse(vkey: &str) -> Result<Self, WireError> {
        let (name, key) = parse_vkey(vkey, COSIGNATURE)?;
        Ok(Self { name, key })
    }

    /// The witness that has this Ed25519 key.
    pub fn of(name: &str, key: &dyn Identity) -> Result<Self, WireError> {
        if !name_is_valid(name) {
            return Err(WireError::Malformed(
                "a witness's name is not empty and has neither spaces nor +".into(),
            ));
        }
        let public = key
            .ed25519()
            .then(|| key.spki().last_chunk::<32>())
            .flatten();
        let public = public
            .ok_or_else(|| WireError::Identity("a witness's key is an Ed25519 key".into()))?;
        Ok(Self {
            name: name.to_owned(),
            key: *public,
        })
    }

    fn key_hash(&self) -> [u8; 4] {
        key_hash(&self.name, COSIGNATURE, &self.key)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&vkey(&self.name, COSIGNATURE, &self.key))
    }
}

/// The vkey (C2SP signed-note) of a log's key: `origin+hash+base64(0x01 ‖ key)`.
pub fn log_vkey(origin: &str, key: &[u8; 32]) -> String {
    vkey(origin, ED25519_NOTE, key)
}

/// Reads a log's vkey: its origin and key.
pub fn parse_log_vkey(text: &str) -> Result<(String, [u8; 32]), WireError> {
    parse_vkey(text, ED25519_NOTE)
}

fn vkey(name: &str, kind: u8, key: &[u8; 32]) -> String {
    let hash = hex::encode(key_hash(name, kind, key));
    let typed = [&[kind], &key[..]].concat();
    format!("{name}+{hash}+{}", BASE64.encode(typed))
}

fn parse_vkey(text: &str, kind: u8) -> Result<(String, [u8; 32]), WireError> {
    // The key's own base64 may hold a +, a name may not.
    let mut parts = text.trim().splitn(3, '+');
    let parsed = (|| {
        let (name, hash) = (parts.next()?, parts.next()?);
        let typed = BASE64.decode(parts.next()?).ok()?;
        let key: [u8; 32] = typed.strip_prefix(&[kind])?.try_into().ok()?;
        let good = name_is_valid(name) && hash == hex::encode(key_hash(name, kind, &key));
        good.then(|| (name.to_owned(), key))
    })();
    parsed.ok_or_else(|| WireError::Malformed("not a vkey of the expected kind".into()))
}

fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    signature.len() == 64 && verify_ed25519(key, message, signature)
}

fn key_hash(name: &str, kind: u8, key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind])
        .chain_update(key)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    struct TestKey(Ed25519KeyPair, Vec<u8>);

    impl Identity for TestKey {
        fn spki(&self) -> &[u8] {
            &self.1
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
            Ok(self.0.sign(message).as_ref().to_vec())
        }
    }

    fn key(seed: u8) -> TestKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut spki = hex::decode("302a300506032b6570032100").unwrap();
        spki.extend_from_slice(pair.public_key().as_ref());
        TestKey(pair, spki)
    }

    fn public(key: &TestKey) -> [u8; 32] {
        *key.1.last_chunk().unwrap()
    }

    fn checkpoint(agent: &Id, size: u64, root: &Hash, key: &TestKey) -> String {
        let body = body(&origin(agent), size, root);
        let signature = key.sign(body.as_bytes()).unwrap();
        let signature = signature.as_slice().try_into().unwrap();
        sign_with(&body, &origin(agent), &public(key), signature)
    }

    #[test]
    fn a_checkpoint_verifies_and_a_changed_one_does_not() {
        let (agent, root, pair) = ([3; 32], [9; 32], key(1));
        let key = public(&pair);
        let note = checkpoint(&agent, 17, &root, &pair);
        assert_eq!(verify(&note, &agent, &key).unwrap(), (17, root));
        assert!(verify(&note.replace("\n17\n", "\n18\n"), &agent, &key).is_err());
        assert!(verify(&note, &[4; 32], &key).is_err());
        assert!(verify(&note, &agent, &[5; 32]).is_err());
        let parsed = Checkpoint::parse(&note).unwrap();
        assert_eq!((parsed.to_string(), parsed.agent()), (note, Some(agent)));
    }

    #[test]
    fn a_witnesss_word_is_its_own_over_this_checkpoint_at_this_time() {
        let log = key(1);
        let note = checkpoint(&[3; 32], 17, &[9; 32], &log);
        let parsed = Checkpoint::parse(&note).unwrap();
        let witness = key(2);
        let known = WitnessKey::of("witness.example/w1", &witness).unwrap();
        let text = parsed.cosign(&known.name, &witness, 1_679_315_147).unwrap();
        assert!(text.starts_with(&note), "what was there stays");
        let cosigned = Checkpoint::parse(&text).unwrap();
        assert_eq!(cosigned.cosigned_by(&known), Some(1_679_315_147));
        assert!(
            cosigned.signed_by(&public(&log)),
            "the log's word still holds"
        );
        assert_eq!(parsed.cosigned_by(&known), None);
        let again = cosigned
            .cosign(&known.name, &witness, 1_679_315_148)
            .unwrap();
        let again = Checkpoint::parse(&again).unwrap();
        assert_eq!(again.cosigned_by(&known), Some(1_679_315_148));
        assert_eq!(again.to_string().len(), text.len(), "instead of the first");
        for other in [
            WitnessKey::of("witness.example/w2", &witness).unwrap(),
            WitnessKey::of("witness.example/w1", &key(3)).unwrap(),
        ] {
            assert_eq!(cosigned.cosigned_by(&other), None);
        }
        // Every byte of the line, and of what it is about, counts.
        let line = text.len() - note.len();
        for at in (0..parsed.body.len()).chain(text.len() - line..text.len()) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let verdict = Checkpoint::parse(&changed).ok();
            let verdict = verdict.and_then(|c| c.cosigned_by(&known));
            assert_eq!(verdict, None, "byte {at}");
        }
        assert!(parsed.cosign("two words", &witness, 1).is_err());
        assert!(parsed.cosign("w", &witness, u64::MAX).is_err());
    }

    #[test]
    fn vkeys_come_back_and_no_other_text_is_one() {
        let log = key(1);
        let text = log_vkey("evanesce/x", &public(&log));
        assert_eq!(
            parse_log_vkey(&text).unwrap(),
            ("evanesce/x".into(), public(&log))
        );
        assert!(WitnessKey::parse(&text).is_err(), "of the other kind");
        let witness = WitnessKey::of("w", &log).unwrap();
        assert_eq!(WitnessKey::parse(&witness.to_string()).unwrap(), witness);
        assert!(WitnessKey::parse(&witness.to_string().replacen('w', "v", 1)).is_err());
        assert!(parse_log_vkey("evanesce/x").is_err());
    }

    proptest! {
        /// Whatever text comes, and whatever is done to a good one: what is understood has no other form.
        #[test]
        fn text_is_refused_or_is_the_only_form(
            cut in any::<prop::sample::Index>(),
            length in 0usize..4,
            word in "[\\PC\n ]{0,4}",
            any in "[evan/0-9a-f\n=+A \u{2014}]{0,80}",
        ) {
            let log = key(1);
            let good = checkpoint(&[3; 32], 17, &[9; 32], &log);
            let good = Checkpoint::parse(&good).unwrap().cosign("w", &key(2), 5).unwrap();
            let characters: Vec<char> = good.chars().collect();
            let at = cut.index(characters.len());
            let rest = (at + length).min(characters.len());
            let changed: String =
                characters[..at].iter().copied().chain(word.chars()).chain(characters[rest..].iter().copied()).collect();
            for text in [good, changed, any.clone(), format!("{any}\n\n\u{2014} a AAAAAAA=\n")] {
                if let Ok(parsed) = Checkpoint::parse(&text) {
                    prop_assert_eq!(parsed.to_string(), text);
                }
                if let Ok(witness) = WitnessKey::parse(&any) {
                    prop_assert_eq!(witness.to_string(), any.trim());
                }
            }
        }
    }
}
