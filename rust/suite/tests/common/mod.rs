//! What the integration tests share: running an operation where it belongs, and reading JSON.
#![allow(dead_code)] // every test binary uses its own part

use evanesce_secret::on_crucible;
use evanesce_suite::{Error, Input, Material, Output, Suite, find};
use serde_json::Value;

pub fn suite(name: &str) -> &'static dyn Suite {
    find(name).unwrap_or_else(|| panic!("no suite {name}"))
}

/// One operation on a crucible thread; the result as plain bytes, empty for a verified MAC.
pub fn operate(suite: &dyn Suite, material: Material, input: Input) -> Result<Vec<u8>, Error> {
    on_crucible(|| {
        Ok(match suite.operate(&material, &input)? {
            Output::Public(bytes) => bytes,
            Output::Secret(secret) => secret.expose().to_vec(),
            Output::Verified => Vec::new(),
        })
    })
}

pub fn public_key(suite: &dyn Suite, material: Material) -> Result<Vec<u8>, Error> {
    on_crucible(|| suite.public_key(&material))
}

pub fn admit(suite: &dyn Suite, imported: &[u8]) -> Result<(), Error> {
    on_crucible(|| suite.admit(imported))
}

/// A hex field of a JSON object.
pub fn field(value: &Value, name: &str) -> Vec<u8> {
    let text = value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name}: not a string in {value}"));
    hex::decode(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn field32(value: &Value, name: &str) -> [u8; 32] {
    field(value, name).try_into().expect("32 bytes")
}
