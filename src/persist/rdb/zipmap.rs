//! The zipmap, in which Redis kept small hashes before version 2.6. Only read.
//!
//! ```text
//! zipmap  pairs: u8, 254 unknown | pair ... | 255
//! pair    length field length free text, and `free` bytes of nothing
//! length  u8 below 254, or 254 and u32 LE
//! ```

use crate::encoding::Corrupt;

const END: u8 = 255;
const LONG: u8 = 254;

/// Calls `visit` with every field and value of a whole zipmap, and returns how many there are.
///
/// # Errors
///
/// When the zipmap contradicts itself, or is empty.
pub fn for_each<'a>(
    whole: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<usize, Corrupt> {
    let corrupt = |what, at| Corrupt { what, at };
    let [counted, pairs @ .., END] = whole else {
        return Err(corrupt("missing end of zipmap", whole.len()));
    };
    let (mut rest, mut count) = (pairs, 0);
    while !rest.is_empty() {
        let Some((field, value, after)) = pair(rest) else {
            return Err(corrupt("broken zipmap entry", 1 + pairs.len() - rest.len()));
        };
        visit(field, value);
        (rest, count) = (after, count + 1);
    }
    if count == 0 || *counted != LONG && usize::from(*counted) != count {
        return Err(corrupt("wrong number of zipmap entries", 0));
    }
    Ok(count)
}

fn pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (len, rest) = length(bytes)?;
    let (field, rest) = rest.split_at_checked(len)?;
    let (len, rest) = length(rest)?;
    let (free, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(len)?;
    Some((field, value, rest.get(usize::from(*free)..)?))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [LONG, a, b, c, d, ref rest @ ..] => {
            Some((u32::from_le_bytes([a, b, c, d]) as usize, rest))
        }
        [len @ ..LONG, ref rest @ ..] => Some((len.into(), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn pairs(whole: &[u8]) -> Result<Pairs, Corrupt> {
        let mut pairs = Vec::new();
        let count = for_each(whole, |field, value| pairs.push((field.to_vec(), value.to_vec())))?;
        assert_eq!(count, pairs.len());
        Ok(pairs)
    }

    #[test]
    fn pairs_with_free_bytes_and_long_texts_are_read() {
        let long = vec![b'v'; 300];
        let whole = [
            &b"\x03\x03foo\x03\x02bar??\x00\x00\x00\x05hello\xfe\x2c\x01\x00\x00\x00"[..],
            &long,
            b"\xff",
        ]
        .concat();
        let expected = vec![
            (b"foo".to_vec(), b"bar".to_vec()),
            (Vec::new(), Vec::new()),
            (b"hello".to_vec(), long),
        ];
        assert_eq!(pairs(&whole), Ok(expected));
        for len in 0..whole.len() {
            assert!(pairs(&whole[..len]).is_err());
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = pairs(&damaged);
            }
        }
    }

    #[test]
    fn the_count_is_checked_where_it_is_known() {
        assert!(pairs(b"\x00\xff").is_err());
        assert!(pairs(b"\x02\x01a\x01\x00b\xff").is_err());
        assert!(pairs(b"\xfe\x01a\x01\x00b\xff").is_ok());
    }
}
