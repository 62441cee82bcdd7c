//! Users and what they may do.
//!
//! Owns users with their passwords and selectors, the language of rules and how it prints, the
//! file of users, and the log of refusals. Must not know the command table, requests or clients:
//! commands are numbers with categories ([`Catalog`]), and who asks takes a request apart. A user is
//! never changed but replaced, so that whoever holds one sees all of it or nothing.
//!
//! ```text
//!   Acl ── name ──▶ Arc<User> ── root, selectors ──▶ Selector: commands, keys, channels, databases
//!    └─ generation: grows with every change, behind it; who holds a user looks it up again then
//! ```
//!
//! Rules, texts and their order are those of Redis (acl.c), of Valkey 9.1 for databases.

mod attempts;
mod catalog;
mod file;
mod log;
mod registry;
mod rules;
mod selector;
#[cfg(test)]
mod tests;
mod user;

pub use catalog::{CATEGORIES, Catalog, CatalogEntry};
pub use file::{FileError, Loaded};
pub use log::{Context, Denial, Entry, Reason};
pub use registry::{Acl, Applied, DEFAULT_USER, Fates};
pub use rules::{RuleError, UserError, is_plain};
pub use selector::{Access, Selector};
pub use user::{ChannelsLeft, User, UserFlags};
