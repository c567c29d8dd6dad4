//! A whole token of the second kind: a body, and a row per seat.

use super::Kind;
use super::body::{Body, check_vector};
use super::header::Header;
use crate::cbor::{Limits, Reader, Writer};
use crate::limits::{SEATS, TOKEN_BYTES, UINT};
use crate::malformed::Malformed;
use crate::token::Row;

const KEYS: [&str; 4] = ["rows", "header", "vector", "transcript"];

/// A token of the second kind, well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the id is computed from.
    pub body: Body,
    /// One per seat, in the order of the seats. Where shares are kept there is no correction: it is null in the
    /// token, and zeros here. Otherwise it is `share − p` modulo the group's order, in the
    /// suite's encoding of a scalar, and the signature over [`row_statement`](super::formula::row_statement).
    pub rows: Vec<Row>,
}

impl Token {
    /// Decodes a token strictly: what is accepted is the only encoding of what it means. Expiry, signatures and policies
    /// are not judged here, nor the values of points and scalars.
    pub fn decode(bytes: &[u8]) -> Result<Token, Malformed> {
        let mut reader = Reader::new("token", bytes, Limits::PROTOCOL)?;
        let mut map = reader.map(&KEYS)?;
        let rows = map.field("rows")?.list(2..=SEATS, read_row)?;
        let header_bytes = map.field("header")?.bytes(TOKEN_BYTES)?;
        let header = Header::decode_within("token.header", header_bytes)?;
        let point = header.facts().map_or(0, |suite| suite.point);
        let vector = map
            .field("vector")?
            .list(2..=SEATS, |r| r.bytes(point).map(<[u8]>::to_vec))?;
        let transcript = map.field("transcript")?.bytes_n()?;
        map.end();
        reader.finish()?;
        check_vector("token", &header, &vector)?;
        let rows = in_form(&header, rows)?;
        check_rows(&header, &rows)?;
        let body = Body::from_checked(header_bytes.to_vec(), header, vector, transcript);
        Ok(Token { body, rows })
    }

    /// The bytes of this token. Of a decoded one, the bytes that it was decoded from; where rows were replaced by ones that
    /// are out of bounds, bytes that every decoder refuses.
    pub fn encode(&self) -> Vec<u8> {
        let body = &self.body;
        let mut writer =
            Writer::with_capacity(body.header_bytes.len() + 192 * self.rows.len() + 128);
        writer.map(KEYS.len());
        writer.key("rows").array(self.rows.len());
        for row in &self.rows {
            write_row(&mut writer, body.header.kind, row);
        }
        writer.key("header").bytes(&body.header_bytes);
        writer.key("vector").array(body.vector.len());
        for point in &body.vector {
            writer.bytes(point);
        }
        writer.key("transcript").bytes(&body.transcript);
        writer.into_bytes()
    }

    /// A token of its parts. Refuses all that [`decode`](Self::decode) would.
    ///
    /// It needs no rule about its size: with the longest of everything, and 72 bytes of signature a row, it fits.
    pub fn assemble(body: Body, rows: Vec<Row>) -> Result<Token, Malformed> {
        check_rows(&body.header, &rows)?;
        let token = Token { body, rows };
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
}

fn read_row(reader: &mut Reader) -> Result<(Row, bool), Malformed> {
    let mut row = reader.array(4..=4)?;
    let holder = row.item("holder").bytes_n()?;
    let epoch = row.item("epoch").uint()?;
    let correction = row.item("correction").or_null(Reader::bytes_n)?;
    let signature = row.item("signature").bytes(TOKEN_BYTES)?.to_vec();
    let read = Row {
        holder,
        epoch,
        correction: correction.unwrap_or_default(),
        signature,
    };
    Ok((read, correction.is_some()))
}

fn write_row(writer: &mut Writer, kind: Kind, row: &Row) {
    let correction = (kind == Kind::Regenerated).then_some(&row.correction[..]);
    writer.array(4).bytes(&row.holder).uint(row.epoch);
    writer.bytes_or_null(correction).bytes(&row.signature);
}

/// The rows, if they have corrections where they must, and none elsewhere.
fn in_form(header: &Header, rows: Vec<(Row, bool)>) -> Result<Vec<Row>, Malformed> {
    let masked = header.kind == Kind::Regenerated;
    match rows.iter().position(|(_, has)| *has != masked) {
        Some(seat) => Err(Malformed(format!(
            "token.rows[{seat}].correction: of kind {} every row has {}",
            header.kind.as_str(),
            if masked { "one" } else { "none" }
        ))),
        None => Ok(rows.into_iter().map(|(row, _)| row).collect()),
    }
}

fn check_rows(header: &Header, rows: &[Row]) -> Result<(), Malformed> {
    let (is, seats) = (rows.len(), header.quorum.of.len());
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
