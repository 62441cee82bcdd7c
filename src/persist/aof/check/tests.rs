//! What redis-check-aof 7.0.15 prints about the same files, unless noted.

use std::fs;

use super::*;

const PING: &str = "*1\r\n$4\r\nping\r\n";
const SET: &str = "*3\r\n$3\r\nSET\r\n$3\r\nfoo\r\n$5\r\nhello\r\n";
const MULTI: &str = "*1\r\n$5\r\nmulti\r\n";
const EXEC: &str = "*1\r\n$4\r\nexec\r\n";

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// Whether all is well, and what was printed, with the folder left out.
    fn check(&self, args: &[&str], answer: &str) -> (bool, String) {
        let (file, flags) = args.split_last().unwrap();
        let mut all: Vec<OsString> = vec!["redis-check-aof".into()];
        all.extend(flags.iter().map(OsString::from));
        all.push(self.0.path().join(file).into());
        let (mut input, mut output) = (answer.as_bytes(), Vec::new());
        let mut terminal = Terminal { input: &mut input, output: &mut output };
        let mut snapshot = |path: &Path, output: &mut dyn Write| {
            writeln!(output, "looking").unwrap();
            let bytes = fs::read(path).unwrap();
            bytes.windows(3).position(|end| end == b"END").map(|at| at as u64 + 3)
        };
        let well = run(&all, &mut terminal, &mut snapshot);
        let folder = format!("{}/", self.0.path().display());
        (well, String::from_utf8(output).unwrap().replace(&folder, ""))
    }

    fn look(&self, text: &str) -> (bool, String) {
        self.write("a", text);
        let (well, printed) = self.check(&["a"], "");
        let start = "Start checking Old-Style AOF\n";
        (well, printed.strip_prefix(start).unwrap().to_owned())
    }
}

#[test]
fn files_are_judged_as_redis_judges_them() {
    let scratch = Scratch::new();
    let good = |text: &str| {
        let (well, printed) = scratch.look(text);
        assert!(well);
        printed
    };
    let valid = |size, line| {
        format!(
            "AOF analyzed: filename=a, size={size}, ok_up_to={size}, ok_up_to_line={line}, diff=0\n\
             AOF a is valid\n"
        )
    };
    assert_eq!(good(""), "AOF a is empty\n");
    assert_eq!(good(SET), valid(33, 8));
    assert_eq!(good(&format!("#TS:12\r\n{PING}#TS:14\r\n{PING}")), valid(44, 7));
    assert_eq!(good(&format!("{MULTI}{SET}{EXEC}")), valid(62, 14));

    let bad = |text: &str, error: &str, whole: usize, line: usize| {
        let (well, printed) = scratch.look(text);
        let size = text.len();
        let diff = size - whole;
        let expected = format!(
            "{error}AOF analyzed: filename=a, size={size}, ok_up_to={whole}, ok_up_to_line={line}, \
             diff={diff}\nAOF a is not valid. Use the --fix option to try fixing it.\n"
        );
        assert_eq!((well, printed), (false, expected));
    };
    bad(&format!("{SET}!!!"), "AOF a format error\n", 33, 8);
    let unfinished = "0x              38: Reached EOF before reading EXEC for MULTI\n";
    bad(&format!("{SET}{MULTI}*1\r\n$4\r\nping\r\n"), unfinished, 33, 14);
    let short = "0x              1a: Expected to read 7 bytes, got 3 bytes\n";
    bad(&SET[..29], short, 0, 7);
    let newline = "0x              16: Expected \\r\\n, got: 780d\n";
    bad("*3\r\n$3\r\nSET\r\n$3\r\nfoo\r\n$5x\r\nhel", newline, 0, 6);
    bad(EXEC, "0x               8: Unexpected EXEC in AOF a\n", 0, 4);
    let torn = "0x              25: Expected \\r\\n, got: 0000\n";
    bad(&format!("{SET}*1\r\n$9"), torn, 33, 9);
    // The loader takes no command without arguments, so neither does this.
    bad("*0\r\n", "0x               0: Expected 1 argument or more, got: 0\n", 0, 2);
}

#[test]
fn the_end_is_cut_off_if_the_user_says_so() {
    let scratch = Scratch::new();
    let asked = "Start checking Old-Style AOF\nAOF a format error\n\
                 AOF analyzed: filename=a, size=36, ok_up_to=33, ok_up_to_line=8, diff=3\n\
                 This will shrink the AOF a from 36 bytes, with 3 bytes, to 33 bytes\n\
                 Continue? [y/N]: ";
    scratch.write("a", &format!("{SET}!!!"));
    let expected = |end: &str| format!("{asked}{end}\n");
    assert_eq!(scratch.check(&["--fix", "a"], "n\n"), (false, expected("Aborting...")));
    assert_eq!(scratch.check(&["--fix", "a"], ""), (false, expected("Aborting...")));
    let cut = expected("Successfully truncated AOF a");
    assert_eq!(scratch.check(&["--fix", "a"], "y\n"), (true, cut));
    assert_eq!(scratch.read("a"), SET);
}

#[test]
fn a_manifest_has_all_its_files_checked() {
    let scratch = Scratch::new();
    scratch.write("m", "# c\nfile b seq 1 type b\nfile i1 seq 1 type i\nfile i2 seq 2 type i\n");
    scratch.write("b", &format!("REDIS0010END{SET}"));
    scratch.write("i1", PING);
    scratch.write("i2", "");
    let analyzed = |name, size: usize, line| {
        format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={size}, ok_up_to_line={line}, \
             diff=0\n"
        )
    };
    let expected = format!(
        "Start checking Multi Part AOF\nStart to check BASE AOF (RDB format).\nlooking\n\
         RDB preamble is OK, proceeding with AOF tail...\n{}BASE AOF b is valid\n\
         Start to check INCR files.\n{}INCR AOF i1 is valid\nINCR AOF i2 is empty\n\
         All AOF files and manifest are valid\n",
        analyzed("b", 45, 8),
        analyzed("i1", 14, 4)
    );
    assert_eq!(scratch.check(&["m"], ""), (true, expected));

    scratch.write("i1", &PING[..9]);
    scratch.write("i2", PING);
    let (well, printed) = scratch.check(&["--fix", "m"], "y\n");
    let last = "Failed to truncate AOF i1 because it is not the last file\n";
    assert!(!well && printed.ends_with(last), "{printed}");
    assert!(scratch.read("i1").len() == 9);
    scratch.write("b", "REDIS0010");
    let (well, printed) = scratch.check(&["m"], "");
    let last = "RDB preamble of AOF file is not sane, aborting.\n";
    assert!(!well && printed.ends_with(last), "{printed}");
    scratch.write("m", "file b seq 1 type x\n");
    let (well, printed) = scratch.check(&["m"], "");
    assert!(!well && printed.contains("FATAL AOF MANIFEST FILE ERROR"));
}

#[test]
fn a_file_is_cut_to_a_time() {
    let scratch = Scratch::new();
    let text = format!("#TS:12\r\n{PING}#TS:14\r\n{SET}");
    scratch.write("a", &text);
    let until = |time: &str| {
        let (well, printed) = scratch.check(&["--truncate-to-timestamp", time, "a"], "");
        (well, printed.replace("Start checking Old-Style AOF\n", ""))
    };
    let nothing = |time| format!("Truncate nothing in AOF a to timestamp {time}\nAOF a is valid\n");
    assert_eq!(until("14"), (true, nothing(14)));
    let cut = "Successfully truncated AOF a to timestamp 13\n".to_owned();
    assert_eq!(until("13"), (true, cut));
    assert_eq!(scratch.read("a"), format!("#TS:12\r\n{PING}"));
    assert_eq!(until("13"), (true, nothing(13)));
    let before = "AOF a has nothing before timestamp 10, aborting...\n".to_owned();
    assert_eq!(until("10"), (false, before));
    assert_eq!(until("1x"), (false, "Invalid timestamp, aborting...\n".to_owned()));

    scratch.write("m", "file a seq 1 type b\nfile i seq 1 type i\n");
    scratch.write("a", &text);
    scratch.write("i", PING);
    let (well, printed) = scratch.check(&["--truncate-to-timestamp", "13", "m"], "");
    let expected = "Failed to truncate AOF a to timestamp 13 to offset 22 because it is not the \
                    last file.\n";
    assert!(!well && printed.contains(expected), "{printed}");
}

#[test]
fn wrong_arguments_show_how_it_is_used() {
    let scratch = Scratch::new();
    let usage = "Usage: redis-check-aof [--fix|--truncate-to-timestamp $timestamp] \
                 <file.manifest|file.aof>\n";
    assert_eq!(scratch.check(&["--fix", "a", "b", "c"], ""), (false, usage.to_owned()));
    let missing = "Cannot open file a: No such file or directory\n";
    assert_eq!(scratch.check(&["a"], ""), (false, missing.to_owned()));
}
