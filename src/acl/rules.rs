//! The language of rules: what each word does to a user or a selector.

use std::collections::BTreeSet;

use super::catalog::Catalog;
use super::selector::{Access, Selector};
use super::user::{User, hash, parse_hash};
use crate::base::{number, quote};

/// Why a rule is refused. Texts are those of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no such command or category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// It means nothing.
    #[error("Syntax error")]
    Syntax,
    /// All keys are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    KeysAfterAll,
    /// All channels are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    ChannelsAfterAll,
    /// There is no such password to remove.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// It is not the hash of a password.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal \
         characters"
    )]
    Hash,
    /// A subcommand cannot be allowed with one argument only.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// No server has such a database.
    #[error("The provided database ID is out of range")]
    Database,
}

/// Why the rules of a user are refused. Texts are those of Redis, after the error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// One of the rules is wrong.
    #[error("Error in ACL SETUSER modifier '{rule}': {error}")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong.
        error: RuleError,
    },
    /// A selector does not end.
    #[error("Unmatched parenthesis in acl selector starting at '{0}'.")]
    Parenthesis(String),
    /// The name cannot stand in a line.
    #[error("Usernames can't contain spaces or null characters")]
    Name,
}

/// What rules need to know beside the user.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) catalog: &'a Catalog,
    /// Whether channels are allowed where nothing is said (`acl-pubsub-default`).
    pub(super) all_channels: bool,
}

/// Whether `text` can stand in a line of rules: no blanks, no NUL.
pub fn is_plain(text: &[u8]) -> bool {
    !text.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

/// Joins the arguments that make one selector: `(` may stand apart from what it begins.
pub(super) fn merge_selectors<'a>(
    rules: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Vec<u8>>, UserError> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for rule in rules {
        match &mut open {
            None if rule.starts_with(b"(") && !rule.ends_with(b")") => {
                open = Some((rule.to_vec(), rule));
            }
            None => merged.push(rule.to_vec()),
            Some((selector, _)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if rule.ends_with(b")") {
                    merged.push(std::mem::take(selector));
                    open = None;
                }
            }
        }
    }
    match open {
        Some((_, begin)) => Err(UserError::Parenthesis(shown(begin))),
        None => Ok(merged),
    }
}

pub(super) use crate::base::bytes::text as shown;

impl User {
    /// Carries out `rules` in order.
    pub(super) fn apply_all<'r>(
        &mut self,
        setting: Setting<'_>,
        rules: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<(), UserError> {
        for rule in merge_selectors(rules)? {
            let failed = |error| UserError::Rule { rule: shown(&rule), error };
            self.apply(setting, &rule).map_err(failed)?;
        }
        Ok(())
    }

    /// Carries out one rule; the user may be half changed when that fails.
    pub(super) fn apply(&mut self, setting: Setting<'_>, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.flags.enabled = true,
            _ if is("off") => self.flags.enabled = false,
            _ if is("skip-sanitize-payload") => self.flags.sanitize = Some(false),
            _ if is("sanitize-payload") => self.flags.sanitize = Some(true),
            _ if is("nopass") => self.forget_passwords(true),
            _ if is("resetpass") => self.forget_passwords(false),
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', text @ ..] => self.add_password(parse_hash(text).ok_or(RuleError::Hash)?),
            [b'<', password @ ..] => self.remove_password(hash(password))?,
            [b'!', text @ ..] => self.remove_password(parse_hash(text).ok_or(RuleError::Hash)?)?,
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::new(setting.catalog, setting.all_channels);
                for rule in quote::split_args(inner).map_err(|_| RuleError::Syntax)? {
                    selector.apply(setting.catalog, &rule)?;
                }
                self.selectors.push(selector);
            }
            _ if is("clearselectors") => self.selectors.clear(),
            _ if is("reset") => {
                self.forget_passwords(false);
                self.flags.enabled = false;
                self.flags.sanitize = Some(true);
                self.root = Selector::new(setting.catalog, setting.all_channels);
                self.selectors.clear();
            }
            _ => self.root.apply(setting.catalog, rule)?,
        }
        Ok(())
    }

    fn forget_passwords(&mut self, nopass: bool) {
        self.passwords.clear();
        self.flags.nopass = nopass;
    }

    fn add_password(&mut self, hash: super::user::Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.flags.nopass = false;
    }

    fn remove_password(&mut self, hash: super::user::Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }
}

impl Selector {
    /// Carries out one rule.
    fn apply(&mut self, catalog: &Catalog, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            _ if is("allkeys") || is("~*") => self.set_all_keys(true),
            _ if is("resetkeys") => self.set_all_keys(false),
            _ if is("allchannels") || is("&*") => self.set_all_channels(true),
            _ if is("resetchannels") => self.set_all_channels(false),
            _ if is("alldbs") => self.set_all_databases(true),
            _ if is("resetdbs") => self.set_all_databases(false),
            _ if is("allcommands") || is("+@all") => self.set_all_commands(true),
            _ if is("nocommands") || is("-@all") => self.set_all_commands(false),
            [b'~', ..] | [b'%', ..] if self.allows_all_keys() => {
                return Err(RuleError::KeysAfterAll);
            }
            [b'~', pattern @ ..] => self.add_key_pattern(pattern, Access::ALL)?,
            [b'%', rest @ ..] => {
                let (access, pattern) = split_access(rest).ok_or(RuleError::Syntax)?;
                self.add_key_pattern(pattern, access)?;
            }
            [b'&', ..] if self.allows_all_channels() => return Err(RuleError::ChannelsAfterAll),
            [b'&', pattern @ ..] if is_plain(pattern) => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                let bit = Catalog::category(category).ok_or(RuleError::Unknown)?;
                self.set_category(catalog, (bit, &rule[1..]), *sign == b'+');
            }
            [b'+', name @ ..] => self.allow(catalog, name)?,
            [b'-', name @ ..] => {
                let id = catalog.find(name).ok_or(RuleError::Unknown)?;
                self.set_command(catalog, id, false);
            }
            [b'd' | b'D', b'b' | b'B', b'=', list @ ..] => self.set_databases(databases(list)?),
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn add_key_pattern(&mut self, pattern: &[u8], access: Access) -> Result<(), RuleError> {
        if !is_plain(pattern) {
            return Err(RuleError::Syntax);
        }
        self.add_keys(pattern, access);
        Ok(())
    }

    /// `+name`, `+container|subcommand`, `+name|first-argument`.
    fn allow(&mut self, catalog: &Catalog, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let id = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(catalog, id, true);
            return Ok(());
        };
        let (command, sub) = (&name[..bar], &name[bar + 1..]);
        let id = catalog.find(command).ok_or(RuleError::Unknown)?;
        let entry = catalog.entry(id);
        if entry.is_subcommand {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if sub.is_empty() || !is_plain(sub) {
            return Err(RuleError::Syntax);
        }
        if entry.subcommands.is_empty() {
            self.add_first_arg(id, sub, name);
        } else {
            let id = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(catalog, id, true);
        }
        Ok(())
    }
}

/// `R~pattern`, `W~pattern`, `RW~pattern`: the access and the pattern.
fn split_access(text: &[u8]) -> Option<(Access, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'~')?;
    let mut access = Access::NONE;
    for letter in &text[..end] {
        let one = match letter.to_ascii_uppercase() {
            b'R' => Access::READ,
            b'W' => Access::WRITE,
            _ => return None,
        };
        if access.covers(one) {
            return None;
        }
        access = access.with(one);
    }
    (access != Access::NONE).then_some((access, &text[end + 1..]))
}

/// The databases of `db=`, separated by commas.
fn databases(list: &[u8]) -> Result<BTreeSet<i32>, RuleError> {
    let one = |text: &[u8]| {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(RuleError::Syntax);
        }
        let number = number::parse_i64(text).and_then(|db| i32::try_from(db).ok());
        number.filter(|db| *db >= 0).ok_or(RuleError::Database)
    };
    list.split(|byte| *byte == b',').map(one).collect()
}
