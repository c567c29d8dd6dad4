//! The token: a body, the public keys, an imported key if there is one, and a row per seat (PROTOCOL §4).

use std::collections::BTreeMap;

use crate::body::{Body, Hashes, check_commitments, check_public, check_sealed};
use crate::catalogue::Catalogue;
use crate::cbor::{Limits, Reader, Writer};
use crate::formula::write_public;
use crate::hash::th;
use crate::header::Header;
use crate::limits::{ROW_SIGNATURE_BYTES, SEATS, TOKEN_BYTES, UINT};
use crate::malformed::Malformed;

const KEYS: [&str; 6] = [
    "rows",
    "anchor",
    "header",
    "public",
    "sealed",
    "commitments",
];
const ROW_FIELDS: usize = 4;

/// One seat's correction, as its holder published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The agent id of the holder.
    pub holder: [u8; 32],
    /// The epoch of the root under which the correction was made.
    pub epoch: u64,
    /// `share XOR pad`; in tokens of the second kind, see [`mpc::Token`](crate::mpc::Token).
    pub correction: [u8; 32],
    /// The holder's, over [`row_statement`](crate::formula::row_statement); not checked here.
    pub signature: Vec<u8>,
}

/// A whole token, well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the id is computed from.
    pub body: Body,
    /// SubjectPublicKeyInfo in DER for exactly the asymmetric suites.
    pub public: BTreeMap<String, Vec<u8>>,
    /// An imported key, encrypted under the seed.
    pub sealed: Option<Vec<u8>>,
    /// One per seat, in the order of the seats.
    pub rows: Vec<Row>,
}

impl Token {
    /// Decodes a token strictly (PROTOCOL §2–§4, §8): what is accepted is the only encoding of what it
    /// means. Expiry, signatures and policies are not judged here, nor the values of public keys.
    pub fn decode(bytes: &[u8], cat: &Catalogue) -> Result<Token, Malformed> {
        Token::read(bytes, cat).map_err(|found| crate::mpc::explain("token", bytes, found))
    }

    fn read(bytes: &[u8], cat: &Catalogue) -> Result<Token, Malformed> {
        let mut reader = Reader::new("token", bytes, Limits::PROTOCOL)?;
        let mut map = reader.map(&KEYS)?;
        let rows = map.field("rows")?.list(1..=SEATS, read_row)?;
        let anchor = map.field("anchor")?.bytes_n()?;
        let header_bytes = map.field("header")?.bytes(TOKEN_BYTES)?;
        let header = Header::decode_within("token.header", header_bytes, cat)?;
        let (public, public_bytes) = map.field("public")?.spanned(read_public)?;
        let (sealed, sealed_bytes) = map
            .field("sealed")?
            .spanned(|r| r.or_null(|r| r.bytes(TOKEN_BYTES).map(<[u8]>::to_vec)))?;
        let (commitments, commitments_bytes) = map
            .field("commitments")?
            .spanned(|r| r.list(1..=SEATS, Reader::bytes_n))?;
        map.end();
        reader.finish()?;

        check_commitments("token", &header, commitments.len())?;
        check_rows(&header, &rows)?;
        check_public(&header, &public, cat)?;
        check_sealed("token", &header, sealed.is_some(), cat)?;
        let hashes = Hashes {
            commitments_hash: th("commitments", &[commitments_bytes]),
            public_hash: th("public", &[public_bytes]),
            sealed_hash: th("sealed", &[sealed_bytes]),
        };
        let body = Body::from_checked(header_bytes.to_vec(), header, anchor, commitments, hashes);
        Ok(Token {
            body,
            public,
            sealed,
            rows,
        })
    }

    /// The bytes of this token. Of a decoded one, the bytes that it was decoded from; where rows were
    /// replaced by ones that are out of bounds, bytes that every decoder refuses.
    pub fn encode(&self) -> Vec<u8> {
        let (body, sealed) = (&self.body, self.sealed.as_deref());
        encode(
            &body.header_bytes,
            &body.anchor,
            &body.commitments,
            &self.public,
            sealed,
            &self.rows,
        )
    }

    /// A freshly minted token of its parts.
    ///
    /// Refuses all that [`decode`](Self::decode) would, and a token that would not fit the size limit with
    /// every epoch at 2^53−1 and every signature at 72 bytes (PROTOCOL §4).
    pub fn assemble(
        header: &Header,
        anchor: [u8; 32],
        commitments: Vec<[u8; 32]>,
        public: BTreeMap<String, Vec<u8>>,
        sealed: Option<Vec<u8>>,
        rows: Vec<Row>,
        cat: &Catalogue,
    ) -> Result<Token, Malformed> {
        let body = Body::to_mint(header, anchor, commitments, &public, sealed.as_deref(), cat)?;
        check_rows(&body.header, &rows)?;
        let token = Token {
            body,
            public,
            sealed,
            rows,
        };
        match token.encode().len() {
            length if length > TOKEN_BYTES => Err(Malformed(format!(
                "token: {length} bytes, at most {TOKEN_BYTES}"
            ))),
            _ => Ok(token),
        }
    }

    /// `token_id`: what callers pin, and agents compute.
    pub fn id(&self) -> &[u8; 32] {
        &self.body.id
    }

    /// Whether the token has expired at `now_unix`, in Unix seconds.
    pub fn expired_at(&self, now_unix: u64) -> bool {
        self.body.header.expired_at(now_unix)
    }

    /// Whether every seat can be re-rooted forever: the token fits the size limit with every epoch at
    /// 2^53−1 and every signature at 72 bytes. True of every token that was minted by the protocol.
    pub fn fits(&self) -> bool {
        let (body, sealed) = (&self.body, self.sealed.as_deref());
        check_fit(
            &body.header_bytes,
            &self.public,
            sealed,
            body.commitments.len(),
        )
        .is_ok()
    }
}

/// The mint size rule of PROTOCOL §4.
pub(crate) fn check_fit(
    header_bytes: &[u8],
    public: &BTreeMap<String, Vec<u8>>,
    sealed: Option<&[u8]>,
    seats: usize,
) -> Result<(), Malformed> {
    let widest = Row {
        holder: [0; 32],
        epoch: UINT,
        correction: [0; 32],
        signature: vec![0; ROW_SIGNATURE_BYTES],
    };
    let commitments = vec![[0; 32]; seats];
    let rows = vec![widest; seats];
    match encode(header_bytes, &[0; 32], &commitments, public, sealed, &rows).len() {
        length if length > TOKEN_BYTES => Err(Malformed(format!(
            "token: {length} bytes once its rows are at their longest, at most {TOKEN_BYTES}"
        ))),
        _ => Ok(()),
    }
}

fn check_rows(header: &Header, rows: &[Row]) -> Result<(), Malformed> {
    let (is, seats) = (rows.len(), header.quorum.seat_count());
    if is != seats {
        return Err(Malformed(format!(
            "token.rows: {is} of them for {seats} seats"
        )));
    }
    match rows.iter().position(|row| row.epoch > UINT) {
        Some(seat) => Err(Malformed(format!("token.rows[{seat}].epoch: above 2^53-1"))),
        None => Ok(()),
    }
}

fn read_row(reader: &mut Reader) -> Result<Row, Malformed> {
    let mut row = reader.array(ROW_FIELDS..=ROW_FIELDS)?;
    Ok(Row {
        holder: row.item("holder").bytes_n()?,
        epoch: row.item("epoch").uint()?,
        correction: row.item("correction").bytes_n()?,
        signature: row.item("signature").bytes(TOKEN_BYTES)?.to_vec(),
    })
}

fn write_row(writer: &mut Writer, row: &Row) {
    writer.array(ROW_FIELDS).bytes(&row.holder).uint(row.epoch);
    writer.bytes(&row.correction).bytes(&row.signature);
}

fn read_public(reader: &mut Reader) -> Result<BTreeMap<String, Vec<u8>>, Malformed> {
    let mut public = BTreeMap::new();
    reader.text_map(SEATS, |suite, value| {
        public.insert(suite.to_owned(), value.bytes(TOKEN_BYTES)?.to_vec());
        Ok(())
    })?;
    Ok(public)
}

fn encode(
    header_bytes: &[u8],
    anchor: &[u8; 32],
    commitments: &[[u8; 32]],
    public: &BTreeMap<String, Vec<u8>>,
    sealed: Option<&[u8]>,
    rows: &[Row],
) -> Vec<u8> {
    let mut writer = Writer::with_capacity(header_bytes.len() + 256 * (rows.len() + public.len()));
    writer.map(KEYS.len());
    writer.key("rows").array(rows.len());
    for row in rows {
        write_row(&mut writer, row);
    }
    writer.key("anchor").bytes(anchor);
    writer.key("header").bytes(header_bytes);
    write_public(writer.key("public"), public);
    writer.key("sealed").bytes_or_null(sealed);
    writer.key("commitments").array(commitments.len());
    for commitment in commitments {
        writer.bytes(commitment);
    }
    writer.into_bytes()
}
