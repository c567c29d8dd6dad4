//! A PKCS#11 module: loaded and initialised once per process, with its own locking (CKF_OS_LOCKING_OK).
//!
//! Calls are made while [`Module::enter`]'s guard is held. Whoever invalidates handles (by closing all sessions of a
//! token, or by restarting the module) holds [`Module::alone`]'s guard instead, so that no thread is ever
//! caught inside a call with a handle whose number is about to be given to something else.

use super::Config;
use super::fault::{Fault, words};
use super::raw::Raw;
use crate::ElementError;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use std::ffi::CString;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Every module that this process has loaded. They stay loaded: another element may come.
static LOADED: Mutex<Vec<Arc<Module>>> = Mutex::new(Vec::new());

/// One loaded module.
pub(super) struct Module {
    path: PathBuf,
    init_args: Option<CString>,
    /// [`evanesce_secret::generation`] at loading: a forked child must not use its parent's module.
    process: u64,
    /// True if this process's C_Initialize was ours, so that C_Finalize is ours too.
    ours: bool,
    incarnation: RwLock<u64>,
    pub pkcs11: Pkcs11,
    pub raw: Raw,
}

impl Module {
    /// The module of a configuration, loaded and initialised if it was not yet.
    pub fn of(config: &Config) -> Result<Arc<Self>, ElementError> {
        // A bare name is left to the dynamic loader's search path.
        let path = std::fs::canonicalize(&config.module).unwrap_or_else(|_| config.module.clone());
        let init_args = config.init_args.clone().map(CString::new).transpose();
        let init_args = init_args.map_err(|_| {
            ElementError::Config("init_args must not contain a NUL character".to_owned())
        })?;
        let process = evanesce_secret::generation();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |module: &&Arc<Self>| module.path == path && module.process == process;
        if let Some(module) = loaded.iter().find(same) {
            return match module.init_args == init_args {
                true => Ok(module.clone()),
                false => Err(ElementError::Config(format!(
                    "{} is in use in this process with other init_args; a module can be started in one way only",
                    path.display()
                ))),
            };
        }
        let module = Arc::new(Self::load(path, init_args, process)?);
        loaded.push(module.clone());
        Ok(module)
    }

    fn load(path: PathBuf, init_args: Option<CString>, process: u64) -> Result<Self, ElementError> {
        let fail = |error: &Error| {
            ElementError::Config(format!(
                "the module {} does not start: {}",
                path.display(),
                words(error)
            ))
        };
        let pkcs11 = Pkcs11::new(&path).map_err(|error| fail(&error))?;
        let raw = Raw::load(&path)?;
        let ours = match initialize(&pkcs11, init_args.as_ref()) {
            Ok(()) => true,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(error) => return Err(fail(&error)),
        };
        Ok(Self {
            path,
            init_args,
            process,
            ours,
            incarnation: RwLock::new(0),
            pkcs11,
            raw,
        })
    }

    /// To make calls. The guard holds the number of times the module was restarted.
    pub fn enter(&self) -> Result<RwLockReadGuard<'_, u64>, Fault> {
        self.same_process()?;
        Ok(self
            .incarnation
            .read()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// To invalidate handles: nobody is inside a call, or holds a session, while the guard lives.
    pub fn alone(&self) -> Result<RwLockWriteGuard<'_, u64>, Fault> {
        self.same_process()?;
        Ok(self
            .incarnation
            .write()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn same_process(&self) -> Result<(), Fault> {
        if self.process == evanesce_secret::generation() {
            return Ok(());
        }
        // The locks of the module, and ours, may have been held by a thread that the child does not have.
        let why =
            "this process was forked after the PKCS#11 module was started; open the element anew";
        Err(ElementError::Unavailable(why.to_owned()).into())
    }

    /// C_Finalize and C_Initialize: for modules that find a returned token only so (SoftHSM does).
    ///
    /// Every session and handle of this module is invalid afterwards, those of other tokens too.
    pub fn restart(&self, incarnation: &mut u64) -> Result<(), Fault> {
        if !self.ours {
            let why =
                "the token is gone, and the module was started by another part of this process";
            return Err(ElementError::Unavailable(why.to_owned()).into());
        }
        *incarnation += 1;
        // It may have lost its state already; C_Initialize tells.
        let _ = self.pkcs11.clone().finalize();
        Ok(initialize(&self.pkcs11, self.init_args.as_ref())?)
    }

    /// The shared library, for error messages.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }
}

fn initialize(pkcs11: &Pkcs11, init_args: Option<&CString>) -> cryptoki::error::Result<()> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let Some(text) = init_args else {
        return pkcs11.initialize(CInitializeArgs::new(flags));
    };
    let pointer = NonNull::new(text.as_ptr().cast_mut().cast()).expect("a CString is somewhere");
    // SAFETY: modules that take a string here (NSS's family) read it during C_Initialize, and `text` outlives that.
    pkcs11.initialize(unsafe { CInitializeArgs::new_with_reserved(flags, pointer) })
}
