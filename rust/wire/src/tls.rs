//! Mutual TLS 1.3 in which only keys are judged (PROTOCOL §6, Transport).
//!
//! X25519MLKEM768 is the only group: whoever records the traffic needs to break both halves. Peers
//! present self-signed certificates; names, dates and issuers in them mean nothing. No tickets, no
//! resumption, no 0-RTT.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ED25519};

use crate::{Id, Identity, WireError};
use evanesce_token::formula;

/// What may sign a handshake: the two kinds of key that an identity can be, and nothing that a peer might try
/// besides. rustls leaves it to the verifier to refuse a scheme that was never offered.
static IDENTITY_KEYS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ED25519, ECDSA_P256_SHA256],
    mapping: &[
        (SignatureScheme::ED25519, &[ED25519]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256]),
    ],
};

/// The only TLS provider in use: TLS 1.3 suites, one hybrid post-quantum group, signatures by identity keys.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        signature_verification_algorithms: IDENTITY_KEYS,
        ..default_provider()
    })
}

/// An agent's side. Any client key may connect: who it belongs to, and what that caller may do, is
/// judged by the agent from [`peer_spki`].
pub fn server(identity: Arc<dyn Identity>) -> Result<Arc<ServerConfig>, WireError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(rejected)?
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity)?)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// A reconstructor's side: the agent must prove the key whose id is `agent`.
pub fn client(identity: Arc<dyn Identity>, agent: Id) -> Result<Arc<ClientConfig>, WireError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(rejected)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey(agent)))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity)?)));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// SubjectPublicKeyInfo of the key a peer has proven, from its certificate chain.
pub fn peer_spki(chain: Option<&[CertificateDer<'_>]>) -> Option<Vec<u8>> {
    let certificate = ParsedCertificate::try_from(chain?.first()?).ok()?;
    Some(certificate.subject_public_key_info().as_ref().to_vec())
}

fn rejected(e: Error) -> WireError {
    WireError::Identity(format!("TLS does not accept this configuration: {e}"))
}

fn certified(identity: Arc<dyn Identity>) -> Result<CertifiedKey, WireError> {
    let fault = |e: rcgen::Error| WireError::Identity(format!("cannot make a certificate: {e}"));
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).map_err(fault)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let certificate = parameters
        .self_signed(&CertificateSigner(&*identity))
        .map_err(fault)?;
    Ok(CertifiedKey::new(
        vec![certificate.der().clone()],
        Arc::new(TlsKey(identity)),
    ))
}

/// The identity as rcgen wants it.
struct CertificateSigner<'a>(&'a dyn Identity);

impl rcgen::PublicKeyData for CertificateSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        // The key itself is the last field of the SPKI: 32 bytes, or a 65-byte point.
        let spki = self.0.spki();
        &spki[spki.len() - if self.0.ed25519() { 32 } else { 65 }..]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        if self.0.ed25519() {
            &rcgen::PKCS_ED25519
        } else {
            &rcgen::PKCS_ECDSA_P256_SHA256
        }
    }
}

impl rcgen::SigningKey for CertificateSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0
            .sign(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The identity as rustls wants it.
struct TlsKey(Arc<dyn Identity>);

impl TlsKey {
    fn own_scheme(&self) -> SignatureScheme {
        if self.0.ed25519() {
            SignatureScheme::ED25519
        } else {
            SignatureScheme::ECDSA_NISTP256_SHA256
        }
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsKey")
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.own_scheme())
            .then(|| Box::new(Self(self.0.clone())) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        if self.0.ed25519() {
            SignatureAlgorithm::ED25519
        } else {
            SignatureAlgorithm::ECDSA
        }
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0
            .sign(message)
            .map_err(|e| Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.own_scheme()
    }
}

#[derive(Debug)]
struct AnyKey;

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        ParsedCertificate::try_from(certificate).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &IDENTITY_KEYS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        IDENTITY_KEYS.supported_schemes()
    }
}

#[derive(Debug)]
struct PinnedKey(Id);

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        if formula::agent_id(certificate.subject_public_key_info().as_ref()) == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &IDENTITY_KEYS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        IDENTITY_KEYS.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hybrid_group_is_the_only_one() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|g| g.name()).collect();
        assert_eq!(groups, [rustls::NamedGroup::X25519MLKEM768]);
    }
}
