//! Human approvals: what a person signs, what they were shown, and whether it is so.
//!
//! An [`Approval`] is one key's signature over one [`Statement`]: this operation, on this token, for this caller, until
//! then, as this text said it. The text is no free text: [`Asked`] makes its beginning from what is asked, with the whole
//! payload where there is one, and an approval whose text is another is none. So whoever verifies knows what was on the
//! screen, and a requester cannot have one thing read and another approved.
//!
//! The signature is an identity's (Ed25519, or P-256) over `TH("approval", statement)`, or a WebAuthn authenticator's
//! whose challenge that hash is. Nothing here knows who may approve, remembers what was spent or reads a clock; agents
//! do, each for itself. `docs/agent-api.md` has every byte.
//!
//! | to | use |
//! |---|---|
//! | say what is asked, as people read it | [`Asked::text`] |
//! | approve with a key file | [`Statement::sign`] |
//! | approve with an authenticator | [`Statement::challenge`], then [`Approval`] with an [`Assertion`] |
//! | believe an approval | [`Approval::verify`], then [`Asked::is_approved_by`] |
#![forbid(unsafe_code)]

mod approval;
mod asked;
mod webauthn;

pub use approval::{Approval, Statement};
pub use asked::Asked;
pub use webauthn::Assertion;

/// How far ahead of an agent's clock an approval may end, in seconds.
pub const AHEAD: u64 = 900;
/// How long an approval is made to last, in seconds: a minute less, for clocks that differ.
pub const LIFE: u64 = 840;
/// Longest text of an approval, in bytes.
pub const TEXT: usize = 5120;
/// Longest word of the requester's own in it, in bytes.
pub const WORD: usize = 1000;
