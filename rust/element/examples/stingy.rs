//! A PKCS#11 module for tests: another module (`STINGY_MODULE`), which generates no key to wrap under, has no memory for
//! DES keys nor for copies, and does everything else as it does.

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_FUNCTION_LIST, CK_KEY_TYPE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_ULONG, CKA_KEY_TYPE, CKK_DES, CKM_AES_KEY_GEN, CKM_DES_KEY_GEN,
    CKM_DES3_KEY_GEN, CKR_DEVICE_MEMORY, CKR_GENERAL_ERROR, CKR_MECHANISM_INVALID, CKR_OK,
};
use std::sync::OnceLock;

static REAL: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
static LEFT: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();

/// C_GetFunctionList.
///
/// # Safety
/// As PKCS#11 has it: `list` is a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(real) = real() else {
        return CKR_GENERAL_ERROR;
    };
    let left = LEFT.get_or_init(|| CK_FUNCTION_LIST {
        C_GenerateKey: Some(generate_key),
        C_CreateObject: Some(create_object),
        C_CopyObject: Some(copy_object),
        ..*real
    });
    // SAFETY: the caller's promise. Nobody writes to a module's function list.
    unsafe { *list = std::ptr::from_ref(left).cast_mut() };
    CKR_OK
}

fn real() -> Option<&'static CK_FUNCTION_LIST> {
    if REAL.get().is_none() {
        let path = std::env::var_os("STINGY_MODULE")?;
        // SAFETY: the test names the module, and it stays loaded.
        let library = Box::leak(Box::new(unsafe { cryptoki_sys::Pkcs11::new(path) }.ok()?));
        let mut list = std::ptr::null_mut();
        let get = library.C_GetFunctionList.as_ref().ok()?;
        // SAFETY: `list` is a place for a pointer.
        if unsafe { get(&mut list) } != CKR_OK {
            return None;
        }
        // SAFETY: the function has just put a list there that lives as long as the library.
        let _ = REAL.set(unsafe { *list });
    }
    REAL.get()
}

unsafe extern "C" fn generate_key(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's promise.
    let kind = unsafe { (*mechanism).mechanism };
    if [CKM_AES_KEY_GEN, CKM_DES_KEY_GEN, CKM_DES3_KEY_GEN].contains(&kind) {
        return CKR_MECHANISM_INVALID;
    }
    match real().and_then(|real| real.C_GenerateKey) {
        // SAFETY: passed on as it came.
        Some(real) => unsafe { real(session, mechanism, template, count, key) },
        None => CKR_GENERAL_ERROR,
    }
}

unsafe extern "C" fn create_object(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's promise.
    let attributes = unsafe { std::slice::from_raw_parts(template, count as usize) };
    let des = attributes.iter().any(|attribute| {
        // SAFETY: a key type's value is one.
        attribute.type_ == CKA_KEY_TYPE
            && unsafe { attribute.pValue.cast::<CK_KEY_TYPE>().read_unaligned() } == CKK_DES
    });
    if des {
        return CKR_DEVICE_MEMORY;
    }
    match real().and_then(|real| real.C_CreateObject) {
        // SAFETY: passed on as it came.
        Some(real) => unsafe { real(session, template, count, object) },
        None => CKR_GENERAL_ERROR,
    }
}

unsafe extern "C" fn copy_object(
    _: CK_SESSION_HANDLE,
    _: CK_OBJECT_HANDLE,
    _: *mut CK_ATTRIBUTE,
    _: CK_ULONG,
    _: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    CKR_DEVICE_MEMORY
}
