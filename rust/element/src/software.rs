//! The software element: roots in a file, used in this process's locked memory. A *development* element.
//!
//! It guarantees that roots are read straight into locked memory, used on crucible threads, and never
//! printed. It does not protect them from whoever can read the file (or, sealed, guess its passphrase), nor
//! can it forget: a file system may keep old blocks of a file that was replaced. It says so wherever it
//! shows itself. Roots and the HMAC are those of PROTOCOL §5.

mod hex;
mod roots;
mod sealed;
mod store;

use crate::{Description, Element, ElementError, SecretSource};
use evanesce_secret::{SecretVec, on_crucible};
use evanesce_token::hash;
use roots::Roots;
pub(crate) use roots::parse_epoch;
use std::path::{Path, PathBuf};

/// The epoch of the first root.
const FIRST_EPOCH: u64 = 1;

/// Whether a text has the form of roots sealed under a passphrase. It opens nothing, so it costs no Argon2id.
///
/// Errors: [`ElementError::Config`] naming the line that is wrong.
pub fn check_sealed(file: &str) -> Result<(), ElementError> {
    sealed::Sealed::parse(file).map(|_| ())
}

/// Roots held in locked memory, loaded from a file.
pub struct SoftwareElement {
    roots: Roots,
}

impl SoftwareElement {
    /// Creates `path` (mode 0600, never overwriting) with one new random root for epoch 1, sealed under
    /// the passphrase if one is given.
    pub fn create(path: &Path, passphrase: Option<&SecretSource>) -> Result<Self, ElementError> {
        let passphrase = read_passphrase(passphrase)?;
        let mut roots = Roots::empty();
        roots.push_random(FIRST_EPOCH)?;
        store::create(path, &roots, passphrase.as_ref())?;
        Ok(Self { roots })
    }

    /// Loads the roots in `path`. A passphrase must be given if, and only if, the file is sealed.
    ///
    /// Errors: [`ElementError::Locked`] for a missing or wrong passphrase, [`ElementError::Config`] for
    /// a file that others may read or that is not of the form.
    pub fn open(path: &Path, passphrase: Option<&SecretSource>) -> Result<Self, ElementError> {
        let passphrase = read_passphrase(passphrase)?;
        Ok(Self {
            roots: store::load(path, passphrase.as_ref())?,
        })
    }
}

/// A file of roots that is to be changed: its passphrase is asked for once, and held in locked memory until then.
pub struct RootsFile {
    path: PathBuf,
    passphrase: Option<SecretVec>,
}

impl RootsFile {
    /// Reads the passphrase, if there is one; the file itself is read by each of the following.
    pub fn new(path: &Path, passphrase: Option<&SecretSource>) -> Result<Self, ElementError> {
        Ok(Self {
            path: path.to_owned(),
            passphrase: read_passphrase(passphrase)?,
        })
    }

    /// Loads the roots as they are on disk now. Errors as [`SoftwareElement::open`].
    pub fn open(&self) -> Result<SoftwareElement, ElementError> {
        let roots = store::load(&self.path, self.passphrase.as_ref())?;
        Ok(SoftwareElement { roots })
    }

    /// Adds a new random root for `epoch`, which must be above all others.
    pub fn add(&self, epoch: u64) -> Result<(), ElementError> {
        let mut roots = self.open()?.roots;
        if roots.current() >= epoch {
            let what = format!("there is a root of epoch {} already", roots.current());
            return Err(ElementError::Config(what));
        }
        roots.push_random(epoch)?;
        self.replace(&roots)
    }

    /// Takes the root of `epoch` out. The last root cannot be taken out: delete the file.
    pub fn destroy(&self, epoch: u64) -> Result<(), ElementError> {
        let mut roots = self.open()?.roots;
        roots.remove(epoch)?;
        self.replace(&roots)
    }

    fn replace(&self, roots: &Roots) -> Result<(), ElementError> {
        store::replace(&self.path, roots, self.passphrase.as_ref())
    }
}

impl Element for SoftwareElement {
    fn description(&self) -> Description {
        Description {
            kind: "software",
            label: "software (development element)".to_owned(),
            development: true,
            weaknesses: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn epochs(&self) -> Vec<u64> {
        self.roots.epochs().collect()
    }

    fn current(&self) -> u64 {
        self.roots.current()
    }

    fn evaluate(&self, epoch: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError> {
        let Some(root) = self.roots.get(epoch) else {
            *y = [0; 32];
            return Err(ElementError::EpochNotHeld(epoch));
        };
        // No state is kept between calls: the two compressions it would save cost 0.2 µs, and a keyed
        // state is as good as the root.
        on_crucible(|| hash::hmac_sha256(root.expose(), input, y));
        Ok(())
    }
}

fn read_passphrase(source: Option<&SecretSource>) -> Result<Option<SecretVec>, ElementError> {
    let Some(source) = source else {
        return Ok(None);
    };
    let passphrase = source.read()?;
    if passphrase.is_empty() {
        return Err(ElementError::Locked("the passphrase is empty".to_owned()));
    }
    Ok(Some(passphrase))
}

#[cfg(test)]
mod tests;
