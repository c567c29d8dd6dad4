//! Verbs of keys that are never put together, asked by hand.

use evanesce_token::mpc::{Body, Header, Kind};
use evanesce_token::{Gate, formula};
use evanesce_wire::WireError;
use evanesce_wire::message::threshold::Reply;
use evanesce_wire::message::{Context, Evidence, Opening, Request, SeatRow};

use super::{Line, now};

/// Of every request's input.
const SALT: [u8; 32] = [5; 32];

/// Of a key of three seats, two of which suffice.
pub fn header(kind: Kind, policy: &str) -> Header {
    let mut nonce = [0; 32];
    evanesce_secret::random(&mut nonce);
    Header {
        kind,
        key: [1; 32],
        nonce,
        name: "treasury".into(),
        suite: "frost-ed25519".into(),
        quorum: Gate::parse("2 of (a, b, c)").unwrap(),
        policy: policy.into(),
        created: now(),
        expires: None,
        replaces: None,
    }
}

/// The token, whole.
pub fn context(body: &Body) -> Context {
    Context::Second {
        header: body.header_bytes.clone(),
        vector: body.vector.clone(),
        transcript: body.transcript,
    }
}

/// One request of an agent, with its row.
pub fn opening(
    line: &Line,
    body: &Body,
    row: &SeatRow,
    (action, suite): (&str, &str),
    inputs: &[&[u8]],
) -> Opening {
    let mut id = [0; 16];
    evanesce_secret::random(&mut id);
    let request = Request {
        token: body.id,
        action: action.into(),
        suite: suite.into(),
        input: formula::input_digest(&SALT, action, suite, inputs),
        caller: line.caller,
        session: line.session.id,
        id,
        not_after: now() + 60,
        payload: None,
    };
    Opening {
        context: 0,
        requests: vec![request.encode()],
        salts: vec![Some(SALT)],
        evidence: Evidence::default(),
        rows: vec![row.clone()],
    }
}

/// What an agent says to one verb, or why it does not.
pub async fn ask<T>(
    line: &Line,
    verb: &str,
    body: Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<T, Box<Reply>> {
    let answer = line.send(verb, body).await;
    let answer = answer.unwrap_or_else(|e| panic!("{verb}: {e}"));
    let reply = Reply::decode(&answer).unwrap();
    match &reply.value {
        Some(value) => Ok(decode(value).unwrap()),
        None => Err(Box::new(reply)),
    }
}

/// Why it did not; `what` is in it, or in what it says of others.
pub fn refused<T>(found: Result<T, Box<Reply>>, what: &str) -> Box<Reply> {
    let reply = found.err().expect("refused");
    let culprits: Vec<_> = reply.culprits.iter().map(|one| &one.reason).collect();
    let said = format!("{} {culprits:?}", reply.reason);
    assert!(said.contains(what), "{what}: {said}");
    reply
}
