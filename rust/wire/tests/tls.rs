//! What a handshake refuses, shown by whole rustls peers of other configurations over TCP (PROTOCOL §6, Transport).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evanesce_token::formula;
use evanesce_wire::{FileIdentity, Id, Identity, tls};
use rcgen::PublicKeyData;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, kx_group, sign};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName,
    Error, HandshakeKind, NamedGroup, PeerIncompatible, PeerMisbehaved, ServerConfig,
    ServerConnection, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};

/// What one end saw of a connection.
#[derive(Debug)]
struct End {
    kind: Option<HandshakeKind>,
    group: Option<NamedGroup>,
    early_data: bool,
}

type Outcome = Result<End, Error>;

/// A whole connection over loopback: the handshake, then a byte each way. Gives the client's and the server's view.
fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Outcome, Outcome) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = ServerConnection::new(server.clone()).unwrap();
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        greet(&mut rustls::Stream::new(&mut serving, &mut tcp))?;
        Ok(End {
            kind: serving.handshake_kind(),
            group: serving.negotiated_key_exchange_group().map(|g| g.name()),
            early_data: serving.early_data().is_some(),
        })
    });
    let name = ServerName::try_from("agent.invalid").unwrap();
    let mut calling = ClientConnection::new(client.clone(), name).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    let early_data = calling.early_data().is_some();
    let client = greet(&mut rustls::Stream::new(&mut calling, &mut tcp)).map(|()| End {
        kind: calling.handshake_kind(),
        group: calling.negotiated_key_exchange_group().map(|g| g.name()),
        early_data,
    });
    drop(tcp);
    (client, server.join().unwrap())
}

/// Sends a byte and reads one: after that a client has seen every ticket that came with the handshake.
fn greet<S>(stream: &mut S) -> Result<(), Error>
where
    S: Read + Write,
{
    let tls = |e: std::io::Error| match e.downcast::<Error>() {
        Ok(error) => error,
        Err(e) => Error::General(format!("the connection broke: {e}")),
    };
    stream.write_all(b"?").map_err(tls)?;
    stream.flush().map_err(tls)?;
    stream.read_exact(&mut [0]).map_err(tls)
}

fn identity() -> Arc<dyn Identity> {
    let folder = tempfile::tempdir().unwrap();
    Arc::new(FileIdentity::create(&folder.path().join("identity.pem")).unwrap())
}

/// Our own two ends, the client pinned to the server.
fn agent() -> (Arc<ServerConfig>, Id) {
    let identity = identity();
    let id = identity.agent_id();
    (tls::server(identity).unwrap(), id)
}

/// One version each.
const MODERN: &[&SupportedProtocolVersion] = &[&TLS13];
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

/// A peer that is not ours: every choice that `tls` takes away is its own.
struct Stranger {
    key: Arc<CertifiedKey>,
    id: Id,
    groups: Vec<&'static dyn SupportedKxGroup>,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl Stranger {
    fn with(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let stubborn = Stubborn(sign::any_supported_type(&private).unwrap());
        let chain = vec![certificate.der().clone()];
        Self {
            key: Arc::new(CertifiedKey::new(chain, Arc::new(stubborn))),
            id: formula::agent_id(&key.subject_public_key_info()),
            groups: vec![kx_group::X25519MLKEM768],
            versions: MODERN,
        }
    }

    /// As an identity of ours would be, until a test changes something.
    fn ordinary() -> Self {
        Self::with(&rcgen::PKCS_ED25519)
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            kx_groups: self.groups.clone(),
            ..default_provider()
        })
    }

    fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*self.key).clone())))
    }

    fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(self.provider())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anyone))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from((*self.key).clone())))
    }
}

/// Signs with the first scheme of its own key, whatever it was offered.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let all = default_provider().signature_verification_algorithms;
        self.0.choose_scheme(&all.supported_schemes())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Trusts whoever is there, so that only our own end can refuse.
#[derive(Debug)]
struct Anyone;

impl Anyone {
    fn schemes() -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

/// Keeps sessions as rustls does, and counts the tickets.
#[derive(Debug)]
struct Counting {
    kept: ClientSessionMemoryCache,
    tickets: AtomicUsize,
}

impl ClientSessionStore for Counting {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.kept.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
        self.kept.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.take_tls13_ticket(server)
    }
}

fn refused_by(peer: Outcome, us: Outcome, why: &dyn Fn(&Error) -> bool) {
    let us = us.expect_err("our end must refuse");
    assert!(why(&us), "our end refused for another reason: {us:?}");
    peer.expect_err("a refused peer must not go on");
}

fn unadvertised(error: &Error) -> bool {
    *error == Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)
}

#[test]
fn both_kinds_of_identity_key_complete_a_handshake_over_the_hybrid_group() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let peer = Stranger::with(algorithm);
        let (server, _) = agent();
        let client = tls::client(identity(), peer.id).unwrap();
        for (theirs, ours) in [
            connect(&Arc::new(peer.client()), &server),
            connect(&client, &Arc::new(peer.server())),
        ] {
            let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
            assert_eq!(theirs.group, Some(NamedGroup::X25519MLKEM768));
            assert_eq!(ours.group, Some(NamedGroup::X25519MLKEM768));
        }
    }
}

#[test]
fn an_agent_refuses_a_client_that_offers_only_x25519() {
    let mut peer = Stranger::ordinary();
    peer.groups = vec![kx_group::X25519];
    let (theirs, ours) = connect(&Arc::new(peer.client()), &agent().0);
    refused_by(theirs, ours, &|e| {
        *e == Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
    });
}

#[test]
fn a_reconstructor_does_not_fall_back_to_an_agent_that_has_only_x25519() {
    let mut peer = Stranger::ordinary();
    peer.groups = vec![kx_group::X25519];
    let client = tls::client(identity(), peer.id).unwrap();
    let (ours, theirs) = connect(&client, &Arc::new(peer.server()));
    // It is never offered X25519, so it can only give up.
    assert_eq!(
        theirs.unwrap_err(),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
    );
    assert_eq!(
        ours.unwrap_err(),
        Error::AlertReceived(AlertDescription::HandshakeFailure)
    );
}

#[test]
fn a_choice_of_groups_ends_in_the_hybrid_one() {
    let mut peer = Stranger::ordinary();
    peer.groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    let client = tls::client(identity(), peer.id).unwrap();
    for (theirs, ours) in [
        connect(&Arc::new(peer.client()), &agent().0),
        connect(&client, &Arc::new(peer.server())),
    ] {
        assert_eq!(theirs.unwrap().group, Some(NamedGroup::X25519MLKEM768));
        assert_eq!(ours.unwrap().group, Some(NamedGroup::X25519MLKEM768));
    }
}

#[test]
fn tls_1_2_is_refused_by_either_end() {
    let mut peer = Stranger::ordinary();
    peer.groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    peer.versions = OLD;
    let (theirs, ours) = connect(&Arc::new(peer.client()), &agent().0);
    refused_by(theirs, ours, &|e| matches!(e, Error::PeerIncompatible(_)));

    let client = tls::client(identity(), peer.id).unwrap();
    let (ours, theirs) = connect(&client, &Arc::new(peer.server()));
    theirs.unwrap_err();
    assert_eq!(
        ours.unwrap_err(),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
    );
}

#[test]
fn a_peer_with_a_key_that_no_identity_can_have_is_refused_by_either_end() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let peer = Stranger::with(algorithm);
        let (theirs, ours) = connect(&Arc::new(peer.client()), &agent().0);
        refused_by(theirs, ours, &unadvertised);

        // Even pinned: a directory that lists such a key does not make it an identity.
        let client = tls::client(identity(), peer.id).unwrap();
        let (ours, theirs) = connect(&client, &Arc::new(peer.server()));
        refused_by(theirs, ours, &unadvertised);
    }
}

#[test]
fn an_agent_gives_no_tickets_and_takes_no_early_data() {
    let (server, _) = agent();
    assert_eq!(server.max_early_data_size, 0);
    let store = Arc::new(Counting {
        kept: ClientSessionMemoryCache::new(8),
        tickets: AtomicUsize::new(0),
    });
    let mut eager = Stranger::ordinary().client();
    eager.resumption = Resumption::store(store.clone());
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    for _ in 0..2 {
        let (theirs, ours) = connect(&eager, &server);
        let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
        assert_eq!(theirs.kind, Some(HandshakeKind::Full));
        assert_eq!(ours.kind, Some(HandshakeKind::Full));
        assert!(!theirs.early_data && !ours.early_data);
    }
    assert_eq!(store.tickets.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reconstructor_resumes_nothing_and_sends_no_early_data() {
    let peer = Stranger::ordinary();
    let mut generous = peer.server();
    generous.ticketer = Ticketer::new().unwrap();
    generous.send_tls13_tickets = 2;
    generous.max_early_data_size = u32::MAX;
    let generous = Arc::new(generous);

    // A client that may resume does: the server is as generous as it looks.
    let mut resuming = Stranger::ordinary().client();
    resuming.enable_early_data = true;
    let resuming = Arc::new(resuming);
    connect(&resuming, &generous).0.unwrap();
    let again = connect(&resuming, &generous).0.unwrap();
    assert_eq!(again.kind, Some(HandshakeKind::Resumed));

    let ours = tls::client(identity(), peer.id).unwrap();
    assert!(!ours.enable_early_data);
    for _ in 0..2 {
        let (ours, theirs) = connect(&ours, &generous);
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.kind, Some(HandshakeKind::Full));
        assert_eq!(theirs.kind, Some(HandshakeKind::Full));
        assert!(!ours.early_data && !theirs.early_data);
    }
}
