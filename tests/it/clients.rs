//! Client libraries as users have them: the `redis` crate and redis-py.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use redis::{Client, Commands, Connection, IntoConnectionInfo, ProtocolVersion, RedisResult};

use crate::harness::{Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

fn connect(server: &Server, protocol: ProtocolVersion) -> Connection {
    let url = format!("redis://{}/", server.addr());
    let info = url.into_connection_info().expect("the URL of a loopback port");
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let client = Client::open(info.set_redis_settings(settings)).expect("a client needs no server");
    client.get_connection().expect("a running server accepts connections")
}

/// The same calls in both protocols.
fn exercise(conn: &mut Connection) -> RedisResult<()> {
    let () = redis::cmd("FLUSHALL").query(conn)?;
    let () = conn.set("key", "value")?;
    assert_eq!(conn.get::<_, String>("key")?, "value");
    assert_eq!(conn.get::<_, Option<String>>("missing")?, None);
    let () = conn.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(conn.mget::<_, Vec<Option<i64>>>(&["a", "b", "c"])?, [Some(1), Some(2), None]);
    assert_eq!(conn.incr::<_, _, i64>("a", 41)?, 42);
    assert!(conn.expire::<_, bool>("key", 100)?);
    assert!((99..=100).contains(&conn.ttl::<_, i64>("key")?));
    assert_eq!(conn.append::<_, _, usize>("key", &[0_u8, 255])?, 7);
    assert_eq!(conn.get::<_, Vec<u8>>("key")?, b"value\0\xff");
    let (old, sum, gone): (Option<i64>, i64, i64) = redis::pipe()
        .getset("b", 10)
        .incr("b", 5)
        .set("c", "x")
        .ignore()
        .del(&["b", "c"])
        .query(conn)?;
    assert_eq!((old, sum, gone), (Some(2), 15, 2));
    for number in 0..200 {
        let () = conn.set(format!("scan:{number}"), number)?;
    }
    let found: Result<Vec<String>, _> = conn.scan_match("scan:*")?.collect();
    assert_eq!(found?.len(), 200);
    let settings: std::collections::HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("maxmemory*").query(conn)?;
    assert_eq!(settings["maxmemory-policy"], "noeviction");
    let error = redis::cmd("GET").arg("a").arg("b").query::<()>(conn).expect_err("two keys");
    assert!(error.to_string().contains("wrong number of arguments for 'get' command"), "{error}");
    Ok(())
}

#[test]
fn the_redis_crate_works_in_both_protocols() {
    let server = Server::start(&[]);
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut conn = connect(&server, protocol);
        exercise(&mut conn).unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
    }
}

#[test]
fn the_redis_crate_subscribes() {
    let server = Server::start(&["--threads", "2"]);
    let mut publisher = connect(&server, ProtocolVersion::RESP3);
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut conn = connect(&server, protocol);
        let mut listening = conn.as_pubsub();
        listening.subscribe(&["a", "b"]).expect("two confirmations");
        listening.psubscribe("a*").expect("a confirmation");
        // With RESP3 the crate does not wait for confirmations.
        let mut patterns = || redis::cmd("PUBSUB").arg("NUMPAT").query::<i64>(&mut publisher);
        assert!(wait_for(DEADLINE, || patterns().expect("a count") == 1));
        assert_eq!(publisher.publish::<_, _, i64>("a", "text").expect("a count"), 2);
        let messages = [listening.get_message(), listening.get_message()];
        let [exact, pattern] = messages.map(|message| message.expect("a message"));
        assert_eq!(exact.get_payload::<String>().expect("text"), "text");
        assert_eq!(pattern.get_pattern::<String>().expect("a pattern"), "a*");
        drop(listening);
        assert_eq!(conn.get::<_, Option<String>>("missing").expect("it is free again"), None);
    }
}

#[test]
fn the_redis_crate_authenticates() {
    let server = Server::start(&["--requirepass", "secret"]);
    let url = format!("redis://:secret@{}/3", server.addr());
    let mut conn = Client::open(url).and_then(|client| client.get_connection()).expect("logged in");
    let () = conn.set("key", "value").expect("set");
    let info: String = redis::cmd("CLIENT").arg("INFO").query(&mut conn).expect("a line");
    assert!(info.contains(" db=3 ") && info.contains("lib-name=redis-rs"), "{info}");
    let url = format!("redis://:wrong@{}/", server.addr());
    let refused = Client::open(url).and_then(|client| client.get_connection());
    assert!(refused.is_err(), "a wrong password logs in");
}

fn run(command: &mut Command) -> Result<Output, String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A Python that has redis-py: the one in `target/venv`, else the system's, else `target/venv` is
/// made, which needs the network once.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let venv = tmp.parent().expect("it lies in the target folder").join("venv");
        let own = venv.join("bin/python");
        for candidate in [&own, Path::new("python3")] {
            if run(Command::new(candidate).args(["-c", "import redis"])).is_ok() {
                return candidate.to_owned();
            }
        }
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).and_then(|_| {
            run(Command::new(&own).args(["-m", "pip", "install", "--quiet", "redis"]))
        });
        if let Err(problem) = made {
            panic!(
                "no redis-py; install it with\n  apt-get install python3 python3-venv\n  \
                 python3 -m venv {0} && {0}/bin/pip install redis\n{problem}",
                venv.display()
            );
        }
        own
    })
}

const PYTHON_CALLS: &str = r#"
import sys, redis
port = int(sys.argv[1])
for protocol in (2, 3):
    r = redis.Redis(port=port, protocol=protocol, client_name="tester", decode_responses=True)
    r.flushall()
    assert r.ping() is True
    assert r.set("key", "value", ex=100) is True
    assert r.get("key") == "value" and r.get("missing") is None
    assert 0 < r.ttl("key") <= 100
    assert r.set("key", "other", nx=True) is None
    assert r.set("key", "other", xx=True, get=True) == "value"
    assert r.mset({"a": 1, "b": 2}) is True
    assert r.mget("a", "b", "c") == ["1", "2", None]
    assert r.incrby("a", 41) == 42 and r.incrbyfloat("a", "0.5") == 42.5
    with r.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"scan:{number}", number)
        assert pipe.execute() == [True] * 500
    assert len(list(r.scan_iter(match="scan:*", count=50))) == 500
    assert r.config_get("databases") == {"databases": "16"}
    assert r.info()["redis_mode"] == "standalone" and r.info("keyspace")["db0"]["keys"] == 503
    assert r.client_getname() == "tester"
    assert r.memory_usage("key") > 0 and r.object("encoding", "b") == "int"
    assert any(command["name"] == "get" for command in r.command().values())
    try:
        r.execute_command("GET")
    except redis.ResponseError as error:
        assert str(error) == "wrong number of arguments for 'get' command", error
    else:
        raise AssertionError("GET without a key")
    p = r.pubsub()
    p.subscribe("channel")
    p.psubscribe("chan*")
    assert [p.get_message(timeout=5)["type"] for _ in "ab"] == ["subscribe", "psubscribe"]
    assert r.publish("channel", "hello") == 2
    messages = [p.get_message(timeout=5) for _ in "ab"]
    assert [message["type"] for message in messages] == ["message", "pmessage"], messages
    assert all(message["data"] == "hello" for message in messages)
    assert r.pubsub_numsub("channel") == [("channel", 1)] and r.pubsub_numpat() == 1
    p.unsubscribe()
    p.punsubscribe()
    assert [p.get_message(timeout=5)["data"] for _ in "ab"] == [1, 0]
    p.close()
    r.close()
print("done")
"#;

#[test]
fn redis_py_works_in_both_protocols() {
    let server = Server::start(&[]);
    let port = server.addr().port().to_string();
    let done = run(Command::new(python()).args(["-c", PYTHON_CALLS, &port]));
    let output = done.unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}
