//! Keys of the user's own in NSS softokn, a second vendor: what it does not have is refused, the rest is the same.

mod common;

use common::{nss_config, verify};
use evanesce_element::pkcs11::{KeyError, Keys, Kind, Leaves};
use evanesce_secret::Secret;
use std::path::Path;

const MESSAGE: &[u8] = b"a payment of 900 EUR";

#[test]
fn it_does_what_it_says_and_nothing_is_put_in_the_place_of_the_rest() {
    let keys = Keys::open(&nss_config("nss-keys")).unwrap();
    let room = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Larger RSA keys are the same, and take it long.
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Rsa(3072 | 4096)))
        .collect();
    let mut done = Vec::new();
    for able in keys.capabilities(&kinds).unwrap() {
        let (kind, suite) = (able.kind, able.suite);
        let label = format!("{}-{suite}", kind.name());
        let made = keys.generate(kind, &label);
        if let Some(why) = able.refused {
            let refused = match made {
                Err(refused) => refused.to_string(),
                Ok(key) if suite.contains("oaep") => key
                    .decrypt(suite, b"", &vec![1; 256])
                    .err()
                    .unwrap()
                    .to_string(),
                Ok(key) => key.sign(suite, MESSAGE).unwrap_err().to_string(),
            };
            println!("{label}: {why}; {refused}");
            continue;
        }
        let key = made.unwrap();
        done.push(suite);
        match kind {
            Kind::Aes256 if suite == "aes-256-gcm" => {
                let sealed = key.encrypt(suite, b"a", MESSAGE).unwrap();
                assert_eq!(key.decrypt(suite, b"a", &sealed).unwrap().expose(), MESSAGE);
                assert!(matches!(
                    key.decrypt(suite, b"b", &sealed),
                    Err(KeyError::Decryption)
                ));
            }
            Kind::Aes256 | Kind::Hmac(_) => {
                let macs = key.macs(suite, &[MESSAGE, MESSAGE, b"another"]).unwrap();
                assert!(macs[0] == macs[1] && macs[0] != macs[2]);
            }
            _ if suite.contains("oaep") => {}
            _ => {
                let signature = key.sign(suite, MESSAGE).unwrap();
                verify(room, suite, key.public().unwrap(), MESSAGE, &signature);
            }
        }
    }
    println!("NSS softokn: {done:?}");
    for suite in [
        "ecdsa-p256",
        "ecdsa-p384",
        "rsa-pss-sha256",
        "aes-256-gcm",
        "hmac-sha256",
    ] {
        assert!(done.contains(&suite), "{done:?}");
    }

    // A backup, into the same token under another label. NSS says that only a trusted key wraps it, and wraps it under any.
    let kek = Secret::<32>::random().unwrap();
    for kind in [
        Kind::P256,
        Kind::P384,
        Kind::Rsa(2048),
        Kind::Aes256,
        Kind::Hmac(32),
    ] {
        let (label, back) = (
            format!("{}-backed-up", kind.name()),
            format!("{}-back", kind.name()),
        );
        let key = keys.generate_for_backup(kind, &label).unwrap();
        assert_eq!(keys.leaves(&label).unwrap(), Leaves::UnderAny);
        let wrapped = keys.back_up(&label, &kek, None).unwrap();
        let restored = keys.restore(&back, &wrapped, &kek, false).unwrap();
        assert_eq!((restored.kind(), restored.public()), (kind, key.public()));
        assert_eq!(keys.leaves(&back).unwrap(), Leaves::Never);
        let suite = kind.suites()[0];
        match kind {
            Kind::Aes256 => {
                let sealed = key.encrypt(suite, b"", MESSAGE).unwrap();
                let opened = restored.decrypt(suite, b"", &sealed).unwrap();
                assert_eq!(opened.expose(), MESSAGE);
            }
            Kind::Hmac(_) => assert_eq!(
                key.macs(suite, &[MESSAGE]).unwrap(),
                restored.macs(suite, &[MESSAGE]).unwrap()
            ),
            _ => {
                let signature = restored.sign(suite, MESSAGE).unwrap();
                verify(room, suite, key.public().unwrap(), MESSAGE, &signature);
            }
        }
    }
}
