//! What the console asks for: what is in it, and who gets it.

use super::{ask, get, start};
use crate::dataset::{run, text};
use crate::harness::wait_for;

const OWN: (&str, &str) = ("X-Redstart-Console", "1");

#[test]
fn the_page_loads_nothing_and_runs_only_what_is_in_it() {
    let (_server, addr) = start(&[]);
    let page = get(addr, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    let nonce = policy.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
    let nonce = nonce.expect("the script has a number");
    assert_eq!(nonce.len(), 32);
    assert!(page.body.contains(&format!("<script nonce=\"{nonce}\">")), "{policy}");
    assert!(!page.body.contains("{nonce}") && !page.body.contains("{script}"));
    for address in ["http://", "https://", "//"] {
        let from = format!("src=\"{address}");
        assert!(!page.body.contains(&from) && !page.body.contains("@import"), "{address}");
    }
    assert!(!get(addr, "/").body.contains(nonce), "the number is drawn anew each time");
}

#[test]
fn info_and_clients_are_json() {
    let (server, addr) = start(&[]);
    let mut conn = server.connect();
    run(&mut conn, "CLIENT SETNAME <b>bold</b>");
    run(&mut conn, "SET k secret-value");
    let info = get(addr, "/api/info");
    assert_eq!(info.header("content-type"), Some("application/json"));
    let info: serde_json::Value = serde_json::from_str(&info.body).expect("it is JSON");
    assert_eq!(info["status"], "ok");
    assert_eq!(info["sections"]["Keyspace"]["db0"], "keys=1,expires=0,avg_ttl=0,subexpiry=0");
    let clients = get(addr, "/api/clients").body;
    let clients: serde_json::Value = serde_json::from_str(&clients).expect("it is JSON");
    assert_eq!(clients["total"], 1);
    assert_eq!(clients["clients"][0]["name"], "<b>bold</b>");
    assert_eq!(clients["clients"][0]["command"], "set");
}

#[test]
fn the_slow_log_shows_keys_and_no_values() {
    let (server, addr) = start(&["--slowlog-log-slower-than", "0"]);
    let mut conn = server.connect();
    run(&mut conn, "HSET board secret-field secret-value");
    run(&mut conn, "EVAL return'secret-body' 1 board");
    let body = get(addr, "/api/slowlog").body;
    assert!(body.contains("\"command\":\"HSET\"") && body.contains("\"key\":\"board\""), "{body}");
    assert!(!body.contains("secret"), "{body}");
}

#[test]
fn a_walk_counts_the_keys_of_a_database() {
    let (server, addr) = start(&[]);
    let mut conn = server.connect();
    run(&mut conn, "SELECT 2");
    for number in 0..500 {
        run(&mut conn, &format!("SET user:{number} secret-value EX 1000"));
    }
    run(&mut conn, "RPUSH list a b c");
    conn.call(&[b"SET".as_slice(), b"\xff\x00:x", b"secret-value"]);
    assert!(get(addr, "/api/keys").body.contains("\"state\":\"none\""));
    assert_eq!(ask(addr, "POST", "/api/keys?db=2", &[]).status, 403, "another page may ask so");
    assert_eq!(ask(addr, "POST", "/api/keys?db=2", &[OWN, ("Origin", "http://evil")]).status, 403);
    assert_eq!(ask(addr, "POST", "/api/keys?db=16", &[OWN]).status, 400);
    assert_eq!(ask(addr, "PUT", "/api/keys", &[OWN]).status, 405);
    assert_eq!(ask(addr, "POST", "/api/keys?db=2", &[OWN]).status, 200);
    let done = || get(addr, "/api/keys").body.contains("\"state\":\"done\"");
    assert!(wait_for(super::DEADLINE, done));
    let body = get(addr, "/api/keys").body;
    assert!(!body.contains("secret"), "{body}");
    let found: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
    assert_eq!((&found["db"], &found["expected"]), (&2.into(), &502.into()));
    assert_eq!((&found["all"]["keys"], &found["all"]["volatile"]), (&502.into(), &500.into()));
    assert_eq!(
        (&found["prefixes"][0]["name"], &found["prefixes"][0]["keys"]),
        (&"user:".into(), &500.into())
    );
    assert!(
        body.contains("\"name\":\"list\"") && body.contains("\"\\\"\\\\xff\\\\x00:\\\"\""),
        "{body}"
    );
    assert_eq!(ask(addr, "DELETE", "/api/keys", &[OWN]).status, 200);
}

#[test]
fn names_are_not_shown_where_clients_need_a_password() {
    let (server, addr) = start(&["--requirepass", "p"]);
    let mut conn = server.connect();
    run(&mut conn, "AUTH p");
    for path in ["/api/keys", "/api/clients", "/api/slowlog"] {
        let answer = get(addr, path);
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("needs http-password"), "{}", answer.body);
    }
    assert_eq!(ask(addr, "POST", "/api/keys", &[OWN]).status, 403);
    assert_eq!((get(addr, "/metrics").status, get(addr, "/api/info").status), (200, 200));
    assert_eq!(text(conn.call(&["CONFIG", "SET", "http-password", "w"])), "OK");
    let bearer = [("Authorization", "Bearer w")];
    for path in ["/api/keys", "/api/clients", "/api/slowlog"] {
        assert_eq!(ask(addr, "GET", path, &bearer).status, 200, "{path}");
        assert_eq!(get(addr, path).status, 401, "{path}");
    }
}
