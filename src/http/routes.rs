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
use super::keys::KeyWalk;
use super::sample::Sampler;
use super::{console, health, json, metrics};
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
    commands: Arc<CommandTable>,
    sampler: RefCell<Sampler>,
    walk: RefCell<KeyWalk>,
}

impl Pages {
    pub(super) fn new(server: Arc<Server>, commands: Arc<CommandTable>) -> Self {
        let sampler = Sampler::new(Arc::clone(&server), Arc::clone(&commands));
        Self { server, commands, sampler: RefCell::new(sampler), walk: RefCell::default() }
    }

    /// The answer to a request; its body is not looked at.
    pub(super) fn answer(&self, connection: Connection, request: &Request<Incoming>) -> Page {
        let (headers, path) = (request.headers(), request.uri().path());
        if path == "/livez" {
            // Whoever asks learns one word, and nothing may keep it back.
            return self.life(request);
        }
        let trusted = self.admit(connection, request);
        // Probes know no password.
        let is_probe = ["/healthz", "/readyz"].contains(&path);
        let admitted = guard::check_host(connection, request.uri(), headers).and(if is_probe {
            Ok(())
        } else {
            trusted
        });
        if let Err(refusal) = admitted {
            let mut page = error(refusal.status(), refusal.reason());
            if refusal == guard::Refusal::Password {
                let ask = HeaderValue::from_static("Basic realm=\"redstart\", charset=\"UTF-8\"");
                page.headers_mut().insert(WWW_AUTHENTICATE, ask);
            }
            return page;
        }
        if path == "/api/keys" {
            return self.keys(request);
        }
        let page: fn(&Self) -> Page = match path {
            "/" => |_| console::page(),
            "/healthz" | "/readyz" if trusted.is_ok() => |pages| pages.health(true),
            "/healthz" | "/readyz" => |pages| pages.health(false),
            "/metrics" => Self::metrics,
            "/api/info" => Self::info,
            "/api/clients" => Self::clients,
            "/api/slowlog" => Self::slow_log,
            _ => return error(StatusCode::NOT_FOUND, "there is no such page"),
        };
        if !is_reading(request) {
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

    /// Whether clients can work; `why` not may name files.
    fn health(&self, why: bool) -> Page {
        match health::trouble(&self.server) {
            None => json_page(StatusCode::OK, &json!({ "status": "ok" })),
            Some(trouble) => {
                let mut body = json!({ "status": trouble.status });
                if why {
                    body["why"] = trouble.why.into();
                }
                json_page(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        }
    }

    /// Whether the server is worth keeping: what loads, waits for a script or refuses writes is.
    fn life(&self, request: &Request<Incoming>) -> Page {
        if !is_reading(request) {
            return not_allowed("GET, HEAD");
        }
        json_page(StatusCode::OK, &json!({ "status": health::word(&self.server) }))
    }

    fn info(&self) -> Page {
        let more: &[&[u8]] = if self.secret().is_none() { &[b"hotkeys", b"bigkeys"] } else { &[] };
        let info = self.sampler.borrow_mut().info(more);
        json_page(StatusCode::OK, &json::info(&self.server, &info))
    }

    fn clients(&self) -> Page {
        self.unless_secret(|| json::clients(&self.server, &self.commands.names_by_id()))
    }

    fn slow_log(&self) -> Page {
        self.unless_secret(|| json::slow_log(&self.server, &self.commands))
    }

    /// The walk over the keys: what it found (GET), a new one (POST, with `db`), its end (DELETE).
    fn keys(&self, request: &Request<Incoming>) -> Page {
        let method = request.method();
        if matches!(*method, Method::GET | Method::HEAD) {
            return self.unless_secret(|| self.walk.borrow().report());
        }
        if !matches!(*method, Method::POST | Method::DELETE) {
            return not_allowed("GET, HEAD, POST, DELETE");
        }
        if !guard::is_own_request(request.headers()) {
            let reason = "the header x-redstart-console is missing, or another page asks";
            return error(StatusCode::FORBIDDEN, reason);
        }
        if let Some(refused) = self.secret() {
            return refused;
        }
        let query = request.uri().query().unwrap_or_default();
        let db = query.strip_prefix("db=").unwrap_or("0").parse().unwrap_or(usize::MAX);
        let mut walk = self.walk.borrow_mut();
        if *method == Method::DELETE {
            walk.stop();
        } else if db >= self.server.keyspace.databases() {
            return error(StatusCode::BAD_REQUEST, "there is no such database");
        } else if walk.start(&self.server, db).is_err() {
            return error(StatusCode::SERVICE_UNAVAILABLE, "no thread can be started");
        }
        json_page(StatusCode::OK, &walk.report())
    }

    /// A page with names of keys or clients.
    fn unless_secret(&self, value: impl FnOnce() -> Value) -> Page {
        self.secret().unwrap_or_else(|| json_page(StatusCode::OK, &value()))
    }

    /// Why such a page is not shown, if so: where clients of the server need a password, so does whoever
    /// sees their keys here.
    fn secret(&self) -> Option<Page> {
        let asked = !self.server.config.read().text("http-password").is_empty();
        if asked || self.server.acl.takes_any_password() {
            return None;
        }
        let reason = "clients of this server need a password, so this page needs http-password";
        Some(error(StatusCode::FORBIDDEN, reason))
    }

    fn metrics(&self) -> Page {
        let info = self.sampler.borrow_mut().info(&[]);
        let text = metrics::page(&info, &self.server, &self.commands.names_by_id());
        page(StatusCode::OK, EXPOSITION, text)
    }
}

fn error(status: StatusCode, reason: &str) -> Page {
    json_page(status, &json!({ "error": reason }))
}

fn is_reading(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn not_allowed(methods: &'static str) -> Page {
    let mut page = error(StatusCode::METHOD_NOT_ALLOWED, "the page does not know this method");
    page.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    page
}

fn json_page(status: StatusCode, value: &Value) -> Page {
    page(status, JSON, format!("{value}\n"))
}

pub(super) fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
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
