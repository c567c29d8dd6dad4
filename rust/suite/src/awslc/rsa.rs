//! RSA private keys: parse, sign, decrypt. Blinding and CRT fault checks are AWS-LC's own.

use std::os::raw::{c_int, c_uint};
use std::ptr::null_mut;

use aws_lc_sys::{
    BIGNUM, BN_is_prime_fasttest_ex, BN_num_bits, EVP_PKEY, EVP_PKEY_CTX, EVP_PKEY_CTX_free,
    EVP_PKEY_CTX_new, EVP_PKEY_CTX_set_rsa_mgf1_md, EVP_PKEY_CTX_set_rsa_oaep_md,
    EVP_PKEY_CTX_set_rsa_padding, EVP_PKEY_decrypt, EVP_PKEY_decrypt_init, EVP_PKEY_free,
    EVP_PKEY_new, EVP_PKEY_set1_RSA, EVP_sha256, NID_sha256, OPENSSL_free, RSA,
    RSA_PKCS1_OAEP_PADDING, RSA_bits, RSA_free, RSA_get0_p, RSA_get0_q, RSA_private_key_from_bytes,
    RSA_public_key_to_bytes, RSA_sign, RSA_sign_pss_mgf1, RSA_size,
};
use evanesce_secret::SecretVec;

use super::{forget_errors, ok, owned};
use crate::Error;

owned!(Private, RSA, RSA_free);
owned!(Context, EVP_PKEY_CTX, EVP_PKEY_CTX_free);
owned!(Envelope, EVP_PKEY, EVP_PKEY_free);

/// Miller–Rabin rounds. A random composite passes with far less than 2⁻¹²⁸, the worst that can be
/// made with 2⁻⁴⁰: who imports a key made to deceive deceives nobody but himself, and each round of
/// a 4096-bit key costs milliseconds.
const ROUNDS: c_int = 20;

/// A private key with two primes, whose parts agree with one another.
pub(crate) struct RsaKey(Private);

impl RsaKey {
    /// From an RFC 8017 RSAPrivateKey. `None` where it is malformed, where n ≠ p·q, or d, dP, dQ or
    /// qInv do not fit: AWS-LC checks that on parsing.
    pub(crate) fn parse(pkcs1: &[u8]) -> Option<Self> {
        // SAFETY: bytes of their own length; the fresh key is ours.
        let raw = unsafe { RSA_private_key_from_bytes(pkcs1.as_ptr(), pkcs1.len()) };
        let key = Self(Private::own(raw, "RSA_private_key_from_bytes").ok()?);
        // AWS-LC lets keys through that Java stripped of their primes, and with them of CRT.
        (!key.p().is_null() && !key.q().is_null()).then_some(key)
    }

    pub(crate) fn bits(&self) -> usize {
        // SAFETY: a live key.
        unsafe { RSA_bits(self.0.as_ptr()) as usize }
    }

    fn size(&self) -> usize {
        // SAFETY: a live key.
        unsafe { RSA_size(self.0.as_ptr()) as usize }
    }

    fn p(&self) -> *const BIGNUM {
        // SAFETY: a live key.
        unsafe { RSA_get0_p(self.0.as_ptr()) }
    }

    fn q(&self) -> *const BIGNUM {
        // SAFETY: a live key.
        unsafe { RSA_get0_q(self.0.as_ptr()) }
    }

    /// Whether p and q are of half the size and prime. Takes a tenth of a second and more: for
    /// imports, not for every use.
    pub(crate) fn primes_are_prime(&self) -> bool {
        [self.p(), self.q()].into_iter().all(|prime| {
            // SAFETY: `parse` made sure that both are there; they live as long as the key.
            let (bits, verdict) = unsafe {
                (
                    BN_num_bits(prime) as usize,
                    BN_is_prime_fasttest_ex(prime, ROUNDS, null_mut(), 1, null_mut()),
                )
            };
            forget_errors();
            bits == self.bits().div_ceil(2) && verdict == 1
        })
    }

    /// RFC 8017 RSAPublicKey DER.
    pub(crate) fn public(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = null_mut();
        let mut len = 0;
        // SAFETY: on success `bytes` is an allocation of `len` bytes that is ours to free.
        unsafe {
            ok(
                RSA_public_key_to_bytes(&mut bytes, &mut len, self.0.as_ptr()),
                "RSA_public_key_to_bytes",
            )?;
            let public = std::slice::from_raw_parts(bytes, len).to_vec();
            OPENSSL_free(bytes.cast());
            Ok(public)
        }
    }

    /// RSASSA-PKCS1-v1_5 over a SHA-256 digest.
    pub(crate) fn sign_pkcs1(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.size()];
        let mut written: c_uint = 0;
        // SAFETY: RSA_size bytes out, as RSA_sign demands.
        let done = unsafe {
            RSA_sign(
                NID_sha256,
                digest.as_ptr(),
                digest.len(),
                signature.as_mut_ptr(),
                &mut written,
                self.0.as_ptr(),
            )
        };
        ok(done, "RSA_sign")?;
        signature.truncate(written as usize);
        Ok(signature)
    }

    /// RSASSA-PSS over a SHA-256 digest, MGF1 with SHA-256, a fresh salt of 32 bytes.
    pub(crate) fn sign_pss(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.size()];
        let mut written = 0;
        // SAFETY: `signature` has its own length; EVP_sha256 is static.
        let done = unsafe {
            RSA_sign_pss_mgf1(
                self.0.as_ptr(),
                &mut written,
                signature.as_mut_ptr(),
                signature.len(),
                digest.as_ptr(),
                digest.len(),
                EVP_sha256(),
                EVP_sha256(),
                32,
            )
        };
        ok(done, "RSA_sign_pss_mgf1")?;
        signature.truncate(written);
        Ok(signature)
    }

    /// RSAES-OAEP with SHA-256, MGF1 with SHA-256 and an empty label.
    pub(crate) fn decrypt_oaep(&self, ciphertext: &[u8]) -> Result<SecretVec, Error> {
        // SAFETY: fresh, ours.
        let envelope = Envelope::own(unsafe { EVP_PKEY_new() }, "EVP_PKEY_new")?;
        // SAFETY: two live keys; the envelope takes its own reference.
        ok(
            unsafe { EVP_PKEY_set1_RSA(envelope.as_ptr(), self.0.as_ptr()) },
            "EVP_PKEY_set1_RSA",
        )?;
        // SAFETY: a live key, no engine.
        let raw = unsafe { EVP_PKEY_CTX_new(envelope.as_ptr(), null_mut()) };
        let context = Context::own(raw, "EVP_PKEY_CTX_new")?;
        // SAFETY: a live context, set up in the order that AWS-LC documents; EVP_sha256 is static.
        unsafe {
            let context = context.as_ptr();
            ok(EVP_PKEY_decrypt_init(context), "EVP_PKEY_decrypt_init")?;
            ok(
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING),
                "EVP_PKEY_CTX_set_rsa_padding",
            )?;
            ok(
                EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()),
                "EVP_PKEY_CTX_set_rsa_oaep_md",
            )?;
            ok(
                EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()),
                "EVP_PKEY_CTX_set_rsa_mgf1_md",
            )?;
        }
        let mut plaintext = SecretVec::zeroed(self.size())?;
        let mut written = plaintext.len();
        // SAFETY: RSA_size bytes out; the ciphertext has its own length, which AWS-LC checks.
        let good = unsafe {
            EVP_PKEY_decrypt(
                context.as_ptr(),
                plaintext.expose_mut().as_mut_ptr(),
                &mut written,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        if good != 1 || written > plaintext.len() {
            forget_errors();
            return Err(Error::DecryptionFailed);
        }
        plaintext.truncate(written);
        Ok(plaintext)
    }
}
