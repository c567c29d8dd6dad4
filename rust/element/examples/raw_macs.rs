//! How many HMACs a PKCS#11 module makes in a second when nothing stands before it: C_SignInit and C_Sign, over and over,
//! on one session of one thread. It is what the bench measures its own MACs against.
//!
//! `raw_macs MODULE TOKEN PIN-FILE KEY SECONDS` prints the rate for messages of 64 bytes under CKM_SHA256_HMAC. For PINs of
//! the bench alone: this one is in ordinary memory.

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE,
    CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CKA_LABEL, CKF_SERIAL_SESSION, CKM_SHA256_HMAC, CKR_OK,
    CKU_USER,
};
use std::process::ExitCode;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const MESSAGE: usize = 64;
const MAC: usize = 32;
/// Between two looks at the clock.
const STRETCH: u32 = 100;
const WARMING: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match measured() {
        Ok(rate) => {
            println!("{rate:.1}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("raw_macs: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measured() -> Result<f64, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [module, token, pin, key, seconds] = &words[..] else {
        return Err("MODULE TOKEN PIN-FILE KEY SECONDS".to_owned());
    };
    let pin = std::fs::read_to_string(pin).map_err(|e| format!("{pin}: {e}"))?;
    let seconds: f64 = seconds.parse().map_err(|_| "SECONDS is a number")?;
    let seconds = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
    let module = Module::load(module)?;
    let session = module.log_in(module.slot(token)?, pin.trim_end())?;
    let key = module.key(session, key)?;
    module.macs(session, key, WARMING)?;
    module.macs(session, key, seconds)
}

/// A module that has been started. It is never unloaded: the process ends.
struct Module(CK_FUNCTION_LIST);

/// A function of the module's, called; the error is its name and what it returned.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),*)) => {{
        let function = $module.0.$name.ok_or(concat!(stringify!($name), " is missing"))?;
        // SAFETY: each caller below hands over pointers to what is its own, with the lengths that it has.
        let rv: CK_RV = unsafe { function($($argument),*) };
        if rv != CKR_OK {
            return Err(format!("{} returned {rv:#x}", stringify!($name)));
        }
    }};
}

impl Module {
    fn load(path: &str) -> Result<Self, String> {
        // SAFETY: whoever runs this names the module, and trusts it with the process.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(|e| e.to_string())?;
        let library = Box::leak(Box::new(library));
        let get = library.C_GetFunctionList.as_ref();
        let get = get.map_err(|e| format!("{path} is not a PKCS#11 module: {e}"))?;
        let mut list = null_mut();
        // SAFETY: `list` is a place for a pointer.
        if unsafe { get(&mut list) } != CKR_OK || list.is_null() {
            return Err(format!("{path} has no function list"));
        }
        // SAFETY: the function has just put a list there that lives as long as the library.
        let module = Module(unsafe { *list });
        call!(module, C_Initialize(null_mut()));
        Ok(module)
    }

    /// That of the token with this label.
    fn slot(&self, label: &str) -> Result<CK_SLOT_ID, String> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(1, null_mut(), &mut count));
        let mut slots = vec![0; count as usize];
        call!(self, C_GetSlotList(1, slots.as_mut_ptr(), &mut count));
        for slot in slots {
            let mut info = CK_TOKEN_INFO::default();
            call!(self, C_GetTokenInfo(slot, &mut info));
            if info.label.trim_ascii_end() == label.as_bytes() {
                return Ok(slot);
            }
        }
        Err(format!("there is no token {label:?}"))
    }

    fn log_in(&self, slot: CK_SLOT_ID, pin: &str) -> Result<CK_SESSION_HANDLE, String> {
        let mut session = 0;
        call!(
            self,
            C_OpenSession(slot, CKF_SERIAL_SESSION, null_mut(), None, &mut session)
        );
        let (pointer, length) = (pin.as_ptr().cast_mut(), pin.len() as CK_ULONG);
        call!(self, C_Login(session, CKU_USER, pointer, length));
        Ok(session)
    }

    /// The one key with this label.
    fn key(&self, session: CK_SESSION_HANDLE, label: &str) -> Result<CK_OBJECT_HANDLE, String> {
        let mut wanted = CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: label.as_ptr().cast_mut().cast(),
            ulValueLen: label.len() as CK_ULONG,
        };
        call!(self, C_FindObjectsInit(session, &mut wanted, 1));
        let (mut found, mut count) = ([0; 2], 0);
        call!(
            self,
            C_FindObjects(session, found.as_mut_ptr(), 2, &mut count)
        );
        call!(self, C_FindObjectsFinal(session));
        match count {
            1 => Ok(found[0]),
            _ => Err(format!("{count} objects are called {label:?}")),
        }
    }

    /// MACs a second.
    fn macs(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        time: Duration,
    ) -> Result<f64, String> {
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_SHA256_HMAC,
            pParameter: null_mut(),
            ulParameterLen: 0,
        };
        let (mut message, mut mac) = ([0u8; MESSAGE], [0u8; MAC]);
        let (mut done, begin) = (0u32, Instant::now());
        while begin.elapsed() < time {
            for _ in 0..STRETCH {
                let mut length = MAC as CK_ULONG;
                call!(self, C_SignInit(session, &mut mechanism, key));
                call!(
                    self,
                    C_Sign(
                        session,
                        message.as_mut_ptr(),
                        MESSAGE as CK_ULONG,
                        mac.as_mut_ptr(),
                        &mut length
                    )
                );
            }
            done += STRETCH;
        }
        Ok(f64::from(done) / begin.elapsed().as_secs_f64())
    }
}
