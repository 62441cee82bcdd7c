//! Lists against `VecDeque`, and when which encoding is reported.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::packed::Draft;
use super::*;
use crate::base::hash::KeyHasher;
use crate::value::limits::Limits;

type Model = VecDeque<Vec<u8>>;

/// A list that no key holds, and what its editors need.
struct Lone {
    place: Draft,
    limits: Limits,
    hasher: KeyHasher,
}

impl Lone {
    fn new(max_size: i64, depth: i64) -> Self {
        let limits = Limits::default();
        limits.set_all(|directive| match directive {
            "list-max-listpack-size" => max_size,
            "list-compress-depth" => depth,
            _ => 0,
        });
        let hasher = KeyHasher::random();
        Self { place: Draft::fresh(List::FRESH), limits, hasher }
    }

    fn edit(&mut self) -> ListMut<'_> {
        let context = EditContext { limits: &self.limits, hasher: &self.hasher, now_ms: 0 };
        List::edit(&mut self.place, context)
    }

    fn view(&self) -> ListView<'_> {
        match self.place.packed() {
            Some(packed) => ValueView::Packed(packed).of::<List>().unwrap(),
            None => ValueView::Object(self.place.object().unwrap()).of::<List>().unwrap(),
        }
    }

    fn texts(&self, range: Range<usize>, end: End) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        self.view().walk(range, end, |item| {
            texts.push(item.to_vec());
            true
        });
        texts
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<Vec<u8>>),
    Insert(usize, End, Vec<u8>),
    Set(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, usize, End),
    Rotate(End, End),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => "[ab]{0,2}".prop_map(String::into_bytes),
        5 => any::<i16>().prop_map(|value| value.to_string().into_bytes()),
        3 => (0..300usize).prop_map(|len| vec![b'x'; len]),
        1 => (3000..9000usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = || 0..10_000usize;
    prop_oneof![
        6 => (end(), prop::collection::vec(text(), 1..70))
            .prop_map(|(end, texts)| Op::Push(end, texts)),
        3 => (index(), end(), text()).prop_map(|(at, side, text)| Op::Insert(at, side, text)),
        3 => (index(), text()).prop_map(|(index, text)| Op::Set(index, text)),
        4 => (index(), 0..200usize).prop_map(|(index, count)| Op::Remove(index, count)),
        2 => (text(), 0..5usize, end()).prop_map(|(text, limit, end)| {
            Op::RemoveEqual(text, if limit == 0 { usize::MAX } else { limit }, end)
        }),
        2 => (end(), end()).prop_map(|(from, to)| Op::Rotate(from, to)),
    ]
}

fn apply(list: &mut Lone, model: &mut Model, op: &Op) {
    let len = model.len();
    match op {
        Op::Push(end, texts) => {
            list.edit().push(*end, texts.iter().map(Vec::as_slice));
            for text in texts {
                match end {
                    End::Head => model.push_front(text.clone()),
                    End::Tail => model.push_back(text.clone()),
                }
            }
        }
        Op::Insert(index, side, text) if len > 0 => {
            list.edit().insert(index % len, *side, text);
            model.insert(index % len + usize::from(*side == End::Tail), text.clone());
        }
        Op::Set(index, text) if len > 0 => {
            list.edit().set(index % len, text);
            model[index % len] = text.clone();
        }
        Op::Rotate(from, to) if len > 0 => {
            let at = if *from == End::Head { 0 } else { len - 1 };
            let text = model.remove(at).unwrap();
            let mut edit = list.edit();
            edit.take(at..at + 1);
            edit.push(*to, std::iter::once(&text[..]));
            edit.shrink();
            model.insert(if *to == End::Head { 0 } else { len - 1 }, text);
        }
        Op::Insert(..) | Op::Set(..) | Op::Rotate(..) => {}
        Op::Remove(index, count) => {
            let start = index % (len + 1);
            let range = start..(start + count).min(len);
            list.edit().remove(range.clone());
            model.drain(range);
        }
        Op::RemoveEqual(text, limit, end) => {
            let mut places: Vec<_> = (0..len).filter(|at| model[*at] == *text).collect();
            if *end == End::Tail {
                places.reverse();
            }
            places.truncate(*limit);
            places.sort_unstable();
            assert_eq!(list.edit().remove_equal(text, *limit, *end), places.len());
            for at in places.iter().rev() {
                model.remove(*at);
            }
        }
    }
}

fn check(list: &Lone, model: &Model) {
    let view = list.view();
    assert_eq!((view.len(), view.is_empty()), (model.len(), model.is_empty()));
    let mut texts = list.texts(0..model.len(), End::Head);
    assert!(texts.iter().eq(model.iter()));
    texts.reverse();
    assert_eq!(list.texts(0..model.len(), End::Tail), texts);
    if let Some(packed) = list.place.packed() {
        assert!(packed.body.len() <= PACKED_LEN_MAX && model.len() <= PACKED_COUNT_MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_list_is_a_deque(
        ops in prop::collection::vec(op(), 1..40),
        max_size in prop_oneof![-5..=-1i64, 1..300i64, Just(100_000i64)],
        depth in 0..2i64,
        looked_for in text(),
        from in 0..10_000usize,
    ) {
        let (mut list, mut model) = (Lone::new(max_size, depth), Model::new());
        for op in &ops {
            apply(&mut list, &mut model, op);
            check(&list, &model);
        }
        let place = model.iter().position(|text| *text == looked_for);
        prop_assert_eq!(list.view().find(&looked_for), place);
        let from = from % (model.len() + 1);
        let item = list.view().get(from, |item| item.to_vec());
        prop_assert_eq!(item.as_ref(), model.get(from));
    }
}

fn numbers(list: &mut Lone, count: usize) {
    list.edit().push(End::Tail, std::iter::repeat_n(&b"12"[..], count));
}

#[test]
fn a_list_that_redis_holds_as_one_listpack_says_so() {
    let mut list = Lone::new(-2, 0);
    for (added, packed, encoding) in [
        (254, true, "listpack"),
        (1, false, "listpack"),
        // 7 bytes of frame, 2 an item, and 2 for the text of the next one make 8193.
        (3837, false, "listpack"),
        (1, false, "quicklist"),
    ] {
        numbers(&mut list, added);
        assert_eq!(list.place.packed().is_some(), packed, "{}", list.view().len());
        assert_eq!(list.view().encoding(), encoding, "{}", list.view().len());
    }
    // Redis goes back when one node is left that is at most half full.
    for (left, packed, encoding) in [
        (2045, false, "quicklist"),
        (2044, false, "listpack"),
        (128, false, "listpack"),
        (127, true, "listpack"),
    ] {
        let len = list.view().len();
        list.edit().remove(left..len);
        assert_eq!(list.view().encoding(), encoding, "{left}");
        assert_eq!(list.place.packed().is_some(), packed, "{left}");
    }
}

#[test]
fn long_bodies_are_not_packed() {
    let mut list = Lone::new(-5, 0);
    let text = vec![b'x'; 5000];
    for (packed, encoding) in
        [(true, "listpack"); 12].into_iter().chain([(false, "listpack"), (false, "quicklist")])
    {
        list.edit().push(End::Head, std::iter::once(&text[..]));
        assert_eq!(list.place.packed().is_some(), packed, "{}", list.view().len());
        assert_eq!(list.view().encoding(), encoding, "{}", list.view().len());
    }
}
