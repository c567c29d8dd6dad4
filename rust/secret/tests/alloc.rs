//! Where Rust's and AWS-LC's allocations go, with the global allocator installed as the Python module does.
mod common;
use common::*;
use evanesce_secret::*;

#[global_allocator]
static ALLOCATOR: CrucibleAlloc = CrucibleAlloc;

const PATTERN: [u8; 16] = [0x6d; 16];

fn filled(len: usize) -> Vec<u8> {
    vec![0x6d; len]
}

fn address(bytes: &[u8]) -> usize {
    bytes.as_ptr() as usize
}

#[test]
fn allocations_of_a_job_lie_in_the_arena_others_do_not() {
    let arena = arena_range();
    assert!(!arena.contains(&address(&filled(100))));
    for len in [1, 100, 5000, 100_000] {
        assert!(arena.contains(&on_crucible(|| address(&filled(len)))));
        assert!(arena.contains(&on_crucible(|| address(&vec![0u8; len]))));
    }
}

#[test]
fn what_a_job_allocates_is_wiped_when_freed_wherever_that_is() {
    let inside = on_crucible(|| address(&filled(100)));
    assert!(!holds(inside, &PATTERN));
    let returned = on_crucible(|| filled(100));
    let at = address(&returned);
    assert!(holds(at, &PATTERN));
    std::thread::spawn(move || drop(returned)).join().unwrap();
    assert!(!holds(at, &PATTERN));
}

#[test]
fn growing_keeps_the_bytes_stays_in_the_arena_and_leaves_no_copy() {
    let arena = arena_range();
    let mut bytes = on_crucible(|| filled(64));
    for _ in 0..4 {
        let (before, len) = (address(&bytes), bytes.len());
        bytes.extend_from_slice(&filled(len));
        assert!(bytes.iter().all(|b| *b == 0x6d));
        assert!(arena.contains(&address(&bytes)));
        if address(&bytes) != before {
            assert!(!holds(before, &PATTERN));
        }
    }
    let before = address(&bytes);
    bytes.truncate(16);
    bytes.shrink_to_fit();
    assert_eq!(bytes, PATTERN);
    assert!(arena.contains(&address(&bytes)) && address(&bytes) != before);
    assert!(!holds(before, &PATTERN));
}

#[test]
fn a_vector_from_outside_that_grows_in_a_job_moves_to_the_arena() {
    let arena = arena_range();
    let mut bytes = filled(64);
    assert!(!arena.contains(&address(&bytes)));
    on_crucible(|| bytes.extend_from_slice(&filled(1000)));
    assert!(arena.contains(&address(&bytes)));
    assert_eq!(bytes, filled(1064));
}

#[test]
fn aligned_allocations_are_aligned() {
    #[repr(align(1024))]
    struct Wide(#[allow(dead_code)] [u8; 3000]);
    #[repr(align(16384))]
    struct Wider(#[allow(dead_code)] [u8; 3000]);
    on_crucible(|| {
        assert_eq!(&raw const *Box::new(Wide([1; 3000])) as usize % 1024, 0);
        assert_eq!(&raw const *Box::new(Wider([1; 3000])) as usize % 16384, 0);
    });
}

#[test]
fn a_job_that_needs_more_than_the_arena_gets_it_and_that_is_counted() {
    in_fresh_process(
        "a_job_that_needs_more_than_the_arena_gets_it_and_that_is_counted",
        || {
            let arena = arena_range();
            assert_eq!(report().spilled, 0);
            on_crucible(|| {
                let large = filled(8 << 20);
                assert!(!arena.contains(&address(&large)));
                let (_, flags) = mapping_of(address(&large));
                assert!(flags.contains(&"dc".to_string()), "{flags:?}");
                let at = address(&large);
                drop(large);
                assert!(!holds(at, &PATTERN));
                // Temporaries have gone elsewhere; there is room for secrets whatever they did.
                let many: Vec<_> = (0..2000).map(|_| filled(4096)).collect();
                assert!(Secret::<4096>::zeroed().is_ok());
                drop(many);
            });
            assert!(report().spilled > 1);
        },
    );
}

#[test]
fn a_panic_in_a_job_with_its_message_and_backtrace_is_no_trouble() {
    for _ in 0..3 {
        let panic = std::panic::catch_unwind(|| {
            on_crucible(|| -> () {
                let held = filled(1000);
                panic!("{} bytes held", held.len());
            })
        });
        let panic = panic.unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "1000 bytes held");
    }
}

fn openssl_malloc(len: usize) -> usize {
    // SAFETY: a plain allocation, filled in bounds.
    unsafe {
        let block = aws_lc_sys::OPENSSL_malloc(len).cast::<u8>();
        assert!(!block.is_null());
        block.write_bytes(0x6d, len);
        block as usize
    }
}

fn openssl_free(block: usize) {
    // SAFETY: from `openssl_malloc`, freed once by every test.
    unsafe { aws_lc_sys::OPENSSL_free(block as *mut _) }
}

#[test]
fn awslc_allocates_from_the_arena_in_a_job_and_from_malloc_elsewhere() {
    let arena = arena_range();
    assert!(report().awslc_in_arena);
    let outside = openssl_malloc(100);
    assert!(!arena.contains(&outside));
    let inside = on_crucible(|| openssl_malloc(100));
    assert!(arena.contains(&inside));
    // freed on the other side each
    on_crucible(|| openssl_free(outside));
    openssl_free(inside);
    assert!(!holds(inside, &PATTERN));
}

#[test]
fn awslc_reallocations_keep_the_bytes_and_wipe_the_old_block() {
    let arena = arena_range();
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let at = |inside: bool, f: &(dyn Fn() -> usize + Sync)| {
            if inside { on_crucible(f) } else { f() }
        };
        let old = at(first, &|| openssl_malloc(48));
        let new = at(second, &|| {
            // SAFETY: a live block of AWS-LC's.
            unsafe { aws_lc_sys::OPENSSL_realloc(old as *mut _, 500) as usize }
        });
        assert!(holds(new, &PATTERN) && holds(new + 32, &PATTERN));
        assert_eq!(arena.contains(&new), first || second);
        if first {
            assert!(!holds(old, &PATTERN));
        }
        openssl_free(new);
    }
}

#[test]
fn keys_that_awslc_makes_in_a_job_lie_in_the_arena() {
    let arena = arena_range();
    let key = on_crucible(|| {
        // SAFETY: EVP_PKEY_new_raw_private_key copies 32 readable bytes.
        unsafe {
            aws_lc_sys::EVP_PKEY_new_raw_private_key(
                aws_lc_sys::EVP_PKEY_ED25519,
                std::ptr::null_mut(),
                [9u8; 32].as_ptr(),
                32,
            ) as usize
        }
    });
    assert!(arena.contains(&key));
    // SAFETY: ours, freed once.
    unsafe { aws_lc_sys::EVP_PKEY_free(key as *mut _) };
}

#[test]
fn a_thread_that_used_the_crucible_leaves_nothing_of_its_own_in_the_arena() {
    in_fresh_process(
        "a_thread_that_used_the_crucible_leaves_nothing_of_its_own_in_the_arena",
        || {
            let job = || {
                let mut bytes = [0u8; 32];
                // SAFETY: 32 writable bytes.
                unsafe { aws_lc_sys::RAND_bytes(bytes.as_mut_ptr(), 32) };
            };
            on_crucible(job);
            let free = report().arena_free;
            for _ in 0..50 {
                std::thread::spawn(move || on_crucible(job)).join().unwrap();
            }
            assert_eq!(report().arena_free, free);
        },
    );
}

#[test]
fn awslc_used_before_this_crate_is_freed_correctly_after() {
    in_fresh_process(
        "awslc_used_before_this_crate_is_freed_correctly_after",
        || {
            let early = openssl_malloc(1000);
            let grown = openssl_malloc(16);
            init();
            assert!(report().awslc_in_arena);
            openssl_free(early);
            // SAFETY: a live block of AWS-LC's.
            let grown = unsafe { aws_lc_sys::OPENSSL_realloc(grown as *mut _, 4000) as usize };
            assert!(holds(grown, &PATTERN));
            on_crucible(|| openssl_free(grown));
        },
    );
}
