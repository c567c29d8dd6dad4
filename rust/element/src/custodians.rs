//! A backup's key (KEK), split among custodians: each one's component sealed to that one's own key.
//!
//! The KEK is made in the crucible, split by a quorum that no single custodian satisfies, and forgotten; a component leaves
//! locked memory only sealed (HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to its custodian. For an assembly
//! the custodians' key files are read where it takes place; the KEK exists until it is dropped. Check values are those of PKCS#11
//! and of payment HSMs: the first 3 bytes of a block of zeroes, encrypted.

use crate::ElementError;
use crate::source::read_private_file;
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_secret::{Secret, SecretVec, ct_eq, on_crucible};
use evanesce_token::hash::th;
use evanesce_token::{Gate, sharing};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};
use std::collections::BTreeMap;
use std::path::Path;

const INFO: &[u8] = b"evanesce/v1/custodian";
const PEM_BEGIN: &[u8] = b"-----BEGIN PRIVATE KEY-----\n";
const PEM_END: &[u8] = b"\n-----END PRIVATE KEY-----\n";
/// OneAsymmetricKey of X25519 before its 32 bytes (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
];
/// SubjectPublicKeyInfo of X25519 before its 32 bytes (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
];

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// 3 bytes by which a key is told from another, and nothing of it.
pub type CheckValue = [u8; 3];

/// One custodian's part, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Of whom, as the quorum says.
    pub name: String,
    /// RFC 9180 encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
    /// Of the component itself, for the custodian to compare.
    pub check: CheckValue,
}

/// A KEK that is split: everything but the custodians' own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Whose components are enough, such as `2 of (alice, bob, carol)`.
    pub quorum: String,
    /// In the quorum's order.
    pub components: Vec<Component>,
    /// Of the KEK.
    pub check: CheckValue,
}

/// What went wrong with custodians, their keys or their components. Never contains a secret.
#[derive(Debug)]
pub enum CustodianError {
    /// What was asked cannot be right; says why.
    Input(String),
    /// The custodians that are here are not enough; who else could come.
    TooFew(String),
    /// A component or the KEK is not the one that was made; whose fault it may be.
    Wrong(String),
    /// A file or the memory.
    Element(ElementError),
}

/// Makes a custodian's key in a new file (PKCS#8 PEM, 0600); SubjectPublicKeyInfo of it.
pub fn create(path: &Path) -> Result<Vec<u8>, CustodianError> {
    let (pem, public) = on_crucible(|| -> Result<_, CustodianError> {
        let mut seed = [0u8; 32];
        evanesce_secret::random(&mut seed);
        let (private, public) = X25519HkdfSha256::derive_keypair(&seed);
        let mut der = [0u8; 48];
        der[..16].copy_from_slice(&PKCS8);
        private.write_exact(&mut der[16..]);
        let mut pem = SecretVec::zeroed(PEM_BEGIN.len() + 64 + PEM_END.len())?;
        let (begin, rest) = pem.expose_mut().split_at_mut(PEM_BEGIN.len());
        begin.copy_from_slice(PEM_BEGIN);
        rest[64..].copy_from_slice(PEM_END);
        BASE64
            .encode_slice(der, &mut rest[..64])
            .expect("48 bytes are 64 digits");
        Ok((pem, public.to_bytes()))
    })?;
    let cannot = |e: std::io::Error| {
        CustodianError::Element(ElementError::Config(format!(
            "{} cannot be written: {e}",
            path.display()
        )))
    };
    evanesce_secret::write_new(path, pem.expose()).map_err(cannot)?;
    Ok([&SPKI[..], &public].concat())
}

/// Makes a KEK and splits it: `custodians` are their names and SubjectPublicKeyInfos, exactly those of `quorum`; `context` is what
/// the KEK is for, without which no component opens.
///
/// # Errors
/// [`CustodianError::Input`], also for a quorum that one custodian alone satisfies.
pub fn split(
    quorum: &str,
    custodians: &BTreeMap<String, Vec<u8>>,
    context: &[u8],
) -> Result<(Secret<32>, Split), CustodianError> {
    let gate = dual_control(quorum)?;
    let seats = gate.seats();
    let keys = keys_of(&gate, custodians)?;
    let kek = Secret::<32>::random()?;
    let quorum = gate.to_string();
    let components = on_crucible(|| -> Result<_, CustodianError> {
        let shares = sharing::split(kek.expose(), &gate, &mut |out| evanesce_secret::random(out))?;
        let sealing = shares.iter().zip(&seats).zip(&keys);
        sealing
            .map(|((share, name), key)| {
                Ok(Component {
                    name: (*name).to_owned(),
                    sealed: seal(share, key, &bound(context, &quorum, name))?,
                    check: check_value(share)?,
                })
            })
            .collect::<Result<Vec<_>, CustodianError>>()
    })?;
    let check = on_crucible(|| check_value(&kek))?;
    Ok((
        kek,
        Split {
            quorum,
            components,
            check,
        },
    ))
}

/// Makes a KEK that is put together in a token alone ([`super::pkcs11::Keys::restore_joint`]), of a component for each custodian: all of
/// them are needed, and it is SHA-256 of what they have, one after the other in the order of their names.
///
/// # Errors
/// [`CustodianError::Input`], also for fewer than two.
pub fn split_joint(
    custodians: &BTreeMap<String, Vec<u8>>,
    context: &[u8],
) -> Result<(Secret<32>, Split), CustodianError> {
    let names: Vec<_> = custodians.keys().map(String::as_str).collect();
    let gate = dual_control(&format!("{} of ({})", names.len(), names.join(", ")))?;
    let keys = keys_of(&gate, custodians)?;
    let quorum = gate.to_string();
    let mut kek = Secret::<32>::zeroed()?;
    let (components, check) = on_crucible(|| -> Result<_, CustodianError> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut components = Vec::new();
        for (name, key) in names.iter().zip(&keys) {
            let component = Secret::<32>::random()?;
            hash.update(component.expose());
            components.push(Component {
                name: (*name).to_owned(),
                sealed: seal(&component, key, &bound_joint(context, &quorum, name))?,
                check: check_value(&component)?,
            });
        }
        kek.expose_mut().copy_from_slice(hash.finish().as_ref());
        Ok((components, check_value(&kek)?))
    })?;
    let split = Split {
        quorum,
        components,
        check,
    };
    Ok((kek, split))
}

/// A custodian's component of a joint KEK, opened with its key file and sealed to a token's transport key, for the same context
/// ([`crate::pkcs11::seal`]).
///
/// # Errors
/// [`CustodianError::Wrong`] where the key file does not open the component; [`CustodianError::Input`] for a name that is no
/// custodian's and for what is no transport key.
pub fn hand_over(
    split: &Split,
    name: &str,
    key_file: &Path,
    context: &[u8],
    transport: &[u8],
) -> Result<Vec<u8>, CustodianError> {
    let component = split.components.iter().find(|kept| kept.name == name);
    let component = component.ok_or_else(|| {
        CustodianError::Input(format!(
            "{name:?} is no custodian of this backup: it has {}",
            split.quorum
        ))
    })?;
    let pem = read_private_file(key_file)?;
    let aad = bound_joint(context, &split.quorum, name);
    on_crucible(|| {
        let opened = open(component, &pem, &aad)?.ok_or_else(|| not_his(key_file, name))?;
        crate::pkcs11::seal(opened.expose(), context, transport)
            .map_err(|why| CustodianError::Input(why.to_string()))
    })
}

/// The KEK again, from the key files of enough custodians.
///
/// # Errors
/// [`CustodianError::TooFew`]; [`CustodianError::Wrong`] where a key file does not open its component, or the KEK is not the one
/// whose check value is given; [`CustodianError::Element`] for a file that cannot be read or that others may read.
pub fn assemble(
    split: &Split,
    key_files: &BTreeMap<String, std::path::PathBuf>,
    context: &[u8],
) -> Result<Secret<32>, CustodianError> {
    let gate = dual_control(&split.quorum)?;
    let seats = gate.seats();
    let same = seats.len() == split.components.len()
        && seats
            .iter()
            .zip(&split.components)
            .all(|(seat, kept)| *seat == kept.name);
    if !same {
        return Err(CustodianError::Wrong(
            "the components are not those of the quorum".to_owned(),
        ));
    }
    if let Some(stranger) = key_files
        .keys()
        .find(|name| !seats.contains(&name.as_str()))
    {
        return Err(CustodianError::Input(format!(
            "{stranger:?} is no custodian of this backup: it has {gate}"
        )));
    }
    let here: Vec<bool> = seats
        .iter()
        .map(|seat| key_files.contains_key(*seat))
        .collect();
    if !gate.satisfied(&here) {
        let count = here.iter().filter(|here| **here).count();
        return Err(CustodianError::TooFew(format!(
            "{count} of the custodians {} came, and {gate} are needed",
            seats.join(", ")
        )));
    }
    let mut shares = Vec::new();
    for component in &split.components {
        shares.push(match key_files.get(&component.name) {
            Some(path) => {
                let pem = read_private_file(path)?;
                let aad = bound(context, &split.quorum, &component.name);
                let share = on_crucible(|| open(component, &pem, &aad))?;
                Some(share.ok_or_else(|| not_his(path, &component.name))?)
            }
            None => None,
        });
    }
    let borrowed: Vec<_> = shares
        .iter()
        .map(|share| share.as_ref().map(Secret::expose))
        .collect();
    let mut kek = Secret::<32>::zeroed()?;
    let check = on_crucible(|| {
        sharing::combine(&gate, &borrowed, kek.expose_mut())
            .then(|| check_value(&kek))
            .transpose()
    })?;
    if check != Some(split.check) {
        return Err(CustodianError::Wrong(
            "the components together are not the key that the backup was made under: its check value is another".to_owned(),
        ));
    }
    Ok(kek)
}

/// The custodians' keys in the order of their seats: each has one, of its own.
fn keys_of(
    gate: &Gate,
    custodians: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<PublicKey>, CustodianError> {
    let seats = gate.seats();
    if let Some(stranger) = custodians
        .keys()
        .find(|name| !seats.contains(&name.as_str()))
    {
        return Err(CustodianError::Input(format!(
            "{stranger:?} is no custodian of the quorum {gate}"
        )));
    }
    let keys = seats.iter().map(|name| {
        let spki = custodians.get(*name).ok_or_else(|| {
            CustodianError::Input(format!(
                "the public key of the custodian {name:?} is missing"
            ))
        })?;
        spki.strip_prefix(&SPKI)
            .and_then(|key| PublicKey::from_bytes(key).ok())
            .ok_or_else(|| {
                CustodianError::Input(format!("the key of {name:?} is no X25519 public key"))
            })
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    for (place, key) in keys.iter().enumerate() {
        if let Some(other) = keys[..place].iter().position(|other| other == key) {
            return Err(CustodianError::Input(format!(
                "{} and {} have the same key: they would be one custodian",
                seats[other], seats[place]
            )));
        }
    }
    Ok(keys)
}

/// A quorum that no one satisfies alone.
fn dual_control(quorum: &str) -> Result<Gate, CustodianError> {
    let gate = Gate::parse(quorum).map_err(|why| CustodianError::Input(why.0))?;
    gate.validate()
        .map_err(|why| CustodianError::Input(why.0))?;
    let seats = gate.seat_count();
    let alone =
        |one: usize| gate.satisfied(&(0..seats).map(|seat| seat == one).collect::<Vec<_>>());
    match (0..seats).find(|one| alone(*one)) {
        None => Ok(gate),
        Some(one) => Err(CustodianError::Input(format!(
            "{:?} alone would be enough; dual control takes two at least, as in \"2 of ({})\"",
            gate.seats()[one],
            gate.seats().join(", ")
        ))),
    }
}

/// What a component is for: it opens for nothing else.
fn bound(context: &[u8], quorum: &str, name: &str) -> [u8; 32] {
    th("custodian", &[context, quorum.as_bytes(), name.as_bytes()])
}

/// The same of a component that is handed over to a token.
fn bound_joint(context: &[u8], quorum: &str, name: &str) -> [u8; 32] {
    let parts = [context, quorum.as_bytes(), name.as_bytes()];
    th("custodian-joint", &parts)
}

fn not_his(key_file: &Path, name: &str) -> CustodianError {
    CustodianError::Wrong(format!(
        "the key in {} does not open the component of {name:?}: it is another custodian's, or the backup was changed",
        key_file.display()
    ))
}

fn seal(share: &Secret<32>, key: &PublicKey, aad: &[u8]) -> Result<Vec<u8>, CustodianError> {
    let failed = || CustodianError::Input("a custodian's key cannot be sealed to".to_owned());
    let (enc, mut context) =
        setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, key, INFO)
            .map_err(|_| failed())?;
    let sealed = context.seal(share.expose(), aad).map_err(|_| failed())?;
    Ok([&enc.to_bytes()[..], &sealed].concat())
}

/// The component, if this is its custodian's key; on a crucible thread.
fn open(
    component: &Component,
    pem: &SecretVec,
    aad: &[u8],
) -> Result<Option<Secret<32>>, CustodianError> {
    let Some(private) = private_key(pem)? else {
        return Err(CustodianError::Input(format!(
            "the key file of {:?} holds no X25519 key, PKCS#8 PEM",
            component.name
        )));
    };
    let Some((enc, sealed)) = component.sealed.split_first_chunk::<32>() else {
        return Ok(None);
    };
    let opened = PrivateKey::from_bytes(private.expose())
        .and_then(|private| Ok((private, EncappedKey::from_bytes(enc)?)))
        .and_then(|(private, enc)| {
            setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &private,
                &enc,
                INFO,
            )
        })
        .and_then(|mut context| context.open(sealed, aad));
    let Ok(Ok(share)) = opened.map(|opened| <[u8; 32]>::try_from(&opened[..])) else {
        return Ok(None);
    };
    let share = Secret::<32>::filled(|out| *out = share)?;
    Ok(ct_eq(&check_value(&share)?, &component.check).then_some(share))
}

/// The 32 bytes within one PEM block; on a crucible thread.
fn private_key(pem: &SecretVec) -> Result<Option<Secret<32>>, CustodianError> {
    let text = pem.expose().trim_ascii();
    let begin = PEM_BEGIN.trim_ascii_end();
    let end = PEM_END.trim_ascii();
    let Some(body) = text
        .strip_prefix(begin)
        .and_then(|rest| rest.strip_suffix(end))
    else {
        return Ok(None);
    };
    let mut digits = SecretVec::zeroed(body.len())?;
    let mut length = 0;
    for byte in body.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        digits.expose_mut()[length] = *byte;
        length += 1;
    }
    let mut der = SecretVec::zeroed(length)?;
    let decoded = BASE64.decode_slice_unchecked(&digits.expose()[..length], der.expose_mut());
    let key = decoded.ok().and_then(|count| {
        let key = der.expose()[..count].strip_prefix(&PKCS8)?;
        <&[u8; 32]>::try_from(key).ok()
    });
    Ok(key
        .map(|key| Secret::filled(|out| *out = *key))
        .transpose()?)
}

/// On a crucible thread.
fn check_value(key: &Secret<32>) -> Result<CheckValue, CustodianError> {
    let failed = |_| ElementError::Unavailable("AES cannot be had".to_owned());
    let key = UnboundCipherKey::new(&AES_256, key.expose()).map_err(failed)?;
    let mut block = [0; 16];
    EncryptingKey::ecb(key)
        .and_then(|key| key.encrypt(&mut block))
        .map_err(failed)?;
    Ok([block[0], block[1], block[2]])
}

impl From<ElementError> for CustodianError {
    fn from(error: ElementError) -> Self {
        Self::Element(error)
    }
}

impl From<evanesce_secret::Error> for CustodianError {
    fn from(error: evanesce_secret::Error) -> Self {
        Self::Element(error.into())
    }
}

impl std::fmt::Display for CustodianError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(why) | Self::TooFew(why) | Self::Wrong(why) => f.write_str(why),
            Self::Element(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CustodianError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const QUORUM: &str = "2 of (alice, bob, carol)";

    struct Room {
        _dir: tempfile::TempDir,
        files: BTreeMap<String, PathBuf>,
        keys: BTreeMap<String, Vec<u8>>,
    }

    fn room(names: &[&str]) -> Room {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &&str| ((*name).to_owned(), dir.path().join(name));
        let files: BTreeMap<_, _> = names.iter().map(file).collect();
        let keys = files
            .iter()
            .map(|(name, path)| (name.clone(), create(path).unwrap()));
        Room {
            keys: keys.collect(),
            files,
            _dir: dir,
        }
    }

    impl Room {
        fn only(&self, names: &[&str]) -> BTreeMap<String, PathBuf> {
            let kept = self
                .files
                .iter()
                .filter(|(name, _)| names.contains(&name.as_str()));
            kept.map(|(name, path)| (name.clone(), path.clone()))
                .collect()
        }
    }

    #[test]
    fn any_two_of_three_assemble_what_was_split_and_one_does_not() {
        let room = room(&["alice", "bob", "carol"]);
        let (kek, split) = split(QUORUM, &room.keys, b"backup 1").unwrap();
        for names in [["alice", "bob"], ["alice", "carol"], ["bob", "carol"]] {
            let back = assemble(&split, &room.only(&names), b"backup 1").unwrap();
            assert!(ct_eq(back.expose(), kek.expose()));
        }
        for names in [&[][..], &["alice"], &["carol"]] {
            let refused = assemble(&split, &room.only(names), b"backup 1")
                .err()
                .unwrap();
            assert!(matches!(refused, CustodianError::TooFew(_)), "{refused}");
        }
        let other = assemble(&split, &room.files, b"backup 2").err().unwrap();
        assert!(matches!(other, CustodianError::Wrong(_)), "{other}");
    }

    #[test]
    fn nobody_opens_anothers_component_and_a_changed_one_is_named() {
        let room = room(&["alice", "bob", "carol"]);
        let (_, split) = split(QUORUM, &room.keys, b"").unwrap();
        let mut swapped = room.only(&["alice", "bob"]);
        swapped.insert("bob".to_owned(), room.files["carol"].clone());
        let refused = assemble(&split, &swapped, b"").err().unwrap().to_string();
        assert!(refused.contains("\"bob\""), "{refused}");
        for at in [0, 31, 32, 79] {
            let mut changed = split.clone();
            changed.components[1].sealed[at] ^= 1;
            let refused = assemble(&changed, &room.only(&["alice", "bob"]), b"")
                .err()
                .unwrap();
            assert!(refused.to_string().contains("\"bob\""), "{at}: {refused}");
            // Whose component was not changed still can.
            assemble(&changed, &room.only(&["alice", "carol"]), b"").unwrap();
        }
        let mut other = split.clone();
        other.check[0] ^= 1;
        let refused = assemble(&other, &room.files, b"")
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("check value"), "{refused}");
        let mut renamed = split;
        renamed.quorum = "2 of (alice, carol, bob)".to_owned();
        assert!(assemble(&renamed, &room.files, b"").is_err());
    }

    #[test]
    fn no_one_is_enough_alone_in_any_quorum_that_is_taken() {
        let room = room(&["alice", "bob", "carol"]);
        for quorum in [
            "1 of (alice, bob, carol)",
            "1 of (alice, 2 of (bob, carol))",
        ] {
            let refused = split(quorum, &room.keys, b"").err().unwrap().to_string();
            assert!(refused.contains("alone would be enough"), "{refused}");
        }
        split("2 of (alice, 1 of (bob, carol))", &room.keys, b"").unwrap();
        let mut twice = room.keys.clone();
        twice.insert("bob".to_owned(), room.keys["alice"].clone());
        let refused = split(QUORUM, &twice, b"").err().unwrap().to_string();
        assert!(refused.contains("one custodian"), "{refused}");
        let missing = split("2 of (alice, bob, dave)", &room.keys, b"")
            .err()
            .unwrap();
        assert!(matches!(missing, CustodianError::Input(_)));
    }

    #[test]
    fn a_check_value_is_that_of_an_encrypted_block_of_zeroes() {
        // As in the GCM specification's test case 13, whose hash key it begins.
        let key = Secret::<32>::zeroed().unwrap();
        let check = on_crucible(|| check_value(&key)).unwrap();
        assert_eq!(check, [0xdc, 0x95, 0xc0]);
    }

    #[test]
    fn a_key_file_is_its_owners_and_anything_else_in_it_is_refused() {
        let room = room(&["alice", "bob", "carol"]);
        let (_, split) = split(QUORUM, &room.keys, b"").unwrap();
        let text = std::fs::read_to_string(&room.files["alice"]).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        std::fs::write(&room.files["alice"], "not a key").unwrap();
        let refused = assemble(&split, &room.only(&["alice", "bob"]), b"")
            .err()
            .unwrap();
        assert!(refused.to_string().contains("no X25519 key"), "{refused}");
        let public = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&room.files["bob"], public).unwrap();
        let refused = assemble(&split, &room.only(&["bob", "carol"]), b"")
            .err()
            .unwrap();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
        assert!(
            create(&room.files["bob"]).is_err(),
            "a file that exists is left alone"
        );
    }
}
