//! The statement that is signed, and the approval that carries it.

use evanesce_policy::RelyingParty;
use evanesce_token::Malformed;
use evanesce_token::cbor::{Limits, Reader, Writer};
use evanesce_token::formula;
use evanesce_token::hash::th;
use evanesce_wire::{Id, Identity, WireError, limits, verify_statement};

use crate::TEXT;
use crate::webauthn::Assertion;

/// Longest statement, in bytes: its text and some 250 more.
const STATEMENT: usize = TEXT + 512;
/// Longest public key, in bytes (P-256 in DER has 91).
const KEY: usize = 128;
/// Longest signature, in bytes (ECDSA P-256 in DER has at most 72).
const SIGNATURE: usize = 72;
/// Longest action or suite, in bytes.
const NAME: usize = 64;

/// What an approver says: one operation may be done, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What the person saw.
    pub text: String,
    /// The operation's input digest (PROTOCOL §6).
    pub input: [u8; 32],
    /// Fresh and random, drawn by whoever approves.
    pub nonce: [u8; 16],
    /// The suite, or "".
    pub suite: String,
    /// Token id.
    pub token: Id,
    /// The action (PROTOCOL §6).
    pub action: String,
    /// Id of the caller who asks for it.
    pub caller: Id,
    /// Unix seconds: from then on the approval is none.
    pub expires: u64,
}

/// A statement and an approver's signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The approver's key, SubjectPublicKeyInfo DER.
    pub approver: Vec<u8>,
    /// What an authenticator signed around the challenge; `None` where a key signed the statement's hash itself.
    pub webauthn: Option<Assertion>,
    /// By the approver's key.
    pub signature: Vec<u8>,
    /// A [`Statement`], as it was signed.
    pub statement: Vec<u8>,
}

impl Statement {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256 + self.text.len());
        w.map(9);
        w.key("v").uint(1);
        w.key("text").text(&self.text);
        w.key("input").bytes(&self.input);
        w.key("nonce").bytes(&self.nonce);
        w.key("suite").text(&self.suite);
        w.key("token").bytes(&self.token);
        w.key("action").text(&self.action);
        w.key("caller").bytes(&self.caller);
        w.key("expires").uint(self.expires);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new("statement", bytes, Limits::PROTOCOL)?;
        let mut m = r.map(&[
            "v", "text", "input", "nonce", "suite", "token", "action", "caller", "expires",
        ])?;
        let version = m.field("v")?;
        if version.uint()? != 1 {
            return Err(version.malformed("an unknown version"));
        }
        let statement = Self {
            text: m.field("text")?.text(TEXT)?.to_owned(),
            input: m.field("input")?.bytes_n()?,
            nonce: m.field("nonce")?.bytes_n()?,
            suite: m.field("suite")?.text(NAME)?.to_owned(),
            token: m.field("token")?.bytes_n()?,
            action: m.field("action")?.text(NAME)?.to_owned(),
            caller: m.field("caller")?.bytes_n()?,
            expires: m.field("expires")?.uint()?,
        };
        m.end();
        r.finish()?;
        Ok(statement)
    }

    /// The 32 bytes that a key signs, and the challenge that an authenticator is given.
    pub fn challenge(&self) -> [u8; 32] {
        challenge(&self.encode())
    }

    /// Approved by the key of an identity.
    pub fn sign(&self, approver: &dyn Identity) -> Result<Approval, WireError> {
        let statement = self.encode();
        Ok(Approval {
            approver: approver.spki().to_vec(),
            webauthn: None,
            signature: approver.sign(&challenge(&statement))?,
            statement,
        })
    }
}

impl Approval {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(512 + self.statement.len());
        w.map(4);
        w.key("approver").bytes(&self.approver);
        w.key("webauthn");
        Assertion::write(self.webauthn.as_ref(), &mut w);
        w.key("signature").bytes(&self.signature);
        w.key("statement").bytes(&self.statement);
        w.into_bytes()
    }

    /// Strictly from CBOR, of which at most 8 KiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let most = Limits {
            bytes: limits::APPROVAL,
            depth: 4,
        };
        let mut r = Reader::new("approval", bytes, most)?;
        let mut m = r.map(&["approver", "webauthn", "signature", "statement"])?;
        let approval = Self {
            approver: m.field("approver")?.bytes(KEY)?.to_vec(),
            webauthn: m.field("webauthn")?.or_null(Assertion::read)?,
            signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
            statement: m.field("statement")?.bytes(STATEMENT)?.to_vec(),
        };
        m.end();
        r.finish()?;
        Ok(approval)
    }

    /// The approver's id, as a caller's: one key is one person, whichever of the two it is used as.
    pub fn approver_id(&self) -> Id {
        formula::caller_id(&self.approver)
    }

    /// What it is remembered by once it is spent. No signature is in it: of ECDSA's there is always a second one, which
    /// anyone can make.
    pub fn id(&self) -> Id {
        th(
            "approval-id",
            &[&challenge(&self.statement), &self.approver_id()],
        )
    }

    /// What was approved, if the approver's key signed it, in the way that this key must: an authenticator's for its
    /// `site`, any other by itself.
    pub fn verify(&self, site: Option<&RelyingParty>) -> Result<Statement, String> {
        let statement = Statement::decode(&self.statement).map_err(|e| e.to_string())?;
        let challenge = challenge(&self.statement);
        match (site, &self.webauthn) {
            (Some(site), Some(assertion)) => {
                assertion.verify(site, &challenge, &self.approver, &self.signature)?;
            }
            (None, None) if verify_statement(&self.approver, &challenge, &self.signature) => {}
            (None, None) => return Err("its signature is not the approver's over it".into()),
            (Some(_), None) => {
                return Err(
                    "the approver's key is an authenticator's, which did not sign it as one".into(),
                );
            }
            (None, Some(_)) => {
                return Err(
                    "it is an authenticator's, and the approver's key is not named as one".into(),
                );
            }
        }
        Ok(statement)
    }
}

fn challenge(statement: &[u8]) -> [u8; 32] {
    th("approval", &[statement])
}
