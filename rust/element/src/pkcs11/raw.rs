//! The PKCS#11 calls that `cryptoki` does not offer in the form needed here (PKCS#11 v3.1, section 5).
//!
//! Its forms put PINs, key values and HMACs into ordinary heap memory, or know only some mechanisms. Here
//! they are read from and written to buffers of the caller's. Everything else goes through `cryptoki`.

use super::fault::Fault;
use crate::ElementError;
use cryptoki::context::Function;
use cryptoki::error::{Error, Result, Rv, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_MECHANISM_INFO, CK_MECHANISM_TYPE,
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CK_USER_TYPE, CKA_VALUE, CKU_SO,
    CKU_USER,
};
use std::path::Path;
use std::ptr::null_mut;

/// A module's function list, with the library that it points into.
pub(super) struct Raw {
    functions: CK_FUNCTION_LIST,
    // Dropping it would unmap the functions.
    _library: cryptoki_sys::Pkcs11,
}

/// A function of the list, or the error that it is missing.
macro_rules! function {
    ($raw:expr, $name:ident) => {
        $raw.functions.$name.ok_or(Error::NullFunctionPointer)?
    };
}

impl Raw {
    /// Loads a library that is already loaded, or is about to be: the system counts, and maps it once.
    pub fn load(path: &Path) -> std::result::Result<Self, Fault> {
        // SAFETY: loading runs the library's initialisers; that this module is to be trusted with the process is
        // the operator's decision, taken by configuring it.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(Error::LibraryLoading)?;
        let Ok(get_list) = &library.C_GetFunctionList else {
            let what = format!("{} is not a PKCS#11 module", path.display());
            return Err(ElementError::Config(what).into());
        };
        let mut list = null_mut();
        // SAFETY: `list` is a valid place for the pointer.
        done(unsafe { get_list(&mut list) }, Function::GetFunctionList)?;
        if list.is_null() {
            return Err(Error::NullFunctionPointer.into());
        }
        // SAFETY: a successful C_GetFunctionList points to a list that lives as long as the library.
        let functions = unsafe { *list };
        Ok(Self {
            functions,
            _library: library,
        })
    }

    /// C_Login as the user; None asks the token's own PIN pad.
    pub fn login(&self, session: &Session, pin: Option<&[u8]>) -> Result<()> {
        self.login_as(session, CKU_USER, pin)
    }

    /// C_Login as the security officer.
    pub fn login_officer(&self, session: &Session, pin: &[u8]) -> Result<()> {
        self.login_as(session, CKU_SO, Some(pin))
    }

    fn login_as(&self, session: &Session, user: CK_USER_TYPE, pin: Option<&[u8]>) -> Result<()> {
        let call = function!(self, C_Login);
        let (pointer, length) = match pin {
            Some(pin) => (pin.as_ptr().cast_mut(), ulong(pin.len())),
            None => (null_mut(), 0),
        };
        // SAFETY: pointer and length describe `pin`, which C_Login only reads.
        done(
            unsafe { call(session.handle(), user, pointer, length) },
            Function::Login,
        )
    }

    /// C_CloseAllSessions of one slot.
    pub fn close_all(&self, slot: Slot) -> Result<()> {
        let call = function!(self, C_CloseAllSessions);
        // SAFETY: takes no pointers; callers see to it that no session of the slot is in use.
        done(unsafe { call(slot.into()) }, Function::CloseAllSessions)
    }

    /// C_SignInit and C_Sign with a mechanism without parameters, into `out`, which must be filled exactly.
    pub fn sign(
        &self,
        session: &Session,
        mechanism: CK_MECHANISM_TYPE,
        key: ObjectHandle,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        self.sign_under(
            session,
            CK_MECHANISM {
                mechanism,
                pParameter: null_mut(),
                ulParameterLen: 0,
            },
            key,
            data,
            out,
        )
    }

    /// As [`sign`](Self::sign), with any of `cryptoki`'s mechanisms.
    pub fn sign_with(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        self.sign_under(session, CK_MECHANISM::from(mechanism), key, data, out)
    }

    /// The mechanism's parameter, if it has one, lives in the caller's `Mechanism`.
    fn sign_under(
        &self,
        session: &Session,
        mechanism: CK_MECHANISM,
        key: ObjectHandle,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let calls = (function!(self, C_SignInit), function!(self, C_Sign));
        let functions = (Function::SignInit, Function::Sign);
        match one_part(session, mechanism, key, data, out, calls, functions)? == out.len() {
            true => Ok(()),
            false => Err(Error::Pkcs11(RvError::SignatureLenRange, Function::Sign)),
        }
    }

    /// C_EncryptInit and C_Encrypt: how many bytes were written to `out`.
    pub fn encrypt_with(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let calls = (function!(self, C_EncryptInit), function!(self, C_Encrypt));
        let functions = (Function::EncryptInit, Function::Encrypt);
        let mechanism = CK_MECHANISM::from(mechanism);
        one_part(session, mechanism, key, data, out, calls, functions)
    }

    /// C_DecryptInit and C_Decrypt: how many bytes were written to `out`.
    pub fn decrypt_with(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let calls = (function!(self, C_DecryptInit), function!(self, C_Decrypt));
        let functions = (Function::DecryptInit, Function::Decrypt);
        let mechanism = CK_MECHANISM::from(mechanism);
        one_part(session, mechanism, key, data, out, calls, functions)
    }

    /// C_CreateObject from a template and a CKA_VALUE that stays where it is.
    pub fn create_with_value(
        &self,
        session: &Session,
        template: &[Attribute],
        value: &[u8],
    ) -> Result<ObjectHandle> {
        let call = function!(self, C_CreateObject);
        let mut template: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let pointer = value.as_ptr().cast_mut().cast();
        template.push(CK_ATTRIBUTE {
            type_: CKA_VALUE,
            pValue: pointer,
            ulValueLen: ulong(value.len()),
        });
        let mut made = 0;
        // SAFETY: every attribute points into the caller's template or `value`; both are only read.
        let rv = unsafe {
            call(
                session.handle(),
                template.as_mut_ptr(),
                ulong(template.len()),
                &mut made,
            )
        };
        done(rv, Function::CreateObject)?;
        // SAFETY: the module has just given this handle out.
        Ok(unsafe { ObjectHandle::new_from_raw(made) })
    }

    /// C_GetAttributeValue of CKA_VALUE: how many bytes of it were written to `out`.
    pub fn read_value(
        &self,
        session: &Session,
        key: ObjectHandle,
        out: &mut [u8],
    ) -> Result<usize> {
        let call = function!(self, C_GetAttributeValue);
        let pointer = out.as_mut_ptr().cast();
        let mut wanted = CK_ATTRIBUTE {
            type_: CKA_VALUE,
            pValue: pointer,
            ulValueLen: ulong(out.len()),
        };
        // SAFETY: the one attribute describes `out`.
        let rv = unsafe { call(session.handle(), key.handle(), &mut wanted, 1) };
        done(rv, Function::GetAttributeValue)?;
        Ok((wanted.ulValueLen as usize).min(out.len()))
    }

    /// C_WrapKey: how many bytes were written to `out`.
    ///
    /// # Safety
    /// `mechanism`'s parameter must be what the mechanism asks for.
    pub unsafe fn wrap(
        &self,
        session: &Session,
        mut mechanism: CK_MECHANISM,
        wrapping: ObjectHandle,
        key: ObjectHandle,
        out: &mut [u8],
    ) -> Result<usize> {
        let call = function!(self, C_WrapKey);
        let mut length = ulong(out.len());
        let (session, wrapping, key) = (session.handle(), wrapping.handle(), key.handle());
        // SAFETY: the mechanism is the caller's promise; pointer and length describe `out`.
        let rv = unsafe {
            call(
                session,
                &mut mechanism,
                wrapping,
                key,
                out.as_mut_ptr(),
                &mut length,
            )
        };
        done(rv, Function::WrapKey)?;
        Ok((length as usize).min(out.len()))
    }

    /// C_UnwrapKey.
    ///
    /// # Safety
    /// `mechanism`'s parameter must be what the mechanism asks for.
    pub unsafe fn unwrap(
        &self,
        session: &Session,
        mut mechanism: CK_MECHANISM,
        unwrapping: ObjectHandle,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle> {
        let call = function!(self, C_UnwrapKey);
        let mut template: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let mut made = 0;
        // SAFETY: the mechanism is the caller's promise; attributes and `wrapped` are the caller's, only read.
        let rv = unsafe {
            call(
                session.handle(),
                &mut mechanism,
                unwrapping.handle(),
                wrapped.as_ptr().cast_mut(),
                ulong(wrapped.len()),
                template.as_mut_ptr(),
                ulong(template.len()),
                &mut made,
            )
        };
        done(rv, Function::UnwrapKey)?;
        // SAFETY: the module has just given this handle out.
        Ok(unsafe { ObjectHandle::new_from_raw(made) })
    }

    /// C_DeriveKey.
    ///
    /// # Safety
    /// `mechanism`'s parameter must be what the mechanism asks for.
    pub unsafe fn derive(
        &self,
        session: &Session,
        mut mechanism: CK_MECHANISM,
        base: ObjectHandle,
        template: &[Attribute],
    ) -> Result<ObjectHandle> {
        let call = function!(self, C_DeriveKey);
        let mut template: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let mut made = 0;
        let (session, base, count) = (session.handle(), base.handle(), ulong(template.len()));
        // SAFETY: the mechanism is the caller's promise; attributes point into the caller's template, only read.
        let rv = unsafe {
            call(
                session,
                &mut mechanism,
                base,
                template.as_mut_ptr(),
                count,
                &mut made,
            )
        };
        done(rv, Function::DeriveKey)?;
        // SAFETY: the module has just given this handle out.
        Ok(unsafe { ObjectHandle::new_from_raw(made) })
    }

    /// C_GetMechanismList, with the mechanisms that `cryptoki` does not know.
    pub fn mechanisms(&self, slot: Slot) -> Result<Vec<CK_MECHANISM_TYPE>> {
        let call = function!(self, C_GetMechanismList);
        let mut count = 0;
        // SAFETY: without a buffer only the count is written.
        done(
            unsafe { call(slot.into(), null_mut(), &mut count) },
            Function::GetMechanismList,
        )?;
        let mut list = vec![0; count as usize];
        // SAFETY: the buffer has room for `count` entries.
        done(
            unsafe { call(slot.into(), list.as_mut_ptr(), &mut count) },
            Function::GetMechanismList,
        )?;
        list.truncate(count as usize);
        Ok(list)
    }

    /// C_GetMechanismInfo's flags.
    pub fn mechanism_flags(&self, slot: Slot, mechanism: CK_MECHANISM_TYPE) -> Result<CK_ULONG> {
        let call = function!(self, C_GetMechanismInfo);
        let mut info = CK_MECHANISM_INFO::default();
        // SAFETY: `info` is a valid place for the answer.
        done(
            unsafe { call(slot.into(), mechanism, &mut info) },
            Function::GetMechanismInfo,
        )?;
        Ok(info.flags)
    }
}

/// C_SignInit, C_EncryptInit or C_DecryptInit.
type Begin = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
/// C_Sign, C_Encrypt or C_Decrypt.
type Finish = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    *mut CK_ULONG,
) -> CK_RV;

/// Both calls of an operation in one part: how many bytes were written to `out`.
fn one_part(
    session: &Session,
    mut mechanism: CK_MECHANISM,
    key: ObjectHandle,
    data: &[u8],
    out: &mut [u8],
    (begin, finish): (Begin, Finish),
    functions: (Function, Function),
) -> Result<usize> {
    // SAFETY: the mechanism's parameter lives in the `Mechanism` of the caller's caller, who borrows it all the while.
    done(
        unsafe { begin(session.handle(), &mut mechanism, key.handle()) },
        functions.0,
    )?;
    let mut length = ulong(out.len());
    // SAFETY: the first pair describes `data`, which is only read; the second describes `out`.
    let rv = unsafe {
        finish(
            session.handle(),
            data.as_ptr().cast_mut(),
            ulong(data.len()),
            out.as_mut_ptr(),
            &mut length,
        )
    };
    done(rv, functions.1)?;
    Ok((length as usize).min(out.len()))
}

fn done(rv: CK_RV, function: Function) -> Result<()> {
    Rv::from(rv).into_result(function)
}

fn ulong(length: usize) -> CK_ULONG {
    length as CK_ULONG
}
