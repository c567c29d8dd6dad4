//! What an agent announces, as bytes: `CBOR({proof, vector})`, the proof 64 bytes (R and z, as the suite writes a
//! signature), the vector t points, the constant's first. In a refresh, where the constant is 0: no proof, and t−1 points.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Limits, Reader, Writer};
use frost_core::Signature;
use frost_core::keys::VerifiableSecretSharingCommitment;
use frost_core::keys::dkg::round1::Package;

use crate::error::Error;
use crate::group::canonical;
use crate::suite::Suite;

const KEYS: [&str; 2] = ["proof", "vector"];
/// Bytes of the longest, 255 points of 33 bytes, with room.
const MOST: usize = 10 * 1024;

pub(super) struct Announcement<S: Suite> {
    pub proof: Option<Vec<u8>>,
    pub vector: Vec<Vec<u8>>,
    pub package: Package<S>,
}

/// What kind of announcement is expected.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a, S: Suite> {
    /// Of a new key among t.
    Fresh { t: usize },
    /// Of a refresh among t. The library wants a proof all the same, which it does not look at.
    Refresh { t: usize, any: &'a Package<S> },
}

impl<S: Suite> Announcement<S> {
    pub fn of(package: &Package<S>, refresh: bool) -> Result<Announcement<S>, Error> {
        let unfit = |error: frost_core::Error<S>| Error::Unfit(error.to_string());
        let proof = match refresh {
            true => None,
            false => Some(package.proof_of_knowledge().serialize().map_err(unfit)?),
        };
        Ok(Announcement {
            proof,
            vector: package.commitment().serialize().map_err(unfit)?,
            package: package.clone(),
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.map(KEYS.len());
        writer.key("proof").bytes_or_null(self.proof.as_deref());
        writer.key("vector").array(self.vector.len());
        for point in &self.vector {
            writer.bytes(point);
        }
        writer.into_bytes()
    }

    /// Reads one strictly: as many points as belong there, each the one encoding of a point of prime order.
    pub fn decode(bytes: &[u8], shape: Shape<S>) -> Result<Announcement<S>, Malformed> {
        let limits = Limits {
            bytes: MOST,
            depth: 2,
        };
        let points = match shape {
            Shape::Fresh { t } => t,
            Shape::Refresh { t, .. } => t - 1,
        };
        let mut reader = Reader::new("announcement", bytes, limits)?;
        let mut map = reader.map(&KEYS)?;
        let field = map.field("proof")?;
        let proof = field.or_null(|r| r.bytes(64).map(<[u8]>::to_vec))?;
        let signature = match (&proof, shape) {
            (Some(proof), Shape::Fresh { .. }) => Signature::<S>::deserialize(proof)
                .ok()
                .filter(|read| read.serialize().is_ok_and(|again| again == *proof)),
            (None, Shape::Refresh { any, .. }) => Some(*any.proof_of_knowledge()),
            _ => None,
        };
        let signature = signature.ok_or_else(|| field.malformed("no proof of possession"))?;
        let vector = map.field("vector")?.list(points..=points, |point| {
            canonical::<S>(point.bytes(S::POINT)?).map_err(|why| point.malformed(why))
        })?;
        map.end();
        reader.finish()?;
        let commitment = VerifiableSecretSharingCommitment::deserialize(&vector)
            .map_err(|error| Malformed(format!("announcement.vector: {error}")))?;
        Ok(Announcement {
            package: Package::new(commitment, signature),
            proof,
            vector,
        })
    }
}
