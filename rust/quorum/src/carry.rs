//! Requests that a caller composes and proves, and a reconstructor of another identity carries (PROTOCOL §6, Request).
//!
//! Pure. Both sides make the requests' bytes by the same rule, from the same few values: what the caller has signed for
//! and what the reconstructor would do cannot differ without the proof being of other requests, which is found before
//! any agent is asked, and by every agent.

use evanesce_token::formula;
use evanesce_wire::message::{Addressed, Evidence, Proof, Sessions};
use evanesce_wire::{Id, Identity};

use crate::compose::{Ids, REQUEST_LIFE, request};
use crate::error::{Code, Error};
use crate::work::Work;

/// What a caller has composed and proven, to be carried to the agents.
pub struct Carried {
    /// The caller, as its connection has proven.
    pub caller: Id,
    /// When the requests end, in Unix seconds.
    pub not_after: u64,
    /// One per job, or the one of `open`: the salts of the input digests.
    pub salts: Vec<[u8; 32]>,
    /// Which agents may be asked, and under which session.
    pub holders: Vec<Addressed>,
    /// The caller's proof, and whatever else goes with the requests.
    pub evidence: Evidence,
}

impl Carried {
    /// Whom the caller lets be asked under this session, if anyone.
    pub(crate) fn under(&self, session: &Id) -> Option<&Addressed> {
        self.holders.iter().find(|to| to.session == *session)
    }

    /// Whether the caller lets this agent be asked.
    pub(crate) fn names(&self, agent: &Id) -> bool {
        self.holders.iter().any(|to| to.agent == *agent)
    }

    /// The requests as the caller has composed them for one agent.
    pub(crate) fn requests(&self, work: &Work, to: &Addressed) -> Vec<Vec<u8>> {
        let each = work.statements.iter().zip(&to.ids).enumerate();
        each.map(|(place, (statement, id))| {
            let payload = work.payload(place).map(|(payload, _)| payload);
            let (caller, session) = (&self.caller, &to.session);
            request(
                statement,
                payload,
                &work.token,
                caller,
                session,
                *id,
                self.not_after,
            )
            .encode()
        })
        .collect()
    }

    fn hash(&self, work: &Work, to: &Addressed) -> Id {
        let requests = self.requests(work, to);
        formula::request_hash(&requests.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Whether the proof is of the very requests that would be sent. Whose it is, and whether it is signed, is the agents'
    /// to judge.
    pub(crate) fn check(&self, work: &Work) -> Result<(), Error> {
        let wrong = |what: &str| {
            let message = format!("what was proven is not this operation: {what}");
            Err(Error::new(
                Code::BadInput,
                message,
                "Compose and prove it anew.",
            ))
        };
        let Some(proof) = &self.evidence.proof else {
            return wrong("there is no proof");
        };
        let proof = match Proof::decode(proof) {
            Ok(proof) => proof,
            Err(e) => return wrong(&e.to_string()),
        };
        if proof.caller_id() != self.caller {
            return wrong("the proof is another caller's than the connection's");
        }
        if self
            .holders
            .iter()
            .any(|to| to.ids.len() != work.statements.len())
        {
            return wrong("there is not one id for each job");
        }
        let unproven = |to: &Addressed| !proof.hashes.contains(&self.hash(work, to));
        match self.holders.iter().any(unproven) {
            true => wrong("the proof is of other requests"),
            false => Ok(()),
        }
    }
}

/// Composes the requests of `work` for every holder that the reconstructor has a session with, and proves them as
/// `caller`.
pub(crate) fn prove(
    work: &Work,
    caller: &dyn Identity,
    sessions: &Sessions,
    ids: &mut Ids,
    now: u64,
) -> Result<(Carried, Proof), evanesce_wire::WireError> {
    let mut holders: Vec<Addressed> = Vec::new();
    for row in &work.token.rows {
        if holders.iter().any(|to| to.agent == row.holder) {
            continue;
        }
        if let Some(standing) = sessions.with(&row.holder) {
            holders.push(Addressed {
                agent: standing.agent,
                session: standing.session,
                ids: work.statements.iter().map(|_| ids.next()).collect(),
            });
        }
    }
    let mut carried = Carried {
        caller: caller.caller_id(),
        not_after: now + REQUEST_LIFE,
        salts: work.salts.clone(),
        holders,
        evidence: work.evidence.clone(),
    };
    let hashes = carried.holders.iter().map(|to| carried.hash(work, to));
    let proof = Proof::sign(caller, hashes.collect())?;
    carried.evidence.proof = Some(proof.encode());
    Ok((carried, proof))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use evanesce_wire::message::Standing;
    use evanesce_wire::{FileIdentity, System};

    use super::*;
    use crate::compose::tests::token;
    use crate::operation::{Job, Operation, OwnedInput};

    fn operation(message: &[u8]) -> Operation {
        let message = message.to_vec();
        let job = Job::new("hmac-sha256", OwnedInput::Mac { message });
        Operation::new(token(0, 0), vec![job])
    }

    fn sessions() -> Sessions {
        let standing = |agent| Standing {
            agent: [agent; 32],
            session: [agent + 10; 32],
            not_after: u64::MAX >> 12,
        };
        Sessions {
            version: 1,
            agents: vec![standing(2), standing(3)],
        }
    }

    #[test]
    fn what_was_proven_is_carried_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let caller = FileIdentity::create(&folder.path().join("caller")).unwrap();
        let mut ids = Ids::new(Arc::new(System));
        let second = Duration::from_secs(1);
        let work = Work::prepare(operation(b"m"), second, &System).unwrap();
        let mut proven = || {
            prove(&work, &caller, &sessions(), &mut ids, 1000)
                .unwrap()
                .0
        };
        let good = proven();
        assert_eq!(good.holders.len(), 1, "of the token's holders, once each");
        assert!(good.names(&[2; 32]) && good.under(&[12; 32]).is_some());
        assert!(!good.names(&[3; 32]) && good.under(&[13; 32]).is_none());
        let judge = |operation, carried| {
            Work::carried(operation, carried, second, &System).map_err(|e| e.message)
        };
        assert!(judge(operation(b"m"), good).is_ok());
        type Change<'a> = &'a dyn Fn(&mut Carried);
        let other: [(&str, Change); 8] = [
            ("other requests", &|c| c.salts[0][0] ^= 1),
            ("other requests", &|c| c.not_after += 1),
            ("other requests", &|c| c.holders[0].ids[0][0] ^= 1),
            ("other requests", &|c| c.holders[0].session[0] ^= 1),
            ("another caller's", &|c| c.caller[0] ^= 1),
            ("no proof", &|c| c.evidence.proof = None),
            ("not one id", &|c| c.holders[0].ids.clear()),
            ("one salt for each", &|c| c.salts.clear()),
        ];
        for (what, change) in other {
            let mut carried = proven();
            change(&mut carried);
            let why = judge(operation(b"m"), carried).err().unwrap();
            assert!(why.contains(what), "{what}: {why}");
        }
        let why = judge(operation(b"n"), proven()).err().unwrap();
        assert!(why.contains("other requests"), "another message: {why}");
        let open = Operation {
            jobs: Vec::new(),
            ..operation(b"m")
        };
        let why = judge(open, proven()).err().unwrap();
        assert!(why.contains("other requests"), "another action: {why}");
    }
}
