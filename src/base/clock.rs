//! The only reader of time.
//!
//! Wall-clock times are Unix milliseconds (`*_at_ms`), because deadlines are stored and exchanged
//! that way. Durations of commands are measured in processor ticks: reading the time stamp counter
//! costs a third of a clock call, and it is read once per command.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
pub fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).expect("the year is before 292 million")
}

/// Unix time in microseconds.
pub fn now_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).expect("the year is before 292 thousand")
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Processor time that the calling thread has used, in microseconds.
pub fn thread_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or(0)
}

/// A point in time for measuring short spans, in units of [`ticks_per_us`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    #[expect(unsafe_code, reason = "a third of the cost of Instant::now, once per command")]
    // SAFETY: RDTSC is part of every x86-64 processor and has no precondition.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

/// A point in time for measuring short spans, in units of [`ticks_per_us`].
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How many ticks make a microsecond, measured once over two milliseconds.
pub fn ticks_per_us() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, from) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        let span = ticks().wrapping_sub(from) as f64;
        (span / (start.elapsed().as_nanos() as f64 / 1000.0)).max(1e-3)
    })
}

/// So many ticks make `us` microseconds.
pub fn ticks_in_us(us: u64) -> u64 {
    (us as f64 * ticks_per_us()) as u64
}

/// A span of ticks in whole microseconds.
pub fn ticks_to_us(span: u64) -> u64 {
    (span as f64 / ticks_per_us()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_measure_real_time() {
        let (start, from) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let us = ticks_to_us(ticks() - from);
        assert!((4_000..50_000).contains(&us), "{us}");
    }

    #[test]
    fn both_units_agree() {
        let (ms, us) = (now_ms(), now_us());
        assert!((us / 1000 - ms).abs() < 1000);
    }
}
