//! An authenticator's signature around a challenge (W3C Web Authentication Level 2, §7.2).
//!
//! Of the steps there, those about the ceremony (which credential, which user) are answered by whose key it is; the
//! signature counter is not looked at, since no agent sees every use of an authenticator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evanesce_policy::RelyingParty;
use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::{Malformed, quoted};
use evanesce_wire::verify_message;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Longest client data, in bytes: an origin and a challenge, and what browsers add.
const CLIENT_DATA: usize = 1024;
/// Longest authenticator data, in bytes: 37, and extensions.
const AUTHENTICATOR_DATA: usize = 512;
/// Authenticator data without extensions: the relying party's hash, flags, a counter (§6.1).
const PLAIN: usize = 37;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const CREDENTIAL: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// What an authenticator signed, but for the signature: `response` of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
}

/// Of the client data what is judged (§5.8.1); there may be more.
#[derive(Deserialize)]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: Option<bool>,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<serde_json::Value>,
}

impl Assertion {
    pub(crate) fn write(assertion: Option<&Self>, w: &mut Writer) {
        let Some(assertion) = assertion else {
            w.null();
            return;
        };
        w.map(2);
        w.key("client_data").bytes(&assertion.client_data);
        w.key("authenticator_data")
            .bytes(&assertion.authenticator_data);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["client_data", "authenticator_data"])?;
        Ok(Self {
            client_data: m.field("client_data")?.bytes(CLIENT_DATA)?.to_vec(),
            authenticator_data: m
                .field("authenticator_data")?
                .bytes(AUTHENTICATOR_DATA)?
                .to_vec(),
        })
    }

    /// Whether the authenticator of `key`, having verified its user, signed this challenge on a page of `site`.
    pub(crate) fn verify(
        &self,
        site: &RelyingParty,
        challenge: &[u8; 32],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("the authenticator's assertion: {what}"));
        let Ok(client) = serde_json::from_slice::<ClientData>(&self.client_data) else {
            return wrong("its client data is not that of WebAuthn");
        };
        if client.r#type != "webauthn.get" {
            return wrong("it is none, but something else of WebAuthn");
        }
        if client.challenge != URL_SAFE_NO_PAD.encode(challenge) {
            return wrong("it is about another statement");
        }
        if !site.admits(&client.origin) {
            let origin = quoted(&client.origin);
            return wrong(&format!("it was asked for by another page, {origin}"));
        }
        if client.cross_origin == Some(true) || client.top_origin.is_some() {
            return wrong("it was asked for from inside another page");
        }
        let data = &self.authenticator_data[..];
        let Some((party, rest)) = data.split_first_chunk::<32>() else {
            return wrong("its authenticator data is cut short");
        };
        if party[..] != Sha256::digest(site.id())[..] {
            return wrong("it is for another relying party");
        }
        let flags = rest.first().copied().unwrap_or(0);
        let length = match flags & EXTENSIONS {
            0 => data.len() == PLAIN,
            _ => data.len() > PLAIN,
        };
        if !length || flags & CREDENTIAL != 0 {
            return wrong("its authenticator data is not that of an assertion");
        }
        if flags & USER_PRESENT == 0 {
            return wrong("nobody was there");
        }
        if flags & USER_VERIFIED == 0 {
            return wrong("its user was not verified");
        }
        let signed = [data, &Sha256::digest(&self.client_data)[..]].concat();
        match verify_message(key, &signed, signature) {
            true => Ok(()),
            false => wrong("its signature is not the approver's"),
        }
    }
}
