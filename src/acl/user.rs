//! A user: a name, passwords, and selectors, of which one has to fit.

use sha2::{Digest, Sha256};

use super::catalog::Catalog;
use super::selector::{Selector, covers_channel};

/// The SHA-256 of a password.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// 64 digits, lower-case, are a hash.
pub(super) fn parse_hash(text: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

pub(super) fn print_hash(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by the time taken how much was right.
fn equal_in_constant_time(a: &Hash, b: &Hash) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| sum | std::hint::black_box(a ^ b));
    differing == 0
}

/// What a user is besides its permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFlags {
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether any password will do.
    pub nopass: bool,
    /// Whether payloads of RESTORE are taken to be sound (`Some(false)`), or looked at (`Some(true)`)
    /// as they are where nothing is said.
    pub sanitize: Option<bool>,
}

/// A user as it is at one time.
#[derive(Clone, Debug)]
pub struct User {
    name: Box<[u8]>,
    /// Drawn when the user was made: what is made under the name of one that is gone is another.
    id: u64,
    pub(super) flags: UserFlags,
    pub(super) passwords: Vec<Hash>,
    pub(super) root: Selector,
    pub(super) selectors: Vec<Selector>,
}

impl User {
    /// A user that may do nothing; `all_channels` is the default of channels.
    pub(super) fn new(name: &[u8], id: u64, catalog: &Catalog, all_channels: bool) -> Self {
        Self {
            name: name.into(),
            id,
            flags: UserFlags::default(),
            passwords: Vec::new(),
            root: Selector::new(catalog, all_channels),
            selectors: Vec::new(),
        }
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether both are the same user, maybe at different times.
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// What it is besides its permissions.
    pub fn flags(&self) -> UserFlags {
        self.flags
    }

    /// The words of its flags, in the order in which Redis prints them.
    pub fn flag_words(&self) -> Vec<&'static str> {
        let mut words = vec![if self.flags.enabled { "on" } else { "off" }];
        if self.flags.nopass {
            words.push("nopass");
        }
        match self.flags.sanitize {
            Some(true) => words.push("sanitize-payload"),
            Some(false) => words.push("skip-sanitize-payload"),
            None => {}
        }
        words
    }

    /// The hashes of its passwords, as hexadecimal digits.
    pub fn password_hashes(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(print_hash)
    }

    /// The permissions that are the user's own.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The further sets of permissions.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// All sets of permissions, the user's own first.
    pub fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Whether it may do everything.
    pub fn may_all(&self) -> bool {
        self.all_selectors().any(Selector::allows_all)
    }

    /// Whether it may log in with that password.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.flags.enabled {
            return false;
        }
        let given = hash(password);
        // All are compared, whichever fits.
        let fits = self
            .passwords
            .iter()
            .fold(false, |any, known| any | equal_in_constant_time(known, &given));
        self.flags.nopass | fits
    }

    /// The channels that a client of the user may go on listening to after it was changed from
    /// `before`; `None` when it loses none. As Redis has it, what the patterns say is compared, not
    /// what they match.
    pub fn channels_left(&self, before: &Self) -> Option<ChannelsLeft> {
        if self.all_selectors().any(Selector::allows_all_channels) {
            return None;
        }
        let patterns: Vec<Box<[u8]>> =
            self.all_selectors().flat_map(|selector| selector.channels().iter().cloned()).collect();
        let keeps = |selector: &Selector| {
            !selector.allows_all_channels()
                && selector.channels().iter().all(|one| patterns.contains(one))
        };
        if before.all_selectors().all(keeps) { None } else { Some(ChannelsLeft(patterns)) }
    }

    /// All rules, which make the same user again.
    pub fn print(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> =
            self.flag_words().into_iter().map(|word| word.as_bytes().to_vec()).collect();
        words.extend(self.passwords.iter().map(|one| format!("#{}", print_hash(one)).into_bytes()));
        words.push(self.root.print());
        let nested = |selector: &Selector| [b"(", &*selector.print(), b")"].concat();
        words.extend(self.selectors.iter().map(nested));
        words.join(&b' ')
    }

    /// Its line in a file: `user`, its name and its rules.
    pub fn print_line(&self) -> Vec<u8> {
        [b"user ", &*self.name, b" ", &*self.print()].concat()
    }
}

/// The channels that are left to a user that has lost some.
#[derive(Debug)]
pub struct ChannelsLeft(Vec<Box<[u8]>>);

impl ChannelsLeft {
    /// Whether a channel is among them, or a pattern as it stands.
    pub fn cover(&self, name: &[u8], is_pattern: bool) -> bool {
        covers_channel(&self.0, name, is_pattern)
    }
}
