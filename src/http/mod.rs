//! `http-port`: metrics for Prometheus, health for probes, and the console for people.
//!
//! Owns the sockets of `http-port`, one thread that serves them and the pages. Must not run commands or
//! change data. Keeps: event loops do nothing for it, so that a scrape costs them no time but that of
//! locks held for a shard's counts; no number is made here, all are read from INFO's text or from what
//! the commands of the same purpose read; whatever a request can make grow has a bound.
//!
//! ```text
//! port      sockets, the thread, connections       guard    who may ask for what
//! routes    path -> page                           sample   INFO without waiting for scripts
//! metrics   INFO -> Prometheus's text format       health   why /healthz is unhappy
//! console   the page, its script and style         json     what the page asks for
//! keys      the walk over keys that it starts
//! ```

mod console;
mod guard;
mod health;
mod json;
mod keys;
mod metrics;
mod port;
mod routes;
mod sample;

pub use port::{close, open};
