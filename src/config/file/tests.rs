//! Tests of redis.conf files: words, quotes, includes, errors with their lines.

use super::*;
use std::fs;

/// A directory of its own for one test, removed afterwards.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("redstart-config-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path.canonicalize().expect("it was just made"))
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the temporary directory is writable");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str) -> Result<Config, String> {
    let invocation = Invocation { stdin: Some(text.into()), ..Invocation::default() };
    Config::load(&invocation).map_err(|error| error.to_string())
}

fn load_file(path: &Path) -> Result<Config, String> {
    let invocation = Invocation { file: Some(path.to_owned()), ..Invocation::default() };
    Config::load(&invocation).map_err(|error| error.to_string())
}

fn good(text: &str) -> Config {
    load(text).expect("the test's text is valid")
}

/// The reason at the end of the block.
fn reason(text: &str) -> String {
    let error = load(text).expect_err("the test's text is wrong");
    error.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn later_lines_win_and_comments_are_skipped() {
    let config = good("# a comment\n\n  port 1\r\nPORT 2\n\t# port 3\n");
    assert_eq!(config.int("port"), 2);
}

#[test]
fn values_may_be_quoted() {
    assert_eq!(good(r#"requirepass "a b\x21""#).text("requirepass"), "a b!");
    assert_eq!(good("requirepass 'a b'").text("requirepass"), "a b");
    assert_eq!(reason("requirepass 'a"), "Unbalanced quotes in configuration line");
}

#[test]
fn save_lines_replace_the_default_and_add_up() {
    let config = good("save 900 1\nsave 300 10 60 1\n");
    assert_eq!(config.print("save").as_deref(), Some("900 1 300 10 60 1"));
    assert_eq!(good("save 900 1\nsave \"\"\n").print("save").as_deref(), Some(""));
    assert_eq!(good("save \"\"\nsave 900 1\n").print("save").as_deref(), Some("900 1"));
    assert_eq!(good("save \"900 1 300 10\"").print("save").as_deref(), Some("900 1 300 10"));
}

#[test]
fn several_arguments_may_be_one() {
    assert_eq!(good("bind \"a b\"").words("bind"), ["a", "b"]);
    assert_eq!(good("bind a b").words("bind"), ["a", "b"]);
    assert_eq!(good("slaveof h 1").words("replicaof"), ["h", "1"]);
}

#[test]
fn lines_that_are_no_directives_are_kept() {
    let config = good("rename-command FLUSHALL \"\"\nuser a on ~*\nLOADMODULE x.so 1\nx.y a b\n");
    assert_eq!(config.renames(), [("FLUSHALL".to_owned(), String::new())]);
    assert_eq!(config.users(), [["a", "on", "~*"]]);
    assert_eq!(config.modules(), [["x.so", "1"]]);
    assert!(good("sentinel").is_sentinel());
}

#[test]
fn old_directives_without_meaning_are_skipped() {
    assert!(load("list-max-ziplist-entries 512\nlua-replicate-commands yes\n").is_ok());
    assert_eq!(reason("list-max-ziplist-value"), "Bad directive or wrong number of arguments");
}

#[test]
fn errors_have_the_block_of_redis() {
    assert_eq!(
        load("port 1\nfoo bar\n").err().as_deref(),
        Some(
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
             Reading the configuration file, at line 2\n>>> 'foo bar'\n\
             Bad directive or wrong number of arguments\n"
        )
    );
    assert_eq!(
        load("cluster-enabled yes\nreplicaof h 1\n").err().as_deref(),
        Some(
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
             replicaof directive not allowed in cluster mode\n"
        )
    );
}

#[test]
fn lines_are_refused_for_their_reasons() {
    assert_eq!(reason("port"), "wrong number of arguments");
    assert_eq!(reason("port 1 2"), "wrong number of arguments");
    assert_eq!(reason("port abc"), "argument couldn't be parsed into an integer");
    assert_eq!(reason("x.y"), "Module config specified without value");
    assert_eq!(reason("sentinel monitor"), "sentinel directive while not in sentinel mode");
    assert_eq!(reason("include"), "Bad directive or wrong number of arguments");
}

#[test]
fn options_are_lines_after_the_file() {
    let options = Invocation { options: b"port \"abc\" ".to_vec(), ..Invocation::default() };
    let error = Config::load(&options).expect_err("no number").to_string();
    assert!(error.contains("at line 2\n>>> 'port \"abc\"'\n"), "{error}");
}

#[test]
fn options_win_over_stdin_and_stdin_over_the_file() {
    let dir = Dir::new("precedence");
    let invocation = Invocation {
        file: Some(dir.write("a.conf", "port 1\nhz 11\ntimeout 1")),
        stdin: Some(b"port 2\nhz 12".to_vec()),
        options: b"port \"3\" ".to_vec(),
        ..Invocation::default()
    };
    let config = Config::load(&invocation).expect("the test's files are valid");
    assert_eq!([config.int("port"), config.int("hz"), config.int("timeout")], [3, 12, 1]);
    assert_eq!(config.path(), Some(dir.0.join("a.conf").as_path()));
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    assert_eq!(
        load_file(Path::new("/no/such.conf")).err().as_deref(),
        Some("Fatal error, can't open config file '/no/such.conf': No such file or directory")
    );
}

#[test]
fn includes_are_read_in_order_where_they_stand() {
    let dir = Dir::new("include");
    dir.write("b.inc", "port 2\nhz 20\n");
    dir.write("a.inc", "port 1\nhz 30\n");
    dir.write(".hidden.inc", "port 9\n");
    let base = dir.0.display();
    let main =
        dir.write("main.conf", &format!("include {base}/*.inc\nhz 40\ninclude {base}/no*\n"));
    let config = load_file(&main).expect("the test's files are valid");
    assert_eq!([config.int("port"), config.int("hz")], [2, 40]);
}

#[test]
fn includes_are_relative_to_the_directory_so_far() {
    let dir = Dir::new("relative");
    dir.write("x.inc", "port 5\n");
    let config = good(&format!("dir {}\ninclude x.inc\n", dir.0.display()));
    assert_eq!(config.int("port"), 5);
    assert_eq!(config.text("dir"), dir.0.display().to_string());
}

#[test]
fn an_error_names_the_included_file() {
    let dir = Dir::new("included-error");
    let inner = dir.write("x.inc", "\nport x\n");
    let error = load(&format!("include {}", inner.display())).expect_err("no number");
    let place = format!("Reading the configuration file '{}', at line 2\n", inner.display());
    assert!(error.contains(&place), "{error}");
}

#[test]
fn files_that_include_themselves_end() {
    let dir = Dir::new("loop");
    let path = dir.0.join("loop.conf");
    dir.write("loop.conf", &format!("include {0}\ninclude {0}\n", path.display()));
    assert!(load_file(&path).is_err_and(|error| error.contains("include each other")));
}

#[test]
fn toml_files_are_read_too() {
    let dir = Dir::new("toml");
    let path = dir.write(
        "x.toml",
        "port = 7000\nmaxmemory_policy = \"allkeys-lru\"\nsave = [[900, 1], [300, 10]]\n\
         appendonly = true\nrename-command = [[\"KEYS\", \"\"]]\n\
         client-output-buffer-limit = [[\"normal\", \"1kb\", 0, 0]]\n",
    );
    let config = load_file(&path).expect("the test's file is valid");
    assert_eq!(config.int("port"), 7000);
    assert_eq!(config.text("maxmemory-policy"), "allkeys-lru");
    assert_eq!(config.print("save").as_deref(), Some("900 1 300 10"));
    assert!(config.flag("appendonly"));
    assert_eq!(config.renames().len(), 1);
    assert_eq!(config.output_limits()[0].hard_bytes, 1024);
}

#[test]
fn toml_errors_name_file_line_and_reason() {
    let dir = Dir::new("toml-error");
    let path = dir.write("x.toml", "hz = 10\nport = \"x\"  \n");
    let error = load_file(&path).expect_err("no number");
    assert!(
        error.ends_with(&format!(
            "Reading the configuration file '{}', at line 2\n>>> 'port = \"x\"'\n\
             argument couldn't be parsed into an integer\n",
            path.display()
        )),
        "{error}"
    );
    let broken = dir.write("y.toml", "hz = 10\nport = \n");
    assert!(load_file(&broken).is_err_and(|error| error.contains("at line 2\n>>> 'port ='")));
}
