//! A lost seat's share given to a new holder: its verbs.

use std::sync::Arc;

use evanesce_policy::Compiled;
use evanesce_token::mpc;
use evanesce_wire::Id;
use evanesce_wire::message::Code;
use evanesce_wire::message::threshold::{Await, Help, Receive, Reply, Split, Sum};

use super::{Asked, Told, one_row, with_receipt};
use crate::regenerate::Hands;
use crate::shown::Ready;
use crate::threshold::repair::{self, Part};
use crate::threshold::{Memory, Obstacle};

impl Asked<'_> {
    /// Whether this agent helps: as the token's policy has it, judged and logged before anything is said.
    pub(super) async fn help(&mut self, told: Help) -> Told {
        if told.holder == self.api.threshold.hands.me {
            let why = "this agent sits in the token, and would count twice";
            return Err(Obstacle::refused(why));
        }
        let seat = told.lost.to_be_bytes();
        let inputs = vec![Some(vec![&seat[..], &told.holder[..]])];
        let ready = self.ready(told.leave.context.clone()).await?;
        let body = ready.subject().second()?.clone();
        let row = one_row(&told.leave.opening)?;
        let work = self.judged(&ready, told.leave.opening.clone(), &inputs);
        let receipt = self.logged(work).await?.decided()?;
        // What has been ordered since then holds for what follows from it.
        self.is_alive(&body.id)?;
        let id = told.repair;
        let begun = self.begun(id, Memory::repairs, move |hands| {
            let (part, said) = repair::help(hands, body, &told, &row)?;
            Ok((said.encode(), part))
        });
        Ok(with_receipt(begun.await?, receipt))
    }

    /// Whether this agent is ready to be the new holder of a seat. Nothing is judged by the policy: whoever helps decides to whom the share goes.
    pub(super) async fn wait(&mut self, told: Await) -> Told {
        let ready = self.ready(told.context.clone()).await?;
        let body = ready.subject().second()?.clone();
        is_enforceable(&ready)?;
        self.is_alive(&body.id)?;
        self.is_current(&body)?;
        let id = told.repair;
        let begun = self.begun(id, Memory::repairs, move |hands| {
            let (part, said) = repair::wait(hands, body, &told)?;
            Ok((said.encode(), part))
        });
        Ok(Reply::done(begun.await?))
    }

    pub(super) async fn split(&mut self, told: Split) -> Told {
        let id = told.repair;
        self.repair(id, move |part, hands| {
            Ok(part.split(hands, &told)?.encode())
        })
        .await
    }

    pub(super) async fn sum(&mut self, told: Sum) -> Told {
        let id = told.repair;
        let summed = self
            .repair(id, move |part, hands| Ok(part.sum(hands, &told)?.encode()))
            .await;
        if summed.is_ok() {
            self.api.threshold.repairs().end(&id);
        }
        summed
    }

    /// The turn in which the new holder has the share: logged before there is a row of it.
    pub(super) async fn receive(&mut self, told: Receive) -> Told {
        let id = told.repair;
        let mut part = self.of_repair(&id)?;
        self.api.threshold.repairs().end(&id);
        let received = self.api.aside(move |_| {
            let seat = part.receive(&told)?;
            Ok::<_, Obstacle>((seat, part))
        });
        let (seat, mut part) = received.await??;
        let body = part.token().clone();
        let token = body.id;
        let receipt = self.noted(body, seat).await?;
        // What has been ordered since then holds for what follows from it.
        self.is_alive(&token)?;
        let row = self.api.aside(move |hands| part.row(hands));
        Ok(with_receipt(row.await??.encode(), receipt))
    }

    /// A turn of a helper's, of which nothing is logged: what was decided in the first holds, unless an order came meanwhile.
    async fn repair(
        &self,
        id: Id,
        turn: impl FnOnce(&mut (dyn Part + 'static), &Hands) -> Result<Vec<u8>, Obstacle>
        + Send
        + 'static,
    ) -> Told {
        let part = self.of_repair(&id)?;
        self.turn(id, Memory::repairs, part, turn).await
    }

    fn of_repair(&self, id: &Id) -> Result<Box<dyn Part>, Obstacle> {
        let now = self.api.now();
        let part = self.api.threshold.repairs().take(id, &self.who.id, now);
        let part = part.ok_or_else(|| {
            Obstacle::refused(
                "no such repair of this caller's is at its next turn here: begin anew",
            )
        })?;
        if let Err(obstacle) = self.is_alive(&part.token().id) {
            self.api.threshold.repairs().end(id);
            return Err(obstacle);
        }
        Ok(part)
    }

    fn is_current(&self, body: &Arc<mpc::Body>) -> Result<(), Obstacle> {
        let now = self.api.world.unix_seconds();
        match body.header.expired_at(now) {
            true => Err(Obstacle::new(Code::Expired, "the token has expired")),
            false => Ok(()),
        }
    }
}

/// Whether a token's policy can be enforced here.
pub(super) fn is_enforceable(ready: &Ready) -> Result<(), Obstacle> {
    let policy = ready.policy(true)?;
    let invalid = policy.and_then(Compiled::invalid);
    let invalid = invalid
        .map(str::to_owned)
        .or_else(|| ready.bounds().err().map(str::to_owned));
    match invalid {
        Some(why) => Err(Obstacle::refused(format!(
            "the policy cannot be enforced: {why}"
        ))),
        None => Ok(()),
    }
}
