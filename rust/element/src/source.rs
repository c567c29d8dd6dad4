//! Where PINs, passphrases and imported keys are read from: straight into locked memory.
//!
//! `read(2)` fills a [`SecretVec`] directly; no buffered reader, string or ordinary heap is in between. The
//! kernel's own copies (page cache, pipe and terminal buffers) are out of this crate's reach.

use crate::ElementError;
use crate::terminal::Silent;
use evanesce_secret::SecretVec;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most that is read, in bytes: enough for an RSA-16384 key, and small beside the arena.
const LARGEST: usize = 64 << 10;
/// The first buffer, in bytes. It doubles when it is full.
const FIRST_BUFFER: usize = 1 << 10;

/// A place to read one secret from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// An open file descriptor, read to its end; it is not closed.
    Descriptor(i32),
    /// The controlling terminal, with echo off.
    Terminal {
        /// What is written to the terminal before the secret is read.
        prompt: String,
    },
}

impl SecretSource {
    /// Reads the secret and strips one trailing newline (`\n` or `\r\n`), as editors and `echo` leave it.
    ///
    /// Errors: [`ElementError::Config`] if the place cannot be read, is open to others, or holds more
    /// than 64 KiB.
    pub fn read(&self) -> Result<SecretVec, ElementError> {
        let mut secret = self.read_verbatim()?;
        if secret.expose().last() == Some(&b'\n') {
            secret.truncate(secret.len() - 1);
            if secret.expose().last() == Some(&b'\r') {
                secret.truncate(secret.len() - 1);
            }
        }
        Ok(secret)
    }

    /// Reads the secret exactly as it is, for binary keys. Errors as [`read`](Self::read).
    pub fn read_verbatim(&self) -> Result<SecretVec, ElementError> {
        match self {
            Self::File(path) => read_private_file(path),
            Self::Descriptor(number) => fill(
                |buffer| read_descriptor(*number, buffer),
                &format!("descriptor {number}"),
            ),
            Self::Terminal { prompt } => {
                let mut terminal = Silent::open(prompt)?;
                fill(|buffer| terminal.read(buffer), "the terminal")
            }
        }
    }
}

/// Reads a whole file that nobody but its owner may read or write.
pub(crate) fn read_private_file(path: &Path) -> Result<SecretVec, ElementError> {
    let shown = path.display();
    let fail = |error: io::Error| ElementError::Config(format!("{shown} cannot be read: {error}"));
    let mut file = File::open(path).map_err(fail)?;
    // The open file is asked, not the path: what was checked is what is read.
    let mode = file.metadata().map_err(fail)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ElementError::Config(format!(
            "{shown} holds a secret but others may use it (mode {mode:03o}); run: chmod 600 {shown}"
        )));
    }
    fill(|buffer| file.read(buffer), &shown.to_string())
}

/// Reads until `read` says 0, growing within locked memory.
fn fill(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    place: &str,
) -> Result<SecretVec, ElementError> {
    let mut secret = SecretVec::zeroed(FIRST_BUFFER)?;
    let mut filled = 0;
    loop {
        if filled == secret.len() {
            if filled > LARGEST {
                return Err(ElementError::Config(format!(
                    "{place} holds more than {LARGEST} bytes, too many for a secret"
                )));
            }
            let mut larger = SecretVec::zeroed(2 * filled)?;
            larger.expose_mut()[..filled].copy_from_slice(secret.expose());
            secret = larger;
        }
        match read(&mut secret.expose_mut()[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(ElementError::Config(format!(
                    "{place} cannot be read: {error}"
                )));
            }
        }
    }
    secret.truncate(filled);
    Ok(secret)
}

fn read_descriptor(number: i32, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `buffer`; an invalid descriptor is reported as EBADF.
    let count = unsafe { libc::read(number, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    fn file(mode: u32, content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (dir, SecretSource::File(path))
    }

    #[test]
    fn one_trailing_newline_is_stripped_and_no_more() {
        for (content, expected) in [
            (&b"1234\n"[..], &b"1234"[..]),
            (b"1234\r\n", b"1234"),
            (b"1234\n\n", b"1234\n"),
            (b"1234", b"1234"),
            (b"", b""),
        ] {
            let (_dir, source) = file(0o600, content);
            assert_eq!(source.read().unwrap().expose(), expected);
            assert_eq!(source.read_verbatim().unwrap().expose(), content);
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        for mode in [0o640, 0o604, 0o620, 0o660, 0o610] {
            let (_dir, source) = file(mode, b"1234");
            let error = source.read().err().expect("refused").to_string();
            assert!(error.contains("chmod 600"), "{error}");
            assert!(!error.contains("1234"));
        }
        let (_dir, source) = file(0o400, b"1234");
        assert_eq!(source.read().unwrap().expose(), b"1234");
    }

    #[test]
    fn long_secrets_arrive_whole_and_endless_ones_are_refused() {
        let long: Vec<u8> = (0..40_000u32).map(|i| i as u8).collect();
        let (_dir, source) = file(0o600, &long);
        assert_eq!(source.read_verbatim().unwrap().expose(), &long[..]);
        let zeros = File::open("/dev/zero").unwrap();
        let endless = SecretSource::Descriptor(zeros.as_raw_fd()).read();
        assert!(endless.err().unwrap().to_string().contains("more than"));
        let (_dir, source) = file(0o600, &vec![1; 200_000]);
        assert!(
            source
                .read()
                .err()
                .unwrap()
                .to_string()
                .contains("more than")
        );
    }

    #[test]
    fn a_descriptor_is_read_to_its_end_and_left_open() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"correct horse\n").unwrap();
        drop(writer);
        let source = SecretSource::Descriptor(reader.as_raw_fd());
        assert_eq!(source.read().unwrap().expose(), b"correct horse");
        assert_eq!(source.read().unwrap().expose(), b"");
        let closed = SecretSource::Descriptor(-1).read();
        assert!(closed.err().unwrap().to_string().contains("descriptor -1"));
    }
}
