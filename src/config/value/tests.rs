//! Tests of reading and writing the values of directives.

use super::*;
use crate::config::DIRECTIVES;

fn kind_of(name: &str) -> Kind {
    DIRECTIVES.iter().find(|d| d.name == name).expect("tests name real directives").kind
}

/// The value of `name` after `args`, as CONFIG GET prints it.
fn print(name: &str, args: &[&str]) -> Result<String, String> {
    let directive = DIRECTIVES.iter().find(|d| d.name == name).expect("a real directive");
    let value = Value::parse(directive.kind, args, &Value::default_of(directive));
    value.map(|value| value.text(directive.kind)).map_err(|error| error.to_string())
}

fn refusal(name: &str, args: &[&str]) -> String {
    print(name, args).expect_err("the value is wrong")
}

#[test]
fn memory_knows_units_in_any_case() {
    let cases = [
        ("0", "0"),
        ("100", "100"),
        ("1b", "1"),
        ("1k", "1000"),
        ("1KB", "1024"),
        ("2m", "2000000"),
        ("2Mb", "2097152"),
        ("1g", "1000000000"),
        ("1gB", "1073741824"),
        ("", "0"),
        ("kb", "0"),
    ];
    for (written, bytes) in cases {
        assert_eq!(print("maxmemory", &[written]).as_deref(), Ok(bytes), "{written}");
    }
    for wrong in ["-1", "1x", "1.5gb", " 1", "1 kb", "99999999999gb", "5%"] {
        assert_eq!(refusal("maxmemory", &[wrong]), "argument must be a memory value", "{wrong}");
    }
}

#[test]
fn shares_of_memory_are_percentages() {
    assert_eq!(print("maxmemory-clients", &["5%"]).as_deref(), Ok("5%"));
    assert_eq!(print("maxmemory-clients", &["1kb"]).as_deref(), Ok("1024"));
    assert_eq!(print("maxmemory-clients", &["0%"]).as_deref(), Ok("0"));
    let too_large = "percentage argument must be less or equal to 100";
    assert_eq!(refusal("maxmemory-clients", &["101%"]), too_large);
    let neither = "argument must be a memory or percent value";
    for wrong in ["x", "%", "-1%", "-5"] {
        assert_eq!(refusal("maxmemory-clients", &[wrong]), neither);
    }
}

#[test]
fn memory_is_bounded_like_a_number() {
    assert_eq!(
        refusal("client-query-buffer-limit", &["5"]),
        "argument must be between 1048576 and 9223372036854775807 inclusive"
    );
}

#[test]
fn memory_is_written_in_the_largest_unit() {
    let cases =
        [(0, "0"), (1, "1"), (1024, "1kb"), (1536, "1536"), (3 << 20, "3mb"), (1 << 30, "1gb")];
    for (bytes, text) in cases {
        assert_eq!(memory_text(bytes), text);
        assert_eq!(parse_memory(text), Some(bytes));
    }
}

#[test]
fn numbers_have_one_spelling_and_bounds() {
    assert_eq!(print("port", &["65535"]).as_deref(), Ok("65535"));
    assert_eq!(print("list-max-listpack-size", &["-2"]).as_deref(), Ok("-2"));
    assert_eq!(refusal("port", &["99999"]), "argument must be between 0 and 65535 inclusive");
    assert_eq!(
        refusal("maxclients", &["-1"]),
        "argument must be between 1 and 4294967295 inclusive"
    );
    for wrong in ["abc", "", "+1", "01", "1.0", " 1", "9223372036854775808"] {
        let reason = "argument couldn't be parsed into an integer";
        assert_eq!(refusal("port", &[wrong]), reason, "{wrong}");
    }
    assert_eq!(refusal("port", &["1", "2"]), "wrong number of arguments");
}

#[test]
fn modes_are_octal() {
    assert_eq!(print("unixsocketperm", &["0700"]).as_deref(), Ok("700"));
    assert_eq!(refusal("unixsocketperm", &["9"]), "argument couldn't be parsed as an octal number");
    assert_eq!(
        refusal("unixsocketperm", &["1000"]),
        "argument must be between 0 and 777 inclusive"
    );
}

#[test]
fn yes_and_no_ignore_case() {
    assert_eq!(print("appendonly", &["YES"]).as_deref(), Ok("yes"));
    assert_eq!(refusal("appendonly", &["true"]), "argument must be 'yes' or 'no'");
}

#[test]
fn words_are_listed_when_none_fits() {
    assert_eq!(print("appendfsync", &["Always"]).as_deref(), Ok("always"));
    assert_eq!(
        refusal("appendfsync", &["x"]),
        "argument(s) must be one of the following: everysec, always, no"
    );
    assert_eq!(print("oom-score-adj", &["relative"]).as_deref(), Ok("yes"));
}

#[test]
fn sets_of_words_are_printed_in_table_order() {
    assert_eq!(
        print("shutdown-on-sigint", &["force", "now", "default"]).as_deref(),
        Ok("now force")
    );
    assert_eq!(print("shutdown-on-sigint", &["default"]).as_deref(), Ok("default"));
    assert!(
        refusal("shutdown-on-sigint", &["nosave", "save"]).starts_with("shutdown options SAVE")
    );
    assert!(refusal("shutdown-on-sigint", &[]).starts_with("argument(s) must be one of"));
}

#[test]
fn texts_obey_their_rules() {
    assert_eq!(print("dbfilename", &[""]).as_deref(), Ok(""));
    let reasons = [
        ("dbfilename", "a/b", "dbfilename can't be a path, just a filename"),
        ("appendfilename", "", "appendfilename can't be empty"),
        ("appenddirname", "a/b", "appenddirname can't be a path, just a dirname"),
        (
            "cluster-announce-hostname",
            "a_b",
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ),
        (
            "cluster-announce-human-nodename",
            "a b",
            "Announced human node name contained invalid character",
        ),
        ("cluster-announce-client-ipv4", "1.2.3", "Invalid IPv4 address"),
        ("cluster-announce-client-ipv6", "1.2.3.4", "Invalid IPv6 address"),
        (
            "proc-title-template",
            "{nope}",
            "template format is invalid or contains unknown variables",
        ),
        (
            "proc-title-template",
            "{title",
            "template format is invalid or contains unknown variables",
        ),
    ];
    for (name, text, reason) in reasons {
        assert_eq!(refusal(name, &[text]), reason);
    }
    assert!(print("proc-title-template", &["x {title} {port}"]).is_ok());
}

#[test]
fn a_directory_must_exist_and_becomes_absolute() {
    assert!(print("dir", &["."]).is_ok_and(|dir| dir.starts_with('/')));
    assert_eq!(refusal("dir", &["/no/such/dir"]), "No such file or directory");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(refusal("dir", &[file]), "Not a directory");
}

#[test]
fn save_points_are_pairs() {
    assert_eq!(print("save", &["3600", "1", "300", "100"]).as_deref(), Ok("3600 1 300 100"));
    assert_eq!(print("save", &[""]).as_deref(), Ok(""));
    assert_eq!(print("save", &[]).as_deref(), Ok(""));
    for wrong in [&["1"][..], &["0", "1"], &["1", "-1"], &["x", "1"], &["1", ""]] {
        assert_eq!(refusal("save", wrong), "Invalid save parameters");
    }
}

#[test]
fn buffer_limits_of_other_classes_stay() {
    assert_eq!(
        print("client-output-buffer-limit", &["Replica", "1kb", "2k", "3"]).as_deref(),
        Ok("normal 0 0 0 slave 1024 2000 3 pubsub 33554432 8388608 60")
    );
    let wrong = |args: &[&str]| refusal("client-output-buffer-limit", args);
    assert!(wrong(&["normal", "1", "2"]).starts_with("Wrong number of arguments"));
    assert!(wrong(&["master", "1", "2", "3"]).starts_with("Invalid client class"));
    assert!(wrong(&["normal", "1", "2", "-3"]).starts_with("Error in hard, soft or soft_seconds"));
}

#[test]
fn event_classes_are_printed_in_their_order() {
    let cases = [
        ("KEA", "AKE"),
        ("KEAm", "AKEm"),
        ("nxK", "xnK"),
        ("", ""),
        ("g$lshzxetd", "A"),
        ("nA", "An"),
    ];
    for (written, printed) in cases {
        assert_eq!(print("notify-keyspace-events", &[written]).as_deref(), Ok(printed));
    }
    assert!(refusal("notify-keyspace-events", &["Q"]).starts_with("Invalid event class character"));
}

#[test]
fn percentiles_lose_trailing_zeros() {
    let name = "latency-tracking-info-percentiles";
    assert_eq!(print(name, &["50", "99.50", "0.001"]).as_deref(), Ok("50 99.5 0.001"));
    assert_eq!(print(name, &[""]).as_deref(), Ok(""));
    assert_eq!(refusal(name, &["x"]), "Invalid latency-tracking-info-percentiles parameters");
    for wrong in ["101", "-0.1", "nan", "inf"] {
        assert!(refusal(name, &[wrong]).ends_with("should sit between [0.0,100.0]"), "{wrong}");
    }
}

#[test]
fn the_rest_has_bounds_too() {
    assert_eq!(print("oom-score-adj-values", &["0", "-5", "2000"]).as_deref(), Ok("0 -5 2000"));
    assert_eq!(refusal("oom-score-adj-values", &["0"]), "wrong number of arguments");
    assert!(refusal("oom-score-adj-values", &["0", "1", "2001"]).starts_with("Invalid oom-score"));
    assert_eq!(print("bind", &["10.0.0.1", "-::1"]).as_deref(), Ok("10.0.0.1 -::1"));
    assert_eq!(print("bind", &[""]).as_deref(), Ok(""));
    assert_eq!(refusal("bind", &["a"; 17]), "Too many bind addresses specified.");
    assert_eq!(print("replicaof", &["NO", "ONE"]).as_deref(), Ok(""));
    assert_eq!(print("replicaof", &["h", "6379"]).as_deref(), Ok("h 6379"));
    assert_eq!(refusal("replicaof", &["h", "65536"]), "Invalid master port");
}

#[test]
fn what_is_printed_reads_back_as_the_same_value() {
    for directive in &DIRECTIVES {
        if matches!(directive.kind, Kind::ReplicaOf | Kind::Dir) {
            continue;
        }
        let value = Value::default_of(directive);
        let text = value.text(directive.kind);
        let args: Vec<&str> = match directive.is(Flags::MULTI_ARG) {
            true => text.split_ascii_whitespace().collect(),
            false => vec![&text],
        };
        let again = Value::parse(directive.kind, &args, &value);
        assert_eq!(again.as_ref(), Ok(&value), "{}", directive.name);
    }
    assert!(matches!(kind_of("save"), Kind::Save));
}
