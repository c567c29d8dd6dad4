//! One operation of a caller's: read, carried, answered.

use std::sync::Arc;
use std::time::Duration;

use evanesce_quorum::{Carried, Code, Error, Job, Operation, Outcome, OwnedInput, Reconstructor};
use evanesce_secret::{SecretVec, on_crucible};
use evanesce_suite::{Output, catalogue};
use evanesce_token::Token;
use evanesce_wire::message::{
    Operate, OperateFault, OperateOutput, OperateProblem, Operated, Proof, result_aad,
};
use evanesce_wire::session::{SealingSession, TAG};
use evanesce_wire::{Id, WireError};
use tokio::sync::oneshot;

/// Longest deadline that a caller may give.
const LONGEST: Duration = Duration::from_secs(60);

/// Reads what is asked; has it done if it is what `caller` has proven.
pub async fn operate(
    reconstructor: &Reconstructor,
    caller: Id,
    asked: Operate,
    session: &SealingSession,
    own_id: &Id,
) -> Operated {
    let statement = statement(&asked);
    let outcome = match read(caller, asked) {
        Ok((operation, carried)) => {
            let (tell, told) = oneshot::channel();
            let done = Box::new(move |result| {
                let _ = tell.send(result);
            });
            reconstructor.carry(operation, carried, done);
            told.await.unwrap_or_else(|_| {
                let why = "the reconstructor failed over this operation";
                Err(Error::new(Code::Internal, why, "Please report this."))
            })
        }
        Err(error) => Err(error),
    };
    let answered = outcome
        .map_err(of_this_side)
        .and_then(|outcome| answer(outcome, &statement, session, own_id));
    answered.unwrap_or_else(|error| Operated {
        problem: Some(OperateProblem {
            code: error.code.as_str().into(),
            message: evanesce_token::text::cut(&error.message, TEXT),
            hint: evanesce_token::text::cut(&error.hint, TEXT),
        }),
        faults: faults(&error.faults),
        ..Operated::default()
    })
}

/// Longest text of a problem, in bytes.
const TEXT: usize = 1024;

/// What the proof is a signature over; results are bound to it.
fn statement(asked: &Operate) -> [u8; 32] {
    let proof = asked.evidence.proof.as_ref();
    let hashes = proof.and_then(|proof| Some(Proof::decode(proof).ok()?.hashes));
    Proof::statement(&hashes.unwrap_or_default())
}

fn read(caller: Id, asked: Operate) -> Result<(Operation, Carried), Error> {
    let Operate {
        token,
        jobs,
        salts,
        holders,
        deadline,
        evidence,
        not_after,
        ..
    } = asked;
    let token = Token::decode(&token, catalogue())
        .map_err(|e| Error::new(Code::Malformed, e.to_string(), ""))?;
    let job = |job: evanesce_wire::message::OperateJob| {
        let input = OwnedInput::of(&job.action, job.inputs, job.payload).ok_or_else(|| {
            let why = format!(
                "{} is not done with these inputs",
                evanesce_token::quoted(&job.action)
            );
            Error::new(Code::UnfitOperation, why, "")
        })?;
        Ok(Job::new(job.suite, input))
    };
    let jobs = jobs.into_iter().map(job).collect::<Result<_, Error>>()?;
    let operation = Operation {
        deadline: Some(Duration::from_millis(deadline.max(1)).min(LONGEST)),
        ..Operation::new(Arc::new(token), jobs)
    };
    let carried = Carried {
        caller,
        not_after,
        salts,
        holders,
        evidence,
    };
    Ok((operation, carried))
}

/// What is wrong with this side is not the caller's to mend, and must not read as if the caller's own identity or memory
/// were meant.
fn of_this_side(error: Error) -> Error {
    let (code, hint) = match error.code {
        Code::Identity | Code::Role => (
            Code::Reconstructor,
            "Have each agent's operator allow the reconstructor: evanesce agent allow, role reconstructor.",
        ),
        Code::Memory => (
            Code::Overloaded,
            "Try again later; its operator may raise the locked-memory limit.",
        ),
        _ => return error,
    };
    let message = format!("the reconstructor: {}", error.message);
    Error::new(code, message, hint).with_faults(error.faults)
}

fn answer(
    outcome: Outcome,
    statement: &[u8; 32],
    session: &SealingSession,
    own_id: &Id,
) -> Result<Operated, Error> {
    let mut outputs = Vec::with_capacity(outcome.outputs.len());
    for (place, output) in (0..).zip(outcome.outputs) {
        outputs.push(match output {
            Output::Verified => OperateOutput::Verified,
            Output::Public(bytes) => OperateOutput::Public(bytes),
            Output::Secret(secret) => {
                let aad = result_aad(statement, place, own_id);
                seal(&secret, &aad, session)?
            }
        });
    }
    Ok(Operated {
        outputs,
        problem: None,
        faults: faults(&outcome.faults),
        receipts: outcome.receipts,
        sessions: None,
    })
}

/// Sealed in locked memory: what leaves it is ciphertext.
fn seal(
    secret: &SecretVec,
    aad: &[u8; 32],
    session: &SealingSession,
) -> Result<OperateOutput, Error> {
    let mut room = SecretVec::zeroed(secret.len() + TAG)?;
    let sealed = on_crucible(|| -> Result<u64, WireError> {
        let (body, end) = room.expose_mut().split_at_mut(secret.len());
        body.copy_from_slice(secret.expose());
        let (counter, tag) = session.seal(aad, body)?;
        end.copy_from_slice(&tag);
        Ok(counter)
    });
    match sealed {
        Ok(counter) => Ok(OperateOutput::Sealed {
            counter,
            sealed: room.expose().to_vec(),
        }),
        Err(e) => Err(Error::new(Code::Reconstructor, e.to_string(), "Try again.")),
    }
}

fn faults(all: &[evanesce_quorum::Fault]) -> Vec<OperateFault> {
    all.iter()
        .map(|fault| OperateFault {
            seat: fault.seat_number,
            kind: fault.kind.as_str().into(),
            detail: evanesce_token::text::cut(&fault.detail, TEXT),
            holder: fault.holder_id,
        })
        .collect()
}
