//! Verbs of keys that are never put together, asked by hand.

use evanesce_wire::WireError;
use evanesce_wire::message::threshold::Reply;

use super::Line;

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
