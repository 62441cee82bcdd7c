//! Certificates and keys in files, as PEM.

use std::path::Path;
use std::sync::Arc;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::TlsError;
use crate::base::{clock, os_error};
use crate::config::Config;

/// Longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 16 << 20;

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const AUTHORITIES: &str = "CA certificate(s) file/directory";

/// The directives of a certificate and its key.
pub(super) struct Directives {
    certificate: &'static str,
    key: &'static str,
    pass: &'static str,
}

/// Shown to clients.
pub(super) const SERVER: Directives =
    Directives { certificate: "tls-cert-file", key: "tls-key-file", pass: "tls-key-file-pass" };
/// Shown to other servers.
pub(super) const CLIENT: Directives = Directives {
    certificate: "tls-client-cert-file",
    key: "tls-client-key-file",
    pass: "tls-client-key-file-pass",
};

/// A certificate with its chain and its key, which belong together and are valid now.
pub(super) fn identity(
    config: &Config,
    directives: Directives,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let path = config.text(directives.certificate);
    if path.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key_path = config.text(directives.key);
    if key_path.is_empty() {
        return Err(TlsError::NoKey);
    }
    let bad = |reason: String| failed(CERTIFICATE, path, reason);
    let chain = certificates(path).map_err(bad)?;
    let own = chain.first().ok_or_else(|| bad("no certificate in it".to_owned()))?;
    let certificate = Certificate::from_der(own).map_err(|error| bad(error.to_string()))?;
    check_dates(&certificate).map_err(bad)?;
    let bad_key = |reason: String| failed(KEY, key_path, reason);
    let key = private_key(key_path, config.text(directives.pass)).map_err(bad_key)?;
    let key =
        provider.key_provider.load_private_key(key).map_err(|error| bad_key(error.to_string()))?;
    let public = certificate.tbs_certificate().subject_public_key_info().to_der();
    let public = public.map_err(|error| bad(error.to_string()))?;
    if key.public_key().is_some_and(|own| own.as_ref() != public) {
        return Err(bad_key(format!("it does not belong to the certificate {path}")));
    }
    Ok(CertifiedKey::new(chain, Arc::clone(&key)))
}

/// Adds the certificates of a file to `store`.
pub(super) fn add_authorities(store: &mut RootCertStore, path: &str) -> Result<(), TlsError> {
    let bad = |reason: String| failed(AUTHORITIES, path, reason);
    let found = certificates(path).map_err(bad)?;
    if found.is_empty() {
        return Err(bad("no certificate in it".to_owned()));
    }
    for certificate in found {
        store.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    Ok(())
}

/// Adds the certificates of the files in a directory; what is none is passed over.
pub(super) fn add_directory(store: &mut RootCertStore, path: &str) -> Result<(), TlsError> {
    let bad = |reason: String| failed(AUTHORITIES, path, reason);
    let entries = std::fs::read_dir(path).map_err(|error| bad(os_error::text(&error)))?;
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_file()) {
        for certificate in certificates(entry.path()).unwrap_or_default() {
            // Another program may put there what it likes.
            let _ = store.add(certificate);
        }
    }
    if store.is_empty() { Err(bad("no certificate in it".to_owned())) } else { Ok(()) }
}

fn failed(what: &'static str, path: &str, reason: String) -> TlsError {
    TlsError::File { what, path: path.to_owned(), reason }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let path = path.as_ref();
    let length = path.metadata().map_err(|error| os_error::text(&error))?.len();
    if length > FILE_LEN_MAX {
        return Err("it is too long".to_owned());
    }
    std::fs::read(path).map_err(|error| os_error::text(&error))
}

fn certificates(path: impl AsRef<Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<_, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.map_err(|error| error.to_string())
}

/// The first private key of a file, decrypted with `pass` where that is needed.
fn private_key(path: &str, pass: &str) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    if text.windows(22).any(|part| part == b"Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted in the old form of OpenSSL; `openssl pkcs8 -topk8` converts it".into(),
        );
    }
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
        return Ok(key);
    }
    let encrypted = encrypted_section(&text).ok_or("no private key in it")?;
    if pass.is_empty() {
        return Err("it is encrypted and needs a passphrase".to_owned());
    }
    let (_, der) = SecretDocument::from_pem(encrypted).map_err(|error| error.to_string())?;
    let info = EncryptedPrivateKeyInfoRef::try_from(der.as_bytes());
    let info = info.map_err(|error| error.to_string())?;
    let key = info.decrypt(pass).map_err(|error| format!("it cannot be decrypted: {error}"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn encrypted_section(text: &[u8]) -> Option<&str> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let text = std::str::from_utf8(text).ok()?;
    let from = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let len = text[from..].find(END)? + END.len();
    Some(&text[from..from + len])
}

fn check_dates(certificate: &Certificate) -> Result<(), String> {
    let validity = certificate.tbs_certificate().validity();
    let now_s = u64::try_from(clock::now_ms() / 1000).unwrap_or(0);
    if validity.not_after.to_unix_duration().as_secs() < now_s {
        return Err(format!("it expired at {}", validity.not_after));
    }
    if validity.not_before.to_unix_duration().as_secs() > now_s {
        return Err(format!("it is not valid before {}", validity.not_before));
    }
    Ok(())
}

/// The common name in a certificate.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let name = certificate.tbs_certificate().subject().common_name().ok()??;
    Some(name.value().into_owned())
}

/// The URIs among a certificate's alternative names.
pub(super) fn uris(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = names else { return Vec::new() };
    let uri = |name: GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        _ => None,
    };
    names.into_iter().filter_map(uri).collect()
}
