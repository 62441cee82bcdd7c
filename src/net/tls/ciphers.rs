//! Cipher lists in OpenSSL's notation, for the suites that rustls has.
//!
//! `tls-ciphers` is a list of names and of classes such as `HIGH` or `ECDHE+AESGCM`, each added to what
//! was chosen, or removed by `!` or `-` (see `man openssl-ciphers`). Names of suites that rustls does not
//! have are passed over, as OpenSSL does with those that it does not know; a list of which nothing is
//! left is an error.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};

use super::TlsError;

/// A suite, its name in OpenSSL, and the classes it belongs to besides those of all.
type Suite = (SupportedCipherSuite, &'static str, &'static [&'static str]);

/// In the order of OpenSSL's defaults.
static TLS12: &[Suite] = &[
    (
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        &["ECDSA", "aECDSA", "AES", "AESGCM", "AES256", "SHA384"],
    ),
    (
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        &["aRSA", "AES", "AESGCM", "AES256", "SHA384"],
    ),
    (
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        &["ECDSA", "aECDSA", "CHACHA20"],
    ),
    (
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        &["aRSA", "CHACHA20"],
    ),
    (
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        &["ECDSA", "aECDSA", "AES", "AESGCM", "AES128", "SHA256"],
    ),
    (
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        &["aRSA", "AES", "AESGCM", "AES128", "SHA256"],
    ),
];

static TLS13: &[Suite] = &[
    (TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", &[]),
    (TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", &[]),
    (TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", &[]),
];

/// Classes that all suites of TLS 1.2 here belong to.
const CLASSES: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "FIPS", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH"];

/// The suites of `tls-ciphers` and `tls-ciphersuites`, in the order in which they are named.
pub(super) fn suites(
    ciphers: &str,
    ciphersuites: &str,
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen: Vec<&Suite> = Vec::new();
    let named = |name: &str| TLS13.iter().find(|suite| suite.1 == name);
    match ciphersuites {
        "" => chosen.extend(TLS13),
        list => chosen.extend(words(list).filter_map(named)),
    }
    if chosen.is_empty() {
        return Err(TlsError::Ciphers { directive: "ciphersuites", list: ciphersuites.to_owned() });
    }
    let older = if ciphers.is_empty() { TLS12.iter().collect() } else { select(ciphers) };
    if older.is_empty() {
        return Err(TlsError::Ciphers { directive: "ciphers", list: ciphers.to_owned() });
    }
    chosen.extend(older);
    Ok(chosen.into_iter().map(|suite| suite.0).collect())
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([':', ',', ' ']).filter(|word| !word.is_empty())
}

/// What is chosen of the suites of TLS 1.2.
fn select(list: &str) -> Vec<&'static Suite> {
    let (mut chosen, mut banned): (Vec<&Suite>, Vec<&str>) = (Vec::new(), Vec::new());
    for word in words(list) {
        let class = word.trim_start_matches(['!', '-', '+']);
        let matching = || TLS12.iter().filter(|suite| is_of(suite, class));
        match word.as_bytes()[0] {
            // About strength, in which these do not differ.
            b'@' => {}
            mark @ (b'!' | b'-') => {
                chosen.retain(|suite| !is_of(suite, class));
                if mark == b'!' {
                    banned.extend(matching().map(|suite| suite.1));
                }
            }
            // Those that were chosen move to the end.
            b'+' => chosen.sort_by_key(|suite| is_of(suite, class)),
            _ => {
                for suite in matching() {
                    let is_new = !chosen.iter().any(|other| other.1 == suite.1);
                    if is_new && !banned.contains(&suite.1) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    chosen
}

/// Whether a suite has that name, or belongs to all of some classes joined by `+`.
fn is_of(suite: &Suite, class: &str) -> bool {
    let belongs = |part: &str| suite.2.contains(&part) || CLASSES.contains(&part);
    suite.1 == class || class.split('+').all(belongs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        select(list).iter().map(|suite| suite.1).collect()
    }

    #[test]
    fn lists_are_read_as_by_openssl() {
        assert_eq!(names("DEFAULT").len(), 6);
        assert_eq!(names("DEFAULT:-AES128-SHA256").len(), 6);
        assert_eq!(names("AES128-SHA256"), [""; 0]);
        assert_eq!(
            names("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(names("HIGH:!aNULL:!AESGCM:!ECDSA"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(
            names("ECDHE+CHACHA20 @STRENGTH"),
            ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"]
        );
        assert_eq!(names("!CHACHA20:ALL:+AES256").len(), 4);
        assert_eq!(names("ALL:+AES256").last(), Some(&"ECDHE-RSA-AES256-GCM-SHA384"));
    }

    #[test]
    fn an_empty_choice_is_refused() {
        assert_eq!(suites("", "").map(|list| list.len()).ok(), Some(9));
        assert_eq!(suites("", "TLS_AES_128_GCM_SHA256").map(|list| list.len()).ok(), Some(7));
        assert!(suites("AES128-SHA", "").is_err() && suites("", "TLS_X").is_err());
    }
}
