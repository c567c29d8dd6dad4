//! Elements in NSS softokn: a second vendor, and one whose "sensitive, not extractable" keys get out.
//!
//! One process, one module, one database with an empty password.

mod common;

use common::nss_config;
use evanesce_element::pkcs11::{
    Config, Pkcs11Element, create_identity, dangerous_import_root, destroy_root,
};
use evanesce_element::{Element, ElementError};
use evanesce_secret::{Secret, on_crucible};

fn answer(element: &Pkcs11Element, epoch: u64) -> [u8; 32] {
    let mut y = [0; 32];
    on_crucible(|| element.evaluate(epoch, &[7; 32], &mut y)).unwrap();
    y
}

#[test]
fn its_ways_out_are_caught_and_named_and_only_used_when_accepted() {
    let config = nss_config("nss");
    let Err(error) = Pkcs11Element::create_root(&config, 1) else {
        panic!("must be refused")
    };
    let ElementError::Weak(ways) = &error else {
        panic!("{error}")
    };
    println!("NSS softokn: {ways:#?}");
    for verb in ["wrap: ", "copy: ", "derive: "] {
        assert!(
            ways.iter().any(|way| way.starts_with(verb)),
            "{verb} is missing in {ways:#?}"
        );
    }
    assert!(
        ways.iter().all(|way| !way.contains(',')),
        "each is named by itself: {ways:#?}"
    );
    assert!(error.to_string().contains("accept_weak_element"));
    let left = destroy_root(&config, 1);
    assert!(
        matches!(left, Err(ElementError::EpochNotHeld(1))),
        "a refused root does not stay"
    );

    let accepted = Config {
        accept_weak_element: true,
        ..config
    };
    let element = Pkcs11Element::create_root(&accepted, 1).unwrap();
    println!("{:#?}", element.description());
    assert_eq!(&element.description().weaknesses, ways);
    assert!(element.description().label.contains("NSS"));
    let first = answer(&element, 1);
    assert_eq!(answer(&Pkcs11Element::open(&accepted).unwrap(), 1), first);

    let root = Secret::filled(|root| *root = std::array::from_fn(|i| i as u8)).unwrap();
    let element = dangerous_import_root(&accepted, 2, &root).unwrap();
    assert_eq!(answer(&element, 1), first);
    // Python: hmac.new(bytes(range(32)), b"\x07" * 32, "sha256").hexdigest()
    let hex: String = answer(&element, 2)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "4739c539ce943412ce955fa24934a7f0333aeb68821c7f2f499d45bc930fafeb"
    );

    let identity = create_identity(&accepted, "agent-identity").unwrap();
    let signature = identity.sign(b"message").unwrap();
    let public = &identity.spki()[26..];
    aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        public,
    )
    .verify(b"message", &signature)
    .unwrap();

    let other_arguments = Config {
        init_args: None,
        ..accepted
    };
    let Err(ElementError::Config(why)) = Pkcs11Element::open(&other_arguments) else {
        panic!("must be refused")
    };
    assert!(why.contains("init_args"), "{why}");
}
