//! The software element: roots in a file. A development element.

use crate::{Description, Element, ElementError, SecretSource};
use std::path::Path;

/// Roots held in this process's locked memory, loaded from a file.
pub struct SoftwareElement {}

impl SoftwareElement {
    /// Creates `path` with one new random root, epoch 1; sealed if a passphrase is given. Refuses to overwrite.
    pub fn create(_path: &Path, _passphrase: Option<&SecretSource>) -> Result<Self, ElementError> {
        todo!()
    }

    /// Loads the roots in `path`.
    pub fn open(_path: &Path, _passphrase: Option<&SecretSource>) -> Result<Self, ElementError> {
        todo!()
    }

    /// Adds a new random root for the next epoch to `path` and returns the element with it.
    pub fn add_epoch(
        _path: &Path,
        _passphrase: Option<&SecretSource>,
    ) -> Result<Self, ElementError> {
        todo!()
    }

    /// Takes the root of `epoch` out of `path` for good. The last root cannot be taken out.
    pub fn destroy_epoch(
        _path: &Path,
        _passphrase: Option<&SecretSource>,
        _epoch: u64,
    ) -> Result<Self, ElementError> {
        todo!()
    }
}

impl Element for SoftwareElement {
    fn description(&self) -> Description {
        todo!()
    }
    fn epochs(&self) -> Vec<u64> {
        todo!()
    }
    fn current(&self) -> u64 {
        todo!()
    }
    fn evaluate(
        &self,
        _epoch: u64,
        _input: &[u8; 32],
        _y: &mut [u8; 32],
    ) -> Result<(), ElementError> {
        todo!()
    }
}
