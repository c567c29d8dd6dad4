//! The one trait every kind of element implements, and the errors they share (PROTOCOL §5).

use std::fmt;

/// A holder of roots that answers HMAC-SHA-256 under them and nothing else (PROTOCOL §5).
pub trait Element: Send + Sync {
    /// What this element is, for people, receipts and `doctor`.
    fn description(&self) -> Description;

    /// Every epoch whose root is held, ascending. Never empty.
    fn epochs(&self) -> Vec<u64>;

    /// The epoch under which new rows are made: the highest held.
    fn current(&self) -> u64;

    /// `y = HMAC-SHA-256(root_epoch, input)`.
    ///
    /// `y` should lie in a crucible stack or a `Secret<32>`. May be called from several threads at once.
    /// Errors: [`ElementError::EpochNotHeld`], or why the element did not answer; `y` is then zero.
    fn evaluate(&self, epoch: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError>;
}

/// What an element is and how far it can be trusted. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `"software"` or `"pkcs11"`.
    pub kind: &'static str,
    /// For people: the kind of element, and for a module its name, version and token label.
    pub label: String,
    /// True for an element that protects its roots by file permissions or a passphrase alone.
    pub development: bool,
    /// Each way in which a root could be got out or loosened when it was tried, `"wrap: CKM_AES_KEY_WRAP"`.
    /// Not empty only where the operator accepted a weak element.
    pub weaknesses: Vec<String>,
    /// What is worth knowing but no weakness: what an attempt could not be made with or taught nothing about, and
    /// where a root's attributes are looser than was asked for (the attempts were made all the same).
    pub notes: Vec<String>,
}

/// Why an element did not do what was asked. Never contains a secret.
#[derive(Debug)]
pub enum ElementError {
    /// No root is held for this epoch.
    EpochNotHeld(u64),
    /// The element is not there, or does not work now; asking again later may help.
    Unavailable(String),
    /// A PIN or passphrase is missing, wrong or blocked. Never asked again automatically:
    /// tokens count wrong PINs and destroy themselves.
    Locked(String),
    /// The element lets roots out in these ways, and the operator has not accepted that.
    Weak(Vec<String>),
    /// The configuration or a file is wrong; says what and where.
    Config(String),
    /// Protected memory could not be had.
    Secret(evanesce_secret::Error),
}

impl fmt::Display for ElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EpochNotHeld(epoch) => write!(f, "the element holds no root for epoch {epoch}"),
            Self::Unavailable(why) => write!(f, "the element is unavailable: {why}"),
            Self::Locked(why) => write!(f, "the element is locked: {why}"),
            Self::Weak(ways) => write!(
                f,
                "the element lets its roots out or loosens them ({}); use another, or accept it by \
                 setting accept_weak_element = true",
                ways.join("; ")
            ),
            Self::Config(what) => write!(f, "the element is configured wrongly: {what}"),
            Self::Secret(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ElementError {}

impl From<evanesce_secret::Error> for ElementError {
    fn from(error: evanesce_secret::Error) -> Self {
        Self::Secret(error)
    }
}
