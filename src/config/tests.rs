//! Tests of the configuration as a whole: order of sources, GET, SET, invariants of the table.

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn set(config: &mut Config, pairs: Pairs<'_>) -> Result<Vec<Effect>, String> {
    let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    config.set(&pairs).map_err(|error| error.to_string())
}

fn refusal(pairs: Pairs<'_>) -> String {
    set(&mut Config::new(), pairs).expect_err("the change is wrong")
}

/// Knows `*` at the end, which is enough here.
fn starts_with(pattern: &[u8], name: &[u8]) -> bool {
    name.starts_with(pattern.strip_suffix(b"*").unwrap_or(pattern))
}

fn get(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|p| p.as_bytes()).collect();
    config.get(&patterns, &starts_with)
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn defaults_are_those_of_redis() {
    let config = Config::new();
    let expected = [
        ("bind", "* -::*"),
        ("port", "6379"),
        ("protected-mode", "yes"),
        ("tcp-backlog", "511"),
        ("timeout", "0"),
        ("tcp-keepalive", "300"),
        ("databases", "16"),
        ("maxclients", "10000"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "no"),
        ("dbfilename", "dump.rdb"),
        ("appenddirname", "appendonlydir"),
        ("auto-aof-rewrite-min-size", "67108864"),
        ("repl-backlog-size", "1048576"),
        ("lazyfree-lazy-user-del", "no"),
        ("proto-max-bulk-len", "536870912"),
        ("hz", "10"),
        ("save", "3600 1 300 100 60 10000"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("hash-max-listpack-entries", "512"),
        ("zset-max-ziplist-value", "64"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        ("shutdown-on-sigterm", "default"),
        ("replicaof", ""),
        ("requirepass", ""),
        ("threads", "0"),
        ("log-format", "legacy"),
        ("metrics-port", "0"),
        ("http-bind", "127.0.0.1 -::1"),
    ];
    for (name, value) in expected {
        assert_eq!(config.print(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(config.print("no-such-thing"), None);
}

#[test]
fn each_kind_has_its_accessor() {
    let config = Config::new();
    for directive in &DIRECTIVES {
        let name = directive.name;
        match directive.kind {
            Kind::Bool => drop(config.flag(name)),
            Kind::Int { .. } | Kind::Memory { .. } => drop(config.int(name)),
            Kind::Enum(_) | Kind::Text(_) | Kind::Dir | Kind::Events => drop(config.text(name)),
            Kind::Flags(_) | Kind::Bind | Kind::ReplicaOf => drop(config.words(name)),
            Kind::Save => assert_eq!(config.save_points().len(), 3),
            Kind::OutputLimits => assert_eq!(config.output_limits()[2].soft_seconds, 60),
            Kind::DbLimits => assert!(config.db_limits().is_empty()),
            Kind::OomScores => assert_eq!(config.oom_scores(), [0, 200, 800]),
            Kind::Percentiles => assert_eq!(config.percentiles(), [50.0, 99.0, 99.9]),
        }
    }
}

#[test]
#[should_panic(expected = "`prot` must be a directive of the table")]
fn a_misspelt_name_in_our_code_panics() {
    Config::new().int("prot");
}

#[test]
#[should_panic(expected = "`port` is read as another kind")]
fn a_wrong_kind_in_our_code_panics() {
    Config::new().flag("port");
}

#[test]
fn get_prints_plain_names_as_asked_and_each_once() {
    let config = Config::new();
    assert_eq!(get(&config, &["MaxMemory", "maxmemory"]), [pair("MaxMemory", "0")]);
    assert_eq!(get(&config, &["nope", "hz"]), [pair("hz", "10")]);
}

#[test]
fn get_matches_aliases_by_pattern() {
    let config = Config::new();
    let found = get(&config, &["slave-p*", "SLAVE-PRIO*"]);
    assert_eq!(found, [pair("slave-priority", "100")]);
}

#[test]
fn get_hides_hidden_directives_from_patterns() {
    let config = Config::new();
    assert!(get(&config, &["*"]).iter().all(|(name, _)| name != "watchdog-period"));
    assert_eq!(get(&config, &["watchdog-period"]), [pair("watchdog-period", "0")]);
}

#[test]
fn get_all_lists_every_name_of_redis_7() {
    let shown = get(&Config::new(), &["*"]);
    for name in include_str!("tests_redis_names.txt").lines() {
        assert!(shown.iter().any(|(own, _)| own == name), "{name}");
    }
}

#[test]
fn set_answers_each_effect_of_a_change_once() {
    let mut config = Config::new();
    let pairs =
        [("maxmemory", "1gb"), ("set-max-intset-entries", "1"), ("stream-node-max-bytes", "1")];
    assert_eq!(set(&mut config, &pairs), Ok(vec![Effect::MaxMemory, Effect::Encodings]));
    assert_eq!(config.int("maxmemory"), 1 << 30);
    assert_eq!(set(&mut config, &pairs), Ok(vec![]));
    assert_eq!(set(&mut config, &[("Timeout", "5")]), Ok(vec![Effect::ClientTimeouts]));
    assert_eq!(set(&mut config, &[("tls-cert-file", "")]), Ok(vec![Effect::Tls]));
}

#[test]
fn set_splits_the_value_of_a_list() {
    let mut config = Config::new();
    assert!(set(&mut config, &[("save", "900 1 300 10"), ("bind", "a b")]).is_ok());
    assert_eq!(config.save_points()[1], SavePoint { seconds: 300, changes: 10 });
    assert_eq!(config.words("bind"), ["a", "b"]);
    assert!(set(&mut config, &[("save", ""), ("bind", "")]).is_ok());
    assert!(config.save_points().is_empty() && config.words("bind").is_empty());
}

#[test]
fn set_changes_all_or_nothing() {
    let mut config = Config::new();
    assert!(set(&mut config, &[("maxmemory", "1"), ("hz", "x")]).is_err());
    assert_eq!(config.int("maxmemory"), 0);
}

#[test]
fn set_refuses_in_the_words_of_redis() {
    let cases: [(Pairs<'_>, &str); 8] = [
        (&[("foo", "1")], "Unknown option or number of arguments for CONFIG SET - 'foo'"),
        (
            &[("Databases", "3")],
            "CONFIG SET failed (possibly related to argument 'Databases') - \
             can't set immutable config",
        ),
        (
            &[("maxmemory", "1"), ("MAXMEMORY", "2")],
            "CONFIG SET failed (possibly related to argument 'MAXMEMORY') - duplicate parameter",
        ),
        (
            &[("dir", "/tmp")],
            "CONFIG SET failed (possibly related to argument 'dir') - can't set protected config",
        ),
        (
            &[("SLAVE-priority", "x")],
            "CONFIG SET failed (possibly related to argument 'slave-priority') - \
             argument couldn't be parsed into an integer",
        ),
        (
            &[("maxmemory", "1x")],
            "CONFIG SET failed (possibly related to argument 'maxmemory') - \
             argument must be a memory value",
        ),
        (
            &[("databases", "1"), ("foo", "1")],
            "CONFIG SET failed (possibly related to argument 'databases') - \
             can't set immutable config",
        ),
        (
            &[("foo", "1"), ("databases", "1")],
            "Unknown option or number of arguments for CONFIG SET - 'foo'",
        ),
    ];
    for (pairs, text) in cases {
        assert_eq!(refusal(pairs), text);
    }
}

#[test]
fn set_takes_a_directive_by_both_its_names() {
    let mut config = Config::new();
    assert!(set(&mut config, &[("replica-priority", "1"), ("slave-priority", "2")]).is_ok());
    assert_eq!(config.int("replica-priority"), 2);
}

#[test]
fn set_refuses_bytes_that_are_no_text() {
    let error = Config::new().set(&[(b"requirepass", b"\xff")]).expect_err("no text");
    assert!(error.to_string().ends_with("argument must be UTF-8 text"));
}

#[test]
fn set_depends_on_the_caller() {
    let mut config = Config::new();
    let loading = Caller { is_loading: true, ..Caller::default() };
    assert_eq!(config.set_by(&[(b"appendonly", b"yes")], loading), Err(SetError::Loading));
    let local = load("enable-protected-configs local\n");
    let pairs: [(&[u8], &[u8]); 1] = [(b"dbfilename", b"x.rdb")];
    let caller = Caller { is_local: true, ..Caller::default() };
    assert!(local.clone().set(&pairs).is_err());
    assert_eq!(local.clone().set_by(&pairs, caller), Ok(vec![Effect::Rdb]));
    assert!(load("enable-protected-configs yes\n").set(&pairs).is_ok());
}

#[test]
fn hz_is_clamped() {
    let mut config = Config::new();
    assert_eq!(set(&mut config, &[("hz", "100000")]), Ok(vec![Effect::Hz]));
    assert_eq!(config.int("hz"), 500);
    assert_eq!(load("hz 0").int("hz"), 1);
}

#[test]
fn what_is_not_built_is_reported_when_asked_for() {
    assert!(Config::new().unsupported().is_empty());
    assert!(load("save \"\"\nappendonly no\nport 7000\nmaxclients 5\n").unsupported().is_empty());
    let config = load("tls-port 7001\nslaveof h 1\nuser alice on\nloadmodule x.so\nx.y 1\n");
    let names: Vec<_> = config.unsupported().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["replicaof", "loadmodule", "module options"]);
    assert!(config.unsupported().contains(&("replicaof", "replication")));
}

fn load(text: &str) -> Config {
    let invocation = Invocation { stdin: Some(text.into()), ..Invocation::default() };
    Config::load(&invocation).expect("the test's text is valid")
}
