//! What passes between a caller and the reconstructor that works for it (docs/reconstructor-api.md).
//!
//! A caller says what is to be done, and proves to the agents that it is to be; the reconstructor does it. The request
//! is sealed as a whole, and so is each secret result, under the session of the two; the rest of an answer is public.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::hash::th;

use super::{Evidence, Receipt, SEATS, TEXT, decode};
use crate::session::TAG;
use crate::{Id, WireError, limits};

/// Longest encoded token, in bytes.
const TOKEN: usize = evanesce_token::limits::TOKEN_BYTES;
/// Most inputs of one job.
const INPUTS: usize = 2;

/// What a caller wants done under one opening.
pub struct Operate {
    /// The token, encoded.
    pub token: Vec<u8>,
    /// What to do; nothing is the action `open`.
    pub jobs: Vec<OperateJob>,
    /// One per job, or the one of `open`: the salts of their input digests.
    pub salts: Vec<[u8; 32]>,
    /// Whom the caller lets be asked, and under what.
    pub holders: Vec<Addressed>,
    /// The version of the [`Sessions`] that this goes by.
    pub version: u64,
    /// Milliseconds until the shares must be there.
    pub deadline: u64,
    /// The caller's proof, and whatever else goes with the requests.
    pub evidence: Evidence,
    /// When the requests end, in Unix seconds.
    pub not_after: u64,
}

/// One use of one key.
pub struct OperateJob {
    /// The suite.
    pub suite: String,
    /// The action.
    pub action: String,
    /// As the input digest has them, in its order.
    pub inputs: Vec<Vec<u8>>,
    /// Whether the agents are shown the input: a payload.
    pub payload: bool,
}

/// What makes a caller's requests those for one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The agent.
    pub agent: Id,
    /// The reconstructor's session with it.
    pub session: Id,
    /// One per request: fresh and random.
    pub ids: Vec<[u8; 16]>,
}

/// A session that the reconstructor has with an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The agent.
    pub agent: Id,
    /// The session.
    pub session: Id,
    /// When it ends, in Unix seconds.
    pub not_after: u64,
}

/// The reconstructor's sessions. Public: they name who talks to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Another number whenever they are others.
    pub version: u64,
    /// One per agent that can be asked.
    pub agents: Vec<Standing>,
}

/// What came of an [`Operate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// One per job, unless there is a problem.
    pub outputs: Vec<OperateOutput>,
    /// Why it was not done.
    pub problem: Option<OperateProblem>,
    /// Whose fault that is; or who failed although it was done.
    pub faults: Vec<OperateFault>,
    /// The agents' words.
    pub receipts: Vec<Receipt>,
    /// The sessions, where they are not of the version that was gone by.
    pub sessions: Option<Sessions>,
}

/// One job's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperateOutput {
    /// The MAC is right.
    Verified,
    /// Signature, MAC or ciphertext.
    Public(Vec<u8>),
    /// A secret, sealed under the session with [`result_aad`].
    Sealed {
        /// The counter it is sealed under.
        counter: u64,
        /// Ciphertext ‖ tag.
        sealed: Vec<u8>,
    },
}

/// An error in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperateProblem {
    /// One word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next, or nothing.
    pub hint: String,
}

/// One holder's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperateFault {
    /// The seat's number; none where the holder as a whole is meant.
    pub seat: Option<u32>,
    /// One word.
    pub kind: String,
    /// More of it.
    pub detail: String,
    /// The holder's agent id.
    pub holder: Id,
}

/// Additional data of a secret result: bound to the caller's proof, the job's place and the reconstructor.
pub fn result_aad(proof: &[u8; 32], place: u32, reconstructor: &Id) -> [u8; 32] {
    th(
        "sealed-result",
        &[proof, &place.to_be_bytes(), reconstructor],
    )
}

impl Operate {
    /// CBOR. Nothing is left behind of a plaintext: the one buffer is made large enough.
    pub fn encode(&self) -> Vec<u8> {
        let inputs = self.jobs.iter().flat_map(|job| &job.inputs).map(Vec::len);
        let ids = self.holders.iter().map(|to| 128 + 17 * to.ids.len());
        let room = self.token.len() + self.evidence.size() + 34 * self.salts.len();
        let room = room + ids.sum::<usize>() + inputs.sum::<usize>() + 128 * self.jobs.len();
        let mut w = Writer::with_capacity(1024 + room);
        w.map(8);
        w.key("jobs").array(self.jobs.len());
        for job in &self.jobs {
            w.map(4);
            w.key("suite").text(&job.suite);
            w.key("action").text(&job.action);
            w.key("inputs").array(job.inputs.len());
            for input in &job.inputs {
                w.bytes(input);
            }
            w.key("payload").uint(job.payload.into());
        }
        w.key("salts");
        super::hashes(&mut w, &self.salts);
        w.key("token").bytes(&self.token);
        w.key("holders").array(self.holders.len());
        for to in &self.holders {
            w.map(3);
            w.key("ids").array(to.ids.len());
            for id in &to.ids {
                w.bytes(id);
            }
            w.key("agent").bytes(&to.agent);
            w.key("session").bytes(&to.session);
        }
        w.key("version").uint(self.version);
        w.key("deadline").uint(self.deadline);
        w.key("evidence");
        self.evidence.write(&mut w);
        w.key("not_after").uint(self.not_after);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        const MOST: usize = limits::REQUESTS_PER_OPENING;
        decode("operate", bytes, |r| {
            let mut m = r.map(&[
                "jobs",
                "salts",
                "token",
                "holders",
                "version",
                "deadline",
                "evidence",
                "not_after",
            ])?;
            Ok(Self {
                jobs: m.field("jobs")?.list(0..=MOST, OperateJob::read)?,
                salts: m.field("salts")?.list(1..=MOST, |r| r.bytes_n())?,
                token: m.field("token")?.bytes(TOKEN)?.to_vec(),
                holders: m.field("holders")?.list(0..=SEATS, |r| {
                    let mut m = r.map(&["ids", "agent", "session"])?;
                    Ok(Addressed {
                        ids: m.field("ids")?.list(1..=MOST, |r| r.bytes_n())?,
                        agent: m.field("agent")?.bytes_n()?,
                        session: m.field("session")?.bytes_n()?,
                    })
                })?,
                version: m.field("version")?.uint()?,
                deadline: m.field("deadline")?.uint()?,
                evidence: Evidence::read(m.field("evidence")?)?,
                not_after: m.field("not_after")?.uint()?,
            })
        })
    }
}

impl OperateJob {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["suite", "action", "inputs", "payload"])?;
        let suite = m.field("suite")?.text(64)?.to_owned();
        let action = m.field("action")?.text(64)?.to_owned();
        let inputs = m.field("inputs")?;
        let inputs = inputs.list(0..=INPUTS, |r| Ok(r.bytes(limits::BODY)?.to_vec()))?;
        let last = m.field("payload")?;
        let payload = match last.uint()? {
            flag @ 0..=1 => flag == 1,
            flag => return Err(last.malformed(format_args!("{flag}, must be 0 or 1"))),
        };
        Ok(Self {
            suite,
            action,
            inputs,
            payload,
        })
    }
}

impl Sessions {
    fn write(&self, w: &mut Writer) {
        w.map(2);
        w.key("agents").array(self.agents.len());
        for standing in &self.agents {
            w.map(3);
            w.key("agent").bytes(&standing.agent);
            w.key("session").bytes(&standing.session);
            w.key("not_after").uint(standing.not_after);
        }
        w.key("version").uint(self.version);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["agents", "version"])?;
        Ok(Self {
            agents: m.field("agents")?.list(0..=limits::OPENINGS, |r| {
                let mut m = r.map(&["agent", "session", "not_after"])?;
                Ok(Standing {
                    agent: m.field("agent")?.bytes_n()?,
                    session: m.field("session")?.bytes_n()?,
                    not_after: m.field("not_after")?.uint()?,
                })
            })?,
            version: m.field("version")?.uint()?,
        })
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("sessions", bytes, Self::read)
    }

    /// The one with this agent.
    pub fn with(&self, agent: &Id) -> Option<&Standing> {
        self.agents.iter().find(|standing| standing.agent == *agent)
    }
}

impl Operated {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(4096);
        w.map(5);
        w.key("faults").array(self.faults.len());
        for fault in &self.faults {
            w.map(4);
            w.key("kind").text(&fault.kind);
            w.key("seat").uint_or_null(fault.seat.map(u64::from));
            w.key("detail").text(&fault.detail);
            w.key("holder").bytes(&fault.holder);
        }
        w.key("outputs").array(self.outputs.len());
        for output in &self.outputs {
            let (public, sealed, counter) = match output {
                OperateOutput::Verified => (None, None, None),
                OperateOutput::Public(bytes) => (Some(&bytes[..]), None, None),
                OperateOutput::Sealed { counter, sealed } => {
                    (None, Some(&sealed[..]), Some(*counter))
                }
            };
            w.map(3);
            w.key("public").bytes_or_null(public);
            w.key("sealed").bytes_or_null(sealed);
            w.key("counter").uint_or_null(counter);
        }
        w.key("problem");
        match &self.problem {
            None => drop(w.null()),
            Some(problem) => {
                w.map(3);
                w.key("code").text(&problem.code);
                w.key("hint").text(&problem.hint);
                w.key("message").text(&problem.message);
            }
        }
        w.key("receipts").array(self.receipts.len());
        for receipt in &self.receipts {
            w.bytes(&receipt.encode());
        }
        w.key("sessions");
        match &self.sessions {
            None => drop(w.null()),
            Some(sessions) => sessions.write(&mut w),
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut encoded = Vec::new();
        let mut operated = decode("operated", bytes, |r| {
            let mut m = r.map(&["faults", "outputs", "problem", "receipts", "sessions"])?;
            let faults = m.field("faults")?.list(0..=2 * SEATS, |r| {
                let mut m = r.map(&["kind", "seat", "detail", "holder"])?;
                Ok(OperateFault {
                    kind: m.field("kind")?.text(64)?.to_owned(),
                    seat: m.field("seat")?.or_null(super::read_seat)?,
                    detail: m.field("detail")?.text(TEXT)?.to_owned(),
                    holder: m.field("holder")?.bytes_n()?,
                })
            })?;
            let most = limits::REQUESTS_PER_OPENING;
            let outputs = m.field("outputs")?.list(0..=most, OperateOutput::read)?;
            let problem = m.field("problem")?.or_null(|r| {
                let mut m = r.map(&["code", "hint", "message"])?;
                Ok(OperateProblem {
                    code: m.field("code")?.text(64)?.to_owned(),
                    hint: m.field("hint")?.text(TEXT)?.to_owned(),
                    message: m.field("message")?.text(TEXT)?.to_owned(),
                })
            })?;
            encoded = m
                .field("receipts")?
                .list(0..=SEATS, |r| Ok(r.bytes(limits::BODY)?.to_vec()))?;
            let sessions = m.field("sessions")?.or_null(Sessions::read)?;
            Ok(Self {
                outputs,
                problem,
                faults,
                receipts: Vec::new(),
                sessions,
            })
        })?;
        for receipt in &encoded {
            operated.receipts.push(Receipt::decode(receipt)?);
        }
        Ok(operated)
    }
}

impl OperateOutput {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["public", "sealed", "counter"])?;
        let bytes = |r: &mut Reader<'_>| Ok(r.bytes(limits::BODY)?.to_vec());
        let public = m.field("public")?.or_null(bytes)?;
        let sealed = m.field("sealed")?.or_null(bytes)?;
        let last = m.field("counter")?;
        match (public, sealed, last.or_null(|r| r.uint())?) {
            (None, None, None) => Ok(Self::Verified),
            (Some(public), None, None) => Ok(Self::Public(public)),
            (None, Some(sealed), Some(counter)) if sealed.len() >= TAG => {
                Ok(Self::Sealed { counter, sealed })
            }
            _ => Err(last.malformed("an output that is neither public nor sealed nor a word")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operate() -> Operate {
        Operate {
            token: vec![9; 300],
            jobs: vec![OperateJob {
                suite: "aes-256-gcm".into(),
                action: "encrypt".into(),
                inputs: vec![vec![1; 5000], vec![]],
                payload: false,
            }],
            salts: vec![[2; 32]],
            holders: vec![Addressed {
                agent: [3; 32],
                session: [4; 32],
                ids: vec![[5; 16]],
            }],
            version: 6,
            deadline: 2000,
            evidence: Evidence {
                proof: Some(vec![7; 200]),
                ..Evidence::default()
            },
            not_after: 1_800_000_000,
        }
    }

    #[test]
    fn what_is_asked_reads_as_it_was_written_and_in_one_buffer() {
        let asked = operate();
        let bytes = asked.encode();
        assert!(bytes.capacity() >= bytes.len());
        let read = Operate::decode(&bytes).unwrap();
        assert_eq!(read.encode(), bytes);
        assert_eq!(read.jobs[0].inputs, asked.jobs[0].inputs);
        assert_eq!(
            (read.holders, read.evidence),
            (asked.holders, asked.evidence)
        );
        assert!(Operate::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn what_is_answered_reads_as_it_was_written() {
        let sealed = OperateOutput::Sealed {
            counter: 3,
            sealed: vec![1; 20],
        };
        let operated = Operated {
            outputs: vec![
                OperateOutput::Verified,
                OperateOutput::Public(vec![1]),
                sealed,
            ],
            problem: Some(OperateProblem {
                code: "refused".into(),
                message: "no".into(),
                hint: String::new(),
            }),
            faults: vec![OperateFault {
                seat: Some(3),
                kind: "refused".into(),
                detail: "policy".into(),
                holder: [1; 32],
            }],
            receipts: Vec::new(),
            sessions: Some(Sessions {
                version: 9,
                agents: vec![Standing {
                    agent: [1; 32],
                    session: [2; 32],
                    not_after: 3,
                }],
            }),
        };
        assert_eq!(Operated::decode(&operated.encode()).unwrap(), operated);
        let mut short = operated.clone();
        short.outputs[2] = OperateOutput::Sealed {
            counter: 3,
            sealed: vec![1; TAG - 1],
        };
        assert!(
            Operated::decode(&short.encode()).is_err(),
            "shorter than a tag"
        );
        let sessions = operated.sessions.unwrap();
        assert_eq!(Sessions::decode(&sessions.encode()).unwrap(), sessions);
    }
}
