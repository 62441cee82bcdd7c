//! Who may ask for which page.
//!
//! Three dangers: somebody on the network, for whom there are the password and protected mode; a page
//! in a browser on this machine that has its own name lead here ("DNS rebinding"), which the Host header
//! gives away; and a page that only sends requests without seeing replies, which cannot add a header
//! of its own. All decisions are functions of the request and the configuration.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{StatusCode, Uri};

use super::routes::Connection;

/// The header that the console sends with whatever has an effect; see [`is_own_request`].
pub(super) const CONSOLE: HeaderName = HeaderName::from_static("x-redstart-console");

/// What of the configuration and the server matters here.
pub(super) struct Rules<'a> {
    /// `http-user`.
    pub(super) user: &'a str,
    /// `http-password`.
    pub(super) password: &'a str,
    /// `protected-mode`.
    pub(super) protected: bool,
}

/// Why a page is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request names another host.
    Host,
    /// It comes from elsewhere while nobody is asked for a password.
    Protected,
    /// It has no password or a wrong one.
    Password,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Protected => StatusCode::FORBIDDEN,
            Self::Password => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Host => "the Host header names another host than this one",
            Self::Protected => {
                "protected-mode: set http-password, or protected-mode no, to be reached from elsewhere"
            }
            Self::Password => "the password or token of http-password is needed",
        }
    }
}

/// Whether the request may see a page that is not for everybody.
pub(super) fn admit(
    rules: &Rules<'_>,
    connection: Connection,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let far = connection.peer.ip().to_canonical();
    if rules.password.is_empty() {
        let open = far.is_loopback() || !rules.protected;
        return if open { Ok(()) } else { Err(Refusal::Protected) };
    }
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if knows_password(rules, given) { Ok(()) } else { Err(Refusal::Password) }
}

/// Whether the request, which came by way of a loopback address, is meant for this host: browsers put
/// the name there that led them here. A name can lead anywhere, an address only to itself.
pub(super) fn check_host(
    connection: Connection,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if !connection.local.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    let suits = hosts.all(is_address) && uri.authority().is_none_or(|a| is_address(a.as_str()));
    if suits { Ok(()) } else { Err(Refusal::Host) }
}

/// Whether a request with an effect comes from the console or from a program, not from another page:
/// browsers let pages send this header only to where they came from.
pub(super) fn is_own_request(headers: &HeaderMap) -> bool {
    let authority = |origin: &HeaderValue| {
        let origin = origin.to_str().ok()?;
        origin.split_once("://").map(|(_, authority)| authority.to_owned())
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let same = |origin| authority(origin).as_deref() == host;
    headers.contains_key(CONSOLE) && headers.get(ORIGIN).is_none_or(same)
}

/// Whether `host`, maybe with a port, is `localhost` or an address.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// `Basic` with user and password, or `Bearer` with the password alone.
fn knows_password(rules: &Rules<'_>, given: &[u8]) -> bool {
    let Some(space) = given.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, value) = (&given[..space], given[space + 1..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return is_secret(value, rules.password);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Ok(pair) = BASE64_STANDARD.decode(value) else { return false };
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return false };
    let user = rules.user.is_empty() || is_secret(&pair[..colon], rules.user);
    is_secret(&pair[colon + 1..], rules.password) && user
}

/// Whether `given` is `secret`, in a time that tells nothing but the length.
fn is_secret(given: &[u8], secret: &str) -> bool {
    let secret = secret.as_bytes();
    let differences = given.iter().zip(secret).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && given.len() == secret.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, local: &str) -> Connection {
        let address = |text: &str| text.parse().expect("an address");
        Connection { peer: address(peer), local: address(local) }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).expect("visible"))
        };
        pairs.iter().map(pair).collect()
    }

    const LOCAL: (&str, &str) = ("127.0.0.1:5", "127.0.0.1:80");

    #[test]
    fn names_of_other_hosts_are_refused_on_loopback() {
        let check = |local: &str, host: &str| {
            check_host(
                from("127.0.0.1:5", local),
                &Uri::from_static("/"),
                &headers(&[(HOST, host)]),
            )
        };
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:80", "[::1]", "10.0.0.7"]
        {
            assert_eq!(check("127.0.0.1:80", good), Ok(()), "{good}");
        }
        for bad in ["evil.example", "evil.example:80", "localhost.evil.example", "", "::1", "?"] {
            assert_eq!(check("[::1]:80", bad), Err(Refusal::Host), "{bad}");
            assert_eq!(check("10.0.0.1:80", bad), Ok(()), "{bad}");
        }
        let full = Uri::from_static("http://evil.example/");
        let connection = from(LOCAL.0, LOCAL.1);
        assert_eq!(check_host(connection, &full, &HeaderMap::new()), Err(Refusal::Host));
        assert_eq!(check_host(connection, &Uri::from_static("/"), &HeaderMap::new()), Ok(()));
        let two = headers(&[(HOST, "localhost"), (HOST, "evil.example")]);
        assert_eq!(two.get_all(HOST).iter().count(), 2);
        assert_eq!(check_host(connection, &Uri::from_static("/"), &two), Err(Refusal::Host));
    }

    #[test]
    fn without_a_password_only_this_host_is_served() {
        let rules = |protected| Rules { user: "", password: "", protected };
        let none = HeaderMap::new();
        assert_eq!(admit(&rules(true), from("127.0.0.1:5", "127.0.0.1:80"), &none), Ok(()));
        assert_eq!(admit(&rules(true), from("[::ffff:127.0.0.1]:5", "[::1]:80"), &none), Ok(()));
        let far = from("10.0.0.2:5", "10.0.0.1:80");
        assert_eq!(admit(&rules(true), far, &none), Err(Refusal::Protected));
        assert_eq!(admit(&rules(false), far, &none), Ok(()));
    }

    #[test]
    fn passwords_are_basic_or_bearer() {
        let check = |user: &str, value: &str| {
            let rules = Rules { user, password: "pa:ss", protected: true };
            admit(&rules, from("10.0.0.2:5", "10.0.0.1:80"), &headers(&[(AUTHORIZATION, value)]))
        };
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        assert_eq!(check("", "Bearer pa:ss"), Ok(()));
        assert_eq!(check("", &basic("anybody:pa:ss")), Ok(()));
        assert_eq!(check("me", &basic("me:pa:ss")), Ok(()));
        for bad in [
            basic("you:pa:ss"),
            basic("me:pa:s"),
            basic("me:"),
            basic("me"),
            "Basic !".to_owned(),
            "Bearer pa:ss2".to_owned(),
            "Bearer ".to_owned(),
            "Digest x".to_owned(),
            "".to_owned(),
        ] {
            assert_eq!(check("me", &bad), Err(Refusal::Password), "{bad}");
        }
    }

    #[test]
    fn other_pages_cannot_cause_effects() {
        let own = (CONSOLE, "1");
        assert!(is_own_request(&headers(std::slice::from_ref(&own))));
        let host = (HOST, "localhost:80");
        let origin = |value| (ORIGIN, value);
        assert!(is_own_request(&headers(&[
            own.clone(),
            host.clone(),
            origin("http://localhost:80")
        ])));
        assert!(!is_own_request(&headers(&[host.clone(), origin("http://localhost:80")])));
        assert!(!is_own_request(&headers(&[
            own.clone(),
            host.clone(),
            origin("http://evil.example")
        ])));
        assert!(!is_own_request(&headers(&[own, host, origin("null")])));
    }
}
