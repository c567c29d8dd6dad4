//! A trial of what shuts the process in: everything that must fail is tried, and what must work too.
//!
//! `evanesce-reconstructor trial` tells, on the machine where it runs, what that machine's kernel really refuses.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::harden::Hardened;

/// Landlock's versions that have rules for files, and for ports.
const FILES: i64 = 1;
const PORTS: i64 = 4;

/// Shuts this process in as the service is, tries, and says what came of it in one line of JSON.
pub fn trial() -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("the trial cannot begin: {e}");
    evanesce_secret::init();
    let mut hardened = Hardened::begin()?;
    let local = || TcpListener::bind("127.0.0.1:0").map_err(cannot);
    let (agent, stranger) = (local()?, local()?);
    let port = |listener: &TcpListener| listener.local_addr().map(|a| a.port()).map_err(cannot);
    let (known, unknown) = (port(&agent)?, port(&stranger)?);
    let folder = std::env::temp_dir().join(format!("evanesce-trial-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(cannot)?;
    let inside = folder.join("callers.toml");
    std::fs::write(&inside, "read me").map_err(cannot)?;
    let outside = Path::new("/etc/passwd");
    // A thread from before, which must be bound as well.
    let (go, told) = std::sync::mpsc::channel::<()>();
    let (tell, heard) = std::sync::mpsc::channel();
    let version = calls::landlock_version();
    hardened.files_and_ports(Some(&folder), &[known])?;
    let within = inside.clone();
    std::thread::spawn(move || {
        let _ = told.recv();
        let _ = tell.send(OpenOptions::new().write(true).open(within).is_err());
    });
    hardened.system_calls()?;

    // By Landlock, which older kernels lack: each is asked for from the version on that has it. All else is seccomp's.
    let landlock = [
        (
            "connect to a port that is no agent's",
            TcpStream::connect(("127.0.0.1", unknown)).is_err(),
        ),
        (
            "read a file outside its folder",
            File::open(outside).is_err(),
        ),
    ];
    let asked = [version >= PORTS, version >= FILES];
    let program = || Command::new("/bin/true");
    let _ = go.send(());
    let seccomp = [
        ("execute a program", exec_fails(program())),
        ("start a process", program().spawn().is_err()),
        ("divide itself", calls::fork_fails()),
        (
            "open a file to write",
            OpenOptions::new().write(true).open(&inside).is_err(),
        ),
        (
            "append to a file",
            OpenOptions::new().append(true).open(&inside).is_err(),
        ),
        ("create a file", File::create(folder.join("new")).is_err()),
        ("remove a file", std::fs::remove_file(&inside).is_err()),
        (
            "make a folder",
            std::fs::create_dir(folder.join("sub")).is_err(),
        ),
        ("make a local socket", UnixStream::pair().is_err()),
        (
            "make a datagram socket",
            UdpSocket::bind("127.0.0.1:0").is_err(),
        ),
        (
            "listen at another port",
            TcpListener::bind("127.0.0.1:0").is_err(),
        ),
        ("trace or be traced", calls::traced_fails()),
        ("read another process's memory", calls::peek_fails()),
        ("make memory executable", calls::executable_fails()),
        ("signal another process", calls::signal_fails()),
        ("become dumpable again", calls::dumpable_fails()),
        (
            "write to a file in an older thread",
            heard.recv() == Ok(true),
        ),
    ];
    let works = [
        (
            "read its own folder",
            std::fs::read(&inside).is_ok_and(|text| text == b"read me"),
        ),
        ("connect to an agent's port", echo(&agent, known)),
        ("make a thread", std::thread::spawn(|| 1).join().is_ok()),
        (
            "reach the crucible",
            evanesce_secret::on_crucible(|| 1) == 1,
        ),
    ];
    let failed = |tried: &[(&'static str, bool)]| -> Vec<&str> {
        tried
            .iter()
            .filter(|(_, right)| !right)
            .map(|(what, _)| *what)
            .collect()
    };
    let mut wrong = failed(&seccomp);
    wrong.extend(failed(&works));
    let unkept = failed(&landlock);
    let kept = landlock.iter().zip(asked);
    wrong.extend(
        kept.filter(|((_, right), asked)| *asked && !right)
            .map(|((what, _), _)| *what),
    );
    let right = |tried: &[(&'static str, bool)]| -> Vec<&str> {
        let kept = tried.iter().filter(|(_, right)| *right);
        kept.map(|(what, _)| *what).collect()
    };
    let refused = [right(&landlock), right(&seccomp)].concat();
    let line = serde_json::json!({
        "applied": hardened.applied,
        "missing": hardened.missing,
        "refused": refused,
        "works": right(&works),
        "unkept": unkept,
        "wrong": wrong,
        "folder": folder.display().to_string(),
    });
    println!("{line}");
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("not as it must be: {}", wrong.join("; "))),
    }
}

/// Returns only if the program could not take this one's place.
fn exec_fails(mut program: Command) -> bool {
    program.exec().raw_os_error() == Some(libc::EPERM)
}

fn echo(agent: &TcpListener, port: u16) -> bool {
    let connected = || -> std::io::Result<bool> {
        let mut one = TcpStream::connect(("127.0.0.1", port))?;
        let (mut other, _) = agent.accept()?;
        one.write_all(b"x")?;
        let mut heard = [0];
        other.read_exact(&mut heard)?;
        Ok(heard == *b"x")
    };
    connected().unwrap_or(false)
}

#[allow(
    unsafe_code,
    reason = "system calls that the standard library does not offer"
)]
mod calls {
    /// SAFETY of all: plain system calls with arguments that point to nothing, or to a local.
    fn refused(result: i64) -> bool {
        result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }

    /// 0 where the kernel has no Landlock.
    pub fn landlock_version() -> i64 {
        const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
        // SAFETY: see above; with this flag it takes no attributes.
        let version = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::null::<u8>(),
                0usize,
                LANDLOCK_CREATE_RULESET_VERSION,
            )
        };
        version.max(0)
    }

    pub fn traced_fails() -> bool {
        // SAFETY: see above.
        refused(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0) })
    }

    pub fn fork_fails() -> bool {
        // SAFETY: see above. A child that there should not be ends at once.
        unsafe {
            match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                0 => libc::_exit(0),
                result => refused(result),
            }
        }
    }

    pub fn peek_fails() -> bool {
        // SAFETY: see above.
        refused(unsafe { libc::syscall(libc::SYS_process_vm_readv, 1, 0, 0, 0, 0, 0) })
    }

    pub fn executable_fails() -> bool {
        let (access, how) = (
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: see above.
        refused(unsafe { libc::syscall(libc::SYS_mmap, 0, 4096, access, how, -1, 0) })
    }

    pub fn signal_fails() -> bool {
        // SAFETY: see above; signal 0 only asks whether it could be sent.
        refused(unsafe { libc::syscall(libc::SYS_kill, 1, 0) })
    }

    pub fn dumpable_fails() -> bool {
        // SAFETY: see above.
        refused(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
    }
}
