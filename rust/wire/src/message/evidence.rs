//! What is shown beside an opening's requests so that an agent may permit them, and what of it the log keeps.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};

use super::TEXT;
use crate::{Id, limits};

/// What goes with an opening beside its requests. Each part is a statement of its own, signed by whoever makes it;
/// an agent verifies all of them itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The caller's proof that the requests are its own, where a reconstructor serves others.
    pub proof: Option<Vec<u8>>,
    /// The chain of grants under which the caller asks, the first grantor's first.
    pub grants: Vec<Vec<u8>>,
    /// What people have approved.
    pub approvals: Vec<Vec<u8>>,
}

/// What of the evidence an agent went by, as its log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Ids of the grants, the first grantor's first.
    pub grants: Vec<Id>,
    /// The approvals that were spent.
    pub approvals: Vec<Spent>,
    /// The reconstructor that carried the requests, where it is not the caller itself.
    pub reconstructor: Option<Id>,
    /// How often the key was used with this opening, where that is counted.
    pub uses: Option<Counted>,
}

/// Operations that an agent has permitted under one token, the entry's own among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whose operations they count as: the caller's, or the first grantor's.
    pub of: Id,
    /// In all.
    pub key: u64,
    /// Of these, `of`'s.
    pub caller: u64,
}

/// An approval that an operation has used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The approval's id.
    pub id: Id,
    /// The approver's name, as the agent knows it.
    pub name: String,
    /// The approver's id.
    pub approver: Id,
}

impl Evidence {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.proof.is_none() && self.grants.is_empty() && self.approvals.is_empty()
    }

    /// Bytes that it takes up on the wire, about.
    pub fn size(&self) -> usize {
        let parts = self.proof.iter().chain(&self.grants).chain(&self.approvals);
        parts.map(|part| part.len() + 8).sum()
    }

    pub(super) fn write(&self, w: &mut Writer) {
        if self.is_empty() {
            w.null();
            return;
        }
        w.map(3);
        w.key("proof").bytes_or_null(self.proof.as_deref());
        for (key, parts) in [("grants", &self.grants), ("approvals", &self.approvals)] {
            w.key(key).array(parts.len());
            for part in parts {
                w.bytes(part);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let read = r.or_null(|r| {
            let mut m = r.map(&["proof", "grants", "approvals"])?;
            let proof = m
                .field("proof")?
                .or_null(|r| Ok(r.bytes(limits::PROOF)?.to_vec()))?;
            let grants = m
                .field("grants")?
                .list(0..=limits::GRANTS, |r| Ok(r.bytes(limits::GRANT)?.to_vec()))?;
            let last = m.field("approvals")?;
            let approvals = last.list(0..=limits::APPROVALS, |r| {
                Ok(r.bytes(limits::APPROVAL)?.to_vec())
            })?;
            let read = Self {
                proof,
                grants,
                approvals,
            };
            match read.is_empty() {
                true => Err(last.malformed("evidence that is none, which is null")),
                false => Ok(read),
            }
        })?;
        Ok(read.unwrap_or_default())
    }
}

impl Basis {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn write(&self, w: &mut Writer) {
        if self.is_empty() {
            w.null();
            return;
        }
        w.map(4);
        w.key("uses");
        match &self.uses {
            None => {
                w.null();
            }
            Some(uses) => {
                w.map(3);
                w.key("of").bytes(&uses.of);
                w.key("key").uint(uses.key);
                w.key("caller").uint(uses.caller);
            }
        }
        w.key("grants").array(self.grants.len());
        for grant in &self.grants {
            w.bytes(grant);
        }
        w.key("approvals").array(self.approvals.len());
        for spent in &self.approvals {
            w.map(3);
            w.key("id").bytes(&spent.id);
            w.key("name").text(&spent.name);
            w.key("approver").bytes(&spent.approver);
        }
        w.key("reconstructor")
            .bytes_or_null(self.reconstructor.as_ref().map(<[u8; 32]>::as_slice));
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let read = r.or_null(|r| {
            let mut m = r.map(&["uses", "grants", "approvals", "reconstructor"])?;
            let uses = m.field("uses")?.or_null(|r| {
                let mut m = r.map(&["of", "key", "caller"])?;
                Ok(Counted {
                    of: m.field("of")?.bytes_n()?,
                    key: m.field("key")?.uint()?,
                    caller: m.field("caller")?.uint()?,
                })
            })?;
            let grants = m
                .field("grants")?
                .list(0..=limits::GRANTS, |r| r.bytes_n())?;
            let approvals = m.field("approvals")?.list(0..=limits::APPROVALS, |r| {
                let mut m = r.map(&["id", "name", "approver"])?;
                Ok(Spent {
                    id: m.field("id")?.bytes_n()?,
                    name: m.field("name")?.text(TEXT)?.to_owned(),
                    approver: m.field("approver")?.bytes_n()?,
                })
            })?;
            let last = m.field("reconstructor")?;
            let read = Self {
                grants,
                approvals,
                reconstructor: last.or_null(|r| r.bytes_n())?,
                uses,
            };
            match read.is_empty() {
                true => Err(last.malformed("a basis that is none, which is null")),
                false => Ok(read),
            }
        })?;
        Ok(read.unwrap_or_default())
    }
}
