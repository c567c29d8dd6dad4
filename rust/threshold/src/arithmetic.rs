//! Scalars and their 32 bytes. Constant in time as far as the curve libraries are; to be called on the crucible where the
//! scalar is secret, since copies stay on the stack.

use frost_core::{Element, Field, Group, Scalar};

use crate::suite::Suite;

pub(crate) type FieldOf<S> = <<S as frost_core::Ciphersuite>::Group as Group>::Field;

/// The scalar that these bytes are the one encoding of.
pub(crate) fn decode<S: Suite>(bytes: &[u8; 32]) -> Option<Scalar<S>> {
    let bytes = <FieldOf<S> as Field>::Serialization::try_from(&bytes[..]).ok()?;
    FieldOf::<S>::deserialize(&bytes).ok()
}

/// Its 32 bytes.
pub(crate) fn encode<S: Suite>(scalar: &Scalar<S>, out: &mut [u8; 32]) {
    out.copy_from_slice(FieldOf::<S>::serialize(scalar).as_ref());
}

/// The scalar times the generator.
pub(crate) fn times_generator<S: Suite>(scalar: &Scalar<S>) -> Element<S> {
    S::Group::generator() * *scalar
}

/// A big-endian number, modulo the group's order. Of 512 bits, so that what comes out is uniform if they are.
pub(crate) fn reduce<S: Suite>(wide: &[u8; 64]) -> Scalar<S> {
    // four limbs of 128 bits, each smaller than either order, and 2^128 itself
    let limb = |bytes: &[u8], carry: u8| {
        let mut limb = [0; 32];
        limb[15] = carry;
        limb[16..].copy_from_slice(bytes);
        if S::LITTLE_ENDIAN {
            limb.reverse();
        }
        decode::<S>(&limb).expect("smaller than the order")
    };
    let shift = limb(&[0; 16], 1);
    wide.chunks_exact(16)
        .fold(FieldOf::<S>::zero(), |sum, chunk| {
            sum * shift + limb(chunk, 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Ed25519, Taproot};

    /// By shifting in one bit after another.
    fn slowly<S: Suite>(wide: &[u8; 64]) -> Scalar<S> {
        let mut sum = FieldOf::<S>::zero();
        for bit in (0..512).map(|bit| wide[bit / 8] >> (7 - bit % 8) & 1) {
            sum = sum + sum;
            if bit == 1 {
                sum = sum + FieldOf::<S>::one();
            }
        }
        sum
    }

    fn numbers_are_reduced<S: Suite>() {
        let mut wide = [0; 64];
        assert!(reduce::<S>(&wide) == FieldOf::<S>::zero());
        wide[63] = 1;
        assert!(reduce::<S>(&wide) == FieldOf::<S>::one());
        assert!(reduce::<S>(&[0xff; 64]) == slowly::<S>(&[0xff; 64]));
        for _ in 0..200 {
            evanesce_secret::random(&mut wide);
            assert!(reduce::<S>(&wide) == slowly::<S>(&wide));
        }
    }

    #[test]
    fn wide_numbers_are_reduced_modulo_the_order() {
        numbers_are_reduced::<Ed25519>();
        numbers_are_reduced::<Taproot>();
    }
}
