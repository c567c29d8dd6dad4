//! Arithmetic in GF(2^8) modulo x^8+x^4+x^3+x+1 (PROTOCOL §2), without tables or branches.
//!
//! A secret is only ever multiplied by a public factor: the numbers of a gate's children are public, and
//! so is whatever is computed from them alone. Timing depends on neither, and no index is secret.

/// The product of two elements.
pub fn mul(a: u8, b: u8) -> u8 {
    let (mut product, mut shifted) = (0, a);
    for bit in 0..8 {
        product ^= shifted & ((b >> bit) & 1).wrapping_neg();
        shifted = (shifted << 1) ^ (0x1b & (shifted >> 7).wrapping_neg());
    }
    product
}

/// The inverse of an element; that of 0 is 0.
pub fn inverse(a: u8) -> u8 {
    // a^254, from 254 = 2 + 4 + 8 + … + 128
    let (mut power, mut result) = (a, 1);
    for _ in 1..8 {
        power = mul(power, power);
        result = mul(result, power);
    }
    result
}

/// Adds `value × factor` to `sum`, byte by byte: secret vectors, a public factor.
pub fn add_multiple(sum: &mut [u8; 32], value: &[u8; 32], factor: u8) {
    for (sum, value) in sum
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(value.as_chunks::<8>().0)
    {
        let product = mul_lanes(u64::from_le_bytes(*value), factor);
        *sum = (u64::from_le_bytes(*sum) ^ product).to_le_bytes();
    }
}

/// Replaces `value` with `value × factor`, byte by byte: a secret vector, a public factor.
pub fn scale(value: &mut [u8; 32], factor: u8) {
    for lane in value.as_chunks_mut::<8>().0 {
        *lane = mul_lanes(u64::from_le_bytes(*lane), factor).to_le_bytes();
    }
}

/// Eight elements side by side, each multiplied by `factor`.
fn mul_lanes(elements: u64, factor: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (mut product, mut shifted) = (0, elements);
    for bit in 0..8 {
        product ^= shifted & u64::from((factor >> bit) & 1).wrapping_neg();
        let carried = (shifted >> 7) & ONES;
        // 0x1b has the bits 0, 1, 3 and 4, so no carry leaves its byte
        let reduced = carried | carried << 1 | carried << 3 | carried << 4;
        shifted = ((shifted & (ONES * 0x7f)) << 1) ^ reduced;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polynomial multiplication and long division, as a textbook has them.
    fn by_the_book(a: u8, b: u8) -> u8 {
        let mut product = 0u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for degree in (8..16).rev() {
            if product >> degree & 1 == 1 {
                product ^= 0x11b << (degree - 8);
            }
        }
        product as u8
    }

    #[test]
    fn every_product_is_the_textbook_s() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), by_the_book(a, b), "{a} × {b}");
            }
        }
    }

    #[test]
    fn it_is_a_field() {
        for a in 0..=255u8 {
            assert_eq!(mul(a, inverse(a)), u8::from(a != 0), "inverse of {a}");
            assert_eq!(mul(a, 1), a);
            for b in 0..=255u8 {
                assert_eq!(mul(a, b), mul(b, a));
                for c in 0..=255u8 {
                    assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
                    assert_eq!(mul(a, mul(b, c)), mul(mul(a, b), c));
                }
            }
        }
    }

    #[test]
    fn lanes_do_not_disturb_each_other() {
        for factor in 0..=255u8 {
            for start in 0..=255u8 {
                let value: [u8; 32] = std::array::from_fn(|i| start.wrapping_add(i as u8 * 37));
                let sum: [u8; 32] = std::array::from_fn(|i| start.wrapping_mul(i as u8));
                let product = value.map(|byte| mul(byte, factor));

                let mut scaled = value;
                scale(&mut scaled, factor);
                assert_eq!(scaled, product);

                let mut added = sum;
                add_multiple(&mut added, &value, factor);
                assert_eq!(added, std::array::from_fn(|i| sum[i] ^ product[i]));
            }
        }
    }
}
