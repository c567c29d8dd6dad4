//! The header of the second kind: what a key is, who may sign with it and when.

use super::{Kind, SUITES, SuiteFacts};
use crate::cbor::{Limits, Reader, Writer};
use crate::gate::{Gate, Node};
use crate::header::{VERSION, read_quorum, read_version, write_gate};
use crate::limits::{KEY_BYTES, NAME_BYTES, POLICY_BYTES};
use crate::malformed::{Malformed, quoted};

const KEYS: [&str; 11] = [
    "v", "key", "kind", "name", "nonce", "suite", "policy", "quorum", "created", "expires",
    "replaces",
];

/// What every agent is shown and judges by. Fields that the first kind has too mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the key's shares are between its uses.
    pub kind: Kind,
    /// Identity of the key; the same after a refresh.
    pub key: [u8; 32],
    /// Fresh in every generation and every refresh.
    pub nonce: [u8; 32],
    /// For people, and the policy's resource; at most 255 bytes. Hostile text, as is the policy.
    pub name: String,
    /// The one ciphersuite, of [`SUITES`].
    pub suite: String,
    /// Flat: one gate over seats, t ≥ 2.
    pub quorum: Gate,
    /// Cedar policies, at most 32 KiB; not parsed here.
    pub policy: String,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds from which on the token has expired.
    pub expires: Option<u64>,
    /// The token id that this one supersedes; nothing acts on it.
    pub replaces: Option<[u8; 32]>,
}

impl Header {
    /// Decodes a header strictly: what is accepted is the only encoding of what it means.
    pub fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        Header::decode_within("header", bytes)
    }

    pub(super) fn decode_within(root: &'static str, bytes: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new(root, bytes, Limits::PROTOCOL)?;
        let mut map = reader.map(&KEYS)?;
        read_version(map.field("v")?)?;
        let key = map.field("key")?.bytes_n()?;
        let kind = read_kind(map.field("kind")?)?;
        let name = map.field("name")?.text(NAME_BYTES)?.to_owned();
        let nonce = map.field("nonce")?.bytes_n()?;
        let suite = read_suite(map.field("suite")?)?;
        let policy = map.field("policy")?.text(POLICY_BYTES)?.to_owned();
        let quorum = read_flat(map.field("quorum")?)?;
        let created = map.field("created")?.uint()?;
        let expires = map.field("expires")?.or_null(Reader::uint)?;
        let replaces = map.field("replaces")?.or_null(Reader::bytes_n)?;
        map.end();
        reader.finish()?;
        Ok(Header {
            kind,
            key,
            nonce,
            name,
            suite,
            quorum,
            policy,
            created,
            expires,
            replaces,
        })
    }

    /// The bytes of this header. Of one that [`validate`](Self::validate) refuses, bytes that every decoder refuses.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512 + self.policy.len());
        writer.map(KEYS.len());
        writer.key("v").uint(VERSION);
        writer.key("key").bytes(&self.key);
        writer.key("kind").text(self.kind.as_str());
        writer.key("name").text(&self.name);
        writer.key("nonce").bytes(&self.nonce);
        writer.key("suite").text(&self.suite);
        writer.key("policy").text(&self.policy);
        write_gate(writer.key("quorum"), &self.quorum);
        writer.key("created").uint(self.created);
        writer.key("expires").uint_or_null(self.expires);
        let replaces = self.replaces.as_ref();
        writer
            .key("replaces")
            .bytes_or_null(replaces.map(|id| &id[..]));
        writer.into_bytes()
    }

    /// Refuses a header that no decoder would take.
    pub fn validate(&self) -> Result<(), Malformed> {
        // first, because only a quorum that is not too deep is sure to be encoded
        self.quorum.validate()?;
        Header::decode(&self.encode()).map(drop)
    }

    /// The facts of its suite; nothing for one that no decoder would take.
    pub fn facts(&self) -> Option<&'static SuiteFacts> {
        SUITES.iter().find(|suite| suite.name == self.suite)
    }

    /// Whether this header has expired at `now_unix`, in Unix seconds.
    pub fn expired_at(&self, now_unix: u64) -> bool {
        self.expires.is_some_and(|expires| now_unix >= expires)
    }
}

fn read_kind(reader: &mut Reader) -> Result<Kind, Malformed> {
    let word = reader.text(KEY_BYTES)?;
    Kind::of(word).ok_or_else(|| {
        let all = Kind::ALL.map(Kind::as_str).join(" or ");
        reader.malformed(format_args!(
            "kind {} is unknown, must be {all}",
            quoted(word)
        ))
    })
}

fn read_suite(reader: &mut Reader) -> Result<String, Malformed> {
    let name = reader.text(NAME_BYTES)?;
    match SUITES.iter().any(|suite| suite.name == name) {
        true => Ok(name.to_owned()),
        false => {
            Err(reader.malformed(format_args!("suite {} is no threshold suite", quoted(name))))
        }
    }
}

fn read_flat(reader: &mut Reader) -> Result<Gate, Malformed> {
    let gate = read_quorum(reader)?;
    if gate.of.iter().any(|child| matches!(child, Node::Gate(_))) {
        return Err(reader.malformed("a gate inside the gate: this kind's quorums are flat"));
    }
    if gate.t < 2 {
        return Err(reader.malformed("one seat would do: this kind's quorums need 2 or more"));
    }
    Ok(gate)
}
