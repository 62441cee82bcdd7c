//! What one node of a large list holds.

use super::run::Run;
use crate::encoding::listpack::{Encoded, Item, Listpack};
use crate::encoding::lzf;

/// Shorter nodes are not compressed (Redis: MIN_COMPRESS_BYTES).
const COMPRESS_LEN_MIN: usize = 48;

/// What compression has to save (Redis: MIN_COMPRESS_IMPROVE).
const COMPRESS_GAIN_MIN: usize = 8;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// The entries of a listpack.
    Packed {
        run: Run,
        /// Compression was tried and gained nothing.
        dense: bool,
    },
    /// One text that is too long for a listpack.
    Plain { text: Vec<u8>, dense: bool },
    /// The bytes of one of the others, `len` of them, compressed by [`lzf::compress`].
    Compressed { bytes: Box<[u8]>, len: usize, plain: bool },
}

/// A node opened for reading.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Packed(Listpack<'a>),
    Plain(&'a [u8]),
}

impl Node {
    pub(super) fn packed(body: Vec<u8>) -> Self {
        Node::Packed { run: Run::new(body), dense: false }
    }

    /// A node of one text.
    pub(super) fn of(text: &[u8], plain: bool) -> Self {
        if plain {
            return Node::Plain { text: text.to_vec(), dense: false };
        }
        let mut run = Run::default();
        run.push_back(&Encoded::new(text));
        Node::Packed { run, dense: false }
    }

    /// Whether it holds one text that is no listpack.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Node::Plain { .. } | Node::Compressed { plain: true, .. })
    }

    /// The length of its bytes when they are not compressed.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Node::Packed { run, .. } => run.len(),
            Node::Plain { text, .. } => text.len(),
            Node::Compressed { len, .. } => *len,
        }
    }

    /// The bytes that are allocated for it.
    pub(super) fn memory(&self) -> usize {
        match self {
            Node::Packed { run, .. } => run.capacity(),
            Node::Plain { text, .. } => text.capacity(),
            Node::Compressed { bytes, .. } => bytes.len(),
        }
    }

    /// What it holds; a compressed node is decompressed to `scratch`.
    #[inline]
    pub(super) fn open<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Content<'a> {
        match self {
            Node::Packed { run, .. } => Content::Packed(run.list()),
            Node::Plain { text, .. } => Content::Plain(text),
            Node::Compressed { bytes, len, plain } => {
                decompress(bytes, *len, scratch);
                if *plain {
                    Content::Plain(scratch)
                } else {
                    Content::Packed(Listpack::new(scratch))
                }
            }
        }
    }

    /// The entries, to be edited; the node is decompressed for that.
    #[inline]
    pub(super) fn edit(&mut self) -> &mut Run {
        self.decompress();
        match self {
            Node::Packed { run, dense } => {
                *dense = false;
                run
            }
            _ => unreachable!("a plain node is replaced, never edited"),
        }
    }

    /// Gives up room for growth.
    pub(super) fn fit(&mut self) {
        if let Node::Packed { run, .. } = self {
            run.fit();
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Node::Compressed { .. })
    }

    pub(super) fn decompress(&mut self) {
        if let Node::Compressed { bytes, len, plain } = self {
            let mut content = Vec::new();
            decompress(bytes, *len, &mut content);
            *self = if *plain {
                Node::Plain { text: content, dense: false }
            } else {
                Node::packed(content)
            };
        }
    }

    /// Whether compressing it may gain something.
    pub(super) fn is_compressible(&self) -> bool {
        match self {
            Node::Packed { dense, .. } | Node::Plain { dense, .. } => {
                !dense && self.len() >= COMPRESS_LEN_MIN
            }
            Node::Compressed { .. } => false,
        }
    }

    pub(super) fn compress(&mut self) {
        let (content, plain) = match self {
            Node::Packed { run, .. } => (run.as_slice(), false),
            Node::Plain { text, .. } => (&text[..], true),
            Node::Compressed { .. } => return,
        };
        let len = content.len();
        match lzf::compress(content, len.saturating_sub(COMPRESS_GAIN_MIN)) {
            Some(bytes) => {
                *self = Node::Compressed { bytes: bytes.into_boxed_slice(), len, plain };
            }
            None => {
                if let Node::Packed { dense, .. } | Node::Plain { dense, .. } = self {
                    *dense = true;
                }
            }
        }
    }
}

fn decompress(bytes: &[u8], len: usize, out: &mut Vec<u8>) {
    lzf::decompress(bytes, len, out).expect("a node was compressed here");
}

impl Content<'_> {
    /// Calls `visit` with item `first` of `count` and those after it, until it returns false.
    pub(super) fn forward(
        self,
        first: usize,
        count: usize,
        visit: &mut impl FnMut(Item<'_>) -> bool,
    ) -> bool {
        match self {
            Content::Plain(text) => visit(Item::Bytes(text)),
            Content::Packed(list) => {
                let Some(at) = list.seek_counted(first, count) else { return true };
                list.iter_from(at).all(|(_, item)| visit(item))
            }
        }
    }

    /// Calls `visit` with item `last` of `count` and those before it, until it returns false.
    pub(super) fn backward(
        self,
        last: usize,
        count: usize,
        visit: &mut impl FnMut(Item<'_>) -> bool,
    ) -> bool {
        let list = match self {
            Content::Plain(text) => return visit(Item::Bytes(text)),
            Content::Packed(list) => list,
        };
        let mut at = list.seek_counted(last, count);
        while let Some(here) = at {
            if !visit(list.get(here)) {
                return false;
            }
            at = list.prev(here);
        }
        true
    }
}
