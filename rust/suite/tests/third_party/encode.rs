//! DER that the vectors do not come in: keys from bare numbers, written without the code under test.

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let header = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header.as_slice(), contents].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A non-negative INTEGER from big-endian bytes.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let mut contents = number[zeros..].to_vec();
    if contents.first().is_none_or(|b| b & 0x80 != 0) {
        contents.insert(0, 0);
    }
    tlv(0x02, &contents)
}

fn oid(suite: &str) -> Vec<u8> {
    let algorithm = match suite {
        "ed25519" => "300506032b6570",
        "x25519" => "300506032b656e",
        "ecdsa-p256" => "301306072a8648ce3d020106082a8648ce3d030107",
        "ecdsa-p384" => "301006072a8648ce3d020106052b81040022",
        "ecdsa-secp256k1" => "301006072a8648ce3d020106052b8104000a",
        "ml-dsa-44" => "300b0609608648016503040311",
        "ml-dsa-65" => "300b0609608648016503040312",
        "ml-dsa-87" => "300b0609608648016503040313",
        "ml-kem-768" => "300b0609608648016503040402",
        "ml-kem-1024" => "300b0609608648016503040403",
        rsa if rsa.starts_with("rsa-") => "300d06092a864886f70d0101010500",
        other => panic!("no algorithm identifier for {other}"),
    };
    hex::decode(algorithm).expect("hex")
}

/// SubjectPublicKeyInfo.
pub fn spki(suite: &str, raw: &[u8]) -> Vec<u8> {
    sequence(&[&oid(suite), &tlv(0x03, &[&[0], raw].concat())])
}

/// PKCS#8 around what the algorithm puts into the OCTET STRING.
pub fn pkcs8(suite: &str, private: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0x02, &[0]), &oid(suite), &tlv(0x04, private)])
}

/// An ECPrivateKey without a public key.
pub fn ec_private(suite: &str, scalar: &[u8]) -> Vec<u8> {
    pkcs8(suite, &sequence(&[&tlv(0x02, &[1]), &tlv(0x04, scalar)]))
}

/// RFC 9881 and RFC 9935: the `both` form.
pub fn both(suite: &str, seed: &[u8], expanded: &[u8]) -> Vec<u8> {
    pkcs8(suite, &sequence(&[&tlv(0x04, seed), &tlv(0x04, expanded)]))
}

pub fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    spki("rsa-", &sequence(&[&integer(modulus), &integer(exponent)]))
}

/// From n, e, d, p, q, d mod p−1, d mod q−1, q⁻¹ mod p.
pub fn rsa_private(numbers: &[Vec<u8>]) -> Vec<u8> {
    let integers: Vec<u8> = numbers.iter().flat_map(|number| integer(number)).collect();
    pkcs8("rsa-", &sequence(&[&integer(&[0]), &integers]))
}

/// ECDSA-Sig-Value.
pub fn signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    sequence(&[&integer(r), &integer(s)])
}
