//! The arguments of one request: ranges of the read buffer, or big buffers read on their own.

use std::ops::Index;
use std::sync::Arc;

use super::wire::head_len;

/// Where one argument lies: bytes of the read buffer, or a whole big buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    start: u32,
    len: u32,
}

impl ArgRange {
    /// `start` of a range that names a big buffer; no read buffer grows that far.
    const BIG: u32 = u32::MAX;

    /// `len` bytes of the read buffer from `start` on.
    #[inline]
    pub fn bytes(start: usize, len: usize) -> Self {
        let start = u32::try_from(start).expect("a read buffer stays below 4 GiB");
        Self { start, len: u32::try_from(len).expect("a read buffer stays below 4 GiB") }
    }

    /// The big buffer at `index`.
    pub fn big(index: usize) -> Self {
        Self { start: Self::BIG, len: u32::try_from(index).expect("arguments stay below 2^31") }
    }

    /// The same argument after the read buffer lost its first `gone` bytes.
    pub fn shifted(self, gone: usize) -> Self {
        if self.start == Self::BIG {
            self
        } else {
            Self::bytes(self.start as usize - gone, self.len as usize)
        }
    }
}

/// The arguments of one request, the command's name first.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    buffer: &'a [u8],
    ranges: &'a [ArgRange],
    bigs: &'a [Arc<Vec<u8>>],
}

impl<'a> Argv<'a> {
    /// The arguments that `ranges` name in `buffer` and `bigs`.
    pub fn new(buffer: &'a [u8], ranges: &'a [ArgRange], bigs: &'a [Arc<Vec<u8>>]) -> Self {
        Self { buffer, ranges, bigs }
    }

    /// How many arguments there are, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no argument at all; the parser never yields such a request.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, with the lifetime of the request.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        let range = self.ranges[index];
        if range.start == ArgRange::BIG {
            return &self.bigs[range.len as usize];
        }
        &self.buffer[range.start as usize..][..range.len as usize]
    }

    /// The argument's own buffer where it has one, so that storing it need not copy it.
    #[inline]
    pub fn shared(&self, index: usize) -> Option<&'a Arc<Vec<u8>>> {
        let range = self.ranges[index];
        (range.start == ArgRange::BIG).then(|| &self.bigs[range.len as usize])
    }

    /// About how many bytes the request has, cheaply: never less than the arguments together, and
    /// [`usize::MAX`] for one with a buffer of its own.
    #[inline]
    pub fn extent(&self) -> usize {
        match (self.ranges, self.bigs) {
            ([first, .., last], []) => (last.start + last.len).saturating_sub(first.start) as usize,
            ([only], []) => only.len as usize,
            _ => usize::MAX,
        }
    }

    /// The lengths of all arguments together.
    pub fn bytes_len(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// How many bytes the request has as a client sends it.
    pub fn wire_len(&self) -> usize {
        let args = self.iter().map(|arg| head_len(arg.len()) + arg.len() + 2);
        head_len(self.len()) + args.sum::<usize>()
    }

    /// The request as it lies in the read buffer, if that is byte for byte how the protocol writes
    /// it; `None` also for one argument and for more than nine.
    pub fn verbatim(&self) -> Option<&'a [u8]> {
        let (2..=9, [first, rest @ ..], []) = (self.len(), self.ranges, self.bigs) else {
            return None;
        };
        let head = [b'*', b'0' + self.len() as u8, b'\r', b'\n', b'$'];
        let text = |start: usize, len: usize| self.buffer.get(start..start + len);
        // The lengths were parsed: between their marks there are the digits, and no more than needed.
        let before = head.len() - 1 + head_len(first.len as usize);
        let from = (first.start as usize).checked_sub(before)?;
        if text(from, head.len())? != head || text(first.start as usize - 2, 2)? != b"\r\n" {
            return None;
        }
        let mut end = (first.start + first.len) as usize;
        for arg in rest {
            let (start, len) = (arg.start as usize, arg.len as usize);
            let follows = start == end + 2 + head_len(len)
                && text(end, 3)? == b"\r\n$"
                && text(start - 2, 2)? == b"\r\n";
            if !follows {
                return None;
            }
            end = start + len;
        }
        (text(end, 2)? == b"\r\n").then(|| &self.buffer[from..end + 2])
    }

    /// The arguments from `start` on as a request of their own.
    pub fn skip(&self, start: usize) -> Self {
        Self { ranges: &self.ranges[start..], ..*self }
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let argv = *self;
        (0..argv.len()).map(move |i| argv.arg(i))
    }
}

impl Index<usize> for Argv<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.arg(index)
    }
}

/// The arguments of one request with memory of their own.
#[derive(Clone, Debug)]
pub struct OwnedArgv {
    buffer: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl OwnedArgv {
    /// A copy of `argv` with some arguments replaced, by index.
    pub fn with(argv: Argv<'_>, replaced: &[(usize, Vec<u8>)]) -> Self {
        if replaced.is_empty() {
            return Self::of(argv);
        }
        let (mut buffer, mut ranges) = (Vec::new(), Vec::with_capacity(argv.len()));
        for (at, arg) in argv.iter().enumerate() {
            let found = replaced.iter().find(|(index, _)| *index == at);
            let arg = found.map_or(arg, |(_, other)| other);
            buffer.extend_from_slice(arg);
            ranges.push(ArgRange::bytes(buffer.len() - arg.len(), arg.len()));
        }
        Self { buffer, ranges }
    }

    /// A copy of `argv`, if all of it together is shorter than 4 GiB, as requests are.
    pub fn of(argv: Argv<'_>) -> Self {
        let mut buffer = Vec::with_capacity(argv.iter().map(<[u8]>::len).sum());
        let mut copy = |arg: &[u8]| {
            buffer.extend_from_slice(arg);
            ArgRange::bytes(buffer.len() - arg.len(), arg.len())
        };
        let ranges = argv.iter().map(&mut copy).collect();
        Self { buffer, ranges }
    }

    /// The arguments.
    pub fn as_argv(&self) -> Argv<'_> {
        Argv::new(&self.buffer, &self.ranges, &[])
    }
}
