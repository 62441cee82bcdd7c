//! The intset: a set of integers as a sorted array, as Redis stores it.
//!
//! What is read and edited here is the *body*: ascending little-endian integers without
//! duplicates, all of one [`Width`], the least that the widest of them has needed. The header
//! before it, the width and the number as `u32` LE, is added when a file is written ([`header`])
//! and checked off when one is read ([`check`]).

use super::Corrupt;

#[cfg(test)]
mod tests;

/// Bytes of [`header`].
pub const HEADER_LEN: usize = 8;

/// The bytes of each integer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Width {
    /// Two bytes.
    W16,
    /// Four bytes.
    W32,
    /// Eight bytes.
    W64,
}

impl Width {
    /// The least width that holds `value`.
    #[inline]
    pub fn of(value: i64) -> Self {
        if i16::try_from(value).is_ok() {
            Width::W16
        } else if i32::try_from(value).is_ok() {
            Width::W32
        } else {
            Width::W64
        }
    }

    /// How many bytes that are.
    #[inline]
    pub fn bytes(self) -> usize {
        match self {
            Width::W16 => 2,
            Width::W32 => 4,
            Width::W64 => 8,
        }
    }
}

/// The body of an intset.
#[derive(Clone, Copy, Debug)]
pub struct Ints<'a> {
    /// A multiple of the width.
    body: &'a [u8],
    width: Width,
}

impl<'a> Ints<'a> {
    /// Reads `body`, made of what [`encode`] returned in ascending order, or returned by [`check`].
    #[inline]
    pub fn new(body: &'a [u8], width: Width) -> Self {
        Self { body, width }
    }

    /// Its bytes.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The width of each integer.
    #[inline]
    pub fn width(&self) -> Width {
        self.width
    }

    /// How many integers there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.body.len() / self.width.bytes()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The integer at `index`, in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let at = index.checked_mul(self.width.bytes())?;
        let tail = self.body.get(at..)?;
        Some(match self.width {
            Width::W16 => i16::from_le_bytes(*tail.first_chunk()?).into(),
            Width::W32 => i32::from_le_bytes(*tail.first_chunk()?).into(),
            Width::W64 => i64::from_le_bytes(*tail.first_chunk()?),
        })
    }

    /// The index of `value`, or the one where it would have to be inserted.
    pub fn find(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Most often numbers arrive in order, or beyond the ends as they are wider.
        match self.get(high.wrapping_sub(1)) {
            Some(last) if value <= last => {}
            _ => return Err(high),
        }
        while low < high {
            let middle = low.midpoint(high);
            let Some(found) = self.get(middle) else { break };
            match found.cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether `value` is among them.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        Width::of(value) <= self.width && self.find(value).is_ok()
    }

    /// The least integer.
    #[inline]
    pub fn first(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest integer.
    #[inline]
    pub fn last(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The integers in ascending order.
    #[inline]
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + use<'a> {
        let ints = *self;
        (0..ints.len()).map(move |index| ints.get(index).expect("the index is below the length"))
    }

    /// The body of the same set with `width`, which holds all its integers.
    pub fn widened(&self, width: Width) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.len() * width.bytes());
        for value in self.iter() {
            body.extend_from_slice(encode(value, width, &mut [0; 8]));
        }
        body
    }
}

/// The bytes of `value`, which `width` holds.
#[inline]
pub fn encode(value: i64, width: Width, buf: &mut [u8; 8]) -> &[u8] {
    debug_assert!(Width::of(value) <= width);
    *buf = value.to_le_bytes();
    &buf[..width.bytes()]
}

/// What stands before the body in a whole intset.
pub fn header(ints: Ints<'_>) -> [u8; HEADER_LEN] {
    let len = u32::try_from(ints.len()).expect("an intset has fewer than 4 Gi integers");
    let mut header = [0; HEADER_LEN];
    header[0] = ints.width.bytes() as u8;
    header[4..].copy_from_slice(&len.to_le_bytes());
    header
}

/// What a whole intset holds; as in Redis never nothing.
///
/// # Errors
///
/// When the header does not fit the body, or the integers are not ascending.
pub fn check(whole: &[u8]) -> Result<Ints<'_>, Corrupt> {
    let wrong = |what, at| Err(Corrupt { what, at });
    let Some((header, body)) = whole.split_at_checked(HEADER_LEN) else {
        return wrong("cut intset header", whole.len());
    };
    let (width, len) = header.split_at(4);
    let width = match width {
        [2, 0, 0, 0] => Width::W16,
        [4, 0, 0, 0] => Width::W32,
        [8, 0, 0, 0] => Width::W64,
        _ => return wrong("unknown intset width", 0),
    };
    let len = len.iter().rev().fold(0, |len, byte| len << 8 | u64::from(*byte));
    if len == 0 || len * width.bytes() as u64 != body.len() as u64 {
        return wrong("wrong intset length", 4);
    }
    let ints = Ints::new(body, width);
    match ints.iter().zip(ints.iter().skip(1)).position(|(one, next)| one >= next) {
        Some(index) => wrong("intset out of order", HEADER_LEN + (index + 1) * width.bytes()),
        None => Ok(ints),
    }
}
