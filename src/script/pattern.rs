//! How much work a match of Lua's patterns is, found out before Lua begins it.
//!
//! The matcher of Lua 5.1 tries all ways, of which there can be more than anybody waits for
//! (`(".-"):rep(20) .. "x"` on a hundred bytes), and while it does so no hook runs: such a script could not
//! be ended. So this one goes the same ways in the same order, but counts its steps and gives up at a
//! bound; what it gives up on is refused. It finds nothing out but that: patterns that are wrong are left
//! to Lua, which says so.

use std::cell::Cell;

use mlua::{Lua, LuaString, Table};

use super::sandbox::tick;
use crate::base::limits::SCRIPT_PATTERN_STEPS_MAX;

/// Captures of one pattern (Lua: LUA_MAXCAPTURES).
const CAPTURES_MAX: usize = 32;
/// Steps that each byte of the text is good for besides.
const STEPS_PER_BYTE: u64 = 16;
/// The length of a capture that is a place, which is nowhere else in the text.
const PLACE: usize = usize::MAX;
/// After so many steps, in one search or several, the host is asked whether to go on.
const STEPS_PER_TICK: u64 = 2_000_000;
/// Items of a pattern that may wait for what follows them, each of which takes native stack.
const DEPTH_MAX: u32 = 1000;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// The first match from a place on.
    First(usize),
    /// All matches, one behind the other, as by `gsub`.
    All,
    /// The same as by `gmatch`, to which `^` is nothing special.
    Each,
}

/// Adds what the prelude asks before it lets Lua search.
pub(super) fn add_functions(lua: &Lua, table: &Table) -> mlua::Result<()> {
    type Asked = (LuaString, LuaString, LuaString, f64);
    let since_tick = Cell::new(0);
    let bearable = move |_: &Lua, (text, pattern, search, init): Asked| {
        let text = text.as_bytes();
        let search = match &*search.as_bytes() {
            b"first" => Search::First(offset(init, text.len())),
            b"all" => Search::All,
            _ => Search::Each,
        };
        let (steps, bearable) = measure(&text, &pattern.as_bytes(), search);
        since_tick.set(since_tick.get() + steps);
        if since_tick.get() > STEPS_PER_TICK {
            since_tick.set(0);
            tick()?;
        }
        Ok(bearable)
    };
    let position = |_: &Lua, (text, wanted, init): (LuaString, LuaString, f64)| {
        let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
        let from = offset(init, text.len());
        Ok(memchr::memmem::find(&text[from..], &wanted).map(|at| from + at + 1))
    };
    table.raw_set("bearable", lua.create_function(bearable)?)?;
    table.raw_set("position", lua.create_function(position)?)
}

/// Where a search begins: `init` counts from 1, or from the end if it is negative.
fn offset(init: f64, len: usize) -> usize {
    let init = init as i64;
    let from = if init < 0 { init.saturating_add(len as i64) } else { init - 1 };
    usize::try_from(from).unwrap_or(0).min(len)
}

/// How many steps the search takes, and whether a script may make so many in one call.
fn measure(text: &[u8], pattern: &[u8], search: Search) -> (u64, bool) {
    let mut matcher = Matcher::new(text, pattern);
    let most = matcher.steps;
    let bearable = !matches!(matcher.search(search), Err(End::TooMuch));
    (most - matcher.steps, bearable)
}

/// Why matching ends early.
#[derive(Debug, PartialEq, Eq)]
enum End {
    TooMuch,
    Malformed,
}

/// Where a match ends, if there is one.
type Outcome = Result<Option<usize>, End>;

struct Matcher<'a> {
    text: &'a [u8],
    /// Ends with a NUL, as C has it.
    pattern: &'a [u8],
    steps: u64,
    depth: u32,
    /// Start and length of each; `None` is open, or a place.
    captures: Vec<(usize, Option<usize>)>,
}

impl<'a> Matcher<'a> {
    fn new(text: &'a [u8], pattern: &'a [u8]) -> Self {
        let steps = SCRIPT_PATTERN_STEPS_MAX + STEPS_PER_BYTE * text.len() as u64;
        Self { text, pattern, steps, depth: 0, captures: Vec::new() }
    }

    fn search(&mut self, search: Search) -> Outcome {
        let anchored = self.at(0) == b'^' && search != Search::Each;
        let from = usize::from(anchored);
        match search {
            Search::First(init) => {
                for start in init.min(self.text.len())..=self.text.len() {
                    self.captures.clear();
                    if let Some(end) = self.matches(start, from)? {
                        return Ok(Some(end));
                    }
                    if anchored {
                        break;
                    }
                }
                Ok(None)
            }
            Search::All | Search::Each => {
                let mut start = 0;
                while start <= self.text.len() {
                    self.captures.clear();
                    start = match self.matches(start, from)? {
                        Some(end) if end > start => end,
                        _ => start + 1,
                    };
                    if anchored {
                        break;
                    }
                }
                Ok(None)
            }
        }
    }

    /// A byte of the pattern; behind its end is a NUL.
    fn at(&self, place: usize) -> u8 {
        self.pattern.get(place).copied().unwrap_or(0)
    }

    fn spend(&mut self, steps: usize) -> Result<(), End> {
        self.steps = self.steps.checked_sub(steps as u64).ok_or(End::TooMuch)?;
        Ok(())
    }

    /// Whether what stands from `item` on matches at `start`.
    fn matches(&mut self, start: usize, item: usize) -> Outcome {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(End::TooMuch);
        }
        let found = self.matches_here(start, item);
        self.depth -= 1;
        found
    }

    fn matches_here(&mut self, mut start: usize, mut item: usize) -> Outcome {
        loop {
            self.spend(1)?;
            match self.at(item) {
                b'(' => return self.open(start, item),
                b')' => return self.close(start, item + 1),
                0 => return Ok(Some(start)),
                b'$' if self.at(item + 1) == 0 => {
                    return Ok((start == self.text.len()).then_some(start));
                }
                b'%' if self.at(item + 1) == b'b' => match self.balance(start, item + 2)? {
                    Some(end) => (start, item) = (end, item + 4),
                    None => return Ok(None),
                },
                b'%' if self.at(item + 1) == b'f' => match self.frontier(start, item + 2)? {
                    Some(end) => item = end,
                    None => return Ok(None),
                },
                b'%' if self.at(item + 1).is_ascii_digit() => {
                    match self.again(start, self.at(item + 1))? {
                        Some(end) => (start, item) = (end, item + 2),
                        None => return Ok(None),
                    }
                }
                _ => {
                    let end = self.class_end(item)?;
                    match self.at(end) {
                        b'?' => {
                            if self.is_single(start, item, end)?
                                && let Some(found) = self.matches(start + 1, end + 1)?
                            {
                                return Ok(Some(found));
                            }
                            item = end + 1;
                        }
                        b'*' => return self.most(start, item, end),
                        b'+' => {
                            let first = self.is_single(start, item, end)?;
                            return if first { self.most(start + 1, item, end) } else { Ok(None) };
                        }
                        b'-' => return self.least(start, item, end),
                        _ if self.is_single(start, item, end)? => (start, item) = (start + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn open(&mut self, start: usize, item: usize) -> Outcome {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(End::Malformed);
        }
        let is_place = self.at(item + 1) == b')';
        self.captures.push((start, is_place.then_some(PLACE)));
        let found = self.matches(start, item + 1 + usize::from(is_place))?;
        if found.is_none() {
            self.captures.pop();
        }
        Ok(found)
    }

    fn close(&mut self, start: usize, item: usize) -> Outcome {
        let open = self.captures.iter().rposition(|(_, len)| len.is_none());
        let open = open.ok_or(End::Malformed)?;
        self.captures[open].1 = Some(start - self.captures[open].0);
        let found = self.matches(start, item)?;
        if found.is_none() {
            self.captures[open].1 = None;
        }
        Ok(found)
    }

    fn balance(&mut self, start: usize, item: usize) -> Outcome {
        let (open, close) = (self.at(item), self.at(item + 1));
        if open == 0 || close == 0 {
            return Err(End::Malformed);
        }
        if self.text.get(start) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for (at, byte) in self.text.iter().enumerate().skip(start + 1) {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    self.spend(at - start)?;
                    return Ok(Some(at + 1));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        self.spend(self.text.len() - start)?;
        Ok(None)
    }

    /// Where the set behind `%f` ends, if `start` is such a border.
    fn frontier(&mut self, start: usize, item: usize) -> Outcome {
        if self.at(item) != b'[' {
            return Err(End::Malformed);
        }
        let end = self.class_end(item)?;
        self.spend(end - item)?;
        let byte = |at: Option<usize>| at.and_then(|at| self.text.get(at)).copied().unwrap_or(0);
        let is_in = |byte| self.is_in_set(byte, item, end - 1);
        let border = !is_in(byte(start.checked_sub(1))) && is_in(byte(Some(start)));
        Ok(border.then_some(end))
    }

    fn again(&mut self, start: usize, digit: u8) -> Outcome {
        let number = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let Some((from, Some(len))) = self.captures.get(number).copied() else {
            return Err(End::Malformed);
        };
        if len == PLACE {
            return Ok(None);
        }
        self.spend(len / 16)?;
        let suits = self.text[start..].starts_with(&self.text[from..from + len]);
        Ok(suits.then_some(start + len))
    }

    fn most(&mut self, start: usize, item: usize, end: usize) -> Outcome {
        let mut count = 0;
        while self.is_single(start + count, item, end)? {
            count += 1;
        }
        loop {
            if let Some(found) = self.matches(start + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn least(&mut self, mut start: usize, item: usize, end: usize) -> Outcome {
        loop {
            if let Some(found) = self.matches(start, end + 1)? {
                return Ok(Some(found));
            }
            if !self.is_single(start, item, end)? {
                return Ok(None);
            }
            start += 1;
        }
    }

    /// Where the class ends that begins at `item`.
    fn class_end(&self, item: usize) -> Result<usize, End> {
        match self.at(item) {
            b'%' if self.at(item + 1) == 0 => Err(End::Malformed),
            b'%' => Ok(item + 2),
            b'[' => {
                let mut at = item + 1 + usize::from(self.at(item + 1) == b'^');
                loop {
                    // The first one may be a bracket.
                    match self.at(at) {
                        0 => return Err(End::Malformed),
                        b'%' if self.at(at + 1) != 0 => at += 2,
                        _ => at += 1,
                    }
                    if self.at(at) == b']' {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(item + 1),
        }
    }

    fn is_single(&mut self, at: usize, item: usize, end: usize) -> Result<bool, End> {
        self.spend(1 + (end - item) / 16)?;
        let Some(&byte) = self.text.get(at) else { return Ok(false) };
        Ok(match self.at(item) {
            b'.' => true,
            b'%' => is_in_class(byte, self.at(item + 1)),
            b'[' => self.is_in_set(byte, item, end - 1),
            own => own == byte,
        })
    }

    /// Whether the set from `[` at `item` to `]` at `end` has the byte.
    fn is_in_set(&self, byte: u8, item: usize, end: usize) -> bool {
        let negated = self.at(item + 1) == b'^';
        let mut at = item + 1 + usize::from(negated);
        while at < end {
            if self.at(at) == b'%' {
                if is_in_class(byte, self.at(at + 1)) {
                    return !negated;
                }
                at += 2;
            } else if self.at(at + 1) == b'-' && at + 2 < end {
                if (self.at(at)..=self.at(at + 2)).contains(&byte) {
                    return !negated;
                }
                at += 3;
            } else {
                if self.at(at) == byte {
                    return !negated;
                }
                at += 1;
            }
        }
        negated
    }
}

/// `%a` and its kin; an upper-case letter is all but those.
fn is_in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::*;
    use crate::base::random::Random;

    /// What Lua's own matcher finds, or that it refuses the pattern.
    fn native(lua: &Lua, text: &[u8], pattern: &[u8]) -> Outcome {
        let find: mlua::Function = lua.load("return string.find").eval().expect("it is there");
        let (text, pattern) = (lua.create_string(text), lua.create_string(pattern));
        let call = (text.expect("short"), pattern.expect("short"));
        match find.call::<mlua::MultiValue>(call) {
            Ok(found) => Ok(found.get(1).and_then(mlua::Value::as_integer).map(|end| end as usize)),
            Err(_) => Err(End::Malformed),
        }
    }

    #[test]
    fn it_goes_the_ways_of_the_native_matcher() {
        let lua = Lua::new();
        let pieces: &[&[u8]] = &[
            b"a", b"b", b".", b"%a", b"%W", b"[ab]", b"[^a]", b"[a-c%d]", b"[]]", b"(", b")",
            b"()", b"*", b"+", b"-", b"?", b"%b()", b"%f[a]", b"%1", b"^", b"$", b"[%]]", b"%",
            b"[", b"x", b"\0", b"[a-]",
        ];
        let letters = b"aab(b)1x]-";
        let (mut random, mut seen) = (Random::seeded(7), [0; 3]);
        for _ in 0..60_000 {
            let mut draw = |below: usize| (random.next_u64() % below as u64) as usize;
            let text: Vec<u8> = (0..draw(12)).map(|_| letters[draw(letters.len())]).collect();
            let pattern: Vec<u8> =
                (0..1 + draw(6)).flat_map(|_| pieces[draw(pieces.len())].to_vec()).collect();
            // Lua's `find` takes what has nothing special in it for plain text.
            if !pattern.iter().take_while(|b| **b != 0).any(|b| b"^$*+?.([%-".contains(b)) {
                continue;
            }
            let expected = native(&lua, &text, &pattern);
            let found = Matcher::new(&text, &pattern).search(Search::First(0));
            seen[match &expected {
                Ok(Some(_)) => 0,
                Ok(None) => 1,
                Err(_) => 2,
            }] += 1;
            // Lua refuses a pattern whose captures stay open only when it hands them out.
            if expected != Err(End::Malformed) {
                let shown = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&pattern));
                assert_eq!(found, expected, "{shown:?}");
            }
        }
        assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
    }

    #[test]
    fn what_would_never_end_is_found_out() {
        let text = b"a".repeat(1000);
        for pattern in
            [".-.-.-.-.-b", "a*a*a*a*b", "(.-)(.-)(.-)%1%2%3x", "[%w_]-[%w_]-[%w_]-[%w_]-!"]
        {
            assert!(!measure(&text, pattern.as_bytes(), Search::First(0)).1, "{pattern}");
            assert!(!measure(&text, pattern.as_bytes(), Search::All).1, "{pattern}");
        }
        let open = b"(".repeat(1_000_000);
        assert!(!measure(&open, b"%b()", Search::First(0)).1);
        assert!(!measure(&open, b".-x", Search::First(0)).1);
        for pattern in [".-b", "%a+", "^.-.-.-$", "a*b"] {
            assert!(measure(&text, pattern.as_bytes(), Search::First(0)).1, "{pattern}");
        }
        let long = b"word ".repeat(2_000_000);
        assert!(measure(&long, b"(%a+)%s*", Search::All).1);
        assert!(measure(&text, b"%a%", Search::All).1, "Lua says what is wrong");
    }
}
