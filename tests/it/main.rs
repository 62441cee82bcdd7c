//! The one integration binary: every test here talks to a server process over a socket.
//!
//! `harness` starts the server and reads raw replies, `script` runs golden scripts, whose
//! replies `notation` reads, `scripts` holds one test per command family, `dataset` has data of all
//! kinds.
//!
//! `REDSTART_TEST_SERVER=/path/to/redis-server` runs the same tests against another server.
//! `REDSTART_STRESS_SECONDS=600` lets those go on that look for races between transactions, as in
//! `cargo test --test it -- transactions serializability deadlocks`.
//! `REDSTART_CRASH_ROUNDS=200` kills the server that often in `crash`.

mod acl;
mod appending;
mod big_values;
mod blocking;
mod busy;
mod cli;
mod client_list;
mod clients;
mod concurrency;
mod convert;
mod crash;
mod dataset;
mod deadlocks;
mod eviction;
mod expiry;
mod floods;
mod harness;
mod http;
mod info_fields;
mod latency_events;
mod limits;
mod listening;
mod migrate;
mod notation;
mod pauses;
mod persistence;
mod process;
mod protocol;
mod pubsub;
mod rdb;
mod samples;
mod saving;
mod scan_guarantee;
mod script;
mod script_attacks;
mod scripts;
mod serializability;
mod shutdown;
mod snapshots;
mod tidy;
mod tls;
mod tracking;
mod transactions;
