//! A payload: a JSON object that says what an operation is about, in the one form in which it is signed.
//!
//! That form is RFC 8785's, of less than JSON has: whole numbers within ±2^53 alone, no key twice, Unicode
//! without lone surrogates. Every reader therefore sees the same values, whatever it thinks of fractions,
//! exponents or repeated keys, and no two texts of one meaning differ. Bytes come from strangers: what is read
//! is bounded in length and depth, and an error says where it is.

mod shown;

use std::cmp::Ordering;
use std::fmt::Write;

use cedar_policy::RestrictedExpression;

pub use shown::quoted;

/// Longest payload, in bytes.
pub const PAYLOAD: usize = 64 << 10;
/// Deepest nesting of objects and arrays; the outermost object is 1.
pub const PAYLOAD_DEPTH: usize = 16;
/// Largest number either way: beyond it a reader that takes numbers for doubles would see another one.
const LARGEST: i64 = 1 << 53;

pub(crate) type Members = Vec<(String, Value)>;

/// What a payload is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Value>),
    /// Sorted by key, in UTF-16 code units (RFC 8785 §3.2.3).
    Object(Members),
}

/// A payload that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(pub(crate) Members);

impl Payload {
    /// From bytes that must be the canonical form already.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let payload = parse(bytes)?;
        let canonical = payload.canonical();
        if canonical.as_bytes() == bytes {
            return Ok(payload);
        }
        let same = canonical.bytes().zip(bytes).take_while(|(a, b)| a == *b);
        Err(format!(
            "the payload is not in its canonical form (RFC 8785): it departs from it at byte {}",
            same.count()
        ))
    }

    /// The number at a place: keys of objects, from the outermost. `None` where there is something else, or nothing.
    pub fn number(&self, at: &[String]) -> Option<i64> {
        match find(&self.0, at)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text at a place.
    pub fn text(&self, at: &[String]) -> Option<&str> {
        match find(&self.0, at)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn canonical(&self) -> String {
        let mut out = String::new();
        write_object(&self.0, &mut out);
        out
    }

    /// As Cedar sees it: objects are records, arrays are sets. `None` where there is a null in it.
    pub(crate) fn to_cedar(&self) -> Option<RestrictedExpression> {
        record(&self.0)
    }
}

fn find<'a>(members: &'a Members, at: &[String]) -> Option<&'a Value> {
    let (key, rest) = at.split_first()?;
    let (_, value) = members.iter().find(|(name, _)| name == key)?;
    match value {
        _ if rest.is_empty() => Some(value),
        Value::Object(members) => find(members, rest),
        _ => None,
    }
}

/// The canonical form (RFC 8785) of a payload: the message that is signed. An error says what is wrong, and where.
pub fn canonicalise(bytes: &[u8]) -> Result<Vec<u8>, String> {
    parse(bytes).map(|payload| payload.canonical().into_bytes())
}

fn parse(bytes: &[u8]) -> Result<Payload, String> {
    if bytes.len() > PAYLOAD {
        return Err(format!(
            "the payload has {} bytes, at most {PAYLOAD} are allowed",
            bytes.len()
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = e.valid_up_to();
        format!("the payload is not UTF-8{}", place(bytes, before))
    })?;
    let mut parser = Parser { text, at: 0 };
    parser.space();
    if parser.peek() != Some(b'{') {
        return Err(parser.wrong("a payload is a JSON object: \"{\" is expected"));
    }
    let members = parser.object(1)?;
    parser.space();
    match parser.peek() {
        None => Ok(Payload(members)),
        Some(_) => Err(parser.wrong("something follows the object")),
    }
}

/// Where in a text, as an editor counts.
fn place(text: &[u8], at: usize) -> String {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!(", at line {line}, byte {column}")
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, what: &str) -> String {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> String {
        format!("{what}{}", place(self.text.as_bytes(), at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// One value, `depth` containers deep.
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.list(depth + 1).map(Value::List),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.wrong("a value is expected")),
            None => Err(self.wrong("it ends where a value is expected")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn enters(&mut self, depth: usize) -> Result<(), String> {
        if depth > PAYLOAD_DEPTH {
            let why = format!("objects and arrays nest over {PAYLOAD_DEPTH} deep");
            return Err(self.wrong(&why));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, String> {
        self.enters(depth)?;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(items);
        }
        loop {
            self.space();
            items.push(self.value(depth)?);
            self.space();
            if self.takes(b']') {
                return Ok(items);
            }
            if !self.takes(b',') {
                return Err(self.wrong("\",\" or \"]\" is expected"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Members, String> {
        self.enters(depth)?;
        let mut members = Vec::new();
        if self.takes(b'}') {
            return Ok(members);
        }
        // Where each key stands, so that one that comes twice can be shown.
        let mut places = Vec::new();
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in quotes is expected"));
            }
            places.push((self.at, members.len()));
            let key = self.string()?;
            self.space();
            if !self.takes(b':') {
                return Err(self.wrong("\":\" is expected"));
            }
            self.space();
            members.push((key, self.value(depth)?));
            self.space();
            if self.takes(b'}') {
                break;
            }
            if !self.takes(b',') {
                return Err(self.wrong("\",\" or \"}\" is expected"));
            }
        }
        // Stable: of two equal keys the later one stands behind.
        places.sort_by(|(_, a), (_, b)| by_code_units(&members[*a].0, &members[*b].0));
        if let Some(twice) = places
            .windows(2)
            .find(|pair| members[pair[0].1].0 == members[pair[1].1].0)
        {
            return Err(self.wrong_at(twice[1].0, "a key comes twice in one object"));
        }
        members.sort_by(|(a, _), (b, _)| by_code_units(a, b));
        Ok(members)
    }

    fn number(&mut self) -> Result<i64, String> {
        let start = self.at;
        let wrong = |parser: &Self, what: &str| Err(parser.wrong_at(start, what));
        let negative = self.takes(b'-');
        let digits = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = &self.text[digits..self.at];
        if digits.is_empty() {
            return wrong(self, "a digit is expected behind \"-\"");
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            let what = "a payload has whole numbers only, without fraction or exponent: give amounts in minor units";
            return wrong(self, what);
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return wrong(self, "a number begins with a zero");
        }
        if negative && digits == "0" {
            return wrong(self, "-0 is no number of a payload: write 0");
        }
        match digits.parse::<i64>() {
            Ok(number) if number <= LARGEST => Ok(if negative { -number } else { number }),
            _ => wrong(
                self,
                "a number is beyond 2^53, where readers no longer agree: give it as text",
            ),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|c: char| matches!(c, '"' | '\\') || c < ' ') else {
                return Err(self.wrong_at(start, "a text does not end"));
            };
            out.push_str(&rest[..stop]);
            self.at += stop;
            if self.takes(b'"') {
                return Ok(out);
            }
            if !self.takes(b'\\') {
                return Err(self.wrong("a control character in a text must be escaped"));
            }
            out.push(self.escape()?);
        }
    }

    /// What an escape stands for, behind its backslash.
    fn escape(&mut self) -> Result<char, String> {
        let start = self.at - 1;
        let kind = self.peek();
        self.at += 1;
        let simple = match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => return Err(self.wrong_at(start, "an escape that JSON does not have")),
        };
        Ok(simple)
    }

    fn unicode(&mut self, start: usize) -> Result<char, String> {
        let first = self.unit(start)?;
        let unit = match first {
            0xd800..=0xdbff if self.text[self.at..].starts_with("\\u") => {
                self.at += 2;
                [first, self.unit(start)?]
            }
            _ => return char::from_u32(first.into()).ok_or_else(|| self.lone(start)),
        };
        match char::decode_utf16(unit).next() {
            Some(Ok(c)) => Ok(c),
            _ => Err(self.lone(start)),
        }
    }

    fn lone(&self, start: usize) -> String {
        self.wrong_at(start, "half a surrogate pair, which is no character")
    }

    /// Four hexadecimal digits.
    fn unit(&mut self, start: usize) -> Result<u16, String> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.wrong_at(start, "\\u takes four hexadecimal digits"));
        };
        self.at += 4;
        let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0) as u16;
        Ok(digits
            .iter()
            .fold(0, |unit, digit| unit << 4 | value(digit)))
    }
}

/// RFC 8785 §3.2.3. It differs from the order of code points where a character needs two units.
fn by_code_units(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out),
    }
}

fn write_object(members: &Members, out: &mut String) {
    out.push('{');
    for (place, (key, value)) in members.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// RFC 8785 §3.2.2.2.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn record(members: &Members) -> Option<RestrictedExpression> {
    let fields = members
        .iter()
        .map(|(key, value)| Some((key.clone(), expression(value)?)));
    RestrictedExpression::new_record(fields.collect::<Option<Vec<_>>>()?).ok()
}

/// `None` where there is a null in it, which Cedar does not have.
fn expression(value: &Value) -> Option<RestrictedExpression> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Number(number) => RestrictedExpression::new_long(*number),
        Value::Text(text) => RestrictedExpression::new_string(text.clone()),
        Value::Object(members) => record(members)?,
        Value::List(items) => {
            RestrictedExpression::new_set(items.iter().map(expression).collect::<Option<Vec<_>>>()?)
        }
    })
}

#[cfg(test)]
mod tests;
