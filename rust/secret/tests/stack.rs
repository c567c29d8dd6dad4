//! How much stack the deepest users of the crucible need: what the size of a crucible stack is derived from.
use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_1024};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_87, ML_DSA_87_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use evanesce_secret::{on_crucible, report};

/// Twice the need: room for what other versions and compilers may take.
const MARGIN: usize = 2;

/// Cheapest first, so that each line printed is that job's own depth and not a deeper one's before it.
#[test]
fn the_deepest_algorithms_use_less_than_half_a_stack() {
    measure("RSA-4096 sign", || {
        let pair = RsaKeyPair::generate(KeySize::Rsa4096).unwrap();
        let random = aws_lc_rs::rand::SystemRandom::new();
        let mut signature = vec![0; 512];
        pair.sign(
            &aws_lc_rs::signature::RSA_PSS_SHA256,
            &random,
            b"message",
            &mut signature,
        )
        .unwrap();
    });
    measure("ML-KEM-1024 generate, decapsulate", || {
        let key = DecapsulationKey::generate(&ML_KEM_1024).unwrap();
        let (ciphertext, _) = key.encapsulation_key().unwrap().encapsulate().unwrap();
        key.decapsulate(ciphertext).unwrap();
    });
    measure("ML-DSA-87 generate, sign, verify", || {
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_87_SIGNING, &[7; 32]).unwrap();
        let mut signature = vec![0; ML_DSA_87_SIGNING.signature_len()];
        let n = pair.sign(b"message", &mut signature).unwrap();
        UnparsedPublicKey::new(&ML_DSA_87, pair.public_key().as_ref())
            .verify(b"message", &signature[..n])
            .unwrap();
    });
}

fn measure(what: &str, job: impl FnOnce() + Send) {
    on_crucible(job);
    let report = report();
    let kib = report.stack_deepest / 1024;
    println!("{what}: {kib} KiB of stack");
    assert!(
        report.stack_deepest * MARGIN <= report.stack_bytes,
        "{what} needs {kib} KiB"
    );
}
