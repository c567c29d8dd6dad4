//! What an agent is given of a token, and what names it (PROTOCOL §4, §5).
//!
//! An agent sees the header, the anchor, the commitments, and of the rest hashes alone. From these it
//! computes `token_id` itself: whoever changes anything gets the pads of another token.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::catalogue::Catalogue;
use crate::formula;
use crate::header::Header;
use crate::malformed::Malformed;

/// A token without its rows, public keys and imported key, all of which its id still covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The header as it is hashed.
    pub header_bytes: Vec<u8>,
    /// The header as it is read.
    pub header: Header,
    /// What the seed must hash to.
    pub anchor: [u8; 32],
    /// What each seat's share must hash to.
    pub commitments: Vec<[u8; 32]>,
    /// `TH("public", CBOR(public))`.
    pub public_hash: [u8; 32],
    /// `TH("sealed", CBOR(sealed))`.
    pub sealed_hash: [u8; 32],
    /// `TH("deal", header)`, computed.
    pub deal: [u8; 32],
    /// `token_id`, computed.
    pub id: [u8; 32],
}

impl Body {
    /// Decodes the header strictly, computes `deal` and the id, and refuses a body that no token can have.
    pub fn new(
        header_bytes: Vec<u8>,
        anchor: [u8; 32],
        commitments: Vec<[u8; 32]>,
        public_hash: [u8; 32],
        sealed_hash: [u8; 32],
        cat: &Catalogue,
    ) -> Result<Body, Malformed> {
        let header = Header::decode(&header_bytes, cat)?;
        check_commitments("body", &header, commitments.len())?;
        check_sealed("body", &header, sealed_hash != *NOTHING_SEALED, cat)?;
        let commitments_hash = formula::commitments_hash(&commitments);
        let hashes = Hashes {
            commitments_hash,
            public_hash,
            sealed_hash,
        };
        Ok(Body::from_checked(
            header_bytes,
            header,
            anchor,
            commitments,
            hashes,
        ))
    }

    /// The body that a mint of these parts will have, before any row is there.
    ///
    /// Refuses what [`Token::assemble`](crate::Token::assemble) would refuse whatever the rows: so that a
    /// minter learns it before it asks any agent, among it that the token would not fit its limit.
    pub fn to_mint(
        header: &Header,
        anchor: [u8; 32],
        commitments: Vec<[u8; 32]>,
        public: &BTreeMap<String, Vec<u8>>,
        sealed: Option<&[u8]>,
        cat: &Catalogue,
    ) -> Result<Body, Malformed> {
        header.quorum.validate()?;
        let header_bytes = header.encode();
        let header = Header::decode(&header_bytes, cat)?;
        check_commitments("token", &header, commitments.len())?;
        check_sealed("token", &header, sealed.is_some(), cat)?;
        check_public(&header, public, cat)?;
        crate::token::check_fit(&header_bytes, public, sealed, commitments.len())?;
        let hashes = Hashes {
            commitments_hash: formula::commitments_hash(&commitments),
            public_hash: formula::public_hash(public),
            sealed_hash: formula::sealed_hash(sealed),
        };
        Ok(Body::from_checked(
            header_bytes,
            header,
            anchor,
            commitments,
            hashes,
        ))
    }

    pub(crate) fn from_checked(
        header_bytes: Vec<u8>,
        header: Header,
        anchor: [u8; 32],
        commitments: Vec<[u8; 32]>,
        hashes: Hashes,
    ) -> Body {
        let Hashes {
            commitments_hash,
            public_hash,
            sealed_hash,
        } = hashes;
        let deal = formula::deal(&header_bytes);
        let id = formula::token_id(
            &deal,
            &anchor,
            &commitments_hash,
            &public_hash,
            &sealed_hash,
        );
        Body {
            header_bytes,
            header,
            anchor,
            commitments,
            public_hash,
            sealed_hash,
            deal,
            id,
        }
    }
}

/// What a token's id covers beside `deal` and `anchor`.
pub(crate) struct Hashes {
    pub commitments_hash: [u8; 32],
    pub public_hash: [u8; 32],
    pub sealed_hash: [u8; 32],
}

static NOTHING_SEALED: LazyLock<[u8; 32]> = LazyLock::new(|| formula::sealed_hash(None));

/// One commitment per seat.
pub(crate) fn check_commitments(
    root: &str,
    header: &Header,
    commitments: usize,
) -> Result<(), Malformed> {
    match header.quorum.seat_count() {
        seats if seats == commitments => Ok(()),
        seats => Err(Malformed(format!(
            "{root}.commitments: {commitments} of them for {seats} seats"
        ))),
    }
}

/// PROTOCOL §8: an imported key has one suite, or is an RSA key under both signature paddings; RSA keys
/// are always imported.
pub(crate) fn check_sealed(
    root: &str,
    header: &Header,
    sealed: bool,
    cat: &Catalogue,
) -> Result<(), Malformed> {
    const RSA_SIGNATURES: [&str; 2] = ["rsa-pkcs1-sha256", "rsa-pss-sha256"];
    let suites = &header.suites;
    if sealed {
        let rsa_pair = suites.len() == 2
            && suites
                .iter()
                .all(|name| RSA_SIGNATURES.contains(&name.as_str()));
        return if suites.len() == 1 || rsa_pair {
            Ok(())
        } else {
            let is = suites.len();
            Err(Malformed(format!(
                "{root}.sealed: an imported key for {is} suites, must be for one"
            )))
        };
    }
    let imported_only = |name: &String| cat.find(name).is_some_and(|suite| suite.imported_only);
    match suites.iter().find(|name| imported_only(name)) {
        Some(name) => Err(Malformed(format!(
            "{root}.sealed: null, but suite {name} needs an imported key"
        ))),
        None => Ok(()),
    }
}

/// `public` holds exactly the asymmetric suites of the header.
pub(crate) fn check_public(
    header: &Header,
    public: &BTreeMap<String, Vec<u8>>,
    cat: &Catalogue,
) -> Result<(), Malformed> {
    let asymmetric = |name: &str| cat.find(name).is_some_and(|suite| suite.public);
    if let Some(name) = header
        .suites
        .iter()
        .find(|name| asymmetric(name) && !public.contains_key(*name))
    {
        return Err(Malformed(format!("token.public: no key for suite {name}")));
    }
    if let Some(name) = public
        .keys()
        .find(|name| !asymmetric(name) || !header.suites.contains(name))
    {
        let name = crate::quoted(name);
        return Err(Malformed(format!(
            "token.public: a key for {name}, which is no asymmetric suite of it"
        )));
    }
    Ok(())
}
