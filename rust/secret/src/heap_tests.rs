use super::*;
use crate::map::{self, Kind};
use proptest::prelude::*;

fn heap(pages: usize) -> Heap {
    let base = map::reserve(pages * PAGE).unwrap();
    // SAFETY: reserved just now; never released, these being tests.
    unsafe {
        map::place(base, pages * PAGE, Kind::Plain).unwrap();
        Heap::new(base, pages * PAGE).unwrap()
    }
}

/// # Safety
/// A readable block.
unsafe fn all(block: NonNull<u8>, len: usize, value: u8) -> bool {
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(block.as_ptr(), len) }
        .iter()
        .all(|b| *b == value)
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { size: usize, align: usize },
    Free { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![0..200usize, 0..3000usize, 2000..40_000usize];
    let step = prop_oneof![
        3 => (size, 0..13u32).prop_map(|(size, log)| Step::Alloc { size, align: 1 << log }),
        2 => any::<usize>().prop_map(|which| Step::Free { which }),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn blocks_are_disjoint_aligned_zeroed_and_wiped_whatever_the_order(steps in steps(), pages in 1..80usize) {
        let heap = heap(pages);
        // address -> (size of the block, byte it was filled with)
        let mut live: std::collections::BTreeMap<usize, (usize, u8)> = Default::default();
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Alloc { size, align } => {
                    let Some(block) = heap.alloc(size, align, 0) else { continue };
                    let at = block.as_ptr() as usize;
                    let len = heap.size_of_block(at);
                    prop_assert!(len >= size && at.is_multiple_of(align.max(16)));
                    prop_assert!(heap.contains(at) && heap.contains(at + len - 1));
                    if let Some((below, (len, _))) = live.range(..=at).next_back() {
                        prop_assert!(below + len <= at);
                    }
                    if let Some((above, _)) = live.range(at + 1..).next() {
                        prop_assert!(at + len <= *above);
                    }
                    // SAFETY: our block.
                    unsafe {
                        prop_assert!(all(block, len, 0));
                        let value = i as u8 | 1;
                        block.write_bytes(value, len);
                        live.insert(at, (len, value));
                    }
                }
                Step::Free { which } if !live.is_empty() => {
                    let at = *live.keys().nth(which % live.len()).unwrap();
                    let (len, value) = live.remove(&at).unwrap();
                    let block = NonNull::new(at as *mut u8).unwrap();
                    // SAFETY: our block, freed once; the heap's memory stays readable.
                    unsafe {
                        prop_assert!(all(block, len, value), "somebody else wrote to it");
                        heap.free(at);
                        prop_assert!(all(block, len, 0));
                    }
                }
                Step::Free { .. } => (),
            }
        }
        for at in live.into_keys() {
            // SAFETY: our block, freed once.
            unsafe { heap.free(at) };
        }
        prop_assert_eq!(heap.free_bytes(), heap.bytes());
        // all of it is one run again
        prop_assert!(heap.alloc(heap.bytes(), 1, 0).is_some());
    }
}

#[test]
fn exhaustion_is_an_answer_and_what_was_freed_can_be_had_again() {
    let heap = heap(4);
    for size in [1, 100, 2048, 4096, 5000] {
        let mut taken = Vec::new();
        while let Some(block) = heap.alloc(size, 1, 0) {
            taken.push(block.as_ptr() as usize);
        }
        assert!(!taken.is_empty());
        assert_eq!(heap.alloc(size, 1, 0), None);
        for at in taken {
            // SAFETY: our block, freed once.
            unsafe { heap.free(at) };
        }
        assert_eq!(heap.free_bytes(), heap.bytes());
    }
}

#[test]
fn absurd_requests_are_refused() {
    let heap = heap(4);
    for size in [4 * PAGE + 1, usize::MAX / 2, usize::MAX - 4096, usize::MAX] {
        assert_eq!(heap.alloc(size, 16, 0), None);
    }
    assert_eq!(heap.alloc(16, 2 * PAGE, 0), None);
    assert_eq!(heap.alloc(16, 16, usize::MAX), None);
}

#[test]
fn a_reserve_is_left_for_those_who_may_use_it() {
    let heap = heap(4);
    assert!(heap.alloc(2 * PAGE, 16, 2).is_some());
    assert_eq!(heap.alloc(PAGE, 16, 2), None);
    assert!(heap.alloc(PAGE, 16, 0).is_some());
}

#[test]
fn several_threads_share_a_heap() {
    let heap = heap(256);
    std::thread::scope(|scope| {
        for value in 1..5u8 {
            let heap = &heap;
            scope.spawn(move || {
                for round in 0..20_000usize {
                    let size = round * 37 % 3000;
                    let Some(block) = heap.alloc(size, 16, 0) else {
                        continue;
                    };
                    // SAFETY: our block, freed once.
                    unsafe {
                        assert!(all(block, size, 0));
                        block.write_bytes(value, size);
                        assert!(all(block, size, value));
                        heap.free(block.as_ptr() as usize);
                    }
                }
            });
        }
    });
    assert_eq!(heap.free_bytes(), heap.bytes());
}

#[test]
fn an_empty_heap_gives_its_memory_back() {
    let heap = heap(1024);
    let at = heap.alloc(heap.bytes(), 16, 0).unwrap().as_ptr() as usize;
    // SAFETY: our block, freed once.
    unsafe {
        (at as *mut u8).write_bytes(1, heap.bytes());
        heap.trim(0);
        assert_eq!(*(at as *const u8), 1, "not while a block lives");
        heap.free(at);
    }
    heap.trim(0);
    let mut resident = vec![0u8; 1024];
    // SAFETY: one byte per page of the heap.
    unsafe { libc::mincore(at as *mut _, heap.bytes(), resident.as_mut_ptr()) };
    assert!(resident.iter().all(|page| page & 1 == 0));
}

/// Ends how, in a child?
fn fate(f: impl FnOnce()) -> i32 {
    // SAFETY: the child does little and leaves without returning to the test harness.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::close(2);
            f();
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        status
    }
}

#[test]
fn a_bad_free_ends_the_process() {
    let bad: [fn(&Heap, usize); 4] = [
        // SAFETY: none of these is; that is the test.
        |heap, at| unsafe {
            heap.free(at);
            heap.free(at);
        },
        |heap, at| unsafe { heap.free(at + 1) },
        |heap, at| unsafe { heap.free(at + PAGE) },
        |heap, at| unsafe {
            heap.alloc(100, 16, 0);
            heap.free(at);
            heap.free(at);
        },
    ];
    for bad in bad {
        let status = fate(|| {
            // The heap is made in the child, which would not inherit it.
            let heap = heap(4);
            bad(&heap, heap.alloc(100, 16, 0).unwrap().as_ptr() as usize);
        });
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT);
    }
}
