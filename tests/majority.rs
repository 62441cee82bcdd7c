//! The example `majority` as a test: locks, a queue and values on five servers that are killed.
//!
//! It has a `main` of its own, since its producers and consumers are this program once more, so it
//! reads the arguments of `cargo test` itself: it runs unless they ask for other tests only.

#[path = "../examples/majority/main.rs"]
#[allow(dead_code, reason = "its own main function")]
mod example;

use std::process::ExitCode;

const NAME: &str = "majority";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == example::ROLE) {
        return example::run(&arguments);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    if names.peek().is_some() && !names.any(|name| NAME.contains(name.as_str())) {
        return ExitCode::SUCCESS;
    }
    let code = example::run(&[]);
    let (word, failed) = if code == ExitCode::SUCCESS { ("ok", 0) } else { ("FAILED", 1) };
    println!("test result: {word}. {} passed; {failed} failed", 1 - failed);
    code
}
