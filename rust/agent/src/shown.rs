//! What an agent was shown of tokens, so that it need not be shown, decoded or compiled again.
//!
//! Bounded by bytes, whatever is shown: over a million tokens the agent's memory stays as it is. Forgetting
//! costs time alone, or one answer `context-unknown`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use evanesce_token::Body;
use evanesce_wire::Id;
use evanesce_wire::message::{Code, Context};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::gate::Refusal;
use evanesce_policy::Compiled;

/// A token as an agent was shown it.
struct Subject {
    body: Arc<Body>,
    /// SHA-256 of the policy; `None` where its length is zero.
    policy: Option<[u8; 32]>,
}

/// A context of a request, made ready to be judged.
#[derive(Clone)]
pub struct Ready {
    subject: Arc<Subject>,
    policy: Option<Arc<Compiled>>,
}

impl Ready {
    /// The token.
    pub fn body(&self) -> &Arc<Body> {
        &self.subject.body
    }

    /// The compiled policy, `None` where its length is zero or where no policy is asked. Never `None` because
    /// nobody compiled it.
    pub fn policy(&self, asked: bool) -> Result<Option<&Compiled>, Refusal> {
        match (self.subject.policy, &self.policy) {
            (Some(_), None) if asked => Err(Refusal::new(
                Code::Overloaded,
                "the token's policy is not compiled yet",
            )),
            (_, policy) => Ok(policy.as_deref()),
        }
    }
}

/// Tokens and policies that were shown.
pub struct Shown {
    tokens: Cache<Id, Arc<Subject>>,
    /// Token ids by a quick hash of the context, which is then compared byte for byte.
    prints: Cache<u64, Id>,
    print_key: RandomState,
    policies: Cache<[u8; 32], Arc<Compiled>>,
}

impl Shown {
    /// Remembers up to so many bytes of tokens and of compiled policies.
    pub fn new(token_bytes: usize, policy_bytes: usize) -> Self {
        Self {
            tokens: Cache::new(token_bytes),
            prints: Cache::new(token_bytes / 16),
            print_key: RandomState::new(),
            policies: Cache::new(policy_bytes),
        }
    }

    /// Keeps a compiled policy, by the SHA-256 of its text.
    pub fn learn(&mut self, hash: [u8; 32], text: usize, policy: Arc<Compiled>) {
        let bytes = compiled_bytes(text, policy.declared().is_some());
        self.policies.insert(hash, policy, bytes);
    }

    /// Bytes of tokens and of compiled policies remembered.
    pub fn bytes(&self) -> (usize, usize) {
        (
            self.tokens.bytes() + self.prints.bytes(),
            self.policies.bytes(),
        )
    }

    /// Decodes and hashes a context, unless it was seen before.
    pub fn prepare(&mut self, context: Context) -> Result<Ready, Refusal> {
        let subject = match context {
            Context::Known(id) => self.tokens.get(&id).ok_or_else(|| {
                Refusal::new(
                    Code::ContextUnknown,
                    "send the token's header and commitments",
                )
            })?,
            Context::Full {
                header,
                anchor,
                commitments,
                public,
                sealed,
            } => {
                let print =
                    self.print_key
                        .hash_one((&header, &anchor, &commitments, &public, &sealed));
                let seen = self.prints.get(&print).and_then(|id| self.tokens.get(&id));
                let same = |seen: &Arc<Subject>| {
                    let body = &seen.body;
                    body.header_bytes == header
                        && body.anchor == anchor
                        && body.commitments == commitments
                        && body.public_hash == public
                        && body.sealed_hash == sealed
                };
                match seen.filter(same) {
                    Some(seen) => seen,
                    None => {
                        let catalogue = evanesce_suite::catalogue();
                        let body =
                            Body::new(header, anchor, commitments, public, sealed, catalogue)
                                .map_err(|e| Refusal::new(Code::Malformed, e.0))?;
                        self.remember(print, body)
                    }
                }
            }
        };
        let policy = subject.policy.and_then(|hash| self.policies.get(&hash));
        Ok(Ready { subject, policy })
    }

    fn remember(&mut self, print: u64, body: Body) -> Arc<Subject> {
        let text = &body.header.policy;
        let policy = (!text.is_empty()).then(|| Sha256::digest(text.as_bytes()).into());
        // The header twice, as bytes and as read, its quorum as a tree.
        let bytes = 1024 + 3 * body.header_bytes.len() + 96 * body.commitments.len();
        let id = body.id;
        let subject = Arc::new(Subject {
            body: Arc::new(body),
            policy,
        });
        self.prints.insert(print, id, 16);
        self.tokens.insert(id, subject.clone(), bytes);
        subject
    }
}

/// The policies that must be compiled before `ready` can be judged, by hash, each once.
pub fn missing(ready: &[Result<Ready, Refusal>]) -> Vec<([u8; 32], Arc<Body>)> {
    let mut missing: Vec<([u8; 32], Arc<Body>)> = Vec::new();
    for ready in ready.iter().flatten() {
        if let (Some(hash), None) = (ready.subject.policy, &ready.policy)
            && !missing.iter().any(|(other, _)| *other == hash)
        {
            missing.push((hash, ready.subject.body.clone()));
        }
    }
    missing
}

/// Gives what waits for the policy `hash` the compiled policy, or the refusal in its place.
pub fn fill(
    ready: &mut [Result<Ready, Refusal>],
    hash: &[u8; 32],
    policy: &Result<Arc<Compiled>, Refusal>,
) {
    for one in ready.iter_mut() {
        let Ok(waiting) = one else { continue };
        if waiting.subject.policy != Some(*hash) {
            continue;
        }
        match policy {
            Ok(policy) => waiting.policy = Some(policy.clone()),
            Err(refusal) => *one = Err(refusal.clone()),
        }
    }
}

/// Bytes reckoned for a compiled policy of `text` bytes, measured on Cedar 4.14 and rounded up.
fn compiled_bytes(text: usize, declares_a_payload: bool) -> usize {
    // A policy that declares one has a schema of its own.
    let schema = if declares_a_payload { 32 * 1024 } else { 0 };
    8 * 1024 + 40 * text + schema
}
