//! TLS with real clients: `openssl s_client` and `redis-cli --tls`, certificates made by `openssl`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Conn, Reply, Server, free_addr, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

/// A folder with an authority `ca`, a certificate `server`, one of a client whose name is `default`,
/// and a `stranger` whom the authority does not know. Each is a `.crt` and a `.key`.
struct Certificates(tempfile::TempDir);

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}; it is needed by this test"))
}

impl Certificates {
    fn new() -> Self {
        let made = Self(tempfile::tempdir().expect("a folder"));
        made.own("ca", "authority");
        made.own("stranger", "default");
        made.signed("server", "localhost", "2");
        made.signed("client", "default", "2");
        made
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn openssl(&self, args: &[&str]) {
        let output = run(Command::new("openssl").args(args).current_dir(self.0.path()));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {args:?}: {text}");
    }

    /// A certificate that is signed by itself.
    fn own(&self, name: &str, subject: &str) {
        let (key, out) = (format!("{name}.key"), format!("{name}.crt"));
        let subject = format!("/CN={subject}");
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            &key,
            "-out",
            &out,
            "-subj",
            &subject,
        ]);
    }

    /// A certificate that is signed by the authority and valid for some days.
    fn signed(&self, name: &str, subject: &str, days: &str) {
        let [key, request, out] = ["key", "csr", "crt"].map(|kind| format!("{name}.{kind}"));
        let subject = format!("/CN={subject}");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &subject,
        ]);
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost,URI:urn:user:default\n";
        fs::write(self.0.path().join("names"), names).expect("a file");
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &out,
            "-days",
            days,
            "-extfile",
            "names",
        ]);
    }

    /// A server that speaks TLS on its second address.
    fn server(&self, args: &[&str]) -> (Server, SocketAddr) {
        let tls = free_addr().expect("a free port");
        let (port, cert, key, ca) = (
            tls.port().to_string(),
            self.path("server.crt"),
            self.path("server.key"),
            self.path("ca.crt"),
        );
        let own = [
            "--tls-port",
            &port,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ];
        (Server::start(&[&own[..], args].concat()), tls)
    }

    /// What `redis-cli --tls` says, with the certificate called so.
    fn cli(&self, addr: SocketAddr, certificate: Option<&str>, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &addr.port().to_string(), "--tls"]);
        command.args(["--cacert", &self.path("ca.crt")]);
        if let Some(name) = certificate {
            command.args(["--cert", &self.path(&format!("{name}.crt"))]);
            command.args(["--key", &self.path(&format!("{name}.key"))]);
        }
        let output = run(command.args(args));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What `openssl s_client` says when it sends `PING`.
    fn s_client(&self, addr: SocketAddr, args: &[&str]) -> String {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &addr.to_string(), "-CAfile", &self.path("ca.crt")])
            .args(["-cert", &self.path("client.crt"), "-key", &self.path("client.key")])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl can be started");
        let mut input = child.stdin.take().expect("a pipe");
        // It may have failed before it reads.
        let _ = input.write_all(b"PING\r\nQUIT\r\n");
        let output = child.wait_with_output().expect("an own child");
        drop(input);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn set(conn: &mut Conn, pairs: &[&str]) -> Result<(), String> {
    match conn.call(&[&["CONFIG", "SET"], pairs].concat()) {
        Reply::Simple(_) => Ok(()),
        Reply::Error(text) => Err(String::from_utf8_lossy(&text).into_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_with_a_certificate_are_served() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    assert!(server.log().contains("Ready to accept connections tls"), "{}", server.log());
    assert_eq!(certificates.cli(tls, Some("client"), &["PING"]), "PONG\n");
    let info = certificates.cli(tls, Some("client"), &["INFO", "server"]);
    let listener = format!("listener2:name=tls,bind=127.0.0.1,port={}", tls.port());
    assert!(info.contains(&listener), "{info}");
    let list = certificates.cli(tls, Some("client"), &["CLIENT", "LIST"]);
    assert!(list.contains(&format!(" laddr=127.0.0.1:{} ", tls.port())), "{list}");
    for version in ["-tls1_2", "-tls1_3"] {
        let said = certificates.s_client(tls, &[version]);
        assert!(said.contains("+PONG\r\n+OK\r\n"), "{version}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{version}: {said}");
    }
    let said = certificates.s_client(tls, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!said.contains("PONG"), "{said}");
    let mut plain = server.connect();
    assert_eq!(plain.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn long_values_and_pipelines_arrive_whole() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    let value = "0123456789abcdef".repeat(60_000);
    let file = certificates.path("value");
    fs::write(&file, &value).expect("a file");
    let mut cli = Command::new("redis-cli");
    let (cert, key) = (certificates.path("client.crt"), certificates.path("client.key"));
    let port = tls.port().to_string();
    cli.args(["-p", &port, "--tls", "--insecure", "--cert", &cert, "--key", &key]);
    cli.args(["-x", "SET", "long"]).stdin(fs::File::open(&file).expect("a file"));
    let output = cli.output().expect("redis-cli runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK\n");
    let got = certificates.cli(tls, Some("client"), &["GET", "long"]);
    assert!(got.trim_end() == value, "{} bytes of {}", got.len(), value.len());
    let mut conn = server.connect();
    assert_eq!(conn.call(&["STRLEN", "long"]), Reply::Integer(value.len() as i64));
    let output = run(Command::new("redis-benchmark")
        .args(["-p", &port, "--tls", "--insecure", "--cert", &cert, "--key", &key])
        .args([
            "-n",
            "20000",
            "-c",
            "8",
            "-P",
            "16",
            "-d",
            "3000",
            "-q",
            "-t",
            "set,get,lrange_300",
        ]));
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    assert!(output.status.success() && said.contains("LRANGE_300"), "{said}");
}

#[test]
fn who_has_no_good_certificate_is_not_served() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    let mut conn = server.connect();
    let asked = |certificate| certificates.cli(tls, certificate, &["PING"]);
    assert!(!asked(None).contains("PONG"));
    assert!(!asked(Some("stranger")).contains("PONG"));
    set(&mut conn, &["tls-auth-clients", "optional"]).expect("it is possible");
    assert_eq!(asked(None), "PONG\n");
    assert_eq!(asked(Some("client")), "PONG\n");
    assert!(!asked(Some("stranger")).contains("PONG"));
    set(&mut conn, &["tls-auth-clients", "no"]).expect("it is possible");
    assert_eq!(asked(None), "PONG\n");
    assert_eq!(asked(Some("stranger")), "PONG\n");
    set(&mut conn, &["tls-auth-clients", "yes"]).expect("it is possible");
    assert!(!asked(None).contains("PONG"));
}

#[test]
fn a_certificate_names_the_user() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&["--requirepass", "secret"]);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["AUTH", "secret"]), Reply::Simple(b"OK".to_vec()));
    let asked = || certificates.cli(tls, Some("client"), &["PING"]);
    assert!(asked().contains("NOAUTH"));
    set(&mut conn, &["tls-auth-clients-user", "CN"]).expect("it is possible");
    assert_eq!(asked(), "PONG\n");
    set(&mut conn, &["tls-auth-clients-user", "off"]).expect("it is possible");
    assert!(asked().contains("NOAUTH"));
    // Any user, by either name; one that is disabled or does not exist is not logged in.
    certificates.signed("client", "alice", "2");
    let who = || certificates.cli(tls, Some("client"), &["ACL", "WHOAMI"]);
    for (field, name) in [("CN", "alice"), ("URI", "urn:user:default")] {
        set(&mut conn, &["tls-auth-clients-user", field]).expect("it is possible");
        assert!(who().contains("NOAUTH"), "{name}");
        for (state, seen) in [("on", name), ("off", "NOAUTH")] {
            let made = conn.call(&["ACL", "SETUSER", name, state, "+@all", "~*", "&*"]);
            assert_eq!(made, Reply::Simple(b"OK".to_vec()));
            assert!(who().contains(seen), "{name} {state}: {}", who());
        }
    }
}

#[test]
fn certificates_are_exchanged_while_the_server_runs() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&["--tls-auth-clients", "no"]);
    let mut conn = server.connect();
    let subject = || {
        let said = certificates.s_client(tls, &[]);
        let line = said.lines().find(|line| line.contains("subject=")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{said}"))
    };
    assert!(subject().contains("localhost"));
    certificates.signed("server", "renewed", "2");
    let cert = certificates.path("server.crt");
    let key = certificates.path("server.key");
    // Old and new do not match, so they have to be named together; the same names say it all.
    set(&mut conn, &["tls-cert-file", &cert, "tls-key-file", &key]).expect("it is possible");
    assert!(subject().contains("renewed"));
    let refused = |conn: &mut Conn, pairs: &[&str], reason: &str| {
        let text = set(conn, pairs).expect_err(reason);
        assert!(text.contains("Unable to update TLS configuration."), "{text}");
        assert!(text.contains(reason), "{text} instead of {reason}");
        assert!(subject().contains("renewed"));
    };
    let path = |name| certificates.path(name);
    refused(&mut conn, &["tls-cert-file", "/no/such/file"], "No such file or directory");
    refused(&mut conn, &["tls-key-file", &path("client.key")], "does not belong to");
    refused(&mut conn, &["tls-cert-file", &key], "no certificate in it");
    refused(&mut conn, &["tls-cert-file", ""], "No tls-cert-file configured!");
    refused(&mut conn, &["tls-ca-cert-file", &key], "no certificate in it");
    refused(&mut conn, &["tls-protocols", "TLSv1.1"], "'TLSv1.1' is not supported");
    refused(&mut conn, &["tls-ciphers", "AES128-SHA"], "none of 'AES128-SHA' is supported");
    refused(&mut conn, &["tls-auth-clients", "yes", "tls-ca-cert-file", ""], "Either tls-ca");
    certificates.signed("expired", "localhost", "-1");
    let expired = ["tls-cert-file", &path("expired.crt"), "tls-key-file", &path("expired.key")];
    refused(&mut conn, &expired, "it expired at ");
    let got = conn.call(&["CONFIG", "GET", "tls-cert-file"]);
    let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    assert_eq!(got, Reply::Array(vec![bulk("tls-cert-file"), bulk(&cert)]));
}

#[test]
fn certificates_are_looked_for_in_time() {
    let certificates = Certificates::new();
    let (server, tls) =
        certificates.server(&["--tls-auth-clients", "no", "--tls-auto-reload-interval", "1"]);
    let subject = || certificates.s_client(tls, &[]);
    assert!(subject().contains("localhost"));
    // The first look has to be over.
    assert!(wait_for(DEADLINE, || server.connect().info("uptime_in_seconds") >= 2));
    certificates.signed("server", "renewed", "2");
    assert!(wait_for(DEADLINE, || subject().contains("renewed")), "{}", server.log());
}

#[test]
fn keys_may_be_encrypted() {
    let certificates = Certificates::new();
    certificates.openssl(&[
        "pkcs8",
        "-topk8",
        "-in",
        "server.key",
        "-out",
        "locked.key",
        "-v2",
        "aes256",
        "-passout",
        "pass:1234",
    ]);
    let (server, tls) = certificates.server(&[]);
    let mut conn = server.connect();
    let locked = certificates.path("locked.key");
    let text = set(&mut conn, &["tls-key-file", &locked]).expect_err("no passphrase");
    assert!(text.contains("it is encrypted and needs a passphrase"), "{text}");
    let text = set(&mut conn, &["tls-key-file", &locked, "tls-key-file-pass", "12345"]);
    assert!(text.expect_err("a wrong passphrase").contains("it cannot be decrypted"));
    set(&mut conn, &["tls-key-file", &locked, "tls-key-file-pass", "1234"]).expect("it is right");
    assert_eq!(certificates.cli(tls, Some("client"), &["PING"]), "PONG\n");
}

#[test]
fn versions_and_ciphers_are_chosen() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    let mut conn = server.connect();
    let spoken = |args: &[&str]| {
        let said = certificates.s_client(tls, args);
        let line = said.lines().find_map(|line| line.trim().strip_prefix("New, "));
        line.unwrap_or("nothing").to_owned()
    };
    set(&mut conn, &["tls-protocols", "TLSv1.2"]).expect("it is possible");
    assert!(!certificates.s_client(tls, &["-tls1_3"]).contains("PONG"));
    let both = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    let order = ["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"];
    set(&mut conn, &["tls-ciphers", both]).expect("it is possible");
    assert!(spoken(&order).ends_with("AES256-GCM-SHA384"), "{}", spoken(&order));
    set(&mut conn, &["tls-prefer-server-ciphers", "yes"]).expect("it is possible");
    assert!(spoken(&order).ends_with("AES128-GCM-SHA256"), "{}", spoken(&order));
    assert_eq!(spoken(&["-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]), "(NONE), Cipher is (NONE)");
    set(&mut conn, &["tls-protocols", "TLSv1.3", "tls-ciphersuites", "TLS_AES_128_GCM_SHA256"])
        .expect("it is possible");
    assert!(spoken(&[]).ends_with("TLS_AES_128_GCM_SHA256"), "{}", spoken(&[]));
}

#[test]
fn sessions_are_resumed_unless_that_is_switched_off() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    let mut conn = server.connect();
    let session = certificates.path("session");
    for version in ["-tls1_2", "-tls1_3"] {
        certificates.s_client(tls, &[version, "-sess_out", &session, "-ign_eof"]);
        let again = certificates.s_client(tls, &[version, "-sess_in", &session, "-ign_eof"]);
        assert!(again.contains("Reused, "), "{version}: {again}");
        set(&mut conn, &["tls-session-caching", "no"]).expect("it is possible");
        let again = certificates.s_client(tls, &[version, "-sess_in", &session, "-ign_eof"]);
        assert!(!again.contains("Reused, ") && again.contains("PONG"), "{version}: {again}");
        set(&mut conn, &["tls-session-caching", "yes"]).expect("it is possible");
    }
}

#[test]
fn ports_change_places() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&[]);
    let mut conn = server.connect();
    let number = tls.port().to_string();
    set(&mut conn, &["tls-port", "0"]).expect("it is possible");
    assert!(Conn::open(tls).is_err());
    let plain = server.addr().port().to_string();
    set(&mut conn, &["port", &number]).expect("it is possible");
    let answers = || {
        Conn::open(tls).is_ok_and(|mut conn| conn.send(&["PING"]).is_ok() && conn.read().is_ok())
    };
    assert!(wait_for(DEADLINE, answers));
    set(&mut conn, &["port", "0"]).expect("it is possible");
    set(&mut conn, &["tls-port", &number]).expect("it is possible");
    let answers = || certificates.cli(tls, Some("client"), &["PING"]) == "PONG\n";
    assert!(wait_for(DEADLINE, answers));
    assert_eq!(conn.info("tcp_port"), u64::from(tls.port()));
    set(&mut conn, &["port", &plain]).expect("it is possible");
}

#[test]
fn what_is_no_handshake_ends_the_connection() {
    let certificates = Certificates::new();
    let (server, tls) = certificates.server(&["--maxclients", "3"]);
    let mut conn = server.connect();
    for garbage in [&b"PING\r\n"[..], &[0x16, 3, 1, 255, 255, 1, 1, 1, 1], &[0; 70_000]] {
        let mut stream = TcpStream::connect(tls).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        // The server may end it in the middle.
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert_eq!(said, b"", "an answer that is no TLS to who speaks none");
    }
    assert!(wait_for(DEADLINE, || conn.info("connected_clients") == 1));
    // Those that say nothing count as clients, until their time is up.
    let (began, mut silent) = (Instant::now(), Vec::new());
    for _ in 0..2 {
        silent.push(TcpStream::connect(tls).expect("it listens"));
    }
    assert!(wait_for(DEADLINE, || conn.info("connected_clients") == 3));
    assert!(!certificates.cli(tls, Some("client"), &["PING"]).contains("PONG"));
    silent[0].set_read_timeout(Some(2 * DEADLINE)).expect("a deadline");
    assert_eq!(silent[0].read(&mut [0]).ok(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(wait_for(DEADLINE, || certificates.cli(tls, Some("client"), &["PING"]) == "PONG\n"));
    // One that is killed in the middle of it ends at once.
    let hanging = TcpStream::connect(tls).expect("it listens");
    let addr = hanging.local_addr().expect("it is connected").to_string();
    let kill = || conn.call(&["CLIENT", "KILL", "ADDR", &addr]) == Reply::Integer(1);
    assert!(wait_for(DEADLINE, kill));
    assert!(wait_for(DEADLINE, || server.connect().info("connected_clients") == 2));
}

#[test]
fn a_server_without_its_files_does_not_start() {
    let certificates = Certificates::new();
    let (cert, key) = (certificates.path("server.crt"), certificates.path("server.key"));
    let refusal = |args: &[&str]| {
        let port = free_addr().expect("a free port").port().to_string();
        let mut command = Command::new(crate::harness::server_program());
        command.args(["--port", "0", "--tls-port", &port, "--bind", "127.0.0.1"]).args(args);
        let output = run(command.current_dir(certificates.0.path()));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let log = refusal(&[]);
    assert!(log.contains("No tls-cert-file configured!"), "{log}");
    assert!(log.contains("Failed to configure TLS. Check logs for more info."), "{log}");
    let log = refusal(&["--tls-cert-file", &cert, "--tls-key-file", &key]);
    assert!(log.contains("Either tls-ca-cert-file or tls-ca-cert-dir must be specified"), "{log}");
}

/// What MIGRATE answers when no connection comes about.
const CONNECTING: &str = "IOERR error or timeout connecting to the client";

/// A server that moves keys by TLS, whose authority is called so.
fn mover(certificates: &Certificates, authority: &str) -> Server {
    let [cert, key] = ["client.crt", "client.key"].map(|name| certificates.path(name));
    let ca = certificates.path(&format!("{authority}.crt"));
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    Server::start(&[&files[..], &["--tls-cluster", "yes"]].concat())
}

fn migrate(conn: &mut Conn, to: SocketAddr) -> String {
    conn.call(&["SET", "moved", "value"]);
    let port = to.port().to_string();
    match conn.call(&["MIGRATE", "127.0.0.1", &port, "moved", "0", "5000", "REPLACE"]) {
        Reply::Simple(text) | Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_move_by_tls_to_whom_the_authorities_vouch_for() {
    let certificates = Certificates::new();
    let (target, tls) = certificates.server(&[]);
    let source = mover(&certificates, "ca");
    let mut conn = source.connect();
    for _ in 0..2 {
        assert_eq!(migrate(&mut conn, tls), "OK");
        assert_eq!(certificates.cli(tls, Some("client"), &["GETDEL", "moved"]), "value\n");
    }
    let log = source.log();
    assert!(!log.contains("no effect"), "{log}");
    // Nothing is sent in clear to whom TLS is wanted with, nor the other way round.
    assert_eq!(migrate(&mut conn, target.addr()), CONNECTING);
    assert_eq!(set(&mut conn, &["tls-cluster", "no"]), Ok(()));
    assert!(migrate(&mut conn, tls).starts_with("IOERR error or timeout "), "no TLS");
    assert_eq!(migrate(&mut conn, target.addr()), "OK");
    assert_eq!(set(&mut conn, &["tls-cluster", "yes"]), Ok(()));
    assert_eq!(migrate(&mut conn, target.addr()), CONNECTING, "no kept connection without TLS");
    assert_eq!(migrate(&mut conn, tls), "OK");

    let wary = mover(&certificates, "stranger");
    assert_eq!(migrate(&mut wary.connect(), tls), CONNECTING);
    let bare = Server::start(&[]);
    let refused = set(&mut bare.connect(), &["tls-cluster", "yes"]);
    let refused = refused.expect_err("there is no certificate");
    assert!(refused.contains("No tls-cert-file configured!"), "{refused}");
}

#[test]
fn what_moves_keys_shows_its_own_certificate_for_that() {
    let certificates = Certificates::new();
    let (_target, tls) = certificates.server(&[]);
    let source = mover(&certificates, "ca");
    let mut conn = source.connect();
    let show = |conn: &mut Conn, name: &str| {
        let [cert, key] = ["crt", "key"].map(|kind| certificates.path(&format!("{name}.{kind}")));
        let shown = ["tls-client-cert-file", &cert, "tls-client-key-file", &key];
        assert_eq!(set(conn, &shown), Ok(()));
    };
    show(&mut conn, "stranger");
    let refused = migrate(&mut conn, tls);
    assert!(refused.starts_with("IOERR error or timeout "), "{refused}");
    show(&mut conn, "server");
    assert_eq!(migrate(&mut conn, tls), "OK");
}

#[test]
fn a_change_that_fails_late_is_taken_back_whole() {
    let certificates = Certificates::new();
    let (target, _) = certificates.server(&[]);
    let source = mover(&certificates, "ca");
    fs::write(source.dir().join("appendonlydir"), "in the way").expect("a file");
    let elsewhere = free_addr().expect("a free port").port().to_string();
    let mut conn = source.connect();
    let changes = ["tls-cluster", "no", "port", &elsewhere, "requirepass", "secret"];
    let refused = set(&mut conn, &[&changes[..], &["appendonly", "yes"]].concat());
    assert!(refused.is_err_and(|text| text.contains("Unable to turn on AOF")));
    assert_eq!(migrate(&mut conn, target.addr()), CONNECTING, "it is TLS still");
    let mut again = source.connect();
    assert_eq!(again.call(&["PING"]), Reply::Simple(b"PONG".to_vec()), "port and password");
}
