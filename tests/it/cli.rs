//! The tools that come with Redis: redis-cli and redis-benchmark.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Duration;

use redstart::command::docs;

use crate::harness::{Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(30);

fn panic_without(tool: &OsStr, error: &std::io::Error) -> ! {
    panic!("{}: {error}; install it with\n  apt-get install redis-tools", tool.display())
}

/// What a tool prints; it has to end in time and without an error.
fn output(mut command: Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = command.spawn();
    let mut child = spawned.unwrap_or_else(|error| panic_without(command.get_program(), &error));
    // Small outputs only: nobody reads the pipes meanwhile.
    if !wait_for(DEADLINE, || !matches!(child.try_wait(), Ok(None))) {
        child.kill().expect("a running child");
    }
    let output = child.wait_with_output().expect("an own child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "\n");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

fn tool(name: &str, server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-p", &server.addr().port().to_string()]).args(args);
    command
}

fn cli(server: &Server, args: &[&str]) -> String {
    output(tool("redis-cli", server, args))
}

fn fill(server: &Server, keys: usize) {
    let mut conn = server.connect();
    for number in 0..keys {
        let value = "v".repeat(number % 100);
        assert_eq!(
            conn.call(&["SET", &format!("key:{number}"), &value]),
            Reply::Simple(b"OK".into())
        );
    }
}

#[test]
fn commands_are_answered_as_by_redis() {
    let server = Server::start(&[]);
    assert_eq!(cli(&server, &["PING"]), "PONG\n");
    assert_eq!(cli(&server, &["--no-raw", "SET", "k", "a\"b"]), "OK\n");
    assert_eq!(cli(&server, &["--no-raw", "GET", "k"]), "\"a\\\"b\"\n");
    assert_eq!(cli(&server, &["-3", "--no-raw", "GET", "missing"]), "(nil)\n");
    assert_eq!(cli(&server, &["-n", "3", "SET", "k", "x"]), "OK\n");
    assert_eq!(cli(&server, &["-n", "3", "DBSIZE"]), "1\n");
    assert_eq!(cli(&server, &["-r", "3", "INCR", "n"]), "1\n2\n3\n");
    let json = cli(&server, &["-3", "--json", "CONFIG", "GET", "databases"]);
    assert_eq!(json, "{\"databases\":\"16\"}\n");
}

#[test]
fn keys_are_scanned_and_measured() {
    let server = Server::start(&[]);
    fill(&server, 1_000);
    let scanned = cli(&server, &["--scan", "--pattern", "key:*"]);
    let mut names: Vec<&str> = scanned.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1_000);
    let big = cli(&server, &["--bigkeys"]);
    assert!(big.contains("Sampled 1000 keys in the keyspace!"), "{big}");
    assert!(big.contains("1000 strings with 49500 bytes"), "{big}");
    let memory = cli(&server, &["--memkeys"]);
    assert!(memory.contains("Sampled 1000 keys in the keyspace!"), "{memory}");
}

#[test]
fn commands_go_through_the_pipe() {
    let server = Server::start(&[]);
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("commands");
    let commands: Vec<u8> =
        (0..5_000).flat_map(|n| encode(&["SET", &format!("p:{n}"), "v"])).collect();
    std::fs::write(&path, commands).expect("a file in a scratch folder");
    let shell = format!("redis-cli -p {} --pipe < \"$1\"", server.addr().port());
    let mut command = Command::new("sh");
    command.args(["-c", &shell, "sh"]).arg(&path);
    let report = output(command);
    assert!(report.contains("errors: 0, replies: 5000"), "{report}");
    assert_eq!(server.connect().call(&["DBSIZE"]), Reply::Integer(5_000));
}

/// Runs a tool that never ends in a terminal, where it does not hold its lines back, for two seconds.
fn in_terminal(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("timeout 2 {} {}", command.get_program().display(), words.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-c", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let output = terminal.output().unwrap_or_else(|error| panic!("script: {error}"));
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

#[test]
fn statistics_and_latency_are_shown() {
    let server = Server::start(&[]);
    fill(&server, 100);
    let stat = in_terminal(&tool("redis-cli", &server, &["--stat", "-i", "0.2"]));
    assert!(stat.contains("keys       mem      clients"), "{stat}");
    assert!(stat.lines().filter(|line| line.starts_with("100 ")).count() > 2, "{stat}");
    // Not in a terminal it ends after a second: min, max, avg, samples.
    let latency = cli(&server, &["--raw", "--latency"]);
    let numbers: Vec<f64> = latency.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    assert!(numbers.len() == 4 && numbers[3] > 10.0, "{latency}");
}

/// In a terminal redis-cli reads COMMAND DOCS and shows arguments while one types.
#[test]
fn hints_come_from_command_docs() {
    const DRIVE: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    os.environ["TERM"] = "xterm"
    os.execvp("redis-cli", ["redis-cli", "-p", sys.argv[1]])
seen = b""
def until(text):
    global seen
    end = time.monotonic() + 20
    while text not in seen and time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 65536)
    ok = text in seen
    if not ok:
        print("no", text, "in", seen)
        os.write(fd, b"\x03")
        sys.exit(1)
    seen = seen[seen.index(text) + len(text):]
until(b"> ")
for typed, hint in ((b"set ", b"[NX|XX"), (b"getex ", b"PERSIST"), (b"client kill ", b"[MAXAGE")):
    os.write(fd, typed)
    until(hint)
    os.write(fd, b"\x15")
    until(b"> ")
os.write(fd, b"help copy\r")
until(sys.argv[2].encode())
# What is typed before the next prompt is thrown away.
until(b"> ")
os.write(fd, b"quit\r")
os.waitpid(pid, 0)
print("done")
"#;
    let server = Server::start(&[]);
    let mut command = Command::new("python3");
    let summary = docs::find("copy").expect("a documented command").summary;
    command.args(["-c", DRIVE, &server.addr().port().to_string(), summary]);
    assert_eq!(output(command).lines().last(), Some("done"));
    let mut conn = server.connect();
    let Reply::Bulk(stats) = conn.call(&["INFO", "commandstats"]) else { panic!("INFO is a bulk") };
    let stats = String::from_utf8_lossy(&stats).into_owned();
    assert!(stats.contains("cmdstat_command|docs:calls="), "{stats}");
}

#[test]
fn the_benchmark_runs() {
    let server = Server::start(&[]);
    let args = ["-q", "-n", "20000", "-t", "ping_inline,ping_mbulk,set,get,incr,mset"];
    let report = output(tool("redis-benchmark", &server, &args));
    for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
        let line = report.lines().rfind(|line| line.starts_with(&format!("{test}: ")));
        let line = line.unwrap_or_else(|| panic!("no {test} in\n{report}"));
        assert!(line.contains(" requests per second, p50="), "{line}");
    }
    let pipelined =
        ["-q", "-n", "100000", "-P", "16", "-r", "10000", "--threads", "2", "-t", "set,get"];
    let report = output(tool("redis-benchmark", &server, &pipelined));
    assert!(report.contains("GET: ") && !report.contains("rror"), "{report}");
    let Reply::Integer(keys) = server.connect().call(&["DBSIZE"]) else { panic!("a number") };
    assert!(keys > 9_000, "{keys} keys of 10,000 random ones");
}

#[test]
fn help_is_there_for_each_tool_and_needs_no_reader() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let server = std::path::Path::new(env!("CARGO_BIN_EXE_redstart"));
    let call = |args: &[&str]| {
        let mut command = Command::new(server);
        command.args(args);
        command
    };
    for (word, name) in [("check-rdb", "redis-check-rdb"), ("check-aof", "redis-check-aof")] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(server, &link).expect("a link");
        let mut named = Command::new(&link);
        named.arg("-h");
        let printed = output(named);
        assert!(printed.contains(&format!("Usage: redstart {word} ")), "{printed}");
        assert_eq!(output(call(&[word, "--help"])), printed);
    }
    assert!(output(call(&["convert", "--help"])).contains("Usage:"));
    assert!(output(call(&["--help"])).contains("--maxmemory <"), "directives are listed");
    for args in [&["--help"][..], &["--version"], &["check-aof", "-v"], &["check-rdb", "--help"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let ended = call(args).stdout(full).status().expect("it runs");
        assert_eq!(ended.code(), Some(1), "{args:?}");
    }
}

#[test]
fn check_aof_is_part_of_the_program() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("a");
    std::fs::write(&file, "*1\r\n$4\r\nPING\r\n").expect("a scratch file");
    let server = std::path::Path::new(env!("CARGO_BIN_EXE_redstart"));
    let link = folder.path().join("redis-check-aof");
    std::os::unix::fs::symlink(server, &link).expect("a link");
    let mut named = Command::new(&link);
    named.arg(&file);
    let mut called = Command::new(server);
    called.arg("check-aof").arg(&file);
    for command in [named, called] {
        let printed = output(command);
        assert!(printed.contains("Start checking Old-Style AOF"), "{printed}");
        assert!(printed.contains("ok_up_to=14, ok_up_to_line=4, diff=0"), "{printed}");
    }
}
