//! What an agent is given of a token of the second kind, and what names it.

use super::formula;
use super::header::Header;
use crate::malformed::Malformed;

/// A token of the second kind without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The header as it is hashed.
    pub header_bytes: Vec<u8>,
    /// The header as it is read.
    pub header: Header,
    /// The commitment vector: t points, of which the first is the group's key. Whether they are points is not judged here.
    pub vector: Vec<Vec<u8>>,
    /// What all agents signed when the vector was made.
    pub transcript: [u8; 32],
    /// `deal`, computed.
    pub deal: [u8; 32],
    /// `token_id`, computed.
    pub id: [u8; 32],
}

impl Body {
    /// Decodes the header strictly, computes `deal` and the id, and refuses a body that no token can have.
    pub fn new(
        header_bytes: Vec<u8>,
        vector: Vec<Vec<u8>>,
        transcript: [u8; 32],
    ) -> Result<Body, Malformed> {
        let header = Header::decode(&header_bytes)?;
        check_vector("body", &header, &vector)?;
        Ok(Body::from_checked(header_bytes, header, vector, transcript))
    }

    pub(super) fn from_checked(
        header_bytes: Vec<u8>,
        header: Header,
        vector: Vec<Vec<u8>>,
        transcript: [u8; 32],
    ) -> Body {
        let deal = formula::deal(header.kind, &header_bytes);
        let id = formula::token_id(
            header.kind,
            &deal,
            &transcript,
            &vector[0],
            &formula::vector_hash(&vector),
        );
        Body {
            header_bytes,
            header,
            vector,
            transcript,
            deal,
            id,
        }
    }

    /// How many seats there are.
    pub fn seats(&self) -> usize {
        self.header.quorum.of.len()
    }
}

/// t points of the suite's length.
pub(super) fn check_vector(
    root: &str,
    header: &Header,
    vector: &[Vec<u8>],
) -> Result<(), Malformed> {
    let (is, t) = (vector.len(), header.quorum.t);
    if is != t {
        return Err(Malformed(format!(
            "{root}.vector: {is} points, must be t, {t}"
        )));
    }
    let length = header.facts().map_or(0, |suite| suite.point);
    match vector.iter().position(|point| point.len() != length) {
        Some(i) => Err(Malformed(format!(
            "{root}.vector[{i}]: {} bytes, must be {length}",
            vector[i].len()
        ))),
        None => Ok(()),
    }
}
