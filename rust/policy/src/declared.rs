//! The type of the payload that a policy looks at, as the policy itself declares it:
//! `@payload("{ amount: Long, currency: String, to?: String }")` on one of its statements.
//!
//! Cedar's schema syntax, of which it takes what JSON has: `Long`, `String`, `Bool`, `Set<…>` and records. It is read
//! here and written anew before it becomes part of a schema, since the text is a stranger's and could otherwise
//! close the type and declare something else behind it.

use std::collections::BTreeSet;
use std::fmt;

use cedar_policy::PolicySet;

use crate::payload::{Members, PAYLOAD_DEPTH, Payload, Value};

/// The annotation's name.
const ANNOTATION: &str = "payload";

/// The type of a payload, or of something in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Long,
    Text,
    Bool,
    Set(Box<Kind>),
    Record(Vec<Attribute>),
}

/// What a record has, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    name: String,
    optional: bool,
    kind: Kind,
}

/// The type that a policy declares; `None` where it declares none.
pub fn declared(set: &PolicySet) -> Result<Option<Kind>, String> {
    let mut found = set
        .policies()
        .filter_map(|policy| policy.annotation(ANNOTATION));
    let Some(text) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err("it declares its payload twice: one statement has @payload, for all".into());
    }
    let kind = read(text).map_err(|why| format!("@payload does not declare a type: {why}"))?;
    Ok(Some(kind))
}

/// In Cedar's schema syntax, so that it can stand in a schema.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => f.write_str("Long"),
            Self::Text => f.write_str("String"),
            Self::Bool => f.write_str("Bool"),
            Self::Set(of) => write!(f, "Set<{of}>"),
            Self::Record(attributes) if attributes.is_empty() => f.write_str("{}"),
            Self::Record(attributes) => {
                for (place, one) in attributes.iter().enumerate() {
                    let (open, optional) = (
                        ["{ ", ", "][place.min(1)],
                        ["", "?"][usize::from(one.optional)],
                    );
                    write!(f, "{open}\"{}\"{optional}: {}", one.name, one.kind)?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl Kind {
    /// Whether a payload is of this type; if not, where it is not. Nothing of the payload is repeated: the answer
    /// goes into logs.
    pub fn fits(&self, payload: &Payload) -> Result<(), String> {
        match self {
            Self::Record(attributes) => record(attributes, &payload.0, "payload"),
            _ => Err("the payload's type is no record".into()),
        }
    }

    fn holds(&self, value: &Value, place: &str) -> Result<(), String> {
        match (self, value) {
            (Self::Long, Value::Number(_))
            | (Self::Text, Value::Text(_))
            | (Self::Bool, Value::Bool(_)) => Ok(()),
            (Self::Set(of), Value::List(items)) => {
                let place = format!("{place}[]");
                items.iter().try_for_each(|item| of.holds(item, &place))
            }
            (Self::Record(attributes), Value::Object(members)) => {
                record(attributes, members, place)
            }
            _ => Err(format!("{place} is {}, not {}", word(value), self.word())),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Long => "a number",
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Set(_) => "an array",
            Self::Record(_) => "an object",
        }
    }
}

fn record(attributes: &[Attribute], members: &Members, place: &str) -> Result<(), String> {
    let mut known = 0;
    for one in attributes {
        match members.iter().find(|(key, _)| *key == one.name) {
            Some((_, value)) => one.kind.holds(value, &format!("{place}.{}", one.name))?,
            None if one.optional => continue,
            None => return Err(format!("{place}.{} is missing", one.name)),
        }
        known += 1;
    }
    if known < members.len() {
        return Err(format!("{place} has a key that the type does not have"));
    }
    Ok(())
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn read(text: &str) -> Result<Kind, String> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    if !reader.text[reader.at..].starts_with('{') {
        return Err(reader.wrong("a payload is a record: \"{\" is expected"));
    }
    let kind = reader.kind(1)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("something follows the record"));
    }
    Ok(kind)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> String {
        format!("{what}, at byte {} of its text", self.at + 1)
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_ascii_start().len();
    }

    fn takes(&mut self, c: char) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expects(&mut self, c: char) -> Result<(), String> {
        match self.takes(c) {
            true => Ok(()),
            false => Err(self.wrong(&format!("{c:?} is expected"))),
        }
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn kind(&mut self, depth: usize) -> Result<Kind, String> {
        if depth > PAYLOAD_DEPTH {
            return Err(self.wrong(&format!("it nests over {PAYLOAD_DEPTH} deep")));
        }
        self.space();
        if self.text[self.at..].starts_with('{') {
            return self.record(depth);
        }
        let start = self.at;
        Ok(match self.word() {
            "Long" => Kind::Long,
            "String" => Kind::Text,
            "Bool" => Kind::Bool,
            "Set" => {
                self.expects('<')?;
                let of = self.kind(depth + 1)?;
                self.expects('>')?;
                Kind::Set(of.into())
            }
            _ => {
                self.at = start;
                return Err(self.wrong("Long, String, Bool, Set<...> or a record is expected"));
            }
        })
    }

    fn record(&mut self, depth: usize) -> Result<Kind, String> {
        self.expects('{')?;
        let mut attributes = Vec::new();
        let mut names = BTreeSet::new();
        while !self.takes('}') {
            let name = self.name()?;
            if !names.insert(name) {
                return Err(self.wrong("an attribute comes twice"));
            }
            let optional = self.takes('?');
            self.expects(':')?;
            let kind = self.kind(depth + 1)?;
            attributes.push(Attribute {
                name: name.to_owned(),
                optional,
                kind,
            });
            if !self.takes(',') {
                self.expects('}')?;
                break;
            }
        }
        Ok(Kind::Record(attributes))
    }

    /// An attribute: a word, or any text in quotes that needs no escapes.
    fn name(&mut self) -> Result<&'a str, String> {
        if !self.takes('"') {
            return match self.word() {
                "" => Err(self.wrong("an attribute is expected")),
                word => Ok(word),
            };
        }
        let rest = &self.text[self.at..];
        let end = rest.find('"').unwrap_or(rest.len());
        let name = &rest[..end];
        if name.contains('\\') || name.contains(char::is_control) {
            return Err(self.wrong("an attribute cannot hold a backslash or a control character"));
        }
        self.at += end;
        self.expects('"')?;
        Ok(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any type of a payload.
    pub(crate) fn record_kind() -> impl Strategy<Value = Kind> {
        let name = prop::sample::select(vec!["a", "b", "is", "é ", "__x"]);
        let leaf = prop::sample::select(vec![Kind::Long, Kind::Text, Kind::Bool]);
        let kind = leaf.prop_recursive(3, 12, 3, move |inner| {
            let attributes =
                prop::collection::btree_map(name.clone(), (any::<bool>(), inner.clone()), 0..4);
            prop_oneof![
                inner.prop_map(|of| Kind::Set(of.into())),
                attributes.prop_map(|all| {
                    let attribute = |(name, (optional, kind)): (&str, (bool, Kind))| Attribute {
                        name: name.to_owned(),
                        optional,
                        kind,
                    };
                    Kind::Record(all.into_iter().map(attribute).collect())
                }),
            ]
        });
        kind.prop_map(|kind| match kind {
            Kind::Record(_) => kind,
            other => Kind::Record(vec![Attribute {
                name: "only".into(),
                optional: false,
                kind: other,
            }]),
        })
    }

    /// A value of a type; where the next byte is small, something else in its place.
    pub(crate) fn value_of(kind: &Kind, bytes: &mut impl Iterator<Item = u8>) -> Value {
        let mut next = || bytes.next().unwrap_or(255);
        match next() {
            0 => return Value::Null,
            1 => return Value::Number(1),
            2 => return Value::Text("x".into()),
            3 => return Value::List(vec![Value::Bool(true)]),
            4 => return Value::Object(vec![]),
            _ => {}
        }
        match kind {
            Kind::Long => Value::Number(next().into()),
            Kind::Text => Value::Text(char::from(next()).into()),
            Kind::Bool => Value::Bool(next().is_multiple_of(2)),
            Kind::Set(of) => {
                let count = next() % 3;
                Value::List((0..count).map(|_| value_of(of, bytes)).collect())
            }
            Kind::Record(attributes) => {
                let mut members = Vec::new();
                for one in attributes {
                    let skip = bytes.next().unwrap_or(255);
                    if skip < 8 || one.optional && skip.is_multiple_of(2) {
                        continue;
                    }
                    members.push((one.name.clone(), value_of(&one.kind, bytes)));
                }
                if bytes.next() == Some(9) {
                    members.push(("zz".into(), Value::Number(1)));
                }
                Value::Object(members)
            }
        }
    }

    #[test]
    fn types_are_written_anew() {
        for (text, expected) in [
            ("{}", "{}"),
            (
                "{amount:Long,to?:String}",
                "{ \"amount\": Long, \"to\"?: String }",
            ),
            (
                " {\n lines : Set < { sku: String, n: Long, } > ,\n \"ship to\" ? : Bool } ",
                "{ \"lines\": Set<{ \"sku\": String, \"n\": Long }>, \"ship to\"?: Bool }",
            ),
            ("{ in: Long, \"é\": Long }", "{ \"in\": Long, \"é\": Long }"),
        ] {
            let kind = read(text).unwrap();
            assert_eq!(kind.to_string(), expected);
            assert_eq!(read(expected), Ok(kind));
        }
    }

    #[test]
    fn what_is_no_type_of_json_is_refused() {
        let deep = format!("{{a:{}Long{}}}", "Set<".repeat(16), ">".repeat(16));
        for (text, what) in [
            ("", "\"{\" is expected, at byte 1"),
            ("Long", "\"{\" is expected"),
            ("{a:Decimal}", "Long, String, Bool"),
            ("{a:ipaddr}", "expected, at byte 4"),
            ("{a:Key}", "expected"),
            ("{a:Set}", "'<' is expected"),
            ("{a:Set<Long}", "'>' is expected"),
            ("{a Long}", "':' is expected"),
            ("{a:Long b:Long}", "'}' is expected"),
            ("{a:Long,,}", "attribute is expected"),
            ("{a:Long,\"a\":Long}", "twice"),
            ("{\"a:Long}", "'\"' is expected"),
            ("{\"a\\\"\": Long}", "backslash"),
            ("{\"a\u{a}\": Long}", "control"),
            ("{a:Long} // more", "follows"),
            ("{a:Long}; entity Key", "follows"),
            ("{a:Long}}; entity Key; type T = {b:Long}", "follows"),
            ("{@doc(\"x\") a:Long}", "attribute is expected"),
            (&deep, "nests over 16 deep"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(what), "{text}: {why}");
        }
    }
}
