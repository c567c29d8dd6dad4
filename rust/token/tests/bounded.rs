//! What is allocated: never more than a small multiple of hostile input, and nothing for secrets.
//!
//! A file of its own because it counts every allocation of its process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{CATALOGUE, header, token};
use evanesce_token::{Gate, Token, formula, hash, limits, sharing};

struct Counting;

thread_local! {
    static CURRENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(by: isize) {
    CURRENT.with(|current| {
        current.set(current.get() + by);
        PEAK.with(|peak| peak.set(peak.get().max(current.get())));
    });
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is passed on as it is; counting touches thread-local cells alone, which neither
// allocate nor have destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's own promise
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's own promise
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes held at once in `run`, beyond those held before, and the number of calls.
fn allocated<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = CURRENT.get();
    PEAK.set(before);
    CALLS.set(0);
    let value = run();
    (value, (PEAK.get() - before) as usize, CALLS.get())
}

/// Heads that promise 2^16, 2^32, 2^40 and 2^64−1 bytes or entries.
fn promises() -> impl Iterator<Item = Vec<u8>> {
    (2..6u8).flat_map(|major| {
        [1u64 << 16, 1 << 32, 1 << 40, u64::MAX].map(|length| {
            let mut head = vec![major << 5 | 27];
            head.extend(length.to_be_bytes());
            if length < 1 << 32 {
                head = vec![major << 5 | 26];
                head.extend((length as u32).to_be_bytes());
            }
            head
        })
    })
}

#[test]
fn lengths_that_cannot_be_true_are_refused_without_allocating_for_them() {
    let gate = Gate::parse("2 of (ceo, 1 of (a, b))").unwrap();
    let bytes = token(&header(gate, &["ed25519", "hmac-sha256"]), None).encode();
    for head in promises() {
        for at in 0..bytes.len() {
            // in place of what is there, with the rest after it
            let hostile = [&bytes[..at], &head, &bytes[at + 1..]].concat();
            let (_, peak, _) = allocated(|| drop(Token::decode(&hostile, &CATALOGUE)));
            assert!(
                peak < 4 * bytes.len() + 1024,
                "{peak} bytes for {} at {at}",
                hex::encode(&head)
            );
        }
    }
}

#[test]
fn the_head_of_a_vast_map_is_refused_for_the_price_of_saying_so() {
    for head in promises() {
        let (refused, peak, _) = allocated(|| Token::decode(&head, &CATALOGUE).is_err());
        assert!(
            refused && peak < 256,
            "{peak} bytes for {}",
            hex::encode(&head)
        );
    }
}

#[test]
fn full_size_tokens_cost_a_small_multiple_of_themselves() {
    // 128 KiB of empty arrays, of nested arrays, of zeros, and a header of those
    for filling in [0x80, 0x81, 0x00, 0xa0, 0xff] {
        let mut bytes = vec![filling; limits::TOKEN_BYTES];
        let (_, peak, _) = allocated(|| drop(Token::decode(&bytes, &CATALOGUE)));
        assert!(peak < 64 * 1024, "{peak} bytes");
        bytes.push(0);
        let (_, peak, _) = allocated(|| drop(Token::decode(&bytes, &CATALOGUE)));
        assert!(peak < 256, "{peak} bytes");
    }
}

#[test]
fn what_touches_secrets_touches_no_heap() {
    let gate = Gate::parse("3 of (a, b, 2 of (c, d, e), 1 of (f))").unwrap();
    let shares = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32], [6; 32]];
    let shares = [
        Some(&shares[0]),
        None,
        None,
        Some(&shares[3]),
        Some(&shares[4]),
        Some(&shares[5]),
    ];
    let (seed, other) = ([7; 32], [8; 32]);
    let (combined, _, calls) = allocated(|| {
        let (mut out, mut pad, mut material) = ([0; 32], [0; 32], [0; 72]);
        formula::anchor(&other, &seed);
        formula::commitment(&other, 3, &seed);
        formula::pad(&seed, &mut pad);
        formula::material(&seed, &other, "ecdsa-p384", &mut material);
        formula::import_key(&seed, &other, &mut out);
        hash::hmac_sha256(&seed, &other, &mut out);
        hash::hkdf(&seed, &other, b"info", &mut material);
        hash::hkdf_expand(&seed, b"info", &mut material);
        hash::th("label", &[&seed, &other]);
        sharing::combine(&gate, &shares, &mut out)
    });
    assert!(combined);
    assert_eq!(calls, 0);
}
