//! `math.random`: the generator of POSIX `drand48`, so that seeded numbers are those of Redis.

/// The numbers of the generator are at most this (Redis: REDIS_LRAND48_MAX).
const MAX: u32 = i32::MAX as u32;

/// A linear congruential generator of 48 bits.
pub(super) struct Random48(u64);

impl Default for Random48 {
    fn default() -> Self {
        Self(0x1234_abcd_330e)
    }
}

impl Random48 {
    /// Starts the sequence of `seed`.
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = u64::from(seed as u32) << 16 | 0x330e;
    }

    /// The next number of the sequence, at least 0 and below 1.
    pub(super) fn next_fraction(&mut self) -> f64 {
        const MASK: u64 = (1 << 48) - 1;
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        let number = (self.0 >> 17) as u32;
        f64::from(number % MAX) / f64::from(MAX)
    }
}
