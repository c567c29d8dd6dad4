//! The forms that the files come in: JSON, NIST response files, PEM.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub struct Vector<'a> {
    pub path: &'a str,
    pub bytes: Vec<u8>,
}

impl Vector<'_> {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_else(|_| panic!("{}: not UTF-8", self.path))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path))
    }

    /// The file that belongs to this one: the same path with one part replaced.
    pub fn sibling(&self, from: &str, to: &str) -> Vec<u8> {
        let path = super::root().join(self.path.replace(from, to));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Calls `f` with every group and test of a Wycheproof or ACVP file.
    pub fn each_test(&self, mut f: impl FnMut(&Value, &Value)) {
        let json = self.json();
        for group in json["testGroups"].as_array().expect("testGroups") {
            for test in group["tests"].as_array().expect("tests") {
                f(group, test);
            }
        }
    }

    /// The records of a NIST response file, with the bracketed headers that they stand under.
    pub fn records(&self) -> Vec<Record> {
        let mut headers = Fields::new();
        let mut fields = Fields::new();
        let mut out = Vec::new();
        let mut after_records = true;
        let mut flush = |headers: &Fields, fields: &mut Fields| {
            if !fields.is_empty() {
                let fields = std::mem::take(fields);
                out.push(Record {
                    headers: headers.clone(),
                    fields,
                });
            }
        };
        for line in self.text().lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                if line.is_empty() {
                    flush(&headers, &mut fields);
                }
            } else if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                flush(&headers, &mut fields);
                if std::mem::take(&mut after_records) {
                    headers.clear();
                }
                let (key, value) = header.split_once('=').unwrap_or(("", header));
                // Of several in a row the first stands: a curve, before the method that was used.
                headers
                    .entry(key.trim().into())
                    .or_insert_with(|| value.trim().into());
            } else {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                let (key, value) = (key.trim(), value.trim());
                if fields.contains_key(key) {
                    flush(&headers, &mut fields);
                }
                fields.insert(key.into(), value.into());
                after_records = true;
            }
        }
        flush(&headers, &mut fields);
        out
    }

    /// Every PEM block, or the whole file as one block without a label if it is DER.
    pub fn blocks(&self) -> Vec<(String, Vec<u8>)> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if text.contains("-----BEGIN ") => pem(text),
            _ => vec![(String::new(), self.bytes.clone())],
        }
    }
}

pub type Fields = BTreeMap<String, String>;

pub struct Record {
    /// `[Keylen = 256]` as such, `[P-256,SHA-256]` under the empty key.
    pub headers: Fields,
    pub fields: Fields,
}

impl Record {
    pub fn text(&self, key: &str) -> &str {
        let value = self.fields.get(key);
        value.unwrap_or_else(|| panic!("no {key} in {:?}", self.fields.keys()))
    }

    /// Hex, an odd digit completed by a leading zero.
    pub fn hex(&self, key: &str) -> Vec<u8> {
        hex_number(self.text(key))
    }

    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    pub fn header(&self, key: &str) -> &str {
        self.headers.get(key).map_or("", String::as_str)
    }
}

pub fn hex_number(digits: &str) -> Vec<u8> {
    let digits = digits.trim_end_matches('L');
    let even = if digits.len() % 2 == 1 {
        format!("0{digits}")
    } else {
        digits.to_owned()
    };
    hex::decode(&even).unwrap_or_else(|e| panic!("{digits}: {e}"))
}

/// A big-endian number on exactly `len` bytes; `None` if it does not fit.
pub fn fixed(number: &[u8], len: usize) -> Option<Vec<u8>> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let significant = &number[zeros..];
    let padding = len.checked_sub(significant.len())?;
    Some([&vec![0; padding], significant].concat())
}

/// The PEM blocks in `text`: label and contents.
pub fn pem(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = after.split_once("-----") else {
            break;
        };
        let Some((base64, after)) = body.split_once("-----END ") else {
            break;
        };
        rest = after;
        let base64: String = base64
            .lines()
            .filter(|line| !line.contains(':'))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect();
        // Blocks in other forms (encrypted ones with odd headers, say) may not be base64 at all.
        if let Ok(contents) = STANDARD.decode(&base64) {
            out.push((label.to_owned(), contents));
        }
    }
    out
}

/// The contents of a file with one PEM block.
pub fn pem_bytes(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("PEM");
    pem(text).pop().expect("a PEM block").1
}
