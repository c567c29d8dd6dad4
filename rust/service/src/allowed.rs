//! What the process may ask of the kernel once it listens: the one list of system calls.
//!
//! Everything else fails with EPERM, in every thread and for good. What is not here, and why that matters: nothing is
//! executed and no process is made (`execve`, `fork`, `ptrace`, `process_vm_*`); nothing is opened for writing or
//! created; memory never becomes executable; no socket but TCP over IPv4 or IPv6 is made, none is bound or listens.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Without a condition.
const PLAIN: &[i64] = &[
    // The event loop, and what it waits for.
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    // Connections.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Memory; `mmap` and `mprotect` are below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_brk,
    // Threads and time; `clone` is below.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    // Signals that come; `tgkill` is below.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // What `callers.toml` is, when it is read again; `openat` is below.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getrandom,
];

/// An argument's number, the bits of it that are looked at, and what they must be.
type Condition = (u8, u64, u64);

/// `O_RDONLY`, and nothing created, emptied or unnamed.
const READING: u64 =
    (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64 | __O_TMPFILE;
const __O_TMPFILE: u64 = 0o20_000_000;
const WORD: u64 = u32::MAX as u64;
/// The kind of a socket without its flags.
const KIND: u64 = 0xf;

fn conditional() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let own = u64::from(std::process::id());
    let tcp = |family: i32| {
        vec![
            (0, WORD, family as u64),
            (1, KIND, libc::SOCK_STREAM as u64),
        ]
    };
    let is = |argument: u8, value: i64| vec![(argument, WORD, value as u64 & WORD)];
    vec![
        (libc::SYS_openat, vec![vec![(2, READING, 0)]]),
        (libc::SYS_mmap, vec![vec![(2, libc::PROT_EXEC as u64, 0)]]),
        (
            libc::SYS_mprotect,
            vec![vec![(2, libc::PROT_EXEC as u64, 0)]],
        ),
        (
            libc::SYS_socket,
            vec![tcp(libc::AF_INET), tcp(libc::AF_INET6)],
        ),
        (
            libc::SYS_clone,
            vec![vec![(
                0,
                libc::CLONE_THREAD as u64,
                libc::CLONE_THREAD as u64,
            )]],
        ),
        // Answered below with ENOSYS, upon which glibc uses `clone`, whose flags can be looked at.
        (libc::SYS_clone3, Vec::new()),
        (libc::SYS_tgkill, vec![is(0, own as i64)]),
        (
            libc::SYS_prctl,
            vec![
                is(0, libc::PR_SET_NAME.into()),
                is(0, libc::PR_GET_DUMPABLE.into()),
                is(0, libc::PR_SET_VMA.into()),
            ],
        ),
        (libc::SYS_ioctl, vec![is(1, libc::FIONBIO as i64)]),
        (
            libc::SYS_fcntl,
            vec![
                is(1, libc::F_GETFL.into()),
                is(1, libc::F_SETFL.into()),
                is(1, libc::F_GETFD.into()),
                is(1, libc::F_SETFD.into()),
            ],
        ),
        // To ask for a limit, not to set one.
        (libc::SYS_prlimit64, vec![vec![(2, u64::MAX, 0)]]),
    ]
}

/// The filters, to be applied in this order: the kernel goes by the strictest answer.
pub fn filters() -> Result<Vec<BpfProgram>, Error> {
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PLAIN.iter().map(|call| (*call, Vec::new())).collect();
    for (call, alternatives) in conditional() {
        let rule = |conditions: Vec<Condition>| {
            let conditions = conditions.into_iter().map(|(argument, mask, value)| {
                let masked = SeccompCmpOp::MaskedEq(mask);
                SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, value)
            });
            SeccompRule::new(conditions.collect::<Result<_, _>>()?)
        };
        let alternatives = alternatives.into_iter().map(rule);
        rules.insert(call, alternatives.collect::<Result<_, _>>()?);
    }
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let arch = std::env::consts::ARCH.try_into()?;
    [
        SeccompFilter::new(clone3, SeccompAction::Allow, missing, arch)?,
        SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?,
    ]
    .into_iter()
    .map(|filter| Ok(filter.try_into()?))
    .collect()
}
