//! The controlling terminal with echo off, for as long as a [`Silent`] lives.
//!
//! While it lives an interrupt key arrives as a byte and becomes an error here, so that a user who gives
//! up is not left with a silent terminal. A SIGKILL in that time does leave one.

use crate::ElementError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// What Ctrl-C sends when signals are off.
const INTERRUPT: u8 = 3;

/// The terminal, silenced; its former settings come back on drop.
pub(crate) struct Silent {
    terminal: File,
    before: libc::termios,
    line_ended: bool,
}

impl Silent {
    /// Opens `/dev/tty`, writes `prompt` and turns echo off.
    pub fn open(prompt: &str) -> Result<Self, ElementError> {
        let fail = |error: io::Error| {
            ElementError::Config(format!(
                "there is no terminal to ask on ({error}); give the secret in a file or a descriptor"
            ))
        };
        let mut terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .map_err(fail)?;
        let before = settings(&terminal).map_err(fail)?;
        let mut silent = before;
        silent.c_lflag &= !(libc::ECHO | libc::ECHONL | libc::ISIG);
        silent.c_lflag |= libc::ICANON;
        apply(&terminal, &silent).map_err(fail)?;
        let shown: String = prompt.chars().filter(|c| !c.is_control()).collect();
        let mut this = Self {
            terminal: terminal.try_clone().map_err(fail)?,
            before,
            line_ended: false,
        };
        terminal
            .write_all(shown.as_bytes())
            .and_then(|()| this.terminal.flush())
            .map_err(fail)?;
        Ok(this)
    }

    /// Reads up to the end of one line, then says 0.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line_ended {
            return Ok(0);
        }
        let count = self.terminal.read(buffer)?;
        let line = &buffer[..count];
        if line.contains(&INTERRUPT) {
            return Err(io::Error::other("given up at the keyboard"));
        }
        self.line_ended = line.last() == Some(&b'\n');
        Ok(count)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing better can be done about a failure here than to leave the terminal as it is.
        let _ = apply(&self.terminal, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

fn settings(terminal: &File) -> io::Result<libc::termios> {
    let mut settings = std::mem::MaybeUninit::uninit();
    // SAFETY: the descriptor is open and the pointer is to memory of the right size.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: tcgetattr succeeded, so it has filled the whole structure.
    Ok(unsafe { settings.assume_init() })
}

fn apply(terminal: &File, settings: &libc::termios) -> io::Result<()> {
    // What was typed before the prompt is dropped (FLUSH): it was not meant as the answer.
    // SAFETY: the descriptor is open and `settings` is a whole structure.
    match unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
