//! What is asked for, and how people read it.

use std::fmt::Write;

use evanesce_policy::{Payload, quoted};
use evanesce_token::text::cut;
use evanesce_wire::Id;

use crate::approval::Statement;
use crate::{AHEAD, TEXT, WORD};

/// An operation that people are asked to approve.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Token id.
    pub token: &'a Id,
    /// The header's name.
    pub key: &'a str,
    /// The action.
    pub action: &'a str,
    /// The suite, or "".
    pub suite: &'a str,
    /// The input digest.
    pub input: &'a [u8; 32],
    /// Who asks.
    pub caller: &'a Id,
    /// What the operation is about, where agents are shown it: `input` is then its digest.
    pub payload: Option<&'a Payload>,
}

/// What stands before the requester's own word.
const UNCHECKED: &str = "in the requester's words, which no agent can check:";

impl Asked<'_> {
    /// What an approver is shown, and signs: all that agents can check, and where they see no payload, behind it and
    /// marked as such, the requester's own `word`, on one line.
    ///
    /// # Errors
    /// It is longer than an approval can carry.
    pub fn text(&self, word: &str) -> Result<String, String> {
        let mut text = self.checked();
        if self.payload.is_none() && !word.is_empty() {
            let word = cut(word, WORD);
            if word.len() > WORD {
                let long = word.len();
                return Err(format!(
                    "the requester's words have {long} bytes, at most {WORD}"
                ));
            }
            // writing to a String cannot fail
            let _ = write!(text, "\n{UNCHECKED}\n{word}");
        }
        match text.len() {
            0..=TEXT => Ok(text),
            long => Err(format!(
                "what would be shown has {long} bytes, and an approval carries at most {TEXT}: a payload this long cannot be approved"
            )),
        }
    }

    /// What of the text agents make themselves.
    fn checked(&self) -> String {
        let key = quoted(&cut(self.key, 255));
        let suite = match self.suite {
            "" => String::new(),
            suite => format!(" as {suite}"),
        };
        let (token, caller) = (hex::encode(self.token), hex::encode(self.caller));
        let about = match self.payload {
            Some(payload) => format!("payload {}", payload.shown()),
            None => format!("input digest {}", hex::encode(self.input)),
        };
        format!(
            "{} with the key {key}{suite}\ntoken {token}\nasked for by {caller}\n{about}",
            self.action
        )
    }

    /// Whether a statement that was signed is about this, shown as it is, and of this time (Unix seconds).
    pub fn is_approved_by(&self, statement: &Statement, now: u64) -> Result<(), String> {
        let another = |what: &str| Err(format!("it is about another {what}"));
        if statement.token != *self.token {
            return another("token");
        }
        if statement.caller != *self.caller {
            return another("caller's request");
        }
        if statement.action != self.action || statement.suite != self.suite {
            return another("operation");
        }
        if statement.input != *self.input {
            return another("input");
        }
        if now >= statement.expires {
            return Err(format!("it ended {} s ago", now - statement.expires));
        }
        if statement.expires > now + AHEAD {
            return Err(format!("it ends over {AHEAD} s from now: compare clocks"));
        }
        let checked = self.checked();
        let rest = statement.text.strip_prefix(&checked);
        let fine = match rest {
            Some("") => true,
            Some(rest) => {
                let word = rest
                    .strip_prefix('\n')
                    .and_then(|rest| rest.strip_prefix(UNCHECKED));
                let word = word.and_then(|rest| rest.strip_prefix('\n'));
                self.payload.is_none()
                    && word.is_some_and(|word| word.len() <= WORD && cut(word, WORD) == word)
            }
            None => false,
        };
        match fine {
            true => Ok(()),
            false => Err("its text is not what this operation is shown as".into()),
        }
    }
}
