//! Roots as objects in a token: made, imported, found (PROTOCOL §5).
//!
//! A root is a 32-byte secret key labelled `<root_label>-<epoch>` that may sign and nothing else.

use super::fault::Fault;
use super::module::Module;
use super::template::{Purpose, strict, strictest};
use super::{mechanism, printable};
use crate::ElementError;
use crate::software::parse_epoch;
use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use evanesce_secret::{Secret, ct_eq};

/// Where a root comes from.
pub(super) enum Origin<'a> {
    /// The token's own random generator.
    Generated,
    /// Outside.
    Imported(&'a Secret<32>),
}

/// Every root with this label, ascending by epoch.
pub(super) fn find(
    _module: &Module,
    session: &Session,
    root_label: &str,
) -> Result<Vec<(u64, ObjectHandle)>, Fault> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
    ];
    let mut found = Vec::new();
    for handle in session.find_objects(&template)? {
        let attributes = session.get_attributes(handle, &[AttributeType::Label])?;
        let Some(Attribute::Label(label)) = attributes.first() else {
            continue;
        };
        let epoch = label
            .strip_prefix(root_label.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"-"));
        if let Some(epoch) = epoch.and_then(parse_epoch) {
            found.push((epoch, handle));
        }
    }
    found.sort_unstable_by_key(|(epoch, _)| *epoch);
    if let Some(pair) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let label = printable(root_label);
        let what = format!(
            "the token holds two keys {label:?}-{}; it cannot be known which is the root",
            pair[0].0
        );
        return Err(ElementError::Config(what).into());
    }
    Ok(found)
}

/// Makes the root of `epoch` under the strictest template, and shows that it computes HMAC-SHA-256.
pub(super) fn make(
    module: &Module,
    session: &Session,
    root_label: &str,
    epoch: u64,
    origin: &Origin,
) -> Result<ObjectHandle, Fault> {
    if find(module, session, root_label)?
        .iter()
        .any(|(held, _)| *held == epoch)
    {
        let label = printable(root_label);
        return Err(ElementError::Config(format!(
            "there is a root {label:?}-{epoch} already; it is left alone"
        ))
        .into());
    }
    // Most modules let a generic secret key sign; some want the HMAC's own key type.
    let mut last = None;
    for kind in [KeyType::GENERIC_SECRET, KeyType::SHA256_HMAC] {
        let made = make_kind(
            module,
            session,
            kind,
            &format!("{root_label}-{epoch}"),
            origin,
        );
        let root = match made {
            Err(fault)
                if fault.rv() == Some(RvError::MechanismInvalid) || fault.about_template() =>
            {
                last = Some(fault);
                continue;
            }
            other => other?,
        };
        match signs(module, session, root, origin) {
            Ok(()) => return Ok(root),
            Err(fault) => {
                session.destroy_object(root)?;
                last = Some(fault);
            }
        }
    }
    Err(last.expect("both kinds were tried"))
}

fn make_kind(
    module: &Module,
    session: &Session,
    kind: KeyType,
    label: &str,
    origin: &Origin,
) -> Result<ObjectHandle, Fault> {
    let make = |strict: &[Attribute], purpose| {
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(kind),
            Attribute::Token(true),
            Attribute::Label(label.into()),
            Attribute::Sign(true),
        ];
        template.extend_from_slice(strict);
        let made = match origin {
            Origin::Imported(root) => {
                module
                    .raw
                    .create_with_value(session, &template, root.expose())?
            }
            Origin::Generated => {
                template.push(Attribute::ValueLen(32.into()));
                let generator = match kind {
                    KeyType::SHA256_HMAC => Mechanism::Sha256KeyGen,
                    _ => Mechanism::GenericSecretKeyGen,
                };
                session.generate_key(&generator, &template)?
            }
        };
        if purpose == Purpose::Try {
            session.destroy_object(made)?;
        }
        Ok(made)
    };
    Ok(strictest(strict(MechanismType::SHA256_HMAC), make)?.0)
}

/// HMAC-SHA-256 under a root, into `y`.
pub(super) fn hmac(
    module: &Module,
    session: &Session,
    root: ObjectHandle,
    input: &[u8],
    y: &mut [u8; 32],
) -> Result<(), Fault> {
    Ok(module
        .raw
        .sign(session, mechanism::SHA256_HMAC, root, input, y)?)
}

/// Two HMACs agree, and a known root's is the right one.
fn signs(
    module: &Module,
    session: &Session,
    root: ObjectHandle,
    origin: &Origin,
) -> Result<(), Fault> {
    let input = b"evanesce: does this key compute HMAC-SHA-256?";
    let (mut first, mut second) = (Secret::zeroed()?, Secret::zeroed()?);
    hmac(module, session, root, input, first.expose_mut())?;
    match origin {
        Origin::Generated => hmac(module, session, root, input, second.expose_mut())?,
        Origin::Imported(root) => evanesce_secret::on_crucible(|| {
            evanesce_token::hash::hmac_sha256(root.expose(), input, second.expose_mut());
        }),
    }
    match ct_eq(first.expose(), second.expose()) {
        true => Ok(()),
        false => Err(ElementError::Unavailable(
            "the token computes something else than HMAC-SHA-256".to_owned(),
        )
        .into()),
    }
}

/// Where a root's attributes are looser than what was asked for, in words.
pub(super) fn loose(session: &Session, root: ObjectHandle) -> Result<Vec<String>, Fault> {
    let wishes = strict(MechanismType::SHA256_HMAC);
    let mut loose = Vec::new();
    for wish in &wishes {
        let kind = wish.attribute_type();
        let held = session.get_attributes(root, &[kind]).unwrap_or_default();
        match held.first() {
            Some(held) if held == wish => {}
            Some(_) => loose.push(format!("{kind} is not as strict as asked for")),
            None => loose.push(format!("{kind} is not known to the token")),
        }
    }
    Ok(loose)
}
