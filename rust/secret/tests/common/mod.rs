//! What several test files need: where memory lies, children, and scenarios run in a process of their own.
#![allow(dead_code)]
use std::ops::Range;
use std::process::Command;

/// The line of /proc/self/smaps that an address lies in: its range and its VmFlags.
pub fn mapping_of(address: usize) -> (Range<usize>, Vec<String>) {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut range = 0..0;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or("");
        if let Some((low, high)) = first.split_once('-')
            && let (Ok(low), Ok(high)) = (
                usize::from_str_radix(low, 16),
                usize::from_str_radix(high, 16),
            )
        {
            range = low..high;
        } else if range.contains(&address)
            && let Some(flags) = line.strip_prefix("VmFlags:")
        {
            return (range, flags.split_whitespace().map(String::from).collect());
        }
    }
    panic!("{address:#x} is not mapped");
}

/// Where secrets lie.
pub fn arena_range() -> Range<usize> {
    let secret = evanesce_secret::Secret::<32>::zeroed().unwrap();
    mapping_of(secret.expose().as_ptr() as usize).0
}

/// Whether `pattern` can be found at `address`, which must be readable.
pub fn holds(address: usize, pattern: &[u8]) -> bool {
    pattern.iter().enumerate().all(|(i, byte)| {
        // SAFETY: by the caller's word; volatile, for the memory is not this code's.
        unsafe { ((address + i) as *const u8).read_volatile() == *byte }
    })
}

/// Runs `f` in a forked child that leaves by exit(3), destructors included; its exit status as waitpid gives it.
pub fn in_child(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child leaves without returning to the test harness.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            // A child that hangs is to die, not to keep its parent waiting.
            libc::alarm(60);
            // The harness keeps what a panic says, in this child's memory; so it is said again, past the harness.
            let why = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
                Ok(true) => libc::exit(0),
                Ok(false) => "it said no".to_owned(),
                Err(panic) => match panic.downcast_ref::<String>() {
                    Some(text) => text.clone(),
                    None => format!("{:?}", panic.downcast_ref::<&str>()),
                },
            };
            let why = format!("in a child: {why}\n");
            libc::write(2, why.as_ptr().cast(), why.len());
            libc::exit(1);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    }
}

const SCENARIO: &str = "EVANESCE_SECRET_SCENARIO";

/// Runs `f` in a fresh process: what it sets up must be there before anything of the crate is used. Call it from the
/// test `name`, which is run again, alone, to get there.
pub fn in_fresh_process(name: &str, f: impl FnOnce()) {
    if std::env::var(SCENARIO).as_deref() == Ok(name) {
        return f();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Becomes an ordinary user with this much locked memory, in bytes.
pub fn ordinary_user(locked: u64) {
    let limit = libc::rlimit {
        rlim_cur: locked,
        rlim_max: locked,
    };
    // SAFETY: plain system calls.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
            assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
        }
    }
}
