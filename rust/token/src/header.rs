//! The header: what a key is, who may open it and when (PROTOCOL §3).

use crate::catalogue::Catalogue;
use crate::cbor::{Limits, Reader, Writer};
use crate::gate::{Gate, Node, check_seat_name, check_threshold};
use crate::limits::{GATE_DEPTH, NAME_BYTES, POLICY_BYTES, SEAT_NAME_BYTES, SEATS};
use crate::malformed::{Malformed, quoted};

/// The version that this crate speaks.
pub(crate) const VERSION: u64 = 1;

const KEYS: [&str; 10] = [
    "v", "key", "name", "nonce", "policy", "quorum", "suites", "created", "expires", "replaces",
];
const GATE: [&str; 2] = ["t", "of"];
const SEAT: [&str; 1] = ["seat"];

/// What every agent is shown and judges by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Identity of the key; the same in every re-mint of it.
    pub key: [u8; 32],
    /// Fresh in every mint.
    pub nonce: [u8; 32],
    /// For people, and the policy's resource; at most 255 bytes. Hostile text, as is the policy.
    pub name: String,
    /// What the key may be used as; not empty, no duplicates.
    pub suites: Vec<String>,
    /// Who must come together.
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
    pub fn decode(bytes: &[u8], cat: &Catalogue) -> Result<Header, Malformed> {
        Header::decode_within("header", bytes, cat)
    }

    pub(crate) fn decode_within(
        root: &'static str,
        bytes: &[u8],
        cat: &Catalogue,
    ) -> Result<Header, Malformed> {
        Header::read(root, bytes, cat).map_err(|found| crate::mpc::explain(root, bytes, found))
    }

    fn read(root: &'static str, bytes: &[u8], cat: &Catalogue) -> Result<Header, Malformed> {
        let mut reader = Reader::new(root, bytes, Limits::PROTOCOL)?;
        let mut map = reader.map(&KEYS)?;
        read_version(map.field("v")?)?;
        let key = map.field("key")?.bytes_n()?;
        let name = map.field("name")?.text(NAME_BYTES)?.to_owned();
        let nonce = map.field("nonce")?.bytes_n()?;
        let policy = map.field("policy")?.text(POLICY_BYTES)?.to_owned();
        let quorum = read_quorum(map.field("quorum")?)?;
        let suites = read_suites(map.field("suites")?, cat)?;
        let created = map.field("created")?.uint()?;
        let expires = map.field("expires")?.or_null(Reader::uint)?;
        let replaces = map.field("replaces")?.or_null(Reader::bytes_n)?;
        map.end();
        reader.finish()?;
        Ok(Header {
            key,
            nonce,
            name,
            suites,
            quorum,
            policy,
            created,
            expires,
            replaces,
        })
    }

    /// The bytes of this header. Of one that [`validate`](Self::validate) refuses, bytes that every
    /// decoder refuses.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512 + self.policy.len());
        writer.map(KEYS.len());
        writer.key("v").uint(VERSION);
        writer.key("key").bytes(&self.key);
        writer.key("name").text(&self.name);
        writer.key("nonce").bytes(&self.nonce);
        writer.key("policy").text(&self.policy);
        write_gate(writer.key("quorum"), &self.quorum);
        writer.key("suites").array(self.suites.len());
        for suite in &self.suites {
            writer.text(suite);
        }
        writer.key("created").uint(self.created);
        writer.key("expires").uint_or_null(self.expires);
        let replaces = self.replaces.as_ref();
        writer
            .key("replaces")
            .bytes_or_null(replaces.map(|id| &id[..]));
        writer.into_bytes()
    }

    /// Refuses a header that no decoder would take.
    pub fn validate(&self, cat: &Catalogue) -> Result<(), Malformed> {
        // first, because only a quorum that is not too deep is sure to be encoded
        self.quorum.validate()?;
        Header::decode(&self.encode(), cat).map(drop)
    }

    /// Whether this header has expired at `now_unix`, in Unix seconds.
    pub fn expired_at(&self, now_unix: u64) -> bool {
        self.expires.is_some_and(|expires| now_unix >= expires)
    }
}

pub(crate) fn read_version(reader: &mut Reader) -> Result<(), Malformed> {
    match reader.uint()? {
        VERSION => Ok(()),
        other => Err(reader.malformed(format_args!(
            "version {other} is unknown, must be {VERSION}"
        ))),
    }
}

fn read_suites(reader: &mut Reader, cat: &Catalogue) -> Result<Vec<String>, Malformed> {
    let mut suites: Vec<String> = Vec::new();
    let mut array = reader.array(1..=cat.0.len())?;
    while let Some(item) = array.next() {
        let name = item.text(NAME_BYTES)?;
        if cat.find(name).is_none() {
            return Err(item.malformed(format_args!("suite {} is unknown", quoted(name))));
        }
        if suites.iter().any(|suite| suite == name) {
            return Err(item.malformed(format_args!("suite {} is listed twice", quoted(name))));
        }
        suites.push(name.to_owned());
    }
    Ok(suites)
}

pub(crate) fn read_quorum(reader: &mut Reader) -> Result<Gate, Malformed> {
    let mut seats = 0;
    let Node::Gate(gate) = read_node(reader, 1, &mut seats)? else {
        return Err(reader.malformed("a seat, must be a gate"));
    };
    // names that occur twice are left to find
    gate.validate().map_err(|Malformed(what)| {
        let what = what.strip_prefix("quorum: ").unwrap_or(&what);
        reader.malformed(what)
    })?;
    Ok(gate)
}

/// A gate, at `depth` from 1, or a seat. Stops at the first gate or seat too many.
fn read_node(reader: &mut Reader, depth: usize, seats: &mut usize) -> Result<Node, Malformed> {
    let (which, mut map) = reader.map_of_either(&[&GATE, &SEAT])?;
    if which == 1 {
        let field = map.field("seat")?;
        let name = field.text(SEAT_NAME_BYTES)?;
        check_seat_name(name).map_err(|why| field.malformed(why))?;
        *seats += 1;
        if *seats > SEATS {
            return Err(field.malformed(format_args!("more than {SEATS} seats")));
        }
        return Ok(Node::Seat(name.to_owned()));
    }
    let t = map.field("t")?.uint()?;
    let field = map.field("of")?;
    if depth > GATE_DEPTH {
        return Err(field.malformed(format_args!("gates more than {GATE_DEPTH} deep")));
    }
    let of = field.list(1..=SEATS, |child| read_node(child, depth + 1, seats))?;
    check_threshold(t, of.len()).map_err(|why| field.malformed(why))?;
    Ok(Node::Gate(Gate { t: t as usize, of }))
}

pub(crate) fn write_gate(writer: &mut Writer, gate: &Gate) {
    writer.map(GATE.len());
    writer.key("t").uint(gate.t as u64);
    writer.key("of").array(gate.of.len());
    for child in &gate.of {
        match child {
            Node::Gate(gate) => write_gate(writer, gate),
            Node::Seat(name) => {
                writer.map(SEAT.len()).key("seat").text(name);
            }
        }
    }
}
