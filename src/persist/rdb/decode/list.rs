//! Lists: item by item, ziplists, and quicklists of either or of listpacks.

use super::{Decoder, Restored, count, damage};
use crate::encoding::End;
use crate::encoding::listpack;
use crate::encoding::quicklist::{Fill, Quicklist};
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Scratch, Source};
use crate::persist::rdb::{kind, ziplist};
use crate::value::Value;
use crate::value::packed::{PACKED_COUNT_MAX, PACKED_LEN_MAX, PackedForm};

/// A node that is one long text.
const PLAIN: u64 = 1;
/// A node that is a listpack.
const PACKED: u64 = 2;

impl Decoder<'_> {
    /// A list of any kind.
    pub(super) fn list<S: Source>(
        &self,
        kind: u8,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let limits = self.context.limits;
        let fill = Fill::from_directive(limits.list_max_listpack_size());
        let mut items = Quicklist::new(fill, limits.list_compress_depth());
        items.set_plain_len(limits.list_plain_len());
        if kind == kind::LIST_ZIPLIST {
            self.push_ziplist(&mut items, source, scratch)?;
            return finish(items, fill);
        }
        for _ in 0..count(source, "list length")? {
            match kind {
                kind::LIST => items.push(End::Tail, source.bytes(scratch, "list item")?),
                kind::LIST_QUICKLIST => self.push_ziplist_node(&mut items, source, scratch)?,
                _ => self.push_node(&mut items, source, scratch)?,
            }
        }
        finish(items, fill)
    }

    /// Adds a node of a quicklist: a listpack or one text.
    fn push_node<S: Source>(
        &self,
        items: &mut Quicklist,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<(), RdbError> {
        const WHAT: &str = "list node";
        let container = source.len(WHAT)?;
        let at = source.at();
        match container {
            PLAIN => match source.owned(scratch, WHAT)? {
                text if text.is_empty() => Err(source.corrupt(WHAT, "Empty list node")),
                text => {
                    items.append_plain(text);
                    Ok(())
                }
            },
            PACKED => {
                let whole = source.bytes(scratch, WHAT)?;
                let (body, count) = listpack::check(whole).map_err(damage(at, WHAT))?;
                items.append_listpack(body.to_vec(), count);
                Ok(())
            }
            _ => Err(source.corrupt(WHAT, "Quicklist integrity check failed.")),
        }
    }

    /// Adds a node of an old quicklist, a ziplist, as a node.
    fn push_ziplist_node<S: Source>(
        &self,
        items: &mut Quicklist,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<(), RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, "list node")?;
        let (body, count) = super::of_ziplist(whole, at, "list node")?;
        items.append_listpack(body, count);
        Ok(())
    }

    /// Adds the items of a ziplist one by one.
    fn push_ziplist<S: Source>(
        &self,
        items: &mut Quicklist,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<(), RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, "list")?;
        let push = |item: listpack::Item<'_>| items.push(End::Tail, item.bytes(&mut [0; 20]));
        ziplist::for_each(whole, push).map(drop).map_err(damage(at, "list"))
    }
}

/// The list in the form in which one of its size is kept.
fn finish(mut items: Quicklist, fill: Fill) -> Result<Restored<'static>, RdbError> {
    let len = items.len();
    if len == 0 {
        return Err(RdbError::Empty);
    }
    if let Some(body) = items.as_listpack()
        && !fill.is_exceeded(body.len(), len)
    {
        if len <= PACKED_COUNT_MAX && body.len() <= PACKED_LEN_MAX {
            let body = body.to_vec().into();
            return Ok(Restored::Packed { form: PackedForm::List, count: len, body });
        }
        items.set_options(Fill::Whole, 0);
    }
    Ok(Restored::object(Value::List(Box::new(items))))
}

/// The body of a listpack of these texts, for tests.
#[cfg(test)]
pub(super) fn body_of(texts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    texts.iter().for_each(|text| listpack::encode(text, &mut body));
    body
}
