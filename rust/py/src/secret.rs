//! A secret result on its way to its owner: locked memory with no way to become a Python object.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_secret::SecretVec;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::error::plain;

/// Decrypted data, a derived key or a shared secret. Belongs to the caller, who says where it goes.
#[pyclass(frozen, module = "evanesce._core")]
#[derive(Clone)]
pub struct Secret(Arc<Mutex<Option<SecretVec>>>);

impl Secret {
    pub fn new(value: SecretVec) -> Self {
        Self(Arc::new(Mutex::new(Some(value))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SecretVec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&SecretVec) -> PyResult<T>) -> PyResult<T> {
        match self.lock().as_ref() {
            Some(value) => f(value),
            None => Err(plain("bad-input", "this secret has been wiped")),
        }
    }
}

#[pymethods]
impl Secret {
    fn __len__(&self) -> usize {
        self.lock().as_ref().map_or(0, SecretVec::len)
    }

    fn __repr__(&self) -> String {
        format!("<Secret of {} bytes>", self.__len__())
    }

    fn write_into(&self, py: Python<'_>, buffer: PyBuffer<u8>) -> PyResult<usize> {
        self.with(|value| {
            if buffer.readonly() || !buffer.is_c_contiguous() {
                return Err(plain(
                    "bad-input",
                    "the buffer must be writable and contiguous, as a bytearray is",
                ));
            }
            let (has, needs) = (buffer.len_bytes(), value.len());
            if has < needs {
                return Err(plain(
                    "bad-input",
                    format!("the buffer has {has} bytes; {needs} are needed"),
                ));
            }
            // SAFETY: the exporter keeps `len_bytes` contiguous writable bytes at `buf_ptr` while the buffer is held, and the
            // interpreter lock, which `py` proves, keeps Python code away from them.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    value.expose().as_ptr(),
                    buffer.buf_ptr().cast::<u8>(),
                    needs,
                )
            };
            let _ = py;
            Ok(value.len())
        })
    }

    fn write_file(&self, path: &str) -> PyResult<()> {
        self.with(|value| {
            let cannot = |e: std::io::Error| plain("io", format!("cannot write {path}: {e}"));
            evanesce_secret::write_new(Path::new(path), value.expose()).map_err(cannot)
        })
    }

    fn write_descriptor(&self, descriptor: i32) -> PyResult<()> {
        self.with(|value| {
            if descriptor < 0 {
                return Err(plain(
                    "bad-input",
                    format!("{descriptor} is no file descriptor"),
                ));
            }
            // SAFETY: the descriptor is borrowed from the caller for one write; ManuallyDrop keeps it open.
            let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
            file.write_all(value.expose())
                .map_err(|e| plain("io", format!("cannot write the secret: {e}")))
        })
    }

    fn wipe(&self) {
        *self.lock() = None;
    }
}
