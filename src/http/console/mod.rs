//! The console: one page with its style and script in it, which loads nothing from anywhere.
//!
//! The policy lets only the style and the script run that are in the page, by a number drawn for each
//! answer, and lets the page speak to nobody but this port. Names of keys get into the page as text nodes,
//! so that they cannot be anything else; `tests/console` looks at that in a browser.

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::routes::{self, Page};
use crate::base::random;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page.
pub(super) fn page() -> Page {
    let nonce = random::hex(32);
    let text =
        PAGE.replace("{nonce}", &nonce).replace("{style}", STYLE).replace("{script}", SCRIPT);
    let mut page = routes::page(StatusCode::OK, "text/html; charset=utf-8", text);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("it is plain ASCII");
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}
