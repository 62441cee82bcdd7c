//! TLS towards other servers, which MIGRATE speaks where `tls-cluster` says so.
//!
//! As in Redis (`connTypeOfCluster`, `createSSLContext`), the other server is known by the authorities
//! that vouch for it and not by its name, since keys are mostly moved to bare addresses. It is shown
//! the client's certificate of the directives, or else the server's own. Unlike OpenSSL's, rustls's check takes
//! no authority for a server: a certificate that vouches for itself is refused if it may vouch for others.

use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::{TlsError, authorities, client_identity, files, other, provider, versions};
use crate::config::Config;
use crate::server::{Secure, Timed, Wire};

/// How connections are secured as the directives say, or nothing if they are not.
pub(in crate::net) fn secure(config: &Config) -> Result<Option<Secure>, TlsError> {
    if !config.flag("tls-cluster") {
        return Ok(None);
    }
    let provider = provider(config)?;
    let own = files::identity(config, files::SERVER, &provider)?;
    let shown = client_identity(config, &provider)?.unwrap_or(own);
    let verifier = Vouched {
        authorities: authorities(config)?.ok_or(TlsError::NoAuthorities)?,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(config.text("tls-protocols"))?)
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    let client = Arc::new(client);
    Ok(Some(Arc::new(move |stream| greet(&client, stream))))
}

/// Shakes hands on a connection, in the time that it has.
fn greet(config: &Arc<ClientConfig>, mut stream: Timed) -> io::Result<Box<dyn Wire>> {
    let name = ServerName::from(stream.socket().peer_addr()?.ip());
    let session = ClientConnection::new(Arc::clone(config), name);
    let mut session = session.map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(Box::new(StreamOwned::new(session, stream)))
}

impl Wire for StreamOwned<ClientConnection, Timed> {
    fn set_deadline(&mut self, at: Instant) {
        self.sock.set_deadline(at);
    }
}

/// Accepts the servers that one of the authorities vouches for.
struct Vouched {
    authorities: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vouched").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
