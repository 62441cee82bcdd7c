//! A bar that shows how far work is, on a terminal only.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Keys,
}

/// Does `work` and shows meanwhile what `figures` says: how much is done, and of how much.
pub(super) fn show<R>(
    what: &'static str,
    unit: Unit,
    figures: impl Fn() -> (u64, u64) + Sync,
    work: impl FnOnce() -> R,
) -> R {
    if !io::stderr().is_terminal() {
        return work();
    }
    // Of nothing, everything would be done.
    let bar = ProgressBar::new(1);
    let template = match unit {
        Unit::Bytes => "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}",
        Unit::Keys => "{prefix} {wide_bar} {human_pos}/{human_len} keys {eta}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    std::thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        scope.spawn(|| {
            let is_over = is_over;
            while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(LOOK_EVERY) {
                let (done, total) = figures();
                bar.set_length(total.max(1));
                bar.set_position(done);
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(over);
        result
    })
}
