//! A token's policy: text from whoever sends a token, parsed and validated by Cedar behind our own measure of how
//! deep it nests. On the smallest stack in use: one that overflows ends an agent.
#![no_main]

use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use evanesce_policy::{Compiled, Principal, Question, Uses, check, permits};
use libfuzzer_sys::fuzz_target;

/// Bytes of stack.
const STACK: usize = 2 << 20;

type Line = Mutex<(SyncSender<String>, Receiver<()>)>;

/// A thread with that stack, which judges policies.
static JUDGE: LazyLock<Line> = LazyLock::new(|| {
    let (texts, theirs) = sync_channel::<String>(0);
    let (done, ours) = sync_channel(0);
    let judge = move || {
        for text in theirs {
            judge(&text);
            if done.send(()).is_err() {
                return;
            }
        }
    };
    let builder = std::thread::Builder::new().stack_size(STACK);
    builder.spawn(judge).expect("a thread");
    Mutex::new((texts, ours))
});

fn judge(text: &str) {
    let compiled = Compiled::new(text);
    match check(text) {
        // No policy at all is fit for a token, and none to compile.
        Ok(_) => assert!(text.is_empty() || compiled.invalid().is_none()),
        Err(why) => assert!(!why.is_empty() && why.len() < 8192 && compiled.invalid().is_some()),
    }
    let question = Question {
        action: "sign",
        suite: "ed25519",
        input: &[0; 32],
        key: "treasury",
        now: 1_700_000_000,
        minter: false,
        payload: None,
        uses: Uses::default(),
        approvals: &[],
    };
    let principal = Principal::new("ops", &["eu".to_owned()]);
    let permitted = permits(Some(&compiled), &principal, question).is_ok();
    assert!(!permitted || compiled.invalid().is_none());
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let line = JUDGE.lock().expect("one caller");
    line.0.send(text.to_owned()).expect("the judge lives");
    line.1
        .recv()
        .expect("the judge ends only with this process");
});
