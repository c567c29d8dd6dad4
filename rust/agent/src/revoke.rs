//! `revoke-grant`: the end of a grant, by the word of whoever gave it (`docs/delegation.md`).
//!
//! Anyone whom the agent knows may carry that word, and peers hand it on; it is the grantor's signature that counts. It is kept
//! among the orders, logged, and on disk before it is answered. From the moment it was taken on nothing more is decided
//! under the grant, whether it can be written or not; only where there is no room for it, it is not taken. It says all that it takes to judge it, the grant's own end included: once
//! that has passed for good it need not be kept.

use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::grant::{Grant, Revocation, Revoked, revocation_statement};
use evanesce_wire::message::{Code, EntryOperation, Obeyed};
use http::StatusCode;

use crate::api::{Answer, Api, malformed, trouble, unavailable};
use crate::body::Incoming;
use crate::gate::Refusal;
use crate::known::Known;
use crate::obey::{Ordered, done};
use crate::orders::{self, Line};

/// Why nothing is kept of a grant of somebody unknown.
const STRANGER: &str = "the grantor is nobody that this agent knows: it takes no grants of theirs";

/// What its entry calls it.
pub const ACTION: &str = "revoke-grant";

impl Api {
    /// Takes a revocation from whoever carries it.
    pub(crate) async fn revoke_grant(&self, who: &Arc<Known>, body: Incoming) -> Answer {
        unavailable(self.refusal())?;
        let mut room = self.rooms.bytes(Some(who));
        let body = body.receive(&mut room).await?;
        // Once more: a body may take its time, and what peers say meanwhile counts.
        unavailable(self.refusal())?;
        self.may_order(who, body.len())?;
        let revocation = Revocation::decode(&body).map_err(malformed)?;
        let (given, grant) = revocation.verify().map_err(malformed)?;
        if self.agent().directory.find(&given.grantor).is_none() {
            return trouble(StatusCode::FORBIDDEN, "role", STRANGER);
        }
        let obeyed = self.end_grant(&revocation, (given, grant), true).await;
        match obeyed.code {
            Code::Done => Ok((Revoked { grant }.encode(), room)),
            _ => trouble(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                obeyed.reason,
            ),
        }
    }

    /// Ends a grant, whoever has brought the word, which was verified; `news` is whether nobody brought it before.
    pub(crate) async fn end_grant(
        &self,
        revocation: &Revocation,
        (grant, id): (Grant, Id),
        news: bool,
    ) -> Obeyed {
        let (now, word) = (self.now(), revocation_statement(&id));
        if self.agent().orders.has(&word) || orders::is_past(grant.expires, now / 1000) {
            return done(None, String::new());
        }
        let signed = revocation.encode();
        let grantor = self.agent().directory.find(&grant.grantor).cloned();
        let grantor = match grantor {
            Some(grantor) => self.has_room(&grantor, signed.len()).map(|()| grantor),
            None => Err(Refusal::new(Code::Refused, STRANGER)),
        };
        let weighed = match grantor {
            Ok(grantor) => {
                self.agent().orders.ended().extend([id]);
                let operation = EntryOperation {
                    action: ACTION.into(),
                    suite: String::new(),
                    input: id,
                    request: word,
                };
                Ok(Ordered {
                    signed,
                    line: Line::ended(word, &grant, id),
                    // The word names the token by its id alone.
                    entry: self.order_entry(&grantor, grant.token, "", operation, now),
                })
            }
            Err(refusal) => Err(refusal),
        };
        let mut obeyed = self.hold(weighed).await;
        if obeyed.code == Code::Unavailable {
            let why = &obeyed.reason;
            obeyed.reason = format!("it holds until the agent starts again: {why}");
        }
        if news {
            self.tell_refused(&word, &obeyed);
        }
        obeyed
    }
}
