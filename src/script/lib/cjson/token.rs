//! The tokens of JSON, with what `strtod` and lua-cjson let pass beyond it.
//!
//! Behind the end every byte reads as zero, and a zero byte ends the text, as in C.

use super::super::number::read_number;

/// A piece of the text. Errors say what is wrong.
pub(super) enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Stands in the text from here to there.
    Plain(usize, usize),
    /// Stands in `Lexer::unescaped`.
    Unescaped,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// What error texts call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Plain(..) | Token::Unescaped => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(reason) => reason,
        }
    }
}

/// Splits a text into tokens.
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    /// Where the next token is looked for.
    pub(super) at: usize,
    /// Whether numbers may be hexadecimal, infinite or not a number.
    invalid: bool,
    /// The last string that had escapes.
    pub(super) unescaped: Vec<u8>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], invalid: bool) -> Lexer<'a> {
        Lexer { text, at: 0, invalid, unescaped: Vec::new() }
    }

    /// The byte at a position; 0 behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or(&[])
    }

    /// The next token and where it begins or, for an error, where that is.
    pub(super) fn next(&mut self) -> (Token, usize) {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let index = self.at;
        let token = match self.byte(index) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            0 => return (Token::End, index),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.invalid && is_invalid_number(self.rest()) {
                    return (Token::Error("invalid number"), index);
                }
                return self.number();
            }
            b't' | b'f' | b'n' | b'N' | b'i' | b'I' | b'+' => return self.word(),
            _ => return (Token::Error("invalid token"), index),
        };
        self.at += 1;
        (token, index)
    }

    fn word(&mut self) -> (Token, usize) {
        let index = self.at;
        let rest = self.rest();
        let (token, len) = if rest.starts_with(b"true") {
            (Token::Boolean(true), 4)
        } else if rest.starts_with(b"false") {
            (Token::Boolean(false), 5)
        } else if rest.starts_with(b"null") {
            (Token::Null, 4)
        } else if self.invalid && is_invalid_number(rest) {
            return self.number();
        } else {
            (Token::Error("invalid token"), 0)
        };
        self.at += len;
        (token, index)
    }

    fn number(&mut self) -> (Token, usize) {
        let index = self.at;
        match read_number(self.rest()) {
            Some((number, len)) => {
                self.at += len;
                (Token::Number(number), index)
            }
            None => (Token::Error("invalid number"), index),
        }
    }

    fn string(&mut self) -> (Token, usize) {
        let index = self.at;
        self.at += 1;
        let start = self.at;
        loop {
            match self.byte(self.at) {
                b'"' => break,
                b'\\' => return self.escaped_string(index, start),
                0 => return (Token::Error("unexpected end of string"), self.at),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        (Token::Plain(start, self.at - 1), index)
    }

    /// Goes on at the first backslash of the string that begins at `start`.
    fn escaped_string(&mut self, index: usize, start: usize) -> (Token, usize) {
        self.unescaped.clear();
        self.unescaped.extend_from_slice(&self.text[start..self.at]);
        loop {
            match self.byte(self.at) {
                b'"' => break,
                0 => return (Token::Error("unexpected end of string"), self.at),
                b'\\' => {
                    if let Err(reason) = self.escape() {
                        return (Token::Error(reason), self.at);
                    }
                }
                byte => {
                    self.unescaped.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        (Token::Unescaped, index)
    }

    /// Takes one escape, or stays on its backslash.
    fn escape(&mut self) -> Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => return self.unicode_escape().ok_or("invalid unicode escape code"),
            _ => return Err("invalid escape code"),
        };
        self.unescaped.push(byte);
        self.at += 2;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Option<()> {
        let mut code = self.code_unit(self.at)?;
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            let low = self.code_unit(self.at + 6)?;
            if code & 0x400 != 0 || low & 0xfc00 != 0xdc00 {
                return None;
            }
            code = ((code & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
            len = 12;
        }
        let mut utf8 = [0; 4];
        self.unescaped.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
        self.at += len;
        Some(())
    }

    /// What the four digits of the escape at a position stand for.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let escape = self.text.get(at..at + 6)?;
        if !escape.starts_with(b"\\u") {
            return None;
        }
        let digit = |code, byte: &u8| Some(code << 4 | char::from(*byte).to_digit(16)?);
        escape[2..].iter().try_fold(0, digit)
    }
}

/// Whether what looks like a number has a form that `strtod` knows and JSON does not.
fn is_invalid_number(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let word = digits.get(..3).unwrap_or(&[]);
    match digits.first() {
        Some(b'0') => matches!(digits.get(1), Some(b'x' | b'X' | b'0'..=b'9')),
        _ => word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan"),
    }
}
