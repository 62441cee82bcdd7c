//! The sizes in which thin items are allocated.

/// The allocation size for `len` bytes: multiples of 8 up to 64, then four classes per doubling.
///
/// These are the allocator's own classes (see `observe::allocator`); with any other allocator they
/// only decide which overwrites happen in place.
#[inline]
pub fn size_class(len: usize) -> usize {
    if len <= 64 {
        return len.next_multiple_of(8);
    }
    let spacing = 1 << (usize::BITS - 1 - (len - 1).leading_zeros() - 2);
    len.next_multiple_of(spacing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_have_four_steps_per_doubling() {
        let steps: Vec<usize> =
            [1, 8, 9, 56, 64, 65, 81, 128, 129, 161, 1025].map(size_class).into();
        assert_eq!(steps, [8, 8, 16, 56, 64, 80, 96, 128, 160, 192, 1280]);
    }
}
