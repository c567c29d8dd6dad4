//! Scalars and their 32 bytes. Constant in time as far as the curve libraries are; to be called on the crucible where the
//! scalar is secret, since copies stay on the stack.

use frost_core::{Element, Field, Group, Scalar};

use crate::suite::Suite;

type FieldOf<S> = <<S as frost_core::Ciphersuite>::Group as Group>::Field;

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
