//! Secure elements: whatever holds an agent's roots and answers HMAC-SHA-256 under them (PROTOCOL §5).
//!
//! An element offers one verb, [`Element::evaluate`]. It guarantees that a root is never handed out,
//! and that the answer is written to memory the caller chose and nowhere else that this crate controls.
//! It does not decide who may ask: that is the agent's gate. What a PKCS#11 module keeps in its own
//! memory, and whether its attributes mean what they say, is the module's affair: [`pkcs11`] tries to
//! get roots out of it at every start, and names each way that works.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod custodians;
mod element;
pub mod pkcs11;
pub mod software;
mod source;
mod terminal;

pub use element::{Description, Element, ElementError};
pub use source::SecretSource;
