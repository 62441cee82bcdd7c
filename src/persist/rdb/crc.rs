//! The checksum at the end of files and payloads: CRC-64 with the polynomial of Jones, as Redis.

use ::crc::{CRC_64_REDIS, Crc as Algorithm, Digest, Table};

/// Sixteen bytes at a step.
static ALGORITHM: Algorithm<u64, Table<16>> = Algorithm::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of all bytes so far.
#[derive(Clone)]
pub struct Crc(Digest<'static, u64, Table<16>>);

impl Crc {
    /// The checksum of nothing, which is 0.
    pub fn new() -> Self {
        Self(ALGORITHM.digest())
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum.
    pub fn value(&self) -> u64 {
        self.0.clone().finalize()
    }

    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> u64 {
        ALGORITHM.checksum(bytes)
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_redis() {
        assert_eq!(Crc::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Crc::new().value(), 0);
    }

    #[test]
    fn pieces_make_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..1000u32).map(|n| (n * n) as u8).collect();
        for at in [0, 1, 15, 16, 17, 500, 1000] {
            let mut crc = Crc::new();
            crc.update(&whole[..at]);
            crc.update(&whole[at..]);
            assert_eq!(crc.value(), Crc::of(&whole));
        }
    }
}
