//! What a file's run came to.

use std::collections::BTreeMap;
use std::fmt::Display;

pub struct Tally {
    path: String,
    pub run: usize,
    /// Reason → vectors within the file that were left out.
    pub skipped: BTreeMap<&'static str, usize>,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            run: 0,
            skipped: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// One vector was run; `good` says whether it came out as it should.
    pub fn expect(&mut self, vector: impl Display, good: bool) {
        self.run += 1;
        if !good {
            self.failures.push(format!("{}: {vector}", self.path));
        }
    }

    pub fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}
