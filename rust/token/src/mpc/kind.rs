//! The two forms of the second kind, and the labels of each: what is made for one is of no use in the other.

/// Where the shares of a key are between its uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nowhere: each is masked by its row's correction and regenerated for each use (`regen-mpc`).
    Regenerated,
    /// At their holders, each sealed under its element (`mpc`).
    Kept,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Regenerated, Kind::Kept];

    /// What the header says.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Regenerated => "regen-mpc",
            Kind::Kept => "mpc",
        }
    }

    /// The kind of this word.
    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// One of two labels.
    pub(super) fn label(self, regenerated: &'static str, kept: &'static str) -> &'static str {
        match self {
            Kind::Regenerated => regenerated,
            Kind::Kept => kept,
        }
    }
}
