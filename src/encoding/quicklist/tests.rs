//! The quicklist against a model.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

type Model = VecDeque<Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<u8>),
    PushMany(End, u8),
    Insert(usize, End, Vec<u8>),
    Set(usize, Vec<u8>),
    Remove(usize, usize),
    Pop(End, usize),
    RemoveEqual(Vec<u8>, usize, End),
    Fork,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => "[ab]{0,3}".prop_map(String::into_bytes),
        3 => any::<i16>().prop_map(|value| value.to_string().into_bytes()),
        3 => (0..700usize).prop_map(|len| b"repeated ".repeat(100)[..len].to_vec()),
        1 => (4000..9000usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = || 0..10_000usize;
    prop_oneof![
        6 => (end(), text()).prop_map(|(end, text)| Op::Push(end, text)),
        3 => (end(), any::<u8>()).prop_map(|(end, count)| Op::PushMany(end, count)),
        4 => (index(), end(), text()).prop_map(|(at, side, text)| Op::Insert(at, side, text)),
        3 => (index(), text()).prop_map(|(index, text)| Op::Set(index, text)),
        2 => (index(), 0..200usize).prop_map(|(index, count)| Op::Remove(index, count)),
        2 => (end(), 0..40usize).prop_map(|(end, count)| Op::Pop(end, count)),
        2 => (text(), 0..5usize, end()).prop_map(|(text, limit, end)| {
            Op::RemoveEqual(text, if limit == 0 { usize::MAX } else { limit }, end)
        }),
        1 => Just(Op::Fork),
    ]
}

fn fill() -> impl Strategy<Value = Fill> {
    prop_oneof![
        Just(Fill::from_directive(-1)),
        Just(Fill::from_directive(-2)),
        Just(Fill::from_directive(0)),
        Just(Fill::from_directive(3)),
        Just(Fill::from_directive(128)),
        Just(Fill::Whole),
    ]
}

fn apply(list: &mut Quicklist, model: &mut Model, op: &Op) {
    match op {
        Op::Push(end, text) => push(list, model, *end, text),
        Op::PushMany(end, count) => {
            for number in 0..*count {
                push(list, model, *end, number.to_string().as_bytes());
            }
        }
        Op::Insert(index, side, text) if !model.is_empty() => {
            let index = index % model.len();
            list.insert(index, *side, text);
            model.insert(index + usize::from(*side == End::Tail), text.clone());
        }
        Op::Set(index, text) if !model.is_empty() => {
            let index = index % model.len();
            list.set(index, text);
            model[index] = text.clone();
        }
        Op::Insert(..) | Op::Set(..) => {}
        Op::Remove(index, count) => {
            let start = index % (model.len() + 1);
            let range = start..(start + count).min(model.len());
            list.remove(range.clone());
            model.drain(range);
        }
        Op::Pop(end, count) => {
            let count = (*count).min(model.len());
            let range = if *end == End::Head { 0..count } else { model.len() - count..model.len() };
            list.remove(range.clone());
            model.drain(range);
        }
        Op::RemoveEqual(text, limit, end) => {
            let mut places: Vec<_> = (0..model.len()).filter(|at| model[*at] == *text).collect();
            if *end == End::Tail {
                places.reverse();
            }
            places.truncate(*limit);
            places.sort_unstable();
            assert_eq!(list.remove_equal(text, *limit, *end), places.len());
            for at in places.iter().rev() {
                model.remove(*at);
            }
        }
        Op::Fork => *list = list.clone(),
    }
}

fn push(list: &mut Quicklist, model: &mut Model, end: End, text: &[u8]) {
    list.push(end, text);
    match end {
        End::Head => model.push_front(text.to_vec()),
        End::Tail => model.push_back(text.to_vec()),
    }
}

fn collect(list: &Quicklist, range: Range<usize>, end: End) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    list.walk(range, end, |item| {
        all.push(item.to_vec());
        true
    });
    all
}

/// What the module promises, and that both directions read what the model holds.
fn check(list: &Quicklist, model: &Model) {
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    assert_eq!(list.nodes.iter().map(|link| link.count).sum::<usize>(), model.len());
    let mut scratch = Vec::new();
    for (n, Link { count, node }) in list.nodes.iter().enumerate() {
        assert!(*count > 0);
        match node.open(&mut scratch) {
            Content::Packed(listpack) => assert_eq!(listpack.count(), *count),
            Content::Plain(text) => assert!(*count == 1 && list.fill.is_too_long(text.len())),
        }
        let inner = list.depth > 0 && n >= list.depth && n + list.depth < list.nodes.len();
        assert!(inner || !node.is_compressed(), "node {n} of {}", list.nodes.len());
        assert!(!inner || !node.is_compressible(), "node {n} of {}", list.nodes.len());
    }
    let mut forward = collect(list, 0..model.len(), End::Head);
    assert!(forward.iter().eq(model.iter()));
    forward.reverse();
    assert_eq!(collect(list, 0..model.len(), End::Tail), forward);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_list_is_a_deque(
        ops in prop::collection::vec(op(), 1..60),
        fill in fill(),
        depth in 0..3usize,
        from in 0..10_000usize,
        count in 0..300usize,
    ) {
        let (mut list, mut model) = (Quicklist::new(fill, depth), Model::new());
        for op in &ops {
            let shared = list.clone();
            let before = model.clone();
            apply(&mut list, &mut model, op);
            check(&list, &model);
            check(&shared, &before);
        }
        let from = from % (model.len() + 1);
        let range = from..(from + count).min(model.len());
        let mut expected: Vec<_> = model.range(range.clone()).cloned().collect();
        prop_assert_eq!(&collect(&list, range.clone(), End::Head), &expected);
        if !range.is_empty() {
            let (mut part, within) = list.share(range.clone());
            prop_assert_eq!(&collect(&part, within.clone(), End::Head), &expected);
            part.remove(within);
            prop_assert!(part.len() < 2 * list.nodes.iter().map(|link| link.count).max().unwrap());
        }
        expected.reverse();
        prop_assert_eq!(&collect(&list, range, End::Tail), &expected);
    }
}

fn nodes(list: &Quicklist) -> Vec<usize> {
    list.nodes.iter().map(|link| link.count).collect()
}

fn pushed(fill: i64, depth: usize, texts: impl IntoIterator<Item = Vec<u8>>) -> Quicklist {
    let mut list = Quicklist::new(Fill::from_directive(fill), depth);
    texts.into_iter().for_each(|text| list.push(End::Tail, &text));
    list
}

/// The numbers of nodes are what `DEBUG LISTPACK` and `OBJECT ENCODING` of Redis 8.0 lead to.
#[test]
fn nodes_take_what_the_directive_says() {
    let numbers = |count: usize| (0..count).map(|_| b"1234567".to_vec());
    assert_eq!(nodes(&pushed(3, 0, numbers(7))), [3, 3, 1]);
    assert_eq!(nodes(&pushed(0, 0, numbers(2))), [1, 1]);
    // An entry takes 5 bytes of 4096, of which 7 are a frame, and the last one is taken for 15.
    assert_eq!(nodes(&pushed(-1, 0, numbers(900))), [815, 85]);
    let long = |len| vec![b'x'; len];
    assert_eq!(nodes(&pushed(-1, 0, [long(4076), long(1)])), [2]);
    assert_eq!(nodes(&pushed(-1, 0, [long(4077), long(1)])), [1, 1]);
    assert_eq!(nodes(&pushed(-2, 0, [long(1), long(8193), long(1)])), [1, 1, 1]);
    assert_eq!(nodes(&pushed(100, 0, [long(1), long(8192), long(8193)])), [1, 1, 1]);
}

#[test]
fn a_directive_means_items_or_a_class_of_sizes() {
    for (value, expected) in [
        (-1, Fill::Bytes(4096)),
        (-2, Fill::Bytes(8192)),
        (-3, Fill::Bytes(16_384)),
        (-4, Fill::Bytes(32_768)),
        (-5, Fill::Bytes(65_536)),
        (i64::MIN, Fill::Bytes(65_536)),
        (0, Fill::Items(1)),
        (7, Fill::Items(7)),
    ] {
        assert_eq!(Fill::from_directive(value), expected, "{value}");
    }
}

#[test]
fn splitting_a_full_node_keeps_the_number_of_nodes_low() {
    let mut list = pushed(4, 0, (0..12u8).map(|number| number.to_string().into_bytes()));
    assert_eq!(nodes(&list), [4, 4, 4]);
    list.insert(6, End::Head, b"new");
    assert_eq!(nodes(&list), [4, 3, 2, 4]);
    list.remove(4..6);
    assert_eq!(nodes(&list), [4, 1, 2, 4]);
    list.insert(2, End::Head, b"new");
    assert_eq!(nodes(&list), [3, 2, 3, 4]);
}

#[test]
fn inner_nodes_are_compressed() {
    let text = b"hello hello hello hello hello".repeat(10);
    let mut list = pushed(-1, 1, (0..100).map(|_| text.clone()));
    let raw = pushed(-1, 0, (0..100).map(|_| text.clone()));
    assert!(list.memory() < raw.memory() / 2, "{} of {}", list.memory(), raw.memory());
    assert_eq!(collect(&list, 0..100, End::Tail), collect(&raw, 0..100, End::Tail));
    // What was inner comes to an end, and so may be read without decompressing.
    list.remove(0..60);
    check(&list, &(0..40).map(|_| text.clone()).collect());
}

#[test]
fn a_queue_keeps_no_memory_of_what_left_it() {
    let mut list = Quicklist::new(Fill::from_directive(-2), 0);
    for round in 0..200_000u32 {
        list.push(End::Tail, &round.to_le_bytes());
        if round >= 100 {
            list.remove(0..1);
        }
    }
    assert_eq!(list.len(), 100);
    assert!(list.memory() < 4000, "{}", list.memory());
    list.remove(1..100);
    assert!(list.memory() < 1000, "{}", list.memory());
}

#[test]
fn a_full_list_has_little_room_to_spare() {
    for end in [End::Head, End::Tail] {
        let mut list = Quicklist::new(Fill::from_directive(-2), 0);
        for number in 0..100_000u32 {
            list.push(end, format!("element:{number:08}").as_bytes());
        }
        assert!(list.memory() < 100_000 * 19, "{}", list.memory());
    }
}

#[test]
fn an_insertion_that_splits_a_node_compresses_what_moves_inwards() {
    for (depth, index) in [(1, 3), (2, 3), (2, 60), (3, 597), (2, 540)] {
        let (mut list, mut model) = (Quicklist::new(Fill::Bytes(4096), depth), Model::new());
        for _ in 0..600 {
            push(&mut list, &mut model, End::Tail, &[b'x'; 60]);
        }
        check(&list, &model);
        list.insert(index, End::Head, &[b'y'; 5000]);
        model.insert(index, vec![b'y'; 5000]);
        check(&list, &model);
    }
}

#[test]
fn nodes_are_appended_as_they_are() {
    for depth in [0, 1, 2] {
        let (mut list, mut model) = (Quicklist::new(Fill::Bytes(4096), depth), Model::new());
        for number in 0..20u32 {
            if number % 7 == 3 {
                list.append_plain(vec![b'p'; 5000]);
                model.push_back(vec![b'p'; 5000]);
                continue;
            }
            let mut body = Vec::new();
            for item in 0..number {
                let text = format!("some item {item}").into_bytes();
                encode(&text, &mut body);
                model.push_back(text);
            }
            list.append_listpack(body, number as usize);
        }
        assert_eq!(list.node_count(), 19, "an empty node is left out");
        check(&list, &model);
        push(&mut list, &mut model, End::Tail, b"one more");
        check(&list, &model);
    }
}

#[test]
fn a_fill_tells_its_directive() {
    for value in [-5, -4, -3, -2, -1, 1, 7, 128] {
        assert_eq!(Fill::from_directive(value).as_directive(), value);
    }
}
