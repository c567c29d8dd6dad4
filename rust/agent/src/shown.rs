//! What an agent was shown of tokens, so that it need not be shown, decoded or compiled again.
//!
//! Bounded by bytes, whatever is shown: over a million tokens the agent's memory and time stay as they are. A token is
//! kept once it is shown a second time. Forgetting costs time alone, or one answer `context-unknown`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use evanesce_token::{Body, mpc};
use evanesce_wire::Id;
use evanesce_wire::limits::INLINE_HEADER;
use evanesce_wire::message::{Code, Context};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::gate::Refusal;
use crate::subject::Subject;
use evanesce_policy::{Bound, Compiled};

/// A token as an agent was shown it.
struct Shape {
    what: Subject,
    /// SHA-256 of the policy; `None` where its length is zero.
    policy: Option<[u8; 32]>,
    /// What the policy's limits come to under this quorum, once that was asked.
    bounds: OnceLock<Result<Vec<Bound>, String>>,
}

/// A context of a request, made ready to be judged.
#[derive(Clone)]
pub struct Ready {
    subject: Arc<Shape>,
    policy: Option<Arc<Compiled>>,
}

impl Ready {
    /// The token.
    pub fn subject(&self) -> &Subject {
        &self.subject.what
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

impl Ready {
    /// What the limits of its policy come to here; or why one of them cannot be promised.
    pub fn bounds(&self) -> Result<&[Bound], &str> {
        let bounds = self.subject.bounds.get_or_init(|| match &self.policy {
            Some(policy) => policy.bounds(self.subject.what.judged().quorum()),
            None => Ok(Vec::new()),
        });
        bounds.as_deref().map_err(String::as_str)
    }
}

/// Tokens and policies that were shown.
pub struct Shown {
    tokens: Cache<Id, Arc<Shape>>,
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

    /// Decodes and hashes a context, unless it is kept.
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
                let before = self.prints.get(&print);
                let same = |seen: &Arc<Shape>| {
                    let Subject::First(body) = &seen.what else {
                        return false;
                    };
                    body.header_bytes == header
                        && body.anchor == anchor
                        && body.commitments == commitments
                        && body.public_hash == public
                        && body.sealed_hash == sealed
                };
                let seen = before.and_then(|id| self.tokens.get(&id));
                match seen.filter(same) {
                    Some(seen) => seen,
                    None => {
                        // One that is shown once would take the place of one that is shown again, and leave a heap
                        // full of holes behind. A long header is named by its id from now on.
                        let keep = before.is_some() || header.len() > INLINE_HEADER;
                        let catalogue = evanesce_suite::catalogue();
                        let body =
                            Body::new(header, anchor, commitments, public, sealed, catalogue)
                                .map_err(|e| Refusal::new(Code::Malformed, e.0))?;
                        let id = body.id;
                        let subject = shape(Subject::First(Arc::new(body)));
                        self.prints.insert(print, id, 16);
                        if keep {
                            self.keep(&subject);
                        }
                        subject
                    }
                }
            }
            Context::Second {
                header,
                vector,
                transcript,
            } => {
                let body = mpc::Body::new(header, vector, transcript)
                    .map_err(|e| Refusal::new(Code::Malformed, e.0))?;
                shape(Subject::Second(Arc::new(body)))
            }
        };
        Ok(self.ready(subject))
    }

    /// A token that is to be, of which there is a header and nothing to be shown again.
    pub fn prepare_header(&mut self, body: mpc::Body) -> Ready {
        self.ready(shape(Subject::Second(Arc::new(body))))
    }

    fn ready(&mut self, subject: Arc<Shape>) -> Ready {
        let policy = subject.policy.and_then(|hash| self.policies.get(&hash));
        Ready { subject, policy }
    }

    fn keep(&mut self, subject: &Arc<Shape>) {
        let Subject::First(body) = &subject.what else {
            return;
        };
        // The header twice, as bytes and as read, its quorum as a tree.
        let bytes = 1024 + 3 * body.header_bytes.len() + 96 * body.commitments.len();
        self.tokens.insert(body.id, subject.clone(), bytes);
    }
}

fn shape(what: Subject) -> Arc<Shape> {
    let text = what.judged().policy();
    let policy = (!text.is_empty()).then(|| Sha256::digest(text.as_bytes()).into());
    Arc::new(Shape {
        what,
        policy,
        bounds: OnceLock::new(),
    })
}

/// The policies that must be compiled before `ready` can be judged, by hash, each once.
pub fn missing(ready: &[Result<Ready, Refusal>]) -> Vec<([u8; 32], Subject)> {
    let mut missing: Vec<([u8; 32], Subject)> = Vec::new();
    for ready in ready.iter().flatten() {
        if let (Some(hash), None) = (ready.subject.policy, &ready.policy)
            && !missing.iter().any(|(other, _)| *other == hash)
        {
            missing.push((hash, ready.subject.what.clone()));
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

/// Policies that a thread keeps compiled for its agents: a simulated world has a handful, and each takes up tens of KiB.
const COMPILED_HERE: usize = 256;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Arc<Compiled>>> = RefCell::default();
}

/// A policy, compiled once for all agents of this thread, in a world that has but one: what it is depends on its text alone.
pub fn compiled_here(policy: &str) -> Arc<Compiled> {
    COMPILED.with_borrow_mut(|all| match all.get(policy) {
        Some(compiled) => compiled.clone(),
        None => {
            let compiled = Arc::new(Compiled::new(policy));
            if all.len() >= COMPILED_HERE {
                // Forgetting costs time alone.
                all.clear();
            }
            all.insert(policy.to_owned(), compiled.clone());
            compiled
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_token::{Gate, Header};

    fn context(policy: usize) -> Context {
        let header = Header {
            key: [1; 32],
            nonce: [2; 32],
            name: "k".into(),
            suites: vec!["hmac-sha256".into()],
            quorum: Gate::parse("1 of (a)").unwrap(),
            policy: " ".repeat(policy),
            created: 0,
            expires: None,
            replaces: None,
        };
        Context::Full {
            header: header.encode(),
            anchor: [3; 32],
            commitments: vec![[4; 32]],
            public: [5; 32],
            sealed: [6; 32],
        }
    }

    #[test]
    fn a_thread_keeps_so_many_compiled_policies_and_no_more() {
        let policy =
            |n| format!("permit(principal, action, resource) when {{ context.now > {n} }};");
        let first = compiled_here(&policy(0));
        assert!(Arc::ptr_eq(&first, &compiled_here(&policy(0))));
        for n in 1..COMPILED_HERE + 10 {
            compiled_here(&policy(n));
            assert!(COMPILED.with_borrow(HashMap::len) <= COMPILED_HERE);
        }
        assert!(!Arc::ptr_eq(&first, &compiled_here(&policy(0))));
    }

    #[test]
    fn a_token_is_kept_when_it_comes_again_and_one_that_is_better_named_at_once() {
        for (policy, shows) in [(0, 2), (INLINE_HEADER, 1)] {
            let mut shown = Shown::new(1 << 20, 1 << 20);
            let mut known = Vec::new();
            for _ in 0..2 {
                let ready = shown.prepare(context(policy)).ok().unwrap();
                let id = *ready.subject().judged().id();
                known.push(shown.prepare(Context::Known(id)).is_ok());
            }
            assert_eq!(known, [shows == 1, true]);
        }
    }
}
