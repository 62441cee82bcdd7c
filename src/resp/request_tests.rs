//! The parser against known requests, against redis-protocol, and against itself on split input.

use proptest::prelude::*;
use redis_protocol::resp2::{decode, types::OwnedFrame};

use super::super::Argv;
use super::*;

const OPEN: ParseLimits = ParseLimits { bulk_max: 512 * 1024 * 1024, unauthenticated: false };
const GUARDED: ParseLimits = ParseLimits { unauthenticated: true, ..OPEN };

type Requests = Vec<Vec<Vec<u8>>>;

/// Feeds `pieces` one after another as a connection does and returns every request.
fn parse_pieces(pieces: &[&[u8]], limits: ParseLimits) -> (Requests, Option<ProtocolError>) {
    let (mut parser, mut buffer, mut requests) = (RequestParser::default(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            if let Some((big, room)) = parser.big_arg_room()
                && room > 0
            {
                let (now, later) = piece.split_at(room.min(piece.len()));
                big.extend_from_slice(now);
                piece = later;
            } else {
                buffer.extend_from_slice(piece);
                piece = &[];
            }
            loop {
                let (mut args, mut bigs) = (Vec::new(), Vec::new());
                match parser.parse(&buffer, limits, &mut args, &mut bigs) {
                    Ok(ParseState::Request) => {
                        let argv = Argv::new(&buffer, &args, &bigs);
                        if let Some(verbatim) = argv.verbatim() {
                            assert_eq!(verbatim, encoded(&argv.iter().collect::<Vec<_>>()));
                        }
                        requests.push(argv.iter().map(<[u8]>::to_vec).collect());
                    }
                    Ok(ParseState::NeedMore) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
            if let Some((from, to)) = parser.let_go() {
                buffer.truncate(to);
                buffer.drain(..from);
                parser.discard_front(from);
            }
            if !parser.is_inside() {
                let gone = parser.position();
                buffer.drain(..gone);
                parser.discard_front(gone);
            }
        }
    }
    (requests, None)
}

/// A request as the protocol writes it.
fn encoded(argv: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", argv.len()).into_bytes();
    for arg in argv {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Whether the first request of `input` is one that lies there as the protocol writes it.
fn is_verbatim(input: &[u8]) -> bool {
    let (mut parser, mut args, mut bigs) = (RequestParser::default(), Vec::new(), Vec::new());
    assert_eq!(parser.parse(input, OPEN, &mut args, &mut bigs), Ok(ParseState::Request));
    Argv::new(input, &args, &bigs).verbatim().is_some()
}

fn parse(input: &[u8]) -> (Requests, Option<ProtocolError>) {
    parse_pieces(&[input], OPEN)
}

fn error(input: &[u8]) -> Option<ProtocolError> {
    parse(input).1
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

#[test]
fn multibulk_inline_and_empty_requests_mix() {
    let input =
        b"*1\r\n$4\r\nPING\r\n\r\n*0\r\n*-5\r\nset k \"a b\"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let expected = vec![words(&["PING"]), words(&["set", "k", "a b"]), words(&["GET", "k"])];
    assert_eq!(parse(input), (expected, None));
}

#[test]
fn requests_lie_in_the_buffer_as_the_protocol_writes_them_or_not() {
    for len in [0, 1, 9, 10, 99, 100, 1000] {
        assert!(is_verbatim(&encoded(&[b"SET", &vec![b'*'; len], b"$1\r\n"])), "{len}");
    }
    assert!(is_verbatim(&encoded(&[&b"A"[..]; 9])) && !is_verbatim(&encoded(&[&b"A"[..]; 10])));
    assert!(!is_verbatim(&encoded(&[b"FLUSHALL"])));
    assert!(!is_verbatim(b"SET a b\r\n") && !is_verbatim(b"SET      a      b\r\n"));
    for odd in ["*2\rX$3\r\nGET\r\n$1\r\na\r\n", "*2\r\n$3\rXGET\r\n$1\r\na\r\n"] {
        assert!(!is_verbatim(odd.as_bytes()), "{odd:?}");
    }
    for odd in ["*2\r\n$3\r\nGETXY$1\r\na\r\n", "*2\r\n$3\r\nGET\r\n$1\r\naXY"] {
        assert!(!is_verbatim(odd.as_bytes()), "{odd:?}");
    }
}

#[test]
fn arguments_hold_any_byte() {
    assert_eq!(parse(b"*1\r\n$4\r\n\r\n\0*\r\n").0, vec![vec![b"\r\n\0*".to_vec()]]);
}

#[test]
fn errors_are_worded_as_redis_words_them() {
    assert_eq!(error(b"*x\r\n"), Some(ProtocolError::InvalidCount));
    assert_eq!(error(b"*3000000000\r\n"), Some(ProtocolError::InvalidCount));
    assert_eq!(error(b"*1\r\nfoo\r\n"), Some(ProtocolError::ExpectedBulk(b'f')));
    assert_eq!(error(b"*1\r\n$-10\r\n"), Some(ProtocolError::InvalidBulkLen));
    assert_eq!(error(b"*1\r\n$2000000000\r\n"), Some(ProtocolError::InvalidBulkLen));
    assert_eq!(error(b"set k \"a\r\n"), Some(ProtocolError::UnbalancedQuotes));
    assert_eq!(error(b"set k a\0b\r\n"), Some(ProtocolError::UnbalancedQuotes));
    assert_eq!(ProtocolError::ExpectedBulk(b'f').to_string(), "expected '$', got 'f'");
}

#[test]
fn endless_lines_are_refused() {
    let long = vec![b'1'; INLINE_LEN_MAX + 1];
    assert_eq!(error(&[b"*", &long[..]].concat()), Some(ProtocolError::CountLineTooBig));
    assert_eq!(error(&[b"*1\r\n$", &long[..]].concat()), Some(ProtocolError::BulkLineTooBig));
    assert_eq!(error(&long), Some(ProtocolError::InlineTooBig));
}

#[test]
fn limits_are_tighter_before_authentication() {
    let refused = |input: &[u8]| parse_pieces(&[input], GUARDED).1;
    assert_eq!(refused(b"*11\r\n"), Some(ProtocolError::UnauthenticatedCount));
    assert_eq!(refused(b"*10\r\n"), None);
    assert_eq!(refused(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLen));
    assert_eq!(refused(b"*1\r\n$16384\r\n"), None);
}

#[test]
fn big_arguments_have_buffers_of_their_own() {
    let value = vec![b'v'; 3 * 1024 * 1024];
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len());
    let (one, two) = value.split_at(100_000);
    let (requests, error) =
        parse_pieces(&[&[head.as_bytes(), one].concat(), two, b"\r\n*1\r\n$4\r\nPING\r\n"], OPEN);
    assert_eq!(error, None);
    assert_eq!(requests, vec![vec![b"SET".to_vec(), b"k".to_vec(), value], words(&["PING"])]);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut parser = RequestParser::default();
    let state = parser.parse(b"*1\r\n$500000000\r\nx", OPEN, &mut Vec::new(), &mut Vec::new());
    assert_eq!(state, Ok(ParseState::NeedMore));
    let (big, room) = parser.big_arg_room().expect("a big argument has begun");
    assert!(room > 0 && big.capacity() <= 2 * BIG_ARG_FIRST_ROOM);
}

#[test]
fn a_request_of_many_arguments_is_read_once() {
    let count = 200_000;
    let mut input = format!("*{count}\r\n").into_bytes();
    input.extend(b"$1\r\na\r\n".repeat(count));
    let pieces: Vec<&[u8]> = input.chunks(16 * 1024).collect();
    let (requests, error) = parse_pieces(&pieces, OPEN);
    assert_eq!((requests.len(), requests[0].len(), error), (1, count, None));
}

fn encode(requests: &Requests) -> Vec<u8> {
    let mut out = Vec::new();
    for request in requests {
        out.extend(format!("*{}\r\n", request.len()).bytes());
        for arg in request {
            out.extend(format!("${}\r\n", arg.len()).bytes());
            out.extend(arg);
            out.extend(b"\r\n");
        }
    }
    out
}

fn split<'a>(mut input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if input.len() <= *cut {
            break;
        }
        let (piece, rest) = input.split_at(*cut);
        pieces.push(piece);
        input = rest;
    }
    pieces.push(input);
    pieces
}

/// All frames that redis-protocol finds at the front of `input`, if all are arrays of bulks.
fn oracle(mut input: &[u8]) -> Option<Requests> {
    let mut requests = Vec::new();
    while let Ok(Some((OwnedFrame::Array(items), used))) = decode::decode(input) {
        let args = items.into_iter().map(|item| match item {
            OwnedFrame::BulkString(bytes) => Some(bytes),
            _ => None,
        });
        requests.push(args.collect::<Option<Vec<_>>>()?);
        input = &input[used..];
    }
    Some(requests)
}

fn requests() -> impl Strategy<Value = Requests> {
    let arg = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..120),
        1 => (BIG_ARG_LEN..BIG_ARG_LEN * 3).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(prop::collection::vec(arg, 1..6), 1..8)
}

/// Where headers get a digit more, and where requests leave the shortest way through the parser.
#[test]
fn lengths_and_counts_at_their_bounds() {
    for count in [1, 2, 9, 10, 11] {
        for len in [0, 1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000] {
            let arg = b"\r\n*3$a".iter().copied().cycle().take(len).collect::<Vec<u8>>();
            let one = [format!("${len}\r\n").as_bytes(), &arg, b"\r\n"].concat();
            let request = [format!("*{count}\r\n").as_bytes(), &one.repeat(count)].concat();
            let expected = vec![vec![arg; count]; 2];
            let twice = request.repeat(2);
            assert_eq!(parse(&twice), (expected.clone(), None), "{count} of {len}");
            let headers = 12.min(request.len());
            for cut in (1..headers).chain(request.len() - 12.min(headers)..request.len() + headers)
            {
                let pieces = [&twice[..cut], &twice[cut..]];
                assert_eq!(parse_pieces(&pieces, OPEN), (expected.clone(), None), "cut at {cut}");
            }
        }
    }
    for wrong in
        ["*1\r\n$01\r\na\r\n", "*1\r\n$-1\r\na\r\n", "*1\r\n$1a\r\na\r\n", "*1\r\n$\r\n\r\n"]
    {
        assert_eq!(error(wrong.as_bytes()), Some(ProtocolError::InvalidBulkLen), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn agrees_with_redis_protocol_on_valid_input(requests in requests()) {
        let input = encode(&requests);
        prop_assert_eq!(oracle(&input), Some(requests.clone()));
        prop_assert_eq!(parse(&input), (requests, None));
    }

    #[test]
    fn splitting_the_input_changes_nothing(
        requests in requests(),
        cuts in prop::collection::vec(1usize..5000, 1..6),
    ) {
        let input = encode(&requests);
        prop_assert_eq!(parse_pieces(&split(&input, &cuts), OPEN), (requests, None));
    }

    #[test]
    fn arbitrary_input_splits_the_same_way(
        input in prop::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), Just(b'"'), any::<u8>()
        ], 0..200),
        cuts in prop::collection::vec(1usize..9, 1..4),
    ) {
        prop_assert_eq!(parse_pieces(&split(&input, &cuts), OPEN), parse(&input));
    }
}
