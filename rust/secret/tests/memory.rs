//! Secrets: where they lie, who can read them, and that nothing of them stays.
mod common;
use common::*;
use evanesce_secret::*;

#[test]
fn a_secret_is_filled_in_place_and_wiped_on_drop() {
    let mut secret = Secret::<32>::filled(|bytes| bytes.fill(0xa5)).unwrap();
    secret.expose_mut()[0] = 0x5a;
    let at = secret.expose().as_ptr() as usize;
    assert!(holds(at + 1, &[0xa5; 31]));
    drop(secret);
    assert!(!holds(at + 1, &[0xa5; 8]));
}

#[test]
fn a_secret_whose_filling_fails_is_wiped() {
    let mut at = 0;
    let result = Secret::<64>::try_filled(|bytes| {
        bytes.fill(0xc3);
        at = bytes.as_ptr() as usize;
        Err(Error::Unavailable("on purpose".into()))
    });
    assert!(result.is_err());
    assert!(!holds(at, &[0xc3; 8]));
}

#[test]
fn a_secret_moves_without_its_bytes_moving() {
    let secret = Secret::<32>::random().unwrap();
    let at = secret.expose().as_ptr();
    let boxed = Box::new(secret);
    let back = std::thread::spawn(move || *boxed).join().unwrap();
    assert_eq!(back.expose().as_ptr(), at);
}

#[test]
fn random_secrets_differ() {
    let (a, b) = (
        Secret::<32>::random().unwrap(),
        Secret::<32>::random().unwrap(),
    );
    assert!(!ct_eq(a.expose(), b.expose()));
    assert!(ct_eq(a.expose(), a.expose()));
    assert!(!ct_eq(a.expose(), &a.expose()[1..]));
}

#[test]
fn secret_vectors_of_all_lengths_are_zeroed_kept_and_wiped() {
    for len in [0, 1, 31, 32, 4096, 4097, 65_536, 65_537, 1_000_000] {
        let mut secret = SecretVec::zeroed(len).unwrap();
        assert_eq!((secret.len(), secret.is_empty()), (len, len == 0));
        assert!(secret.expose().iter().all(|b| *b == 0));
        secret.expose_mut().fill(0xb7);
        let copy = SecretVec::from_slice(secret.expose()).unwrap();
        assert!(ct_eq(copy.expose(), secret.expose()));
        let at = secret.expose().as_ptr() as usize;
        drop(secret);
        if (8..=65_536).contains(&len) {
            assert!(!holds(at, &[0xb7; 8]), "{len}");
        }
    }
}

#[test]
fn truncating_wipes_what_is_cut_off() {
    let mut secret = SecretVec::from_slice(&[0xd1; 100]).unwrap();
    let at = secret.expose().as_ptr() as usize;
    secret.truncate(200);
    assert_eq!(secret.len(), 100);
    secret.truncate(10);
    assert_eq!(secret.expose(), [0xd1; 10]);
    assert!(holds(at + 10, &[0; 90]));
}

#[test]
fn long_secrets_have_a_locked_mapping_between_guard_pages() {
    let secret = SecretVec::zeroed(200_000).unwrap();
    let at = secret.expose().as_ptr() as usize;
    let (range, flags) = mapping_of(at);
    assert_eq!(range.start, at);
    assert!(has(&flags, "dc") && has(&flags, "lo"), "{flags:?}");
    assert!(mapping_of(at - 1).1.iter().all(|f| f != "rd"));
    assert!(mapping_of(range.end).1.iter().all(|f| f != "rd"));
}

#[test]
fn an_impossible_length_is_an_error() {
    for len in [usize::MAX, usize::MAX / 2, 1 << 60] {
        let Err(Error::Unavailable(why)) = SecretVec::zeroed(len) else {
            panic!("{len}");
        };
        assert!(why.contains("no memory"), "{why}");
    }
}

fn has(flags: &[String], flag: &str) -> bool {
    flags.iter().any(|f| f == flag)
}

#[test]
fn the_arena_is_locked_absent_from_children_and_core_files_and_guarded() {
    let secret = Secret::<32>::zeroed().unwrap();
    let (range, flags) = mapping_of(secret.expose().as_ptr() as usize);
    let audit = matches!(report().backing, Backing::Audit);
    assert!(has(&flags, "lo") && has(&flags, "dc"), "{flags:?}");
    assert_eq!(has(&flags, "dd"), !audit, "{flags:?}");
    assert!(!has(&mapping_of(range.start - 1).1, "rd"));
    assert!(!has(&mapping_of(range.end).1, "rd"));
    let (stack, flags) = on_crucible(|| {
        let here = 0u8;
        mapping_of(&raw const here as usize)
    });
    assert!(has(&flags, "lo") && has(&flags, "dc"), "{flags:?}");
    assert_eq!(stack.len(), report().stack_bytes);
    assert!(!has(&mapping_of(stack.start - 1).1, "rd"));
}

/// Reads this process's own memory the way a debugger or a scanner would.
fn read_from_outside(address: usize) -> [Result<u8, i32>; 2] {
    use std::os::unix::fs::FileExt;
    let mut byte = [0u8];
    let file = std::fs::File::open("/proc/self/mem").unwrap();
    let by_file = file
        .read_exact_at(&mut byte, address as u64)
        .map(|()| byte[0])
        .map_err(|e| e.raw_os_error().unwrap_or(0));
    let mut byte = [0u8];
    let (here, there) = (
        libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        },
        libc::iovec {
            iov_base: address as *mut _,
            iov_len: 1,
        },
    );
    // SAFETY: one byte into `byte`.
    let n = unsafe { libc::process_vm_readv(libc::getpid(), &here, 1, &there, 1, 0) };
    let by_call = if n == 1 {
        Ok(byte[0])
    } else {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    };
    [by_file, by_call]
}

#[test]
fn secrets_cannot_be_read_from_outside_where_memfd_secret_holds_them() {
    let ordinary = [0x77u8; 64];
    assert_eq!(read_from_outside(ordinary.as_ptr() as usize), [Ok(0x77); 2]);
    let secret = Secret::<32>::filled(|bytes| bytes.fill(0x77)).unwrap();
    let stack = on_crucible(|| {
        let here = [0x77u8; 8];
        let seen = read_from_outside(here.as_ptr() as usize);
        assert_eq!(here[3], 0x77);
        seen
    });
    let heap = read_from_outside(secret.expose().as_ptr() as usize);
    match report().backing {
        Backing::MemfdSecret => {
            assert!([heap, stack].iter().flatten().all(Result::is_err));
        }
        // Undumpable is all there is, and this process is not; an audit relies on it.
        Backing::LockedMemory { .. } | Backing::Audit => {
            assert_eq!([heap, stack], [[Ok(0x77); 2]; 2]);
        }
    }
}
