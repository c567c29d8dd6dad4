//! Roots by epoch, and the text that holds them:
//!
//! ```text
//! evanesce software roots v1
//! 1 <64 hex digits>
//! 2 <64 hex digits>
//! ```
//!
//! Epochs ascend; every line ends with a newline. The text is a secret: it is parsed where it lies and written
//! straight into locked memory, without strings, and errors name a line's number, never its content.

use super::hex;
use crate::ElementError;
use evanesce_secret::{Secret, SecretVec, on_crucible};

/// The first line, without its newline.
pub(super) const TITLE: &[u8] = b"evanesce software roots v1";
/// The largest epoch (PROTOCOL §2: integers are at most 2^53−1).
const LAST_EPOCH: u64 = (1 << 53) - 1;
/// The most roots a file may hold. Each is taken from the arena.
const MOST_ROOTS: usize = 1024;
/// The most bytes of one line after the title: 16 digits, a space, 64 digits, a newline.
const LONGEST_LINE: usize = 16 + 1 + 64 + 1;

/// The roots of one element, ascending by epoch.
pub(super) struct Roots(Vec<(u64, Secret<32>)>);

impl Roots {
    /// None yet: to be filled with [`push_random`](Self::push_random).
    pub fn empty() -> Self {
        Self(Vec::new())
    }

    /// Epochs, ascending.
    pub fn epochs(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(|(epoch, _)| *epoch)
    }

    /// The highest epoch.
    pub fn current(&self) -> u64 {
        self.epochs().last().expect("an element has a root")
    }

    /// The root of one epoch.
    pub fn get(&self, epoch: u64) -> Option<&Secret<32>> {
        let place = self
            .0
            .binary_search_by_key(&epoch, |(epoch, _)| *epoch)
            .ok()?;
        Some(&self.0[place].1)
    }

    /// Adds a new random root. `epoch` must be above all others.
    pub fn push_random(&mut self, epoch: u64) -> Result<(), ElementError> {
        self.push(epoch, Secret::random()?)
    }

    fn push(&mut self, epoch: u64, root: Secret<32>) -> Result<(), ElementError> {
        if epoch > LAST_EPOCH || self.0.len() == MOST_ROOTS {
            return Err(ElementError::Config(format!(
                "there is no room for a root of epoch {epoch}"
            )));
        }
        assert!(self.epochs().all(|other| other < epoch), "epochs ascend");
        self.0.push((epoch, root));
        Ok(())
    }

    /// Takes one root out and wipes it. Not the last.
    pub fn remove(&mut self, epoch: u64) -> Result<(), ElementError> {
        let Some(place) = self.epochs().position(|other| other == epoch) else {
            return Err(ElementError::EpochNotHeld(epoch));
        };
        if self.0.len() == 1 {
            return Err(ElementError::Config(format!(
                "epoch {epoch} is the only root; delete the file to destroy the element"
            )));
        }
        self.0.remove(place);
        Ok(())
    }

    /// Reads the text form.
    pub fn parse(text: &SecretVec) -> Result<Self, ElementError> {
        on_crucible(|| parse(text.expose()))
    }

    /// Writes the text form into locked memory.
    pub fn to_text(&self) -> Result<SecretVec, ElementError> {
        let mut text = SecretVec::zeroed(TITLE.len() + 1 + self.0.len() * LONGEST_LINE)?;
        let length = on_crucible(|| write(self, text.expose_mut()));
        text.truncate(length);
        Ok(text)
    }
}

fn parse(text: &[u8]) -> Result<Roots, ElementError> {
    let wrong =
        |line: usize, what: &str| ElementError::Config(format!("line {line} of the roots: {what}"));
    let rest = text
        .strip_prefix(TITLE)
        .and_then(|rest| rest.strip_prefix(b"\n"))
        .ok_or_else(|| wrong(1, "must be \"evanesce software roots v1\""))?;
    let mut roots = Roots::empty();
    for (index, line) in rest.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 2;
        let form = || {
            wrong(
                number,
                "must be an epoch, a space, 64 hex digits and a newline",
            )
        };
        let line = line.strip_suffix(b"\n").ok_or_else(form)?;
        let space = line
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(form)?;
        let (epoch, digits) = (&line[..space], &line[space + 1..]);
        let epoch = parse_epoch(epoch).ok_or_else(form)?;
        if digits.len() != 64 {
            return Err(form());
        }
        if roots.epochs().last().is_some_and(|last| last >= epoch) {
            return Err(wrong(number, "epochs must ascend"));
        }
        let root = Secret::try_filled(|root: &mut [u8; 32]| match hex::decode(digits, root) {
            true => Ok(()),
            false => Err(form()),
        })?;
        roots.push(epoch, root)?;
    }
    if roots.0.is_empty() {
        return Err(wrong(2, "there is no root"));
    }
    Ok(roots)
}

/// A decimal number in its one shortest form, at most 2^53−1.
pub(crate) fn parse_epoch(digits: &[u8]) -> Option<u64> {
    let canonical = digits == b"0"
        || digits
            .first()
            .is_some_and(|first| (b'1'..=b'9').contains(first));
    if !canonical || digits.len() > 16 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let epoch = digits
        .iter()
        .fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    (epoch <= LAST_EPOCH).then_some(epoch)
}

/// Writes the text form and returns its length.
fn write(roots: &Roots, mut out: &mut [u8]) -> usize {
    let whole = out.len();
    fn put<'a>(out: &mut &'a mut [u8], length: usize) -> &'a mut [u8] {
        let (head, tail) = std::mem::take(out).split_at_mut(length);
        *out = tail;
        head
    }
    put(&mut out, TITLE.len()).copy_from_slice(TITLE);
    put(&mut out, 1)[0] = b'\n';
    for (epoch, root) in &roots.0 {
        let epoch = format!("{epoch} ");
        put(&mut out, epoch.len()).copy_from_slice(epoch.as_bytes());
        hex::encode(root.expose(), put(&mut out, 64));
        put(&mut out, 1)[0] = b'\n';
    }
    whole - out.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn read(text: &str) -> Result<Roots, ElementError> {
        Roots::parse(&SecretVec::from_slice(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let text =
            format!("evanesce software roots v1\n0 {ROOT}\n7 {ROOT}\n9007199254740991 {ROOT}\n");
        let roots = read(&text).unwrap();
        assert_eq!(roots.epochs().collect::<Vec<_>>(), [0, 7, LAST_EPOCH]);
        assert_eq!(roots.get(7).unwrap().expose()[..3], [0, 1, 2]);
        assert!(roots.get(1).is_none());
        assert_eq!(roots.to_text().unwrap().expose(), text.as_bytes());
    }

    #[test]
    fn anything_else_is_refused_naming_the_line_and_no_content() {
        for (body, line) in [
            ("", 2),
            (&format!("1 {ROOT}")[..], 2),
            (&format!("1  {ROOT}\n"), 2),
            (&format!("01 {ROOT}\n"), 2),
            (&format!("-1 {ROOT}\n"), 2),
            (&format!("9007199254740992 {ROOT}\n"), 2),
            (&format!("1 {ROOT}\r\n"), 2),
            (&format!("1 {}\n", &ROOT[1..]), 2),
            (&format!("1 {}g\n", &ROOT[1..]), 2),
            (&format!("1 {ROOT}\n1 {ROOT}\n"), 3),
            (&format!("2 {ROOT}\n1 {ROOT}\n"), 3),
            (&format!("1 {ROOT}\n\n"), 3),
        ] {
            let error = read(&format!("evanesce software roots v1\n{body}"))
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains(&format!("line {line} ")),
                "{body:?}: {error}"
            );
            assert!(!error.contains("0a0b"), "{error}");
        }
        for text in [
            "",
            "evanesce software roots v1",
            "evanesce software roots v2\n",
            &format!("1 {ROOT}\n"),
        ] {
            assert!(read(text).err().unwrap().to_string().contains("line 1 "));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_read_as_anything_but_what_would_be_written(
            lines in "([0-9]{0,3} ?[0-9a-fA-F]{62,66}[\n ]{0,2}){0,4}",
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..8),
            place in 0..400usize,
        ) {
            let mut text = [TITLE, b"\n", lines.as_bytes()].concat();
            let place = place.min(text.len());
            text.splice(place..place, noise);
            if let Ok(roots) = Roots::parse(&SecretVec::from_slice(&text).unwrap()) {
                assert!(roots.to_text().unwrap().expose().eq_ignore_ascii_case(&text));
            }
        }
    }
}
