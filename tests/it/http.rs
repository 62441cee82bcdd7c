//! `http-port` from outside: who is served, what is refused, and what bad requests come to.

mod console;
mod metrics;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::dataset::{run, text};
use crate::harness::{Server, free_addr, wait_for};

const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer that is believed.
const ANSWER_MAX: u64 = 16 << 20;

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> Option<Answer> {
        let text = String::from_utf8(bytes.to_vec()).expect("pages are UTF-8");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let headers = lines
            .map(|line| line.split_once(": ").expect("a header has a colon"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Answer { status, headers, body: body.to_owned() })
    }
}

/// Sends bytes and reads until the server closes.
fn exchange(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = open(addr);
    // The server may hang up before all is sent.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(ANSWER_MAX).read_to_end(&mut answer);
    answer
}

fn open(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("http-port is open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline above zero");
    stream
}

fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {addr}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let answer = exchange(addr, (request + "\r\n").as_bytes());
    Answer::parse(&answer).unwrap_or_else(|| panic!("{method} {path} {answer:?}"))
}

fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, &[])
}

/// A server with `http-port`, and where that is.
fn start(args: &[&str]) -> (Server, SocketAddr) {
    let addr = free_addr().expect("a free port");
    let port = addr.port().to_string();
    (Server::start(&[&["--http-port", &port], args].concat()), addr)
}

#[test]
fn health_says_what_keeps_clients_from_working() {
    let (server, addr) = start(&["--save", "3600 1"]);
    let well = get(addr, "/healthz");
    assert_eq!((well.status, well.body.as_str()), (200, "{\"status\":\"ok\"}\n"));
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    let path = server.dir().join(format!("temp-{}.rdb", server.pid()));
    std::fs::create_dir(&path).expect("a folder in a scratch folder");
    run(&mut conn, "BGSAVE");
    assert!(wait_for(DEADLINE, || get(addr, "/healthz").status == 503));
    let body = get(addr, "/healthz").body;
    assert!(body.starts_with("{\"status\":\"misconf\",\"why\":\"MISCONF Redis is conf"), "{body}");
    assert_eq!(get(addr, "/readyz").status, 503);
    let life = get(addr, "/livez");
    assert_eq!((life.status, life.body.as_str()), (200, "{\"status\":\"misconf\"}\n"));
    run(&mut conn, "CONFIG SET http-password secret");
    let told = get(addr, "/healthz");
    assert_eq!((told.status, told.body.as_str()), (503, "{\"status\":\"misconf\"}\n"));
    std::fs::remove_dir(&path).expect("it is empty");
    run(&mut conn, "BGSAVE");
    assert!(wait_for(DEADLINE, || get(addr, "/healthz").status == 200));
}

#[test]
fn a_server_that_cannot_have_its_port_does_not_start() {
    let (server, addr) = start(&[]);
    let mut second = Server::launch_on(server.dir(), &["--http-port", &addr.port().to_string()]);
    assert!(second.has_ended(DEADLINE), "{}", second.log());
    assert!(second.log().contains("Failed listening on port"), "{}", second.log());
}

#[test]
fn metrics_do_not_wait_for_the_data() {
    let (server, _) = start(&["--enable-debug-command", "yes", "--save", "3600 1"]);
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 1500");
    run(&mut conn, "SAVE");
    let addr = free_addr().expect("a free port");
    let port = addr.port().to_string();
    let loading =
        Server::launch_on(server.dir(), &["--http-port", &port, "--key-load-delay", "2000"]);
    assert!(wait_for(DEADLINE, || TcpStream::connect(addr).is_ok()), "{}", loading.log());
    let health = get(addr, "/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.body.starts_with("{\"status\":\"loading\",\"why\":\"The data is"), "{health:?}");
    assert_eq!(get(addr, "/livez").status, 200);
    let metrics = get(addr, "/metrics");
    assert!(metrics.body.contains("\nredis_loading_dump_file 1\n"), "{}", metrics.body);
    assert!(wait_for(DEADLINE, || get(addr, "/healthz").status == 200), "{}", loading.log());
    assert!(get(addr, "/metrics").body.contains("\nredis_db_keys{db=\"db0\"} 1500\n"));
}

#[test]
fn pages_answer_while_a_script_holds_everything() {
    let (server, addr) = start(&["--busy-reply-threshold", "50"]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    assert!(get(addr, "/metrics").body.contains("redis_db_keys{db=\"db0\"} 1\n"));
    let mut busy = server.connect();
    busy.send(&[
        "EVAL",
        "redis.call('dbsize') redis.call('get', KEYS[1]) while true do end",
        "1",
        "k",
    ])
    .expect("sent");
    assert!(wait_for(DEADLINE, || get(addr, "/healthz").status == 503));
    assert!(get(addr, "/healthz").body.starts_with("{\"status\":\"busy\""));
    let start = Instant::now();
    let metrics = get(addr, "/metrics").body;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(metrics.contains("redis_db_keys{db=\"db0\"} 1\n"), "the last known count: {metrics}");
    for _ in 0..3 {
        let walk = ask(addr, "POST", "/api/keys?db=0", &[("x-redstart-console", "1")]).status;
        assert!([200, 503].contains(&walk), "{walk}");
        assert!(get(addr, "/healthz").body.starts_with("{\"status\":\"busy\""));
    }
    assert_eq!(text(conn.call(&["SCRIPT", "KILL"])), "OK");
    assert!(wait_for(DEADLINE, || get(addr, "/healthz").status == 200));
}

#[test]
fn all_pages_have_the_headers_that_browsers_heed() {
    let (_server, addr) = start(&[]);
    for path in ["/healthz", "/metrics", "/nothing"] {
        let answer = get(addr, path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; frame-ancestors 'none'"), "{policy}");
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")));
    }
}

#[test]
fn a_password_is_asked_for_everywhere_but_for_health() {
    let (server, addr) = start(&["--http-password", "s3cret"]);
    assert_eq!(get(addr, "/healthz").status, 200);
    for path in ["/", "/metrics", "/nothing"] {
        let answer = get(addr, path);
        assert_eq!(answer.status, 401, "{path}");
        let asked = answer.header("www-authenticate").expect("browsers are asked to ask");
        assert!(asked.starts_with("Basic realm="), "{asked}");
        assert!(!answer.body.contains("redis_"), "{}", answer.body);
    }
    let with = |value: &str| ask(addr, "GET", "/metrics", &[("Authorization", value)]).status;
    assert_eq!(with("Bearer s3cret"), 200);
    assert_eq!(with("Basic YW55Ym9keTpzM2NyZXQ="), 200);
    assert_eq!((with("Bearer s3crets"), with("Basic Og=="), with("s3cret")), (401, 401, 401));
    let mut conn = server.connect();
    run(&mut conn, "CONFIG SET http-user prometheus http-password other");
    assert_eq!((with("Bearer s3cret"), with("Bearer other")), (401, 200));
    assert_eq!(with("Basic YW55Ym9keTpvdGhlcg=="), 401);
    assert_eq!(with("Basic cHJvbWV0aGV1czpvdGhlcg=="), 200);
    assert_eq!(text(conn.call(&["CONFIG", "SET", "http-password", ""])), "OK");
    assert_eq!(get(addr, "/metrics").status, 200);
}

#[test]
fn a_page_that_another_name_leads_to_is_refused() {
    let (_server, addr) = start(&[]);
    for path in ["/healthz", "/metrics", "/"] {
        let answer = ask(addr, "GET", path, &[("Host", "evil.example")]);
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("names another host"), "{}", answer.body);
    }
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:7"] {
        assert_eq!(ask(addr, "GET", "/metrics", &[("Host", host)]).status, 200, "{host}");
    }
    let absolute = ask(addr, "GET", "http://evil.example/metrics", &[]);
    assert_eq!(absolute.status, 403);
    let old = exchange(addr, b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(Answer::parse(&old).map(|answer| answer.status), Some(200));
}

#[test]
fn only_reading_is_possible_and_paths_name_no_files() {
    let (_server, addr) = start(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = ask(addr, method, "/metrics", &[]);
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let head = ask(addr, "HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/metrics/",
        "/METRICS",
        "/..",
    ] {
        assert_eq!(get(addr, path).status, 404, "{path}");
    }
    assert_eq!(get(addr, "/metrics?x=1").status, 200);
}

#[test]
fn bad_requests_are_refused_and_others_served() {
    let (server, addr) = start(&[]);
    let status =
        |request: &[u8]| Answer::parse(&exchange(addr, request)).map(|answer| answer.status);
    let huge = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(matches!(status(huge.as_bytes()), Some(431) | None));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    assert!(matches!(status(many.as_bytes()), Some(431)));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!(matches!(status(long.as_bytes()), Some(414 | 431) | None));
    for garbage in [
        b"GET /\r\n\r\n".as_slice(),
        b"GET / HTTP/0.9\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\0\xff\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nxyz",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let status = status(garbage);
        assert!(matches!(status, Some(400..500) | None), "{status:?} to {garbage:?}");
    }
    assert_eq!(exchange(addr, b""), b"");
    // A body is no part of any request here, however long it is said to be.
    let body =
        format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 9999999999\r\n\r\nx");
    assert_eq!(status(body.as_bytes()), Some(200));
    assert_eq!(get(addr, "/healthz").status, 200);
    assert!(server.connect().info("used_memory_peak") < 64 << 20);
}

#[test]
fn requests_may_follow_each_other_without_waiting() {
    let (_server, addr) = start(&[]);
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let last = format!("GET /nothing HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let answer = exchange(addr, (one.repeat(50) + &last).as_bytes());
    let text = String::from_utf8(answer).expect("pages are UTF-8");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 50);
    assert_eq!(text.matches("HTTP/1.1 404 Not Found").count(), 1);
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let (server, addr) = start(&[]);
    let mut waiting: Vec<TcpStream> = (0..300).map(|_| open(addr)).collect();
    for stream in &mut waiting {
        // Those that made room have been closed.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX: ");
    }
    let start = Instant::now();
    assert_eq!(get(addr, "/healthz").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(server.connect().info("used_memory_peak") < 64 << 20);
    // Whoever goes on slowly is cut off as well.
    let mut slow = open(addr);
    let ended = wait_for(Duration::from_secs(20), || {
        std::thread::park_timeout(Duration::from_millis(100));
        slow.write_all(b"X").is_err()
    });
    assert!(ended, "a head that never ends is read for ever");
}

#[test]
fn the_port_moves_and_ends_while_the_server_runs() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let first = free_addr().expect("a free port");
    run(&mut conn, &format!("CONFIG SET http-port {}", first.port()));
    assert_eq!(get(first, "/healthz").status, 200);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let refused = text(conn.call(&["CONFIG", "SET", "http-port", &port.to_string()]));
    assert!(refused.contains("Unable to listen on this port"), "{refused}");
    assert_eq!(get(first, "/healthz").status, 200, "the old port is back");
    let second = free_addr().expect("a free port");
    run(&mut conn, &format!("CONFIG SET metrics-port {}", second.port()));
    assert_eq!(get(second, "/healthz").status, 200);
    assert!(TcpStream::connect(first).is_err(), "the old port is still open");
    let refused = text(conn.call(&["CONFIG", "SET", "http-bind", "999.9.9.9"]));
    assert!(refused.contains("Failed to bind"), "{refused}");
    run(&mut conn, "CONFIG SET http-port 0");
    assert!(TcpStream::connect(second).is_err(), "the port is still open");
    run(&mut conn, &format!("CONFIG SET http-port {}", first.port()));
    assert_eq!(get(first, "/healthz").status, 200);
    let mut server = server;
    assert_eq!(server.stop_gracefully(), Some(0));
    assert!(TcpStream::connect(first).is_err(), "the port outlives the server");
}
