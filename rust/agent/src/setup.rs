//! Before an agent's first start: its root and its identity, and what its element is worth.

use std::path::Path;

use evanesce_element::pkcs11::{self, Pkcs11Element};
use evanesce_element::software::SoftwareElement;
use evanesce_element::{Description, Element, ElementError};
use evanesce_token::formula;
use evanesce_wire::{FileIdentity, Id, Identity};

use crate::config::{Config, ElementSource, IdentitySource};
use crate::error::AgentError;
use crate::hardware::{module, open_element, read_by};

/// The epoch of an agent's first root.
const FIRST_EPOCH: u64 = 1;

/// An agent's element and identity, as they are now.
pub struct ElementReport {
    /// What the element says of itself, accepted weaknesses included.
    pub description: Description,
    /// Epochs whose root it has.
    pub epochs: Vec<u64>,
    /// The id that the identity gives the agent.
    pub agent_id: Id,
}

/// Makes the first root, and the identity where there is none yet; then opens both, which probes the element.
///
/// # Errors
/// An element that already has roots is left as it is and refused; one that is too weak is refused. After any error
/// the root that was made is gone again, or the error says that it is not.
pub fn create(config: &Config) -> Result<ElementReport, AgentError> {
    // What was made is reported on as it is: opening it again would ask for the PIN or passphrase again.
    let element: Box<dyn Element> = match &config.element {
        ElementSource::Software { roots, passphrase } => {
            let passphrase = read_by(config, passphrase.as_ref(), "passphrase")?;
            let made = SoftwareElement::create(&config.path(roots), passphrase.as_ref());
            Box::new(made.map_err(AgentError::Element)?)
        }
        ElementSource::Pkcs11 { .. } => {
            let made = Pkcs11Element::create_root(&module(config)?, FIRST_EPOCH);
            Box::new(made.map_err(AgentError::Element)?)
        }
    };
    let identity = match &config.identity {
        IdentitySource::File(path) => identity_file(&config.path(path)),
        IdentitySource::Element { element: label } => identity_inside(config, label),
    };
    // The element is still open here, so that its token is logged in.
    let agent_id = identity.map_err(|cause| take_back(config, cause))?;
    Ok(ElementReport {
        description: element.description(),
        epochs: element.epochs(),
        agent_id,
    })
}

/// Destroys the root just made: nothing was ever seated under it, and it would stand in the way of the next try.
fn take_back(config: &Config, cause: AgentError) -> AgentError {
    let (place, gone) = match &config.element {
        ElementSource::Software { roots, .. } => {
            let path = config.path(roots);
            let gone = std::fs::remove_file(&path).map_err(|e| e.to_string());
            (path.display().to_string(), gone)
        }
        ElementSource::Pkcs11 { root_label, .. } => {
            let gone = module(config).and_then(|inside| {
                pkcs11::destroy_root(&inside, FIRST_EPOCH).map_err(AgentError::Element)
            });
            let place = format!("{root_label:?}-{FIRST_EPOCH} in the token");
            (place, gone.map_err(|e| e.to_string()))
        }
    };
    match gone {
        Ok(()) => cause,
        Err(why) => AgentError::LeftBehind {
            cause: Box::new(cause),
            left: format!(
                "the root made for it, {place}, could not be destroyed ({why}); destroy it before the next try"
            ),
        },
    }
}

/// Opens element and identity as a start would, without starting anything.
pub fn probe(config: &Config) -> Result<ElementReport, AgentError> {
    let (element, identity) = open_element(config)?;
    Ok(ElementReport {
        description: element.description(),
        epochs: element.epochs(),
        agent_id: identity.agent_id(),
    })
}

fn identity_file(path: &Path) -> Result<Id, AgentError> {
    let identity = if path.exists() {
        FileIdentity::open(path)
    } else {
        FileIdentity::create(path)
    };
    Ok(identity.map_err(AgentError::Identity)?.agent_id())
}

fn identity_inside(config: &Config, label: &str) -> Result<Id, AgentError> {
    let inside = module(config)?;
    let identity = match pkcs11::open_identity(&inside, label) {
        Ok(identity) => identity,
        Err(e @ (ElementError::Locked(_) | ElementError::Unavailable(_))) => {
            return Err(AgentError::Element(e));
        }
        Err(_) => pkcs11::create_identity(&inside, label).map_err(AgentError::Element)?,
    };
    Ok(formula::agent_id(identity.spki()))
}
