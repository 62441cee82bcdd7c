//! The table as text for people: the sample configuration file and the list for `--help`.

use std::fmt::Write as _;

use super::GROUPS;
use super::directive::{Directive, Flags, Kind};

const HEADER: &str = "\
# Redstart configuration: every directive with its default value.
#
# Generated from the directive table; start with `redstart /path/to/redstart.conf`. Options on the
# command line (`--port 7000`) win over this file. Directives that are commented out are not set.
# Sizes take units in any case: 1k is 1000 bytes, 1kb is 1024, and so on for m, mb, g and gb.
#
# Lines that are no directives:
#   include <path>                    read other files here; * ? [] match several
#   user <name> <rule> ...            define an ACL user
#   rename-command <name> <new name>  rename a command, or remove it with \"\"
#   loadmodule <path> <argument> ...  load a module
";

/// The sample configuration file, `config/redstart.conf`. Loading it changes no value.
pub fn conf_text() -> String {
    let mut text = HEADER.to_owned();
    for group in GROUPS {
        let _ = write!(text, "\n{:#<80}\n", format!("#### {} ", group.title));
        for directive in group.rows.iter().filter(|d| !d.is(Flags::HIDDEN)) {
            let _ = write!(text, "\n# {}", directive.doc);
            if let Some(feature) = directive.later {
                let _ = write!(text, " Not built yet: {feature}.");
            }
            let _ = writeln!(text, "\n{}", conf_line(directive));
        }
    }
    text
}

/// A list of all directives, one per line, for `--help`.
pub fn help_text() -> String {
    let mut text = "Directives, as `--name value` or in a configuration file:\n".to_owned();
    for group in GROUPS {
        let _ = writeln!(text, "\n{}:", group.title);
        for directive in group.rows.iter().filter(|d| !d.is(Flags::HIDDEN)) {
            let option = format!("--{} {}", directive.name, placeholder(directive));
            let _ = write!(text, "  {option:<44} {}", directive.doc);
            text.push_str(if directive.later.is_some() { " (not built yet)\n" } else { "\n" });
        }
    }
    text
}

fn conf_line(directive: &Directive) -> String {
    let Directive { name, default, kind, .. } = directive;
    match kind {
        _ if !default.is_empty() && directive.is(Flags::MULTI_ARG) => format!("{name} {default}"),
        Kind::Text(rule) if default.is_empty() && rule.is_optional() => format!("# {name} \"\""),
        Kind::ReplicaOf => format!("# {name} <host> <port>"),
        // The directory the server is started in.
        Kind::Dir => format!("# {name} {default}"),
        _ if default.is_empty() || default.contains(' ') => format!("{name} \"{default}\""),
        _ => format!("{name} {default}"),
    }
}

fn placeholder(directive: &Directive) -> &'static str {
    match directive.kind {
        Kind::Bool => "yes|no",
        Kind::Int { .. } => "<n>",
        Kind::Memory { .. } => "<size>",
        Kind::Enum(_) | Kind::Text(_) => "<text>",
        Kind::Flags(_) => "<word>...",
        Kind::Dir => "<path>",
        Kind::Bind => "<address>...",
        Kind::Save => "<seconds> <changes>...",
        Kind::OutputLimits => "<class> <hard> <soft> <seconds>",
        Kind::DbLimits => "<database> <size> <policy>...",
        Kind::OomScores => "<n> <n> <n>",
        Kind::Events => "<classes>",
        Kind::Percentiles => "<percent>...",
        Kind::ReplicaOf => "<host> <port>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DIRECTIVES, Invocation};

    #[test]
    fn the_committed_file_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redstart.conf");
        let committed =
            std::fs::read_to_string(path).expect("the sample file is in the repository");
        assert!(committed == conf_text(), "config/redstart.conf is not what `conf_text` renders");
    }

    #[test]
    fn loading_the_file_changes_no_value() {
        let invocation =
            Invocation { stdin: Some(conf_text().into_bytes()), ..Invocation::default() };
        let config = Config::load(&invocation).expect("the sample file is valid");
        assert_eq!(config.values, Config::new().values);
    }

    #[test]
    fn help_lists_every_directive_that_is_not_hidden() {
        let text = help_text();
        for directive in DIRECTIVES.iter().filter(|d| !d.is(Flags::HIDDEN)) {
            assert!(text.contains(&format!("  --{} ", directive.name)), "{}", directive.name);
        }
        assert!(text.lines().all(|line| line.len() <= 150), "a line is too long for a terminal");
    }

    #[test]
    fn the_toml_sample_is_valid() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redstart.toml");
        let invocation = Invocation { file: Some(path.into()), ..Invocation::default() };
        let config = Config::load(&invocation).map_err(|error| error.to_string());
        assert_eq!(config.map(|config| config.values), Ok(Config::new().values));
    }
}
