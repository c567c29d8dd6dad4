//! Secrets from agent to agent, carried by a coordinator that learns nothing of them.
//!
//! Each agent draws a box key for one ceremony, an X25519 key, and signs it with what it announces. A secret for it goes into an RFC 9180
//! encapsulation of its own: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export-only, base mode; the exported 32 bytes are an AES-256-GCM key
//! that is used once, with the nonce 0. Whose it is, the sender's signature over [`statement`] says.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use evanesce_secret::{Secret, on_crucible};
use evanesce_token::hash::th;
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};

use crate::WireError;
use crate::session::{SEALED_SHARE, TAG};

const INFO: &[u8] = b"evanesce/v1/mpc-parcel";
const KEY: &[u8] = b"parcel key";

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// A secret of 32 bytes on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// RFC 9180 encapsulated key.
    pub enc: [u8; 32],
    /// Ciphertext and tag.
    pub sealed: [u8; SEALED_SHARE],
}

/// `TH("mpc-parcel-aad", occasion, u32(from), u32(to))`: what a parcel is sealed under.
pub fn aad(occasion: &[u8; 32], from: u32, to: u32) -> [u8; 32] {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    th("mpc-parcel-aad", &[occasion, &from, &to])
}

/// `TH("mpc-parcel", occasion, u32(from), u32(to), enc, sealed)`: what its sender signs.
pub fn statement(occasion: &[u8; 32], from: u32, to: u32, parcel: &Sealed) -> [u8; 32] {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    th(
        "mpc-parcel",
        &[occasion, &from, &to, &parcel.enc, &parcel.sealed],
    )
}

/// The private half of a box key, in locked memory.
pub struct BoxKey(Secret<32>);

impl BoxKey {
    /// Draws one, and gives its public half.
    pub fn draw() -> Result<(Self, [u8; 32]), WireError> {
        let mut public = [0; 32];
        let private = on_crucible(|| -> Result<Secret<32>, WireError> {
            let mut seed = [0u8; 32];
            evanesce_secret::random(&mut seed);
            let (private, key) = X25519HkdfSha256::derive_keypair(&seed);
            public.copy_from_slice(&key.to_bytes());
            Ok(Secret::filled(|out| private.write_exact(out))?)
        })?;
        Ok((Self(private), public))
    }

    /// Opens what was sealed to this key.
    ///
    /// # Errors
    /// `Unsealable` where it was not, or under other additional data.
    pub fn open(&self, aad: &[u8; 32], parcel: &Sealed) -> Result<Secret<32>, WireError> {
        let mut secret = Secret::zeroed()?;
        on_crucible(|| {
            let unsealable = |_| WireError::Unsealable;
            let private = PrivateKey::from_bytes(self.0.expose()).map_err(unsealable)?;
            let enc = EncappedKey::from_bytes(&parcel.enc).map_err(unsealable)?;
            let context = setup_receiver::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &private,
                &enc,
                INFO,
            )
            .map_err(unsealable)?;
            let key = key(|out| context.export(KEY, out))?;
            let mut data = parcel.sealed;
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let plain = key
                .open_in_place(nonce, Aad::from(aad), &mut data)
                .map_err(|_| WireError::Unsealable)?;
            secret.expose_mut().copy_from_slice(plain);
            Ok(())
        })
        .map(|()| secret)
    }
}

/// Seals a secret to a box key.
///
/// # Errors
/// `Malformed` where the key is none.
pub fn seal(to: &[u8; 32], aad: &[u8; 32], secret: &Secret<32>) -> Result<Sealed, WireError> {
    let mut parcel = Sealed {
        enc: [0; 32],
        sealed: [0; SEALED_SHARE],
    };
    on_crucible(|| {
        let malformed = |_| WireError::Malformed("the box key is no X25519 key".into());
        let public = PublicKey::from_bytes(to).map_err(malformed)?;
        let (enc, context) = setup_sender::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
        )
        .map_err(malformed)?;
        let key = key(|out| context.export(KEY, out))?;
        // a copy for the cipher to work on: what leaves is sealed
        let mut data = [0; 32];
        data.copy_from_slice(secret.expose());
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut data)
            .map_err(|_| WireError::Unsealable)?;
        parcel.enc.copy_from_slice(&enc.to_bytes());
        parcel.sealed[..SEALED_SHARE - TAG].copy_from_slice(&data);
        parcel.sealed[SEALED_SHARE - TAG..].copy_from_slice(tag.as_ref());
        Ok(())
    })
    .map(|()| parcel)
}

/// On the crucible.
fn key(
    export: impl FnOnce(&mut [u8]) -> Result<(), hpke::HpkeError>,
) -> Result<LessSafeKey, WireError> {
    let mut bytes = [0u8; 32];
    export(&mut bytes).map_err(|_| WireError::Unsealable)?;
    let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| WireError::Unsealable)?;
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_opened_by_whom_it_is_sealed_to_and_as_what_it_was_sealed() {
        let (key, public) = BoxKey::draw().unwrap();
        let (other, _) = BoxKey::draw().unwrap();
        let secret = Secret::<32>::random().unwrap();
        let here = aad(&[1; 32], 0, 2);
        let parcel = seal(&public, &here, &secret).unwrap();
        assert_eq!(key.open(&here, &parcel).unwrap().expose(), secret.expose());
        assert!(other.open(&here, &parcel).is_err());
        for elsewhere in [
            aad(&[2; 32], 0, 2),
            aad(&[1; 32], 1, 2),
            aad(&[1; 32], 0, 1),
        ] {
            assert!(key.open(&elsewhere, &parcel).is_err());
        }
        for bit in 0..48 * 8 {
            let mut altered = parcel.clone();
            altered.sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&here, &altered).is_err(), "bit {bit}");
        }
        assert_ne!(seal(&public, &here, &secret).unwrap(), parcel);
        assert!(
            seal(&[0; 32], &here, &secret).is_err(),
            "a key of small order"
        );
    }
}
