//! The roots' file: created once, replaced atomically, always mode 0600.

use super::roots::Roots;
use super::sealed::{self, Sealed};
use crate::ElementError;
use crate::source::read_private_file;
use evanesce_secret::SecretVec;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Reads the file in either form.
pub(super) fn load(path: &Path, passphrase: Option<&SecretVec>) -> Result<Roots, ElementError> {
    let content = read_private_file(path)?;
    let located = |error| match error {
        ElementError::Config(what) => ElementError::Config(format!("{}: {what}", path.display())),
        ElementError::Locked(what) => ElementError::Locked(format!("{}: {what}", path.display())),
        other => other,
    };
    let is_sealed = content.expose().starts_with(sealed::TITLE.as_bytes());
    match (is_sealed, passphrase) {
        (false, None) => Roots::parse(&content).map_err(located),
        (true, Some(passphrase)) => {
            let text = std::str::from_utf8(content.expose()).map_err(|_| {
                located(ElementError::Config(
                    "the sealed roots are not text".to_owned(),
                ))
            })?;
            let opened = Sealed::parse(text).and_then(|sealed| sealed.open(passphrase));
            let opened = opened.map_err(located)?;
            Roots::parse(&opened).map_err(located)
        }
        (true, None) => Err(located(ElementError::Locked(
            "sealed, and no passphrase is configured".to_owned(),
        ))),
        // Somebody may have put their own roots in the place of the sealed ones.
        (false, Some(_)) => Err(located(ElementError::Config(
            "a passphrase is configured, but the file is not sealed".to_owned(),
        ))),
    }
}

/// Writes a new file. One that is there is never touched.
pub(super) fn create(
    path: &Path,
    roots: &Roots,
    passphrase: Option<&SecretVec>,
) -> Result<(), ElementError> {
    write_new(path, roots, passphrase)?;
    sync_directory(path)
}

/// Replaces the file as a whole: a crash leaves the old one or the new one.
pub(super) fn replace(
    path: &Path,
    roots: &Roots,
    passphrase: Option<&SecretVec>,
) -> Result<(), ElementError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // What a crash left behind was never in force.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&beside, error));
        }
        _ => {}
    }
    write_new(&beside, roots, passphrase)?;
    std::fs::rename(&beside, path).map_err(|error| failed(path, error))?;
    sync_directory(path)
}

fn write_new(
    path: &Path,
    roots: &Roots,
    passphrase: Option<&SecretVec>,
) -> Result<(), ElementError> {
    let text = roots.to_text()?;
    let sealed = passphrase
        .map(|passphrase| sealed::seal(&text, passphrase))
        .transpose()?;
    let content = sealed
        .as_ref()
        .map_or(text.expose(), |sealed| sealed.as_bytes());
    evanesce_secret::write_new(path, content).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ElementError::Config(format!(
            "{} is there already, and holds roots; it is left alone",
            path.display()
        )),
        _ => failed(path, error),
    })
}

fn sync_directory(path: &Path) -> Result<(), ElementError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    File::open(&directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed(&directory, error))
}

fn failed(path: &Path, error: io::Error) -> ElementError {
    ElementError::Config(format!("{} cannot be written: {error}", path.display()))
}
