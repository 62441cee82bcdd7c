//! Tests of CONFIG REWRITE: what it keeps, changes and appends.

use super::*;
use crate::config::Invocation;
use crate::config::file::tests::Dir;

fn load(path: &Path) -> Config {
    let invocation = Invocation { file: Some(path.to_owned()), ..Invocation::default() };
    Config::load(&invocation).map_err(|error| error.to_string()).expect("the file is valid")
}

fn set(config: &mut Config, name: &str, value: &str) {
    config.set(&[(name.as_bytes(), value.as_bytes())]).expect("the test's value is valid");
}

fn text_of(config: &Config, old: &str) -> String {
    String::from_utf8(rewritten(config, old.as_bytes(), Extent::Changed))
        .expect("the tests use text")
}

const SAVE: &str = "save 3600 1\nsave 300 100\nsave 60 10000\n";

#[test]
fn comments_and_order_stay() {
    let mut config = Config::new();
    set(&mut config, "maxmemory", "2gb");
    set(&mut config, "hz", "50");
    let old = format!("# top\ndir /x\n\n\n\nmaxmemory 1gb\n# middle\nport 6379\n{SAVE}");
    let dir = config.print("dir").expect("it is in the table");
    assert_eq!(
        text_of(&config, &old),
        format!(
            "# top\ndir \"{dir}\"\n\nmaxmemory 2gb\n# middle\nport 6379\n{SAVE}{SIGNATURE}\nhz 50\n"
        )
    );
}

#[test]
fn limits_of_databases_have_a_line_each() {
    let mut config = Config::new();
    set(&mut config, "db-maxmemory", "0 10mb allkeys-lru 3 1mb");
    let old = "db-maxmemory 3 2mb noeviction\nport 6379\ndb-maxmemory 5 1gb\n";
    let lines = "db-maxmemory 0 10485760 allkeys-lru\nport 6379\ndb-maxmemory 3 1048576\n";
    assert!(text_of(&config, old).starts_with(lines), "{}", text_of(&config, old));
}

#[test]
fn further_lines_of_a_directive_go() {
    let mut config = Config::new();
    set(&mut config, "save", "60 1");
    let text = text_of(
        &config,
        &format!("port 1\n{SAVE}slave-priority 1\nreplica-priority 2\ntimeout 1\n"),
    );
    assert!(
        text.starts_with("port 6379\nsave 60 1\n\nreplica-priority 100\n\ntimeout 0\n"),
        "{text}"
    );
    assert_eq!(text.matches("save").count(), 1);
}

#[test]
fn values_that_say_nothing_lose_their_line() {
    let text = text_of(&Config::new(), "requirepass x\nreplicaof h 1\nbind a\nhz 7\n");
    assert!(text.starts_with("\nhz 10\n"), "{text}");
}

#[test]
fn values_are_written_as_they_are_read() {
    let mut config = Config::new();
    set(&mut config, "requirepass", "a \"b\"\n");
    set(&mut config, "client-output-buffer-limit", "slave 1gb 1000 5");
    set(&mut config, "maxmemory-clients", "5%");
    set(&mut config, "latency-tracking-info-percentiles", "");
    set(&mut config, "bind", "");
    let text = text_of(&config, "");
    for line in [
        r#"requirepass "a \"b\"\n""#,
        "client-output-buffer-limit replica 1gb 1000 5",
        "maxmemory-clients 5%",
        "latency-tracking-info-percentiles \"\"",
        "bind \"\"",
        "save 60 10000",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in {text}");
    }
    assert!(!text.contains("pubsub") && !text.contains("port"));
}

#[test]
fn lines_that_are_no_directives_stay_and_nonsense_is_commented_out() {
    let other = "include a.conf\nrename-command KEYS \"\"\nloadmodule x\nx.y 1\n";
    let text = text_of(&Config::new(), &format!("{other}bad 'quotes\nnope 1\n"));
    assert!(text.starts_with(&format!("{other}# ??? bad 'quotes\n# ??? nope 1\n")), "{text}");
}

#[test]
fn users_are_those_of_now() {
    let mut config = Config::new();
    let user = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    config.set_users(vec![user("a on ~\"x (+get ~y)"), user("b off")]);
    let text = text_of(&config, "user old on\nhz 10\nuser older on\nuser oldest on\n");
    assert!(text.starts_with("user a on \"~\\\"x\" (+get ~y)\nhz 10\nuser b off\n\n"), "{text}");
    config.set_users(Vec::new());
    assert!(!text_of(&config, &text).contains("user"));
}

#[test]
fn rewriting_again_changes_nothing() {
    let mut config = Config::new();
    set(&mut config, "maxmemory", "1mb");
    let once = text_of(&config, "# x\n\nhz 10");
    assert_eq!(text_of(&config, &once), once);
    assert_eq!(once.matches(SIGNATURE).count(), 1);
}

#[test]
fn a_rewritten_file_loads_into_the_same_values() {
    for name in ["x.conf", "x.toml"] {
        let dir = Dir::new(&format!("rewrite-{name}"));
        let mut config = load(&dir.write(name, "# mine\n"));
        for (directive, value) in [
            ("maxmemory", "100mb"),
            ("requirepass", "p\u{e4}ss \\ \"word\""),
            ("save", ""),
            ("notify-keyspace-events", "KEA"),
            ("client-output-buffer-limit", "pubsub 1 2 3"),
            ("shutdown-on-sigterm", "save now"),
            ("latency-tracking-info-percentiles", "1 99.99"),
            ("oom-score-adj-values", "1 2 3"),
            ("maxmemory-clients", "7%"),
            ("appendonly", "yes"),
            ("bind", "127.0.0.1 -::1"),
        ] {
            set(&mut config, directive, value);
        }
        config.rewrite().expect("the temporary directory is writable");
        let mut again = load(&dir.0.join(name));
        // Only redis.conf files name the directory when it is the default.
        set_dir(&mut again, &config);
        assert_eq!(again.values, config.values, "{name}");
        let files = fs::read_dir(&dir.0).expect("it is readable").count();
        assert_eq!(files, 1, "no temporary file is left");
    }
}

fn set_dir(config: &mut Config, from: &Config) {
    let (index, _) = find(b"dir").expect("it is in the table");
    config.values[index] = from.values[index].clone();
}

#[test]
fn permissions_of_the_file_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new("rewrite-mode");
    let path = dir.write("x.conf", "requirepass secret\n");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&path, mode.clone()).expect("it is ours");
    load(&path).rewrite().expect("the temporary directory is writable");
    let now = path.metadata().expect("it exists").permissions();
    assert_eq!(now.mode() & 0o777, mode.mode());
}

#[test]
fn failures_are_told_in_the_words_of_redis() {
    let none = Config::new().rewrite().expect_err("no file");
    assert_eq!(none.to_string(), "The server is running without a config file");
    let dir = Dir::new("rewrite-gone");
    let config = load(&dir.write("x.conf", ""));
    drop(dir);
    let gone = config.rewrite().expect_err("no directory");
    assert_eq!(gone.to_string(), "Rewriting config file: No such file or directory");
}

#[test]
fn all_directives_written_out_are_read_back_as_they_were() {
    let dir = Dir::new("rewrite-all");
    let path = dir.write("a.conf", "port 7\nmaxmemory 2gb\n");
    let config = load(&path);
    config.rewrite_all().expect("the folder can be written to");
    let (again, text) = (load(&path), fs::read_to_string(&path).expect("it was just written"));
    for directive in &DIRECTIVES {
        assert_eq!(again.print(directive.name), config.print(directive.name), "{}", directive.name);
    }
    assert!(text.contains("\ntimeout 0\n") && text.contains("maxmemory 2gb\n"), "{text}");
}
