//! What a coordinator and an agent say to each other about keys that are never put together; the first byte says which.
#![no_main]

use evanesce_fuzz::strict;
use evanesce_wire::message::threshold::{
    Agree, Agreed, Announce, Announced, Await, Awaiting, Commit, Committed, Confirm, Confirmed,
    Deal, Dealt, Forget, Forgot, Help, Helping, Once, Prepare, Receive, Received, Reply, Sign,
    Signed, Split, Sum, Take, Taken,
};
use libfuzzer_sys::fuzz_target;

macro_rules! one_of {
    ($which:expr, $data:expr => $($n:literal $message:ident),*) => {
        match $which % 27 {
            $($n => drop(strict($data, $message::decode, $message::encode)),)*
            _ => unreachable!("there is no other message"),
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    one_of!(which, data => 0 Announce, 1 Announced, 2 Agree, 3 Agreed, 4 Deal, 5 Dealt, 6 Take, 7 Taken, 8 Confirm,
        9 Confirmed, 10 Forget, 11 Forgot, 12 Commit, 13 Committed, 14 Sign, 15 Reply, 16 Help, 17 Helping, 18 Await,
        19 Awaiting, 20 Split, 21 Sum, 22 Receive, 23 Received, 24 Prepare, 25 Once, 26 Signed);
});
