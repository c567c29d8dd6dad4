//! A reconstructor that answers with whatever the test says: what a caller makes of it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use evanesce_suite::catalogue;
use evanesce_token::{Gate, Header, Row, Token};
use evanesce_wire::client::{CallError, Dial, Pending, Way};
use evanesce_wire::message::{
    Envelope, OperateFault, Problem, SessionAnswer, Standing, envelope_aad,
};
use evanesce_wire::session::{SealingSession, answer};
use evanesce_wire::{FileIdentity, Id, System, WireError};

use super::*;
use crate::holder::Holder;
use crate::operation::{Job, Operation, OwnedInput};

/// Given what is asked, the session, how often it was asked before and its own id.
type Answer = Box<dyn Fn(&Operate, &SealingSession, usize, &Id) -> Operated + Send>;

struct Other {
    identity: FileIdentity,
    caller: Vec<u8>,
    session: Mutex<Option<Arc<SealingSession>>>,
    sessions: Sessions,
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    /// What comes of the first times that it is asked, instead of an answer.
    troubles: Mutex<Vec<CallError>>,
}

impl Way for Other {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(async move {
            if path == "/v1/session" {
                let offer = evanesce_wire::session::Offer::decode(&body)?;
                let now = System.unix_seconds();
                let (answer, session) = answer(&offer, &self.caller, &self.identity, now)?;
                *self.session.lock().unwrap() = Some(Arc::new(session));
                let (log_key, endorsement) = ([0; 32], Vec::new());
                return Ok(SessionAnswer {
                    answer,
                    log_key,
                    endorsement,
                }
                .encode());
            }
            assert_eq!(path, "/v1/operate");
            let session = self.session.lock().unwrap().clone().unwrap();
            let mut envelope = Envelope::decode(&body)?;
            let aad = envelope_aad("operate", &self.identity.agent_id());
            let asked = session.open(envelope.counter, &aad, &mut envelope.sealed)?;
            let time = self.asked.fetch_add(1, SeqCst);
            if let Some(trouble) = self.troubles.lock().unwrap().pop() {
                return Err(trouble);
            }
            let answer = self.answer.lock().unwrap();
            Ok(answer(
                &Operate::decode(asked)?,
                &session,
                time,
                &self.identity.agent_id(),
            )
            .encode())
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        assert_eq!(path, "/v1/sessions");
        Box::pin(async move { Ok(self.sessions.encode()) })
    }

    fn peer_spki(&self) -> &[u8] {
        self.identity.spki()
    }

    fn is_closed(&self) -> bool {
        false
    }
}

struct Dialled(Arc<Other>);

impl Dial for Dialled {
    fn dial<'a>(&'a self, _: &'a str, _: Id) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        Box::pin(async move { Ok(self.0.clone() as Arc<dyn Way>) })
    }
}

const HOLDER: Id = [2; 32];

/// The other holder where a token has two; its session is always the same.
const STEADY: Id = [3; 32];

fn sessions(version: u64, session: Id) -> Sessions {
    let standing = |(agent, session)| Standing {
        agent,
        session,
        not_after: 1 << 40,
    };
    let agents = [(HOLDER, session), (STEADY, [6; 32])];
    let agents = agents.map(standing).to_vec();
    Sessions { version, agents }
}

fn token(holders: &[Id], policy: &str) -> Arc<Token> {
    let header = Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "k".into(),
        suites: vec!["ed25519".into(), "hkdf-sha256".into(), "hmac-sha256".into()],
        quorum: Gate::parse(["1 of (a)", "1 of (a, b)"][holders.len() - 1]).unwrap(),
        policy: policy.into(),
        created: 0,
        expires: None,
        replaces: None,
    };
    let row = |holder: &Id| Row {
        holder: *holder,
        epoch: 0,
        correction: [3; 32],
        signature: vec![],
    };
    let spki = [&hex("302a300506032b6570032100")[..], &[8; 32]].concat();
    let public = [("ed25519".to_owned(), spki)].into();
    let token = Token::assemble(
        &header,
        [4; 32],
        vec![[5; 32]; holders.len()],
        public,
        None,
        holders.iter().map(row).collect(),
        catalogue(),
    );
    Arc::new(token.unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn sign() -> (&'static str, OwnedInput) {
    let message = b"m".to_vec();
    ("ed25519", OwnedInput::Sign { message })
}

fn derive() -> (&'static str, OwnedInput) {
    let (context, length) = (b"c".to_vec(), 32);
    ("hkdf-sha256", OwnedInput::Derive { context, length })
}

/// Has one job done by a reconstructor that answers so; gives what came of it, and how often it was asked.
fn done(
    job: (&str, OwnedInput),
    answer: impl Fn(&Operate, &SealingSession, usize, &Id) -> Operated + Send + 'static,
) -> (Result<Outcome, Error>, usize) {
    done_with(token(&[HOLDER], ""), job, Vec::new(), answer)
}

/// The same of this token, with these troubles before any answer.
fn done_with(
    token: Arc<Token>,
    (suite, input): (&str, OwnedInput),
    troubles: Vec<CallError>,
    answer: impl Fn(&Operate, &SealingSession, usize, &Id) -> Operated + Send + 'static,
) -> (Result<Outcome, Error>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let identity = |name| FileIdentity::create(&folder.path().join(name)).unwrap();
    let (mine, others) = (Arc::new(identity("mine")), identity("others"));
    let holder = Holder {
        name: "crucible".into(),
        id: others.agent_id(),
        address: "there:1".into(),
        site: String::new(),
        vendor: String::new(),
    };
    let other = Arc::new(Other {
        identity: others,
        caller: mine.spki().to_vec(),
        session: Mutex::default(),
        sessions: sessions(1, [7; 32]),
        answer: Mutex::new(Box::new(answer)),
        asked: AtomicUsize::new(0),
        troubles: Mutex::new(troubles),
    });
    let world: Arc<dyn World> = Arc::new(System);
    let dial = Arc::new(Dialled(other.clone()));
    let link = Arc::new(Link::new(holder, mine.clone(), world.clone(), dial));
    let directory = Arc::new(Directory::new(Vec::new()).unwrap());
    let remote = Remote::new(link, mine, directory, world, true);
    let operation = Operation::new(token, vec![Job::new(suite, input)]);
    let second = std::time::Duration::from_secs(5);
    let work = Work::prepare(operation, second, &System).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = runtime.unwrap().block_on(remote.operate(work));
    (outcome, other.asked.load(SeqCst))
}

fn with(outputs: Vec<OperateOutput>) -> Operated {
    Operated {
        outputs,
        ..Operated::default()
    }
}

fn secret(session: &SealingSession, aad: &[u8; 32]) -> OperateOutput {
    let (counter, sealed) = session.seal_message(aad, vec![9; 32]).unwrap();
    OperateOutput::Sealed { counter, sealed }
}

fn aad(asked: &Operate, place: u32, other: &Id) -> [u8; 32] {
    let proof = Proof::decode(asked.evidence.proof.as_ref().unwrap()).unwrap();
    result_aad(&Proof::statement(&proof.hashes), place, other)
}

#[test]
fn an_answer_of_another_form_is_the_reconstructors_fault_and_not_a_result() {
    let public = || OperateOutput::Public(vec![0; 64]);
    for (job, outputs) in [
        (sign(), vec![]),
        (sign(), vec![public(), public()]),
        (sign(), vec![OperateOutput::Verified]),
        (derive(), vec![public()]),
        (derive(), vec![OperateOutput::Verified]),
    ] {
        let (outcome, _) = done(job, move |_, _, _, _| with(outputs.clone()));
        let error = outcome.err().unwrap();
        assert_eq!(error.code, Code::Reconstructor, "{error}");
        assert!(error.message.contains("crucible"), "{error}");
    }
}

#[test]
fn a_signature_that_does_not_verify_is_not_taken_where_that_is_asked_for() {
    let (outcome, _) = done(sign(), |_, _, _, _| {
        with(vec![OperateOutput::Public(vec![0; 64])])
    });
    assert_eq!(outcome.err().unwrap().code, Code::InvalidSignature);
}

#[test]
fn a_secret_opens_if_it_is_sealed_for_this_very_job_and_otherwise_not() {
    for wrong in [None, Some(0), Some(1), Some(2)] {
        let (outcome, _) = done(derive(), move |asked, session, _, own| {
            let mut aad = match wrong {
                Some(0) => aad(asked, 1, own),
                Some(1) => aad(asked, 0, &[0; 32]),
                _ => aad(asked, 0, own),
            };
            if wrong == Some(2) {
                aad[0] ^= 1;
            }
            with(vec![secret(session, &aad)])
        });
        match (wrong, outcome) {
            (None, Ok(outcome)) => {
                let Output::Secret(made) = &outcome.outputs[0] else {
                    panic!()
                };
                assert_eq!(made.expose(), [9; 32]);
            }
            (Some(_), Err(error)) => assert_eq!(error.code, Code::Reconstructor, "{error}"),
            (wrong, outcome) => panic!("{wrong:?} {:?}", outcome.err()),
        }
    }
}

#[test]
fn what_was_proven_for_sessions_that_are_over_is_composed_anew_once() {
    let refusal = |sessions| Operated {
        problem: Some(OperateProblem {
            code: "quorum-not-met".into(),
            message: "over".into(),
            hint: String::new(),
        }),
        sessions,
        ..Operated::default()
    };
    let fresh = [8; 32];
    let (outcome, asked) = done(sign(), move |asked, _, time, _| {
        let named = asked.holders[0].session;
        assert_eq!(named, if time == 0 { [7; 32] } else { fresh });
        refusal(Some(sessions(
            time as u64 + 2,
            if time == 0 { fresh } else { [9; 32] },
        )))
    });
    assert_eq!(outcome.err().unwrap().code, Code::QuorumNotMet);
    assert_eq!(asked, 2, "not for ever");
    let (outcome, asked) = done(sign(), move |_, _, _, _| refusal(None));
    assert_eq!(
        (outcome.err().unwrap().code, asked),
        (Code::QuorumNotMet, 1)
    );
}

/// A MAC, which nothing here verifies.
fn mac() -> (&'static str, OwnedInput) {
    let message = b"m".to_vec();
    ("hmac-sha256", OwnedInput::Mac { message })
}

#[test]
fn an_operation_that_may_have_begun_is_not_asked_for_again() {
    let public =
        |_: &Operate, _: &SealingSession, _, _: &Id| with(vec![OperateOutput::Public(vec![0; 32])]);
    let cut = || CallError::Wire(WireError::Unreachable("the connection broke".into()));
    let garbled = || CallError::Wire(WireError::Malformed("cut short".into()));
    for trouble in [cut(), garbled()] {
        let (outcome, asked) = done_with(token(&[HOLDER], ""), mac(), vec![trouble], public);
        let error = outcome.err().unwrap();
        assert_eq!((error.code, asked), (Code::Reconstructor, 1), "{error}");
        assert!(error.message.contains("may have permitted"), "{error}");
        assert!(error.hint.contains("audit search"), "{error}");
    }
    let refused = |status| {
        let (code, message) = ("session".into(), "no such session".into());
        CallError::Problem(status, Problem { code, message })
    };
    // Refused before it was read: once more, on a new session.
    let (outcome, asked) = done_with(token(&[HOLDER], ""), mac(), vec![refused(409)], public);
    assert!(outcome.is_ok() && asked == 2);
    for (again, troubles) in [
        (2, vec![refused(409), refused(409)]),
        (1, vec![refused(429)]),
    ] {
        let (outcome, asked) = done_with(token(&[HOLDER], ""), mac(), troubles, public);
        let error = outcome.err().unwrap();
        assert_eq!(asked, again);
        assert!(!error.message.contains("permitted"), "not begun: {error}");
    }
    // It was refused, and then cut: that one may have begun.
    let (outcome, asked) = done_with(
        token(&[HOLDER], ""),
        mac(),
        vec![cut(), refused(409)],
        public,
    );
    assert!(outcome.err().unwrap().message.contains("permitted") && asked == 2);
}

#[test]
fn what_agents_may_have_counted_is_composed_anew_only_where_nothing_counts_it() {
    let counting = r#"@limits("caller agent 2 per 1h") permit(principal, action, resource);"#;
    for (holders, policy, times) in [
        (&[HOLDER, STEADY][..], "", 2),
        (&[HOLDER, STEADY], "permit(principal, action, resource);", 2),
        // The one whose session stands may have counted it.
        (&[HOLDER, STEADY], counting, 1),
        // Nobody was there who could have.
        (&[HOLDER], counting, 2),
    ] {
        let (outcome, asked) =
            done_with(token(holders, policy), mac(), Vec::new(), |_, _, _, _| {
                let (code, message, hint) = ("quorum-not-met".into(), "over".into(), String::new());
                Operated {
                    problem: Some(OperateProblem {
                        code,
                        message,
                        hint,
                    }),
                    sessions: Some(sessions(2, [8; 32])),
                    ..Operated::default()
                }
            });
        let error = outcome.err().unwrap();
        assert_eq!((error.code, asked), (Code::QuorumNotMet, times), "{policy}");
        assert_eq!(error.message.contains("counted"), times == 1, "{error}");
    }
}

#[test]
fn words_of_the_reconstructors_own_are_made_safe_and_its_culprits_are_data() {
    let (outcome, _) = done(sign(), |_, _, _, _| Operated {
        problem: Some(OperateProblem {
            code: "no such code".into(),
            message: "\u{1b}[31mred".into(),
            hint: "x".repeat(4000),
        }),
        faults: vec![OperateFault {
            seat: Some(200),
            kind: "no such kind".into(),
            detail: "\u{7}".into(),
            holder: HOLDER,
        }],
        ..Operated::default()
    });
    let error = outcome.err().unwrap();
    assert_eq!(error.code, Code::Reconstructor);
    assert!(!error.message.contains('\u{1b}') && error.hint.len() < 300);
    let fault = &error.faults[0];
    assert_eq!((fault.seat_number, fault.holder_id), (None, HOLDER));
    assert!(!fault.detail.contains('\u{7}'));
}
