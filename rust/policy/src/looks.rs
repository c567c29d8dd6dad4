//! What a policy can look at of what most do not: how often the key was used, and who has approved.
//!
//! Each takes its time to be made part of a context, and a third more to be judged with. What a policy cannot look at, it is
//! not shown: neither its requests nor the schema that they must fit have it. It is validated against the whole schema.

/// What a policy can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// `context.uses`.
    pub uses: bool,
    /// `context.approvals`.
    pub approvals: bool,
}

/// Each with its word and its line in the published schema.
const USES: (&str, &str) = ("uses", "    uses: { key: Long, caller: Long },\n");
const APPROVALS: (&str, &str) = ("approvals", "    approvals: Approvals,\n");

/// Whether a policy may look at the time, by its text, which escapes could write too.
pub fn at_time(policy: &str) -> bool {
    policy.contains("now") || policy.contains('\\')
}

impl Looks {
    /// By the words in the policy's text, which escapes could write too.
    pub fn of(policy: &str) -> Self {
        let may = |word| policy.contains(word) || policy.contains('\\');
        Self {
            uses: may(USES.0),
            approvals: may(APPROVALS.0),
        }
    }

    /// Every combination, by [`Looks::place`].
    pub fn all() -> [Self; 4] {
        [0, 1, 2, 3].map(|place| Self {
            uses: place & 1 != 0,
            approvals: place & 2 != 0,
        })
    }

    /// Its place among [`Looks::all`].
    pub fn place(self) -> usize {
        usize::from(self.uses) | usize::from(self.approvals) << 1
    }

    /// `schema`, a form of the published one, without what cannot be looked at.
    pub fn narrow(self, schema: &str) -> String {
        let mut narrow = schema.to_owned();
        for (shown, (_, line)) in [(self.uses, USES), (self.approvals, APPROVALS)] {
            assert!(schema.contains(line), "the published schema has the line");
            if !shown {
                narrow = narrow.replace(line, "");
            }
        }
        narrow
    }
}
