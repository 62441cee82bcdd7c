//! `--test-memory MEGABYTES [PASSES]`: whether the machine's memory keeps what is written to it.
//!
//! Patterns are written to one large block and read back: each word's own number, random words, all bits
//! on and off, and checkerboards. As with Redis, an error ends the process with code 1.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;

use crate::base::random::Random;

/// Passes when none are asked for (Redis: 50).
const PASSES: usize = 50;
/// Most memory that can be tested, in megabytes.
const MEGABYTES_MAX: usize = 1 << 20;

/// Runs the test; `args` are the megabytes and perhaps the passes.
pub fn test_memory(args: &[String]) -> ExitCode {
    let number = |arg: &String| arg.parse::<usize>().ok().filter(|number| *number > 0);
    let megabytes = args.first().and_then(number).filter(|count| *count <= MEGABYTES_MAX);
    let passes = args.get(1).map_or(Some(PASSES), number);
    let (Some(megabytes), Some(passes), true) = (megabytes, passes, args.len() <= 2) else {
        println!("Please specify the amount of memory to test in megabytes.");
        println!("Example: redstart --test-memory 4096\n");
        return ExitCode::FAILURE;
    };
    let mut words: Vec<u64> = Vec::new();
    if words.try_reserve_exact(megabytes << 17).is_err() {
        println!("Unable to allocate {megabytes} megabytes: out of memory");
        return ExitCode::FAILURE;
    }
    words.resize(megabytes << 17, 0);
    for pass in 1..=passes {
        print!("\rTesting memory [{pass}/{passes}]");
        // A progress that cannot be shown is no reason to stop.
        let _ = std::io::stdout().flush();
        if let Some((pattern, at)) = test(&mut words) {
            println!("\n*** MEMORY {pattern} ERROR at word {at} of {} ***", words.len());
            return ExitCode::FAILURE;
        }
    }
    println!("\nYour memory passed this test.");
    println!("Please if you are still in doubt use the following two tools:");
    println!("1) memtest86: http://www.memtest86.com/");
    println!("2) memtester: http://pyropus.ca/software/memtester/");
    ExitCode::SUCCESS
}

/// One pass; the pattern and the first word that did not keep it.
fn test(words: &mut [u64]) -> Option<(&'static str, usize)> {
    let seed = Random::from_os().next_u64();
    let scattered = move |at: usize| {
        // The mixing step of SplitMix64: neighbours differ in half of their bits.
        let word = (at as u64).wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let patterns: [(&'static str, &dyn Fn(usize) -> u64); 6] = [
        ("ADDRESSING", &|at| at as u64),
        ("RANDOM FILL", &scattered),
        ("SOLID FILL", &|_| u64::MAX),
        ("SOLID FILL", &|_| 0),
        ("CHECKERBOARD FILL", &|at| if at % 2 == 0 { 0x5555_5555_5555_5555 } else { !0 / 3 * 2 }),
        ("CHECKERBOARD FILL", &|at| if at % 2 == 0 { !0 / 3 * 2 } else { 0x5555_5555_5555_5555 }),
    ];
    patterns.iter().find_map(|(name, pattern)| {
        words.iter_mut().enumerate().for_each(|(at, word)| *word = pattern(at));
        // Read what is in memory, not what the compiler knows of it.
        let words = black_box(&*words);
        let wrong = words.iter().enumerate().position(|(at, word)| *word != pattern(at));
        wrong.map(|at| (*name, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_memory_passes() {
        assert_eq!(test(&mut vec![0; 10_000]), None);
    }
}
