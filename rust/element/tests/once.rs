//! A key that is in a token for one operation is gone after it, whatever came of it.
//!
//! Looked for with sessions of the test's own: the module shows them every object of this process.

mod common;

use common::{softhsm, softhsm_config, softhsm_room};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{AttributeType, ObjectHandle};
use evanesce_element::pkcs11::{KeyError, Keys, Kind, Use, Used, Wrapped};
use evanesce_secret::{Secret, on_crucible};

const MESSAGE: &[u8] = b"a payment of 900 EUR";

#[test]
fn a_key_that_comes_for_one_operation_is_in_no_session_after_it() {
    let room = softhsm_room("softhsm-once", &["once"]);
    let keys = Keys::open(&softhsm_config(room, "once")).unwrap();
    let pkcs11 = Pkcs11::new(softhsm()).unwrap();
    // Started by the keys above already.
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap_err();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    // What was destroyed can still be listed once; it has no attributes any more.
    let there = |handle: &ObjectHandle| {
        let class = session.get_attributes(*handle, &[AttributeType::Class]);
        class.is_ok_and(|class| !class.is_empty())
    };
    let objects = || {
        session
            .find_objects(&[])
            .unwrap()
            .iter()
            .filter(|handle| there(handle))
            .count()
    };
    assert_eq!(objects(), 0);
    keys.generate(Kind::Aes256, "lasting").unwrap();
    assert_eq!(objects(), 1, "it is the token that is looked into");

    let kek = Secret::<32>::random().unwrap();
    let wrapped = |kind, key: &[u8]| on_crucible(|| Wrapped::dangerous(kind, None, key, &kek));
    let hmac = wrapped(Kind::Hmac(32), &[7; 32]).unwrap();
    let done = keys.once(&hmac, &kek, "hmac-sha256", Use::Mac(MESSAGE));
    assert!(matches!(done, Ok(Used::Public(mac)) if mac.len() == 32));
    // Of the first attempts at a template; these objects were never given a value.
    let before = objects();
    for _ in 0..3 {
        let again = keys.once(&hmac, &kek, "hmac-sha256", Use::Mac(MESSAGE));
        assert!(again.is_ok());
    }
    assert_eq!(objects(), before);
    // A suite of another kind, a ciphertext of another key, what is not wrapped at all.
    let refused = keys.once(&hmac, &kek, "aes-cmac", Use::Mac(MESSAGE));
    assert!(matches!(refused, Err(KeyError::Unsupported(_))));
    assert_eq!(objects(), before);
    let aes = wrapped(Kind::Aes256, &[8; 32]).unwrap();
    keys.once(&aes, &kek, "aes-cmac", Use::Mac(MESSAGE))
        .unwrap();
    let before = objects();
    let sealed = Use::Decrypt {
        aad: b"",
        ciphertext: &[9; 60],
    };
    let refused = keys.once(&aes, &kek, "aes-256-gcm", sealed);
    assert!(matches!(refused, Err(KeyError::Decryption)));
    let mut broken = aes.clone();
    broken.bytes[0] ^= 1;
    let refused = keys.once(&broken, &kek, "aes-cmac", Use::Mac(MESSAGE));
    assert!(matches!(refused, Err(KeyError::Unsupported(_))));
    assert_eq!(objects(), before);
}
