//! The strictest template that a module takes, found by trying.
//!
//! Modules differ in which attributes they know. One that is refused is left out and the others stay; what
//! that costs is not guessed at but left to the probe.

use super::fault::Fault;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType};

/// What a key under `mechanism` should be besides signing, the most dispensable first.
pub(super) fn strict(mechanism: MechanismType) -> Vec<Attribute> {
    vec![
        Attribute::AllowedMechanisms(vec![mechanism]),
        Attribute::Verify(false),
        Attribute::Copyable(false),
        Attribute::Modifiable(false),
        Attribute::Unwrap(false),
        Attribute::Decrypt(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Private(true),
        Attribute::Extractable(false),
        Attribute::Sensitive(true),
    ]
}

/// Makes an object with as many of `wishes` as the module takes, and says which it refused.
///
/// `make` is given the attributes to use, and whether to make the lasting object or one that it destroys
/// again at once.
pub(super) fn strictest<T>(
    mut wishes: Vec<Attribute>,
    mut make: impl FnMut(&[Attribute], Purpose) -> Result<T, Fault>,
) -> Result<(T, Vec<AttributeType>), Fault> {
    match make(&wishes, Purpose::Keep) {
        Err(fault) if fault.about_template() => {}
        other => return Ok((other?, Vec::new())),
    }
    // First leave out what the module does not take even alone; then, for what it does not take together, one
    // after the other from the most dispensable on.
    let mut refused = Vec::new();
    wishes.retain(|wish| {
        let alone = make(std::slice::from_ref(wish), Purpose::Try);
        let taken = !alone.is_err_and(|fault| fault.about_template());
        if !taken {
            refused.push(wish.attribute_type());
        }
        taken
    });
    loop {
        match make(&wishes, Purpose::Keep) {
            Err(fault) if fault.about_template() && !wishes.is_empty() => {}
            other => return Ok((other?, refused)),
        }
        refused.push(wishes.remove(0).attribute_type());
    }
}

/// What an object is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To last.
    Keep,
    /// To see whether the module makes it; destroyed at once. It is an object of the token all the same, since
    /// some modules find out only in storing it.
    Try,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;
    use cryptoki::error::{Error, RvError};

    fn no(rv: RvError) -> Fault {
        Error::Pkcs11(rv, Function::GenerateKey).into()
    }

    fn types(attributes: &[Attribute]) -> Vec<AttributeType> {
        attributes.iter().map(Attribute::attribute_type).collect()
    }

    /// Runs a module that refuses templates with any of `unknown`, or with all of `quarrel`.
    fn refused_by(unknown: &[AttributeType], quarrel: &[AttributeType]) -> Vec<AttributeType> {
        let wishes = strict(MechanismType::SHA256_HMAC);
        let all = types(&wishes);
        let (kept, refused) = strictest(wishes, |attributes, _| {
            let asked = types(attributes);
            if asked.iter().any(|asked| unknown.contains(asked)) {
                return Err(no(RvError::AttributeTypeInvalid));
            }
            if !quarrel.is_empty() && quarrel.iter().all(|one| asked.contains(one)) {
                return Err(no(RvError::TemplateInconsistent));
            }
            Ok(asked)
        })
        .unwrap();
        assert_eq!(kept.len() + refused.len(), all.len());
        assert!(kept.iter().all(|kept| !refused.contains(kept)));
        refused
    }

    #[test]
    fn only_what_the_module_refuses_is_left_out() {
        assert_eq!(refused_by(&[], &[]), []);
        let unknown = [
            AttributeType::AllowedMechanisms,
            AttributeType::Modifiable,
            AttributeType::Derive,
        ];
        assert_eq!(refused_by(&unknown, &[]), unknown);
    }

    #[test]
    fn of_attributes_that_quarrel_the_most_dispensable_goes() {
        let quarrel = [AttributeType::AllowedMechanisms, AttributeType::Private];
        assert_eq!(
            refused_by(&[], &quarrel),
            [AttributeType::AllowedMechanisms]
        );
    }

    #[test]
    fn another_error_ends_it_at_once() {
        let mut calls = 0;
        let result = strictest(strict(MechanismType::SHA256_HMAC), |_, _| {
            calls += 1;
            Err::<(), _>(no(RvError::DeviceRemoved))
        });
        assert!(result.is_err() && calls == 1);
    }
}
