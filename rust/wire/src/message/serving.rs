//! What a reconstructor that works for others says of itself.

use evanesce_token::cbor::Writer;

use super::{TEXT, decode, read_texts, texts};
use crate::WireError;

/// Its state, as any caller it works for may ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Its own name.
    pub name: String,
    /// Unix milliseconds by its clock.
    pub clock: u64,
    /// Agents that it has a session with.
    pub agents: u64,
    /// The name it knows the asker by.
    pub caller: String,
    /// What its secrets lie in.
    pub memory: String,
    /// What shuts it in.
    pub applied: Vec<String>,
    /// What would, and could not be applied.
    pub missing: Vec<String>,
    /// Software version.
    pub version: String,
}

impl Serving {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(8);
        w.key("name").text(&self.name);
        w.key("clock").uint(self.clock);
        w.key("agents").uint(self.agents);
        w.key("caller").text(&self.caller);
        w.key("memory").text(&self.memory);
        w.key("applied");
        texts(&mut w, &self.applied);
        w.key("missing");
        texts(&mut w, &self.missing);
        w.key("version").text(&self.version);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("serving", bytes, |r| {
            let mut m = r.map(&[
                "name", "clock", "agents", "caller", "memory", "applied", "missing", "version",
            ])?;
            Ok(Self {
                name: m.field("name")?.text(TEXT)?.to_owned(),
                clock: m.field("clock")?.uint()?,
                agents: m.field("agents")?.uint()?,
                caller: m.field("caller")?.text(TEXT)?.to_owned(),
                memory: m.field("memory")?.text(TEXT)?.to_owned(),
                applied: read_texts(m.field("applied")?)?,
                missing: read_texts(m.field("missing")?)?,
                version: m.field("version")?.text(64)?.to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_was_written() {
        let serving = Serving {
            name: "r".into(),
            clock: 1,
            agents: 5,
            caller: "ops".into(),
            memory: "memfd_secret".into(),
            applied: vec!["seccomp".into()],
            missing: vec![],
            version: "0".into(),
        };
        assert_eq!(Serving::decode(&serving.encode()).unwrap(), serving);
    }
}
