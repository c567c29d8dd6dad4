//! A secret typed at a terminal is not shown, and giving up leaves the terminal as it was.
//!
//! The test runs itself again as a child whose controlling terminal is one end of a pair.

use evanesce_element::SecretSource;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const CHILD: &str = "EVANESCE_TEST_TERMINAL_CHILD";

/// A terminal: the side of the keyboard and screen, and the side of the program.
fn terminal() -> (File, OwnedFd) {
    let (mut screen, mut program) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: both places are valid, and no name, settings or size are asked for.
    let opened =
        unsafe { libc::openpty(&mut screen, &mut program, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: openpty has just opened both, and nobody else owns them.
    unsafe { (File::from_raw_fd(screen), OwnedFd::from_raw_fd(program)) }
}

fn echoes(screen: &File) -> bool {
    let mut settings = std::mem::MaybeUninit::uninit();
    // SAFETY: the descriptor is a terminal and the place is large enough.
    let asked = unsafe { libc::tcgetattr(screen.as_raw_fd(), settings.as_mut_ptr()) };
    assert_eq!(asked, 0);
    // SAFETY: tcgetattr has filled it.
    unsafe { settings.assume_init() }.c_lflag & libc::ECHO != 0
}

/// Types `keys` once the prompt is there; what the child printed, and what the screen showed.
fn type_at(keys: &[u8]) -> (String, String) {
    let (mut screen, program) = terminal();
    let name = "what_is_typed_is_read_and_not_shown";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1");
    command
        .stdin(program.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: setsid and ioctl may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let child = command.spawn().unwrap();
    drop(command);
    let mut shown = Vec::new();
    while !shown.ends_with(b"PIN: ") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    screen.write_all(keys).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(echoes(&screen), "echo is on again");
    drop(program);
    // Reading fails, rather than ends, once nobody holds the other side.
    let _ = screen.read_to_end(&mut shown);
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&shown).into_owned(),
    )
}

#[test]
fn what_is_typed_is_read_and_not_shown() {
    if std::env::var_os(CHILD).is_some() {
        let source = SecretSource::Terminal {
            prompt: "\x1b]0;hostile\x07PIN: ".to_owned(),
        };
        match source.read() {
            Ok(secret) => println!("read {}", secret.expose() == b"correct horse"),
            Err(error) => println!("gave up: {error}"),
        }
        return;
    }
    let (printed, shown) = type_at(b"correct horse\n");
    assert!(printed.contains("read true"), "{printed}");
    assert!(
        !shown.contains("horse") && !shown.contains('\x1b'),
        "{shown:?}"
    );

    let (printed, shown) = type_at(b"correct\x03\n");
    assert!(
        printed.contains("gave up: ") && printed.contains("given up at the keyboard"),
        "{printed}"
    );
    assert!(!shown.contains("correct"), "{shown:?}");
}
