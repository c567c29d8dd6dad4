//! The deal: seed, shares, public keys and commitments drawn and computed (PROTOCOL §4, §8).

use std::collections::BTreeMap;

use evanesce_secret::{Secret, SecretVec};
use evanesce_suite::{Material, Suite, catalogue};
use evanesce_token::{Body, Header, formula, sharing};

use super::draft::Draft;
use crate::error::{Code, Error};
use crate::import;
use crate::open::seal_import;

/// What was dealt. The shares lie in locked memory until they are sealed to their holders.
pub(crate) struct Dealt {
    pub body: Body,
    pub public: BTreeMap<String, Vec<u8>>,
    pub sealed: Option<Vec<u8>>,
    pub shares: Vec<Secret<32>>,
}

/// Draws the seed and deals it. On the crucible.
pub(super) fn deal(draft: Draft) -> Result<Dealt, Error> {
    let Draft {
        header,
        suites,
        imported,
    } = draft;
    let imported = imported
        .map(|given| import::admit(given, &suites))
        .transpose()?;
    let mut seed = [0u8; 32];
    evanesce_secret::random(&mut seed);
    deal_seed(&seed, &header, &suites, imported.as_ref())
}

/// Deals `seed` under fresh polynomials; `imported` has been admitted. On the crucible.
pub(crate) fn deal_seed(
    seed: &[u8; 32],
    header: &Header,
    suites: &[&'static dyn Suite],
    imported: Option<&SecretVec>,
) -> Result<Dealt, Error> {
    let deal = formula::deal(&header.encode());
    let mut public = BTreeMap::new();
    for suite in suites.iter().filter(|suite| suite.facts().public) {
        let facts = suite.facts();
        let mut material = [0u8; 128];
        let spki = match imported {
            Some(key) => suite.public_key(&Material::Imported(key.expose())),
            None if facts.imported_only => {
                let message = format!("{} keys are imported, never derived", facts.name);
                return Err(Error::new(
                    Code::BadInput,
                    message,
                    "Give the key to import.",
                ));
            }
            None => {
                formula::material(
                    seed,
                    &header.key,
                    facts.name,
                    &mut material[..facts.material],
                );
                suite.public_key(&Material::Derived(&material[..facts.material]))
            }
        };
        let spki =
            spki.map_err(|e| Error::new(Code::BadInput, format!("{}: {e}", facts.name), ""))?;
        public.insert(facts.name.to_owned(), spki);
    }
    let sealed = match imported {
        Some(key) => Some(
            seal_import(seed, &deal, key)
                .map_err(|_| Error::internal("sealing an imported key"))?,
        ),
        None => None,
    };
    let shares = sharing::split(seed, &header.quorum, &mut evanesce_secret::random)?;
    let commitment =
        |(share, seat): (&Secret<32>, u32)| formula::commitment(&deal, seat, share.expose());
    let commitments = shares.iter().zip(0..).map(commitment).collect();
    let anchor = formula::anchor(&deal, seed);
    let body = Body::to_mint(
        header,
        anchor,
        commitments,
        &public,
        sealed.as_deref(),
        catalogue(),
    )
    .map_err(|e| {
        Error::new(
            Code::BadInput,
            format!("no token can be made of this: {e}"),
            "",
        )
    })?;
    Ok(Dealt {
        body,
        public,
        sealed,
        shares,
    })
}
