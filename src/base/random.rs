//! The only randomness: a small seedable generator, seeded by the operating system.

use std::fs::File;
use std::io::Read;

/// Fills `out` with bytes from the operating system.
pub fn fill_from_os(out: &mut [u8]) {
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(out))
        .expect("the operating system gives random bytes");
}

/// A random hexadecimal text of `len` digits, such as a run id.
pub fn hex(len: usize) -> String {
    let mut bytes = vec![0; len.div_ceil(2)];
    fill_from_os(&mut bytes);
    let mut text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    text.truncate(len);
    text
}

/// xoshiro256** by Blackman and Vigna: fast, not for secrets.
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator that nobody can foresee.
    pub fn from_os() -> Self {
        let mut seed = [0; 8];
        fill_from_os(&mut seed);
        Self::seeded(u64::from_le_bytes(seed))
    }

    /// A generator whose sequence a test can repeat.
    pub fn seeded(mut seed: u64) -> Self {
        // SplitMix64 spreads the seed, as the authors of xoshiro advise.
        let state = std::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Another generator, which goes on independently of this one.
    pub fn fork(&mut self) -> Self {
        Self::seeded(self.next_u64())
    }

    /// A number below `end`, which must not be 0; the bias of 2^-64 per value is accepted.
    pub fn below(&mut self, end: u64) -> u64 {
        debug_assert!(end > 0);
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_end_and_vary() {
        let mut random = Random::seeded(7);
        let seen: std::collections::HashSet<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert_eq!(seen, (0..10).collect());
    }

    #[test]
    fn hex_has_the_asked_length() {
        assert_eq!(hex(40).len(), 40);
        assert_ne!(hex(40), hex(40));
    }
}
