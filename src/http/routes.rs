//! Which path shows what, and the headers that all pages have.
//!
//! Paths are compared as they are; none names a file.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::guard::{self, Rules};
use super::sample::Sampler;
use super::{health, metrics};
use crate::command::CommandTable;
use crate::server::Server;

pub(super) type Page = Response<Full<Bytes>>;

const JSON: &str = "application/json";
/// What Prometheus calls its text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Pages load nothing, and nobody frames them.
const NOTHING: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Everything that there is to see.
pub(super) struct Pages {
    server: Arc<Server>,
    sampler: RefCell<Sampler>,
}

impl Pages {
    pub(super) fn new(server: Arc<Server>, commands: Arc<CommandTable>) -> Self {
        let sampler = Sampler::new(Arc::clone(&server), commands);
        Self { server, sampler: RefCell::new(sampler) }
    }

    /// The answer to a request; its body is not looked at.
    pub(super) fn answer(&self, connection: Connection, request: &Request<Incoming>) -> Page {
        let (headers, uri) = (request.headers(), request.uri());
        let path = uri.path();
        let admitted = guard::check_host(connection, uri, headers).and_then(|()| {
            // Probes know no password, and learn nothing but a word.
            if path == "/healthz" { Ok(()) } else { self.admit(connection, request) }
        });
        if let Err(refusal) = admitted {
            let mut page = error(refusal.status(), refusal.reason());
            if refusal == guard::Refusal::Password {
                let ask = HeaderValue::from_static("Basic realm=\"redstart\", charset=\"UTF-8\"");
                page.headers_mut().insert(WWW_AUTHENTICATE, ask);
            }
            return page;
        }
        let page: fn(&Self) -> Page = match path {
            "/healthz" => Self::health,
            "/metrics" => Self::metrics,
            _ => return error(StatusCode::NOT_FOUND, "there is no such page"),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        page(self)
    }

    fn admit(
        &self,
        connection: Connection,
        request: &Request<Incoming>,
    ) -> Result<(), guard::Refusal> {
        let config = self.server.config.read();
        let rules = Rules {
            user: config.text("http-user"),
            password: config.text("http-password"),
            protected: config.flag("protected-mode"),
        };
        guard::admit(&rules, connection, request.headers())
    }

    fn health(&self) -> Page {
        match health::trouble(&self.server) {
            None => json_page(StatusCode::OK, &json!({ "status": "ok" })),
            Some(trouble) => {
                let body = json!({ "status": trouble.status, "why": trouble.why });
                json_page(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        }
    }

    fn metrics(&self) -> Page {
        let info = self.sampler.borrow_mut().info();
        let text = metrics::exposition(&info, &self.server.config.read());
        page(StatusCode::OK, EXPOSITION, text)
    }
}

fn error(status: StatusCode, reason: &str) -> Page {
    json_page(status, &json!({ "error": reason }))
}

fn not_allowed(methods: &'static str) -> Page {
    let mut page = error(StatusCode::METHOD_NOT_ALLOWED, "the page does not know this method");
    page.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    page
}

fn json_page(status: StatusCode, value: &Value) -> Page {
    page(status, JSON, format!("{value}\n"))
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
    const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, NOTHING),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        page.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    page
}
