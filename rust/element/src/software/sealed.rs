//! Roots under a passphrase: Argon2id (RFC 9106) and AES-256-GCM.
//!
//! ```text
//! evanesce sealed roots v1
//! argon2id m=<KiB> t=<passes> p=<lanes> salt=<base64, 16 bytes>
//! <base64 of nonce ‖ ciphertext ‖ tag>
//! ```
//!
//! The plaintext is the text form of [`super::roots`]; the associated data are the first two lines, so that
//! parameters cannot be exchanged. Each sealing draws a new salt, hence a new key. Argon2's own working memory
//! (64 MiB) does not fit into locked memory: it is ordinary memory, wiped after use.

use crate::ElementError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_secret::{Secret, SecretVec, on_crucible};
use zeroize::Zeroize;

/// The first line, without its newline.
pub(super) const TITLE: &str = "evanesce sealed roots v1";
/// Argon2id's memory in KiB, passes and lanes: RFC 9106's second choice, with one lane since this
/// implementation runs on one thread anyway.
const COST: (u32, u32, u32) = (64 << 10, 3, 1);
/// What a file may ask for at most (1 GiB, 64 passes, 16 lanes): it is read before it is authenticated.
const MOST_COST: (u32, u32, u32) = (1 << 20, 64, 16);
/// And at least: a file under a laughable cost was not made here.
const LEAST_MEMORY_KIB: u32 = 19 << 10;
const SALT: usize = 16;
const TAG: usize = 16;

/// Seals `text` under `passphrase`. What comes out is no secret.
pub(super) fn seal(text: &SecretVec, passphrase: &SecretVec) -> Result<String, ElementError> {
    let mut salt = [0; SALT];
    evanesce_secret::random(&mut salt);
    let (memory, passes, lanes) = COST;
    let salt_text = BASE64.encode(salt);
    let head = format!("{TITLE}\nargon2id m={memory} t={passes} p={lanes} salt={salt_text}\n");
    let key = stretch(passphrase, &salt, COST)?;
    let mut nonce = [0; NONCE_LEN];
    evanesce_secret::random(&mut nonce);
    let mut buffer = SecretVec::from_slice(text.expose())?;
    let tag = on_crucible(|| {
        aead(&key)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&head),
                buffer.expose_mut(),
            )
            .map_err(|_| ElementError::Unavailable("AES-256-GCM failed".to_owned()))
    })?;
    let sealed = [&nonce, buffer.expose(), tag.as_ref()].concat();
    Ok(format!("{head}{}\n", BASE64.encode(sealed)))
}

/// A file's whole content, taken apart; nothing in it is authenticated yet.
pub(super) struct Sealed<'a> {
    /// The first two lines: what the ciphertext is bound to.
    head: &'a str,
    cost: (u32, u32, u32),
    salt: [u8; SALT],
    nonce: [u8; NONCE_LEN],
    /// With its tag.
    ciphertext: Vec<u8>,
}

impl<'a> Sealed<'a> {
    /// Takes a content apart that begins with [`TITLE`].
    ///
    /// Errors: [`ElementError::Config`] if it is not of the form.
    pub fn parse(file: &'a str) -> Result<Self, ElementError> {
        let form =
            |what: &str| ElementError::Config(format!("the sealed roots are damaged: {what}"));
        let mut lines = file.split_inclusive('\n');
        let (Some(title), Some(parameters), Some(body), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(form("there must be three lines"));
        };
        let (cost, salt) =
            parse_parameters(parameters).ok_or_else(|| form("line 2, the Argon2id parameters"))?;
        let sealed = BASE64
            .decode(body.trim_end_matches('\n'))
            .map_err(|_| form("line 3 is not base64"))?;
        if sealed.len() < NONCE_LEN + TAG {
            return Err(form("line 3 is too short"));
        }
        let (nonce, ciphertext) = sealed.split_first_chunk().ok_or_else(|| form("line 3"))?;
        Ok(Self {
            head: &file[..title.len() + parameters.len()],
            cost,
            salt,
            nonce: *nonce,
            ciphertext: ciphertext.to_vec(),
        })
    }

    /// Opens it.
    ///
    /// Errors: [`ElementError::Locked`] if the passphrase does not.
    pub fn open(&self, passphrase: &SecretVec) -> Result<SecretVec, ElementError> {
        let key = stretch(passphrase, &self.salt, self.cost)?;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let mut text = SecretVec::from_slice(&self.ciphertext)?;
        on_crucible(|| {
            let opened = aead(&key)?.open_in_place(nonce, Aad::from(self.head), text.expose_mut());
            opened.map(|_| ()).map_err(|_| {
                ElementError::Locked(
                    "the passphrase is wrong, or the sealed roots were altered".to_owned(),
                )
            })
        })?;
        text.truncate(self.ciphertext.len() - TAG);
        Ok(text)
    }
}

/// `argon2id m=… t=… p=… salt=…`, within bounds.
fn parse_parameters(line: &str) -> Option<((u32, u32, u32), [u8; SALT])> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    if words.next()? != "argon2id" {
        return None;
    }
    let mut number = |name: &str| words.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let cost = (number("m=")?, number("t=")?, number("p=")?);
    let salt = BASE64.decode(words.next()?.strip_prefix("salt=")?).ok()?;
    let fits = (LEAST_MEMORY_KIB..=MOST_COST.0).contains(&cost.0)
        && (1..=MOST_COST.1).contains(&cost.1)
        && (1..=MOST_COST.2).contains(&cost.2);
    (fits && words.next().is_none()).then_some((cost, salt.try_into().ok()?))
}

/// Argon2id of the passphrase, 32 bytes.
fn stretch(
    passphrase: &SecretVec,
    salt: &[u8; SALT],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<Secret<32>, ElementError> {
    let fail = |error: argon2::Error| ElementError::Config(format!("Argon2id: {error}"));
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(fail)?;
    let mut blocks = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let key = Secret::try_filled(|key: &mut [u8; 32]| {
        on_crucible(|| {
            argon2.hash_password_into_with_memory(passphrase.expose(), salt, key, &mut blocks)
        })
        .map_err(fail)
    });
    blocks.zeroize();
    key
}

fn aead(key: &Secret<32>) -> Result<LessSafeKey, ElementError> {
    UnboundKey::new(&AES_256_GCM, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| ElementError::Unavailable("AES-256-GCM failed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &str, passphrase: &SecretVec) -> Result<SecretVec, ElementError> {
        Sealed::parse(file)?.open(passphrase)
    }

    fn secret(text: &str) -> SecretVec {
        SecretVec::from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_right_passphrase_opens_and_nothing_else_does() {
        let sealed = seal(&secret("the text"), &secret("correct horse")).unwrap();
        assert!(sealed.starts_with("evanesce sealed roots v1\nargon2id m=65536 t=3 p=1 salt="));
        assert_eq!(
            open(&sealed, &secret("correct horse")).unwrap().expose(),
            b"the text"
        );
        let wrong = open(&sealed, &secret("correct mule"));
        assert!(matches!(wrong, Err(ElementError::Locked(_))));
        let cheaper = sealed.replace("t=3", "t=2");
        assert!(matches!(
            open(&cheaper, &secret("correct horse")),
            Err(ElementError::Locked(_))
        ));
    }

    #[test]
    fn parameters_out_of_bounds_are_refused_before_memory_is_taken() {
        let sealed = |parameters: &str| {
            format!(
                "evanesce sealed roots v1\n{parameters}\n{}\n",
                BASE64.encode([0; 60])
            )
        };
        for parameters in [
            "argon2id m=4294967295 t=3 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==",
            "argon2id m=8 t=1 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==",
            "argon2id m=65536 t=0 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==",
            "argon2id m=65536 t=100000 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==",
            "argon2id m=65536 t=3 p=1 salt=AAAA",
            "argon2i m=65536 t=3 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==",
            "argon2id m=65536 t=3 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA== x=1",
            "argon2id",
        ] {
            let result = open(&sealed(parameters), &secret("x"));
            assert!(
                matches!(result, Err(ElementError::Config(_))),
                "{parameters}"
            );
        }
    }
}
