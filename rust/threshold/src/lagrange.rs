//! What one share counts for where several are put together: Lagrange's coefficients, over seats' identifiers.

use frost_core::{Field, Scalar};

use crate::arithmetic::{self, FieldOf};
use crate::error::Error;
use crate::group::identifier;
use crate::suite::Suite;

/// A seat's identifier as a scalar.
pub(crate) fn place_of<S: Suite>(seat: u8) -> Result<Scalar<S>, Error> {
    let bytes = identifier::<S>(seat).serialize();
    let bytes: Option<[u8; 32]> = bytes.try_into().ok();
    let scalar = bytes.and_then(|bytes| arithmetic::decode::<S>(&bytes));
    scalar.ok_or_else(unfit)
}

/// λ of `seat` among `seats`, all different: what its share counts for in the polynomial's value at `at`.
pub(crate) fn weight<S: Suite>(seats: &[u8], seat: u8, at: Scalar<S>) -> Result<Scalar<S>, Error> {
    let own = place_of::<S>(seat)?;
    let (mut above, mut below) = (FieldOf::<S>::one(), FieldOf::<S>::one());
    for other in seats.iter().filter(|other| **other != seat) {
        let other = place_of::<S>(*other)?;
        above = above * (at - other);
        below = below * (own - other);
    }
    let below = FieldOf::<S>::invert(&below).map_err(|_| unfit())?;
    Ok(above * below)
}

fn unfit() -> Error {
    Error::Unfit("no such seats".into())
}
