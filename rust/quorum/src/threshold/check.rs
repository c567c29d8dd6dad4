//! Every seat of a token asked whether it has its share; nothing is released.

use std::sync::Arc;

use evanesce_token::mpc::{Token, formula};
use evanesce_wire::message::threshold::{Confirm, Confirmed};
use evanesce_wire::verify_statement;
use tokio::spawn;
use tokio::time::Instant;

use super::{ask, fault, row_of, whole};
use crate::check::{CheckRow, CheckTable};
use crate::fault::Trouble;
use crate::io::link::Down;
use crate::io::side::Side;

/// Asks everyone until `until`.
pub(crate) async fn check(side: &Arc<Side>, token: Arc<Token>, until: Instant) -> CheckTable {
    let names = token.body.header.quorum.seats();
    let tasks: Vec<_> = (0..token.rows.len() as u32)
        .map(|seat| {
            let (side, token) = (side.clone(), token.clone());
            spawn(async move { one(&side, &token, seat, until).await })
        })
        .collect();
    let mut rows = Vec::with_capacity(tasks.len());
    for (seat, task) in (0..).zip(tasks) {
        let answer = task.await.unwrap_or_else(|_| Err(Down::broke_off()));
        let holder_id = token.rows[seat as usize].holder;
        rows.push(CheckRow {
            seat: names[seat as usize].to_owned(),
            seat_number: seat,
            holder: side.directory.name_of(&holder_id),
            holder_id,
            latency: answer.as_ref().ok().copied(),
            fault: answer.err().map(|down| fault(side, &token, seat, &down)),
        });
    }
    let good: Vec<bool> = rows.iter().map(|row| row.fault.is_none()).collect();
    CheckTable {
        sufficient: token.body.header.quorum.satisfied(&good),
        rows,
        opened: None,
        receipts: Vec::new(),
        salt: None,
    }
}

/// One seat's word, and how long it took over a standing connection, in µs.
pub(super) async fn one(
    side: &Side,
    token: &Token,
    seat: u32,
    until: Instant,
) -> Result<u64, Down> {
    let row = &token.rows[seat as usize];
    let Some(place) = side.directory.by_id(&row.holder) else {
        return Err(Down::unknown_holder());
    };
    let confirm = Confirm {
        context: whole(&token.body),
        row: row_of(token, seat),
    };
    let mut asked = Instant::now();
    let compose = |_: &_| {
        asked = Instant::now();
        Ok(confirm.encode())
    };
    let answered = ask(
        side,
        place,
        "mpc-confirm",
        until,
        compose,
        Confirmed::decode,
    )
    .await?;
    let kind = token.body.header.kind;
    let statement = formula::regenerated_statement(kind, token.id(), seat, row.epoch);
    match verify_statement(
        &answered.live.peer.spki,
        &statement,
        &answered.value.signature,
    ) {
        true => Ok(asked.elapsed().as_micros() as u64),
        false => Err(Down::new(
            Trouble::Lied,
            "it has not signed that it has its share",
        )),
    }
}
