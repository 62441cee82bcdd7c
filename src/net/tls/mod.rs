//! TLS: what the `tls-*` directives say, made ready for connections.
//!
//! A [`Tls`] never changes. A change of the directives, or of the files they name, makes another one,
//! which new connections use from then on; if it cannot be made, everything stays as it was. Texts of
//! errors are those of Redis (`tlsConfigure` in tls.c) where it has them. Certificates that have expired
//! or do not belong to their key are refused, also by a running server.
//!
//! Limits, which are those of rustls: TLS 1.2 and 1.3, ciphers with forward secrecy and authenticated
//! encryption, and clients' certificates of X.509 version 3.

mod ciphers;
mod files;
mod outgoing;
mod session;
mod sessions;

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};
use thiserror::Error;

use self::sessions::Sessions;
use crate::config::Config;

pub(super) use outgoing::secure;
pub(super) use session::Session;

/// Why TLS cannot be had as the directives say.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Nothing to show to clients.
    #[error("No tls-cert-file configured!")]
    NoCertificate,
    /// No key for it.
    #[error("No tls-key-file configured!")]
    NoKey,
    /// Nothing to check clients' certificates with.
    #[error(
        "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, \
         tls-replication or tls-auth-clients are enabled!"
    )]
    NoAuthorities,
    /// A file or directory is not what it should be.
    #[error("Failed to load {what}: {path}: {reason}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Where it is.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A version that does not exist, or that is not spoken here.
    #[error(
        "Invalid tls-protocols specified. Use a combination of 'TLSv1.2' and 'TLSv1.3'; '{0}' is \
         not supported"
    )]
    Protocol(String),
    /// None of the ciphers exists here.
    #[error("Failed to configure {directive}: none of '{list}' is supported")]
    Ciphers {
        /// `ciphers` or `ciphersuites`.
        directive: &'static str,
        /// What was asked for.
        list: String,
    },
    /// What rustls says of the whole.
    #[error("Failed to configure TLS: {0}")]
    Other(String),
}

/// The part of a client's certificate that names its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserFrom {
    Nothing,
    CommonName,
    Uri,
}

/// TLS as new connections use it.
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    user_from: UserFrom,
}

/// The place where new connections find it.
pub(super) type TlsSlot = Arc<RwLock<Option<Arc<Tls>>>>;

impl Tls {
    /// What the directives say, or nothing if no TLS is wanted.
    pub(super) fn of(config: &Config) -> Result<Option<Arc<Self>>, TlsError> {
        if config.int("tls-port") == 0 {
            return Ok(None);
        }
        let provider = provider(config)?;
        let versions = versions(config.text("tls-protocols"))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(other)?;
        let own = files::identity(config, files::SERVER, &provider)?;
        let authorities = authorities(config)?;
        let auth = config.text("tls-auth-clients");
        let builder = if auth == "no" {
            builder.with_no_client_auth()
        } else {
            let authorities = authorities.ok_or(TlsError::NoAuthorities)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(&provider));
            let verifier = match auth {
                "optional" => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|error| TlsError::Other(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        };
        let mut tls = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        tls.ignore_client_order = config.flag("tls-prefer-server-ciphers");
        if config.flag("tls-session-caching") {
            let count = usize::try_from(config.int("tls-session-cache-size")).unwrap_or(0);
            tls.session_storage =
                Arc::new(Sessions::new(count, config.int("tls-session-cache-timeout")));
        } else {
            tls.session_storage = Arc::new(NoServerSessionStorage {});
            tls.send_tls13_tickets = 0;
        }
        // What is wrong with it is not to be found out when it is shown.
        client_identity(config, &provider)?;
        let user_from = match config.text("tls-auth-clients-user") {
            "CN" => UserFrom::CommonName,
            "URI" => UserFrom::Uri,
            _ => UserFrom::Nothing,
        };
        Ok(Some(Arc::new(Self { config: Arc::new(tls), user_from })))
    }

    /// The names of users that a client's certificate gives it, best first.
    pub(super) fn users_of(&self, certificates: &[CertificateDer<'_>]) -> Vec<String> {
        match (self.user_from, certificates.first()) {
            (UserFrom::CommonName, Some(own)) => files::common_name(own).into_iter().collect(),
            (UserFrom::Uri, Some(own)) => files::uris(own),
            _ => Vec::new(),
        }
    }
}

/// The ciphers of `tls-ciphers` and `tls-ciphersuites`, and all else by default.
fn provider(config: &Config) -> Result<Arc<CryptoProvider>, TlsError> {
    let (ciphers, suites) = (config.text("tls-ciphers"), config.text("tls-ciphersuites"));
    let cipher_suites = ciphers::suites(ciphers, suites)?;
    Ok(Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() }))
}

/// What other servers are shown, if it is not what clients are.
fn client_identity(
    config: &Config,
    provider: &CryptoProvider,
) -> Result<Option<CertifiedKey>, TlsError> {
    let directives = ["tls-client-cert-file", "tls-client-key-file"];
    let is_set = directives.iter().all(|name| !config.text(name).is_empty());
    is_set.then(|| files::identity(config, files::CLIENT, provider)).transpose()
}

fn other(error: rustls::Error) -> TlsError {
    TlsError::Other(error.to_string())
}

/// The versions of `tls-protocols`; both when it is empty.
fn versions(text: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let version = |word: &str| match word.to_ascii_lowercase().as_str() {
        "tlsv1.2" => Ok(&TLS12),
        "tlsv1.3" => Ok(&TLS13),
        _ => Err(TlsError::Protocol(word.to_owned())),
    };
    let named: Vec<_> = text.split_ascii_whitespace().map(version).collect::<Result<_, _>>()?;
    Ok(if named.is_empty() { vec![&TLS12, &TLS13] } else { named })
}

/// Whose certificates clients may show, if it is said.
fn authorities(config: &Config) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    let (file, dir) = (config.text("tls-ca-cert-file"), config.text("tls-ca-cert-dir"));
    if file.is_empty() && dir.is_empty() {
        return Ok(None);
    }
    let mut store = RootCertStore::empty();
    if !file.is_empty() {
        files::add_authorities(&mut store, file)?;
    }
    if !dir.is_empty() {
        files::add_directory(&mut store, dir)?;
    }
    Ok(Some(Arc::new(store)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_as_by_redis() {
        let count = |text: &str| versions(text).map(|found| found.len()).ok();
        assert_eq!(count(""), Some(2));
        assert_eq!(count("TLSv1.2"), Some(1));
        assert_eq!(count("tlsv1.3 TLSv1.2"), Some(2));
        assert_eq!((count("TLSv1.1 TLSv1.2"), count("SSLv3")), (None, None));
    }
}
