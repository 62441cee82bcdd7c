//! What of the system may harm the server: `--check-system`, warnings at start, and what the process asks
//! of the kernel for itself (`oom-score-adj`, `disable-thp`).
//!
//! The checks have the names, the form and the exit codes of Redis (syscheck.c). Those that concern
//! forked children do not apply here, since nothing forks: memory may be overcommitted as the kernel
//! sees fit, but not refused; and the bug of old ARM64 kernels, which loses what a child's parent
//! writes, cannot show.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use rustix::thread::disable_transparent_huge_pages;

use crate::base::os_error;
use crate::config::Config;
use crate::server::cpu_seconds;

/// How long the check of the clock reads it.
const CLOCK_READING_MS: u128 = 100;
/// Connections that wait to be accepted, unless `tcp-backlog` says otherwise.
const BACKLOG: i64 = 511;
/// Open files that the default `maxclients` needs.
const FILES: u64 = 10_032;

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Good,
    /// It could not be found out.
    Skipped,
    Bad(String),
}

impl Finding {
    fn bad_if(bad: bool, text: impl FnOnce() -> String) -> Self {
        if bad { Self::Bad(text()) } else { Self::Good }
    }
}

type Check = (&'static str, fn() -> Finding);

const CHECKS: &[Check] = &[
    ("slow-clocksource", slow_clock),
    ("xen-clocksource", xen_clock),
    ("overcommit", || overcommit(&read("/proc/sys/vm/overcommit_memory"))),
    ("THP", || huge_pages(&read("/sys/kernel/mm/transparent_hugepage/enabled"))),
    ("somaxconn", || somaxconn(&read("/proc/sys/net/core/somaxconn"), BACKLOG)),
    ("open-files", open_files),
];

/// Prints what of the system may make the server slow or fail; fails when something does.
pub fn check_system() -> ExitCode {
    let (mut all_good, mut out) = (true, std::io::stdout().lock());
    for (name, check) in CHECKS {
        let printed = match check() {
            Finding::Good => writeln!(out, "[{name}]...OK"),
            Finding::Skipped => writeln!(out, "[{name}]...skipped"),
            Finding::Bad(text) => {
                all_good = false;
                writeln!(out, "[{name}]...WARNING:\n{text}")
            }
        };
        all_good &= printed.is_ok();
    }
    if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Logs what of the system may harm a server with that configuration.
pub(super) fn warn(config: &Config) {
    let backlog = config.int("tcp-backlog");
    let findings = [
        somaxconn(&read("/proc/sys/net/core/somaxconn"), backlog),
        overcommit(&read("/proc/sys/vm/overcommit_memory")),
        xen_clock(),
    ];
    for finding in findings {
        if let Finding::Bad(text) = finding {
            tracing::warn!("WARNING {text}");
        }
    }
    if let Finding::Bad(text) = huge_pages(&read("/sys/kernel/mm/transparent_hugepage/enabled")) {
        let off = config.flag("disable-thp") && disable_transparent_huge_pages(true).is_ok();
        if !off {
            tracing::warn!("WARNING {text}");
        }
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Whether reading the time is a call of the kernel: most of the time is then spent there.
fn slow_clock() -> Finding {
    let Some(before) = cpu_seconds() else { return Finding::Skipped };
    let begin = Instant::now();
    while begin.elapsed().as_millis() < CLOCK_READING_MS {}
    let Some(after) = cpu_seconds() else { return Finding::Skipped };
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    Finding::bad_if(system * 10.0 > system + user, || {
        let folder = "/sys/devices/system/clocksource/clocksource0";
        format!(
            "Reading the time is a call of the kernel on this system, which slows everything down. The \
             source of time is '{}', available are '{}'. As root: echo tsc > {folder}/current_clocksource; \
             to keep it, use the kernel's parameter clocksource=.",
            read(&format!("{folder}/current_clocksource")),
            read(&format!("{folder}/available_clocksource"))
        )
    })
}

fn xen_clock() -> Finding {
    match read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_str() {
        "" => Finding::Skipped,
        source => Finding::bad_if(source == "xen", || {
            "The source of time is 'xen', which may be slow. See what --check-system says of \
             slow-clocksource."
                .to_owned()
        }),
    }
}

/// Whether the kernel refuses memory before there is none.
fn overcommit(mode: &str) -> Finding {
    match mode {
        "" => Finding::Skipped,
        mode => Finding::bad_if(mode == "2", || {
            "Memory cannot be overcommitted (vm.overcommit_memory is 2), so requests for memory may be \
             refused while there is some. To change it: sysctl vm.overcommit_memory=1, and the same in \
             /etc/sysctl.conf."
                .to_owned()
        }),
    }
}

fn huge_pages(setting: &str) -> Finding {
    match setting {
        "" => Finding::Skipped,
        setting => Finding::bad_if(setting.contains("[always]"), || {
            "Transparent huge pages are always used on this system, which costs memory and makes some \
             commands slow. As root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, also \
             at each start of the system; then start the server anew."
                .to_owned()
        }),
    }
}

fn somaxconn(most: &str, backlog: i64) -> Finding {
    match most.parse::<i64>() {
        Err(_) => Finding::Skipped,
        Ok(most) => Finding::bad_if(most < backlog, || {
            format!(
                "The TCP backlog setting of {backlog} cannot be enforced because \
                 /proc/sys/net/core/somaxconn is set to the lower value of {most}."
            )
        }),
    }
}

fn open_files() -> Finding {
    let most = getrlimit(Resource::Nofile).maximum;
    Finding::bad_if(most.is_some_and(|most| most < FILES), || {
        format!(
            "The process may open {} files; 10000 clients (maxclients) need {FILES}. See `ulimit -Hn`, or \
             LimitNOFILE of a unit of systemd.",
            most.unwrap_or(0)
        )
    })
}

/// The process's score for the kernel's choice of whom to kill when memory is short.
#[derive(Default)]
pub(super) struct OomScore {
    /// What it was before the server changed it.
    base: Option<i64>,
}

impl OomScore {
    /// Sets the score that the directives say, or the one from before.
    pub(super) fn apply(&mut self, config: &Config) -> Result<(), String> {
        const PATH: &str = "/proc/self/oom_score_adj";
        let mode = config.text("oom-score-adj");
        if mode == "no" && self.base.is_none() {
            return Ok(());
        }
        let current = || -> Result<i64, String> {
            let text = std::fs::read_to_string(PATH).map_err(|error| os_error::text(&error))?;
            text.trim().parse().map_err(|_| "it is no number".to_owned())
        };
        let base = match self.base {
            Some(base) => base,
            None => current().inspect_err(|reason| {
                tracing::warn!("Unable to read oom_score_adj: {reason}");
            })?,
        };
        let [own, ..] = config.oom_scores();
        let score = match mode {
            "no" => base,
            "absolute" => own,
            _ => base + own,
        };
        let written = std::fs::write(PATH, format!("{}\n", score.clamp(-1000, 1000)));
        written.map_err(|error| {
            let reason = os_error::text(&error);
            tracing::warn!("Unable to write oom_score_adj: {reason}");
            reason
        })?;
        self.base = (mode != "no").then_some(base);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_bad(finding: Finding) -> bool {
        matches!(finding, Finding::Bad(_))
    }

    #[test]
    fn settings_of_the_system_are_judged() {
        assert_eq!(overcommit(""), Finding::Skipped);
        assert_eq!(overcommit("0"), Finding::Good);
        assert!(is_bad(overcommit("2")));
        assert_eq!(huge_pages("always [madvise] never"), Finding::Good);
        assert!(is_bad(huge_pages("[always] madvise never")));
        assert_eq!(somaxconn("4096", 511), Finding::Good);
        assert!(is_bad(somaxconn("128", 511)));
        assert_eq!(somaxconn("", 511), Finding::Skipped);
    }
}
