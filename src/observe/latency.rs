//! How long executions took, as a histogram of one command on one event loop.
//!
//! Buckets are log-linear: each power of two of ticks is cut into `STEPS` equal parts, so that a
//! percentile is off by at most 1.6 %, at any length. Spans below `STEPS` ticks have a bucket each.
//!
//! ```text
//! ticks   0 1 2 ... 63 | 64 65 ... 127 | 128 130 ... 254 | 256 260 ...
//! bucket  0 1 2 ... 63 | 64 65 ... 127 | 128 129 ... 191 | 192 193 ...
//! ```
//!
//! Must not know what a command is. Invariant: only the event loop that owns a histogram records.

use super::stats::Counter;

/// Buckets of one power of two.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Longer spans count as this many ticks, half a minute on a fast processor.
const TICKS_MAX: u64 = (1 << 37) - 1;

const BUCKETS: usize = bucket_of(TICKS_MAX) + 1;

/// Spans of time by length.
pub(super) struct Histogram {
    buckets: Box<[Counter]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Counter::default()).collect() }
    }
}

impl Histogram {
    /// Counts a span.
    #[inline]
    pub(super) fn record(&self, ticks: u64) {
        self.buckets[bucket_of(ticks.min(TICKS_MAX))].add(1);
    }

    /// Adds the counts to `sum`.
    pub(super) fn add_to(&self, sum: &mut Distribution) {
        sum.counts.resize(BUCKETS, 0);
        for (sum, bucket) in sum.counts.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
    }

    /// Forgets all spans.
    pub(super) fn reset(&self) {
        self.buckets.iter().for_each(Counter::reset);
    }
}

/// Spans of one command on all event loops.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    counts: Vec<u64>,
}

impl Distribution {
    /// Whether no span was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// How many spans were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many spans were at most so many microseconds, for bounds of about 1, 2, 4... up to a
    /// second, those left out that add nothing. The bounds are the ones of Redis, whose histogram
    /// counts nanoseconds with two digits of precision: 2^n + 2^(n-7) - 1, n from 10 to 30.
    pub fn doublings(&self, ticks_per_us: f64) -> Vec<(u64, u64)> {
        let mut ends: Vec<(u64, u64)> = Vec::new();
        let (mut shift, mut seen) = (10, 0);
        let bound = |shift: u32| (1u64 << shift) + (1 << (shift - 7)) - 1;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let ns = longest_of(bucket) as f64 * 1000.0 / ticks_per_us;
            while shift < 30 && ns > bound(shift) as f64 {
                shift += 1;
            }
            seen += count;
            match ends.last_mut() {
                Some((us, total)) if *us == bound(shift) / 1000 => *total = seen,
                _ => ends.push((bound(shift) / 1000, seen)),
            }
        }
        ends
    }

    /// The span, in ticks, that `percent` of all spans do not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = ((percent / 100.0 * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, longest_of)
    }
}

#[inline]
const fn bucket_of(ticks: u64) -> usize {
    if ticks < STEPS as u64 {
        return ticks as usize;
    }
    let shift = ticks.ilog2() - STEP_BITS;
    (shift as usize) * STEPS + (ticks >> shift) as usize
}

/// The longest span of a bucket.
fn longest_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    (((bucket - shift * STEPS) as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_they_are_found_by() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(longest_of(bucket)), bucket);
        }
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_of(longest_of(bucket - 1) + 1), bucket);
        }
    }

    #[test]
    fn percentiles_are_near_what_was_recorded() {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        (1..=100).for_each(|hundred| histogram.record(hundred * 1000));
        histogram.add_to(&mut sum);
        for (percent, exact) in [(0.0, 1000.0), (50.0, 50_000.0), (99.0, 99_000.0), (100.0, 1e5)] {
            let found = sum.percentile(percent) as f64;
            assert!((found / exact - 1.0).abs() < 0.016, "p{percent} is {found}");
        }
        histogram.reset();
        let mut none = Distribution::default();
        histogram.add_to(&mut none);
        assert!(none.is_empty() && none.percentile(50.0) == 0);
    }

    #[test]
    fn doublings_count_up_to_bounds_that_double() {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        for us in [1, 1, 30, 32, 40, 1_000_000, 5_000_000] {
            histogram.record(us * 1000);
        }
        histogram.add_to(&mut sum);
        assert_eq!(sum.total(), 7);
        assert_eq!(sum.doublings(1000.0), [(1, 2), (33, 4), (66, 5), (1_082_130, 7)]);
    }

    #[test]
    fn endless_spans_count_as_the_longest() {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        histogram.record(u64::MAX);
        histogram.add_to(&mut sum);
        assert_eq!(sum.percentile(100.0), TICKS_MAX);
    }
}
