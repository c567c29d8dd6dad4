//! Limits: what was spent stays spent, over a crash too.

use super::*;
use crate::counts::COUNTS;
use crate::uses::{Account, Shared};

fn limited(world: &mut World, limits: &str) {
    let policy = format!("@limits(\"{limits}\") permit(principal, action, resource);");
    let me = world.agent.me.id;
    let old = seated_under(me, 7, &policy, None);
    let new = seated_under(me, 8, &policy, Some(old.0.id));
    world.tokens = [old, new];
}

/// How often the first token was used, as `uses` has it.
fn used(world: &World, uses: &Shared) -> u64 {
    let account = Account {
        token: &world.tokens[0].0.id,
        replaces: None,
        of: &world.caller,
    };
    let before = uses.lock().before(account);
    assert_eq!(before.key, before.caller);
    before.key
}

/// What a start after a crash takes up from a disk.
fn after_a_crash(world: &World, disk: &Memory) -> Result<u64, String> {
    let key = world.signer_key;
    let (log, _) = Log::open(disk, &world.agent.me.id, &key).unwrap();
    let (journal, place) = (log.journal(), log.place());
    let counts = Keeper::open(Arc::new(disk.clone()), &*journal, place, &world.agent.me.id)?;
    Ok(used(world, counts.uses()))
}

#[tokio::test]
async fn a_limit_is_spent_before_the_element_is_asked_and_outlives_the_process() {
    let mut world = world(Commit::Process, false);
    limited(&mut world, "agent 5");
    for n in 1..=5 {
        let (answers, _) = world.ask(Verb::Contribute, 1).await;
        assert!(released(&answers[0]));
        let counted = entry(&answers[0]).basis.uses.unwrap();
        assert_eq!(
            (counted.of, counted.key, counted.caller),
            (world.caller, n, n)
        );
    }
    let crashed = world.disk.copy();
    let (answers, _) = world.ask(Verb::Contribute, 2).await;
    for answer in &answers {
        assert_eq!((answer.code, answer.seats.len()), (Code::Refused, 0));
        assert!(
            answer.reason.contains("5 of 5 operations are spent"),
            "{}",
            answer.reason
        );
        assert_eq!(entry(answer).basis.uses, None);
    }
    assert_eq!(world.evaluations(), 5);
    assert_eq!(after_a_crash(&world, &crashed), Ok(5), "from the log alone");
    crashed.put(COUNTS, b"evanesce counts 2\n".to_vec());
    assert!(
        after_a_crash(&world, &crashed)
            .unwrap_err()
            .contains("damaged")
    );
}

#[tokio::test]
async fn what_was_counted_is_kept_beside_a_log_that_is_moved_away() {
    let mut world = waiting_world(Commit::Process, false);
    limited(&mut world, "agent 9; agent 9 per 1h");
    let committing = tokio::spawn(world.committing.take().unwrap());
    assert!(released(&world.ask(Verb::Contribute, 3).await.0[2]));
    // A clean end.
    let (sender, _) = tokio::sync::mpsc::channel(1);
    world.queue = Queue(sender);
    committing.await.unwrap();
    let disk = world.disk.copy();
    let text = String::from_utf8(disk.file(COUNTS)).unwrap();
    assert!(text.starts_with("evanesce counts 2\nlog 3 "), "{text}");
    assert_eq!(
        after_a_crash(&world, &disk),
        Ok(3),
        "the file alone is read"
    );
    disk.put(COUNTS, text.replace(" 3 18", " 9 18").into_bytes());
    assert!(
        after_a_crash(&world, &disk)
            .unwrap_err()
            .contains("damaged")
    );
    // A log that begins anew, and one whose bytes are others where the file's log ended.
    for (file, bytes) in [(ENTRIES, Vec::new()), (HEAD, Vec::new())] {
        disk.put(COUNTS, text.clone().into_bytes());
        disk.put(file, bytes);
        if file == HEAD {
            disk.remove(HEAD);
            assert_eq!(after_a_crash(&world, &disk), Ok(3));
        } else {
            disk.remove(HEAD);
        }
    }
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused_whole_and_spends_nothing() {
    let mut world = world(Commit::Process, false);
    limited(&mut world, "agent 5");
    let batch = |world: &mut World, n: usize| {
        let requests: Vec<Request> = (0..n)
            .map(|_| Request {
                token: world.tokens[0].0.id,
                ..world.request()
            })
            .collect();
        let opening = world.opening(&requests);
        world.judge(Verb::Contribute, vec![opening])
    };
    let uses = world.agent.uses.clone();
    for (asked, left) in [(3, 3), (3, 3), (2, 5), (1, 5)] {
        let work = batch(&mut world, asked);
        let answers = world.queue.run(work).await.unwrap().answers();
        assert_eq!(
            used(&world, &uses),
            left,
            "{asked}: {}",
            answers.openings[0].reason
        );
    }
}

#[tokio::test]
async fn cancelled_requests_are_spent_and_made_up_tokens_are_not_remembered() {
    let mut world = world(Commit::Process, false);
    limited(&mut world, "agent 5");
    assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
    // Judged, and its asker gone before its group begins.
    drop(world.judged(Verb::Contribute, &[0, 0]));
    let uses = world.agent.uses.clone();
    assert_eq!(used(&world, &uses), 3);
    assert!(released(&world.ask(Verb::Contribute, 2).await.0[1]));
    assert_eq!(
        world.ask(Verb::Contribute, 1).await.0[0].code,
        Code::Refused
    );
    // A header that nobody has seated; nothing can be regenerated under it.
    world.change(&|header| header.nonce = [99; 32]);
    let (answers, _) = world.ask(Verb::Contribute, 1).await;
    let fault = SeatResult::Fault(SeatFault::CannotRegenerate);
    assert_eq!(
        (answers[0].code, &answers[0].seats[0].result),
        (Code::Done, &fault)
    );
    assert_eq!(used(&world, &uses), 0);
    // Nothing is spent where nothing could come of it.
    let mut opening = world.opening(&[]);
    let request = Request {
        token: world.tokens[0].0.id,
        ..world.request()
    };
    opening.requests = vec![request.encode()];
    opening.salts = vec![None];
    opening.rows[0].epoch = 99;
    let work = world.judge(Verb::Contribute, vec![opening]);
    assert_eq!(
        world.queue.run(work).await.unwrap().answers().openings[0].code,
        Code::Unrouted
    );
    assert_eq!(used(&world, &uses), 0);
}

#[tokio::test]
async fn a_reshared_token_goes_on_from_where_the_old_one_stood() {
    let mut world = world(Commit::Process, false);
    limited(&mut world, "agent 5");
    assert!(released(&world.ask(Verb::Contribute, 3).await.0[2]));
    let work = world.judged(Verb::Contribute, &[1, 1, 1]);
    let answers = world.queue.run(work).await.unwrap().answers();
    let codes: Vec<Code> = answers.openings.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, [Code::Done, Code::Done, Code::Refused]);
    let counted = entry(&answers.openings[1]).basis.uses.unwrap();
    assert_eq!((counted.key, counted.caller), (5, 5));
}

#[tokio::test]
async fn what_cannot_be_promised_is_not_seated() {
    let mut world = world(Commit::Process, false);
    limited(&mut world, "total 5 surviving 1");
    let work = world.judged_seat(0);
    let seated = world.queue.run(work).await.unwrap().seated();
    let SeatedResult::Refused { reason } = &seated.seats[0].result else {
        panic!()
    };
    assert!(
        reason.contains("1 corrupt agents could suffice"),
        "{reason}"
    );
    // Nor is a share released under one that somebody claims was seated.
    let (answers, _) = world.ask(Verb::Contribute, 1).await;
    assert_eq!((answers[0].code, world.evaluations()), (Code::Refused, 0));
}

#[tokio::test]
async fn racing_coordinators_get_no_more_than_the_limit() {
    for slow in [false, true] {
        let mut world = world(Commit::Process, slow);
        limited(&mut world, "agent 40");
        let mut asked = Vec::new();
        for _ in 0..25 {
            let work = world.judged(Verb::Contribute, &[0, 0, 0]);
            asked.push(world.send(work).await);
        }
        let mut had = 0;
        for asked in asked {
            let answers = asked.await.unwrap().unwrap().answers();
            had += answers
                .openings
                .iter()
                .filter(|answer| released(answer))
                .count();
        }
        assert_eq!((had, world.evaluations()), (40, 40));
    }
}

#[tokio::test]
async fn a_policy_sees_how_often_a_key_was_used_whatever_is_asked() {
    let mut world = world(Commit::Process, false);
    let policy = "@limits(\"agent 5\") permit(principal, action == Action::\"sign\", resource);
        permit(principal, action == Action::\"retire\", resource) when { context.uses.key >= 2 };";
    let me = world.agent.me.id;
    let old = seated_under(me, 7, policy, None);
    let new = seated_under(me, 8, policy, Some(old.0.id));
    world.tokens = [old, new];
    for used in 0..2 {
        let (answers, _) = world.ask(Verb::Retire, 1).await;
        assert_eq!(answers[0].code, Code::Refused, "after {used}");
        assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
    }
    let (answers, _) = world.ask(Verb::Retire, 1).await;
    assert_eq!(answers[0].code, Code::Done, "{}", answers[0].reason);
}
