//! The element and the identity that a configuration names, opened.

use evanesce_token::text::cut;
use std::sync::Arc;

use evanesce_element::pkcs11::{self, P256Identity, Pkcs11Element};
use evanesce_element::software::SoftwareElement;
use evanesce_element::{Element, ElementError};
use evanesce_wire::{FileIdentity, Identity, WireError};

use crate::config::{Config, ElementSource, IdentitySource};
use crate::error::AgentError;
use crate::limits;

/// An element and the identity that goes with it.
pub type Hardware = (Arc<dyn Element>, Arc<dyn Identity>);

/// The identity alone. One inside an element needs its token logged in: open that first.
pub fn open_identity(config: &Config) -> Result<Arc<dyn Identity>, AgentError> {
    Ok(match &config.identity {
        IdentitySource::File(path) => {
            Arc::new(FileIdentity::open(&config.path(path)).map_err(AgentError::Identity)?)
        }
        IdentitySource::Element { element: label } => Arc::new(Inside(
            pkcs11::open_identity(&module(config)?, label).map_err(AgentError::Element)?,
        )),
    })
}

/// Opens both; the element is probed.
pub fn open_element(config: &Config) -> Result<Hardware, AgentError> {
    match &config.element {
        ElementSource::Software { roots, passphrase } => {
            let passphrase = read_by(config, passphrase.as_ref(), "passphrase")?;
            let element = SoftwareElement::open(&config.path(roots), passphrase.as_ref())
                .map_err(AgentError::Element)?;
            let IdentitySource::File(_) = &config.identity else {
                return Err(not_inside());
            };
            Ok((Arc::new(element), open_identity(config)?))
        }
        ElementSource::Pkcs11 { .. } => {
            let inside = module(config)?;
            let element = Pkcs11Element::open(&inside).map_err(AgentError::Element)?;
            Ok((Arc::new(element), open_identity(config)?))
        }
    }
}

pub fn not_inside() -> AgentError {
    AgentError::Element(ElementError::Config(
        "an identity inside the element needs a PKCS#11 element".into(),
    ))
}

/// Where a PIN or passphrase is read from.
pub fn read_by(
    config: &Config,
    source: Option<&crate::config::Source>,
    what: &str,
) -> Result<Option<evanesce_element::SecretSource>, AgentError> {
    let source = source.map(|source| config.source(source, what)).transpose();
    source.map_err(|why| AgentError::Element(ElementError::Config(why)))
}

/// The PKCS#11 module of the configuration, which must name one.
pub fn module(config: &Config) -> Result<pkcs11::Config, AgentError> {
    let ElementSource::Pkcs11 {
        module,
        token,
        slot,
        pin,
        root_label,
        accept_weak_element,
        init_args,
        sessions,
    } = &config.element
    else {
        return Err(not_inside());
    };
    Ok(pkcs11::Config {
        module: config.path(module),
        token_label: token.clone(),
        slot: *slot,
        pin: read_by(config, pin.as_ref(), "PIN")?,
        root_label: root_label.clone(),
        accept_weak_element: *accept_weak_element,
        init_args: init_args.clone(),
        sessions: *sessions,
    })
}

/// An identity key that never leaves the element.
struct Inside(P256Identity);

impl Identity for Inside {
    fn spki(&self) -> &[u8] {
        self.0.spki()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        self.0
            .sign(message)
            .map_err(|e| WireError::Identity(e.to_string()))
    }
}

/// What the element says of itself, cut so that every entry can hold it.
pub fn describe(element: &dyn Element) -> evanesce_element::Description {
    let mut description = element.description();
    description.label = cut(&description.label, limits::ELEMENT_TEXT);
    description.weaknesses = named(description.weaknesses);
    description
}

/// Weaknesses as they are named everywhere: each by itself, within the bounds of an entry.
pub fn named(weaknesses: Vec<String>) -> Vec<String> {
    let mut room = limits::WEAKNESS_BYTES;
    let all = weaknesses.len();
    let mut named: Vec<String> = weaknesses
        .iter()
        .map(|weakness| cut(weakness, limits::ELEMENT_TEXT))
        .take(limits::WEAKNESSES)
        .map_while(|weakness| {
            room = room.checked_sub(weakness.len())?;
            Some(weakness)
        })
        .collect();
    if named.len() < all {
        named.push(format!("and {} more", all - named.len()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weakness_that_the_probe_can_find_is_named_in_full() {
        let longest = "derive: CKM_CONCATENATE_BASE_AND_KEY after another key (epoch 1, 2)";
        let found: Vec<String> = (0..110).map(|n| format!("{longest} {n}")).collect();
        assert_eq!(named(found.clone()), found);
        let module = named(vec![longest.into(); 1000]);
        assert!(module.len() <= limits::WEAKNESSES + 1);
        let left = 1000 - (module.len() - 1);
        assert_eq!(module.last(), Some(&format!("and {left} more")));
    }
}
