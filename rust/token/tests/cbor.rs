//! The strict reader and the writer, against RFC 8949, against hostile bytes and against `minicbor`.

use std::collections::BTreeMap;

use evanesce_token::Malformed;
use evanesce_token::cbor::{Limits, Reader, Writer, canonical_order};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    bytes: 4096,
    depth: 6,
};

/// Anything that the protocol's CBOR can say. Maps are kept in canonical order.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(Vec<(String, Item)>),
    Null,
}

fn items() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        (0..=53u32).prop_flat_map(|bits| (0..1u64 << bits).prop_map(Item::Uint)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Item::Bytes),
        "\\PC{0,30}".prop_map(Item::Text),
        Just(Item::Null),
    ];
    leaf.prop_recursive(5, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Item::Array),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..6).prop_map(sorted),
        ]
    })
}

fn sorted(map: BTreeMap<String, Item>) -> Item {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| canonical_order(a, b));
    Item::Map(entries)
}

fn write(w: &mut Writer, item: &Item) {
    match item {
        Item::Uint(value) => _ = w.uint(*value),
        Item::Bytes(bytes) => _ = w.bytes(bytes),
        Item::Text(text) => _ = w.text(text),
        Item::Null => _ = w.null(),
        Item::Array(items) => {
            w.array(items.len());
            items.iter().for_each(|item| write(w, item));
        }
        Item::Map(entries) => {
            w.map(entries.len());
            for (key, value) in entries {
                write(w.key(key), value);
            }
        }
    }
}

fn written(item: &Item) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer, item);
    writer.into_bytes()
}

/// What `minicbor` writes for it.
fn theirs(item: &Item, e: &mut Encoder<Vec<u8>>) {
    match item {
        Item::Uint(value) => _ = e.u64(*value).unwrap(),
        Item::Bytes(bytes) => _ = e.bytes(bytes).unwrap(),
        Item::Text(text) => _ = e.str(text).unwrap(),
        Item::Null => _ = e.null().unwrap(),
        Item::Array(items) => {
            e.array(items.len() as u64).unwrap();
            items.iter().for_each(|item| theirs(item, e));
        }
        Item::Map(entries) => {
            e.map(entries.len() as u64).unwrap();
            for (key, value) in entries {
                e.str(key).unwrap();
                theirs(value, e);
            }
        }
    }
}

/// What `minicbor`, which is not strict, reads in it, as long as it is of our kinds of items.
fn read_theirs(d: &mut Decoder) -> Option<Item> {
    Some(match d.datatype().ok()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Item::Uint(d.u64().ok()?),
        Type::Bytes => Item::Bytes(d.bytes().ok()?.to_vec()),
        Type::String => Item::Text(d.str().ok()?.to_owned()),
        Type::Null => {
            d.null().ok()?;
            Item::Null
        }
        Type::Array => {
            let length = d.array().ok()??;
            Item::Array((0..length).map(|_| read_theirs(d)).collect::<Option<_>>()?)
        }
        Type::Map => {
            let length = d.map().ok()??;
            let entry = |_| Some((d.str().ok()?.to_owned(), read_theirs(d)?));
            Item::Map((0..length).map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Reads an item of the same types as `like`, and of no matter what lengths.
fn read(r: &mut Reader, like: &Item) -> Result<Item, Malformed> {
    Ok(match like {
        Item::Uint(_) => Item::Uint(r.uint()?),
        Item::Bytes(_) => Item::Bytes(r.bytes(4096)?.to_vec()),
        Item::Text(_) => Item::Text(r.text(4096)?.to_owned()),
        Item::Null => match r.or_null(|r| Err::<(), _>(r.malformed("not null")))? {
            None => Item::Null,
            Some(()) => unreachable!(),
        },
        Item::Array(items) => {
            let mut array = r.array(items.len()..=items.len())?;
            let mut read_items = Vec::new();
            for item in items {
                read_items.push(read(array.next().unwrap(), item)?);
            }
            array.end()?;
            Item::Array(read_items)
        }
        Item::Map(entries) => {
            let (mut read_entries, mut next) = (Vec::new(), 0);
            r.text_map(entries.len(), |key, r| {
                read_entries.push((key.to_owned(), read(r, &entries[next].1)?));
                next += 1;
                Ok(())
            })?;
            Item::Map(read_entries)
        }
    })
}

fn read_all(bytes: &[u8], like: &Item) -> Result<Item, Malformed> {
    let mut reader = Reader::new("item", bytes, LIMITS)?;
    let item = read(&mut reader, like)?;
    reader.finish()?;
    Ok(item)
}

/// What the rules of PROTOCOL §2 ask beyond types and shortest form.
fn within_the_rules(item: &Item, depth: usize) -> bool {
    match item {
        Item::Uint(value) => *value < 1 << 53,
        Item::Array(items) => {
            depth > 0 && items.iter().all(|item| within_the_rules(item, depth - 1))
        }
        Item::Map(entries) => {
            depth > 0
                && entries
                    .iter()
                    .all(|(key, item)| key.len() < 24 && within_the_rules(item, depth - 1))
                && entries.is_sorted_by(|(a, _), (b, _)| canonical_order(a, b).is_lt())
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read_and_is_what_minicbor_writes(item in items()) {
        let bytes = written(&item);
        let mut encoder = Encoder::new(Vec::new());
        theirs(&item, &mut encoder);
        prop_assert_eq!(&bytes, encoder.writer());
        prop_assert_eq!(read_all(&bytes, &item), Ok(item));
    }

    /// Where the bytes still mean something, they are accepted exactly if they are how it is written.
    #[test]
    fn altered_bytes_are_accepted_only_as_the_encoding_of_what_they_mean(
        item in items(),
        alterations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        cut_it: bool,
    ) {
        let mut bytes = written(&item);
        for (place, byte) in alterations {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut_it {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        if let Ok(read) = read_all(&bytes, &item) {
            prop_assert_eq!(written(&read), bytes.clone());
        }
        let mut decoder = Decoder::new(&bytes);
        let meant = read_theirs(&mut decoder);
        let all_of_it = decoder.position() == bytes.len();
        if let Some(meant) = meant.filter(|_| all_of_it) {
            let canonical = within_the_rules(&meant, LIMITS.depth) && keys_fit(&meant) && written(&meant) == bytes;
            prop_assert_eq!(read_all(&bytes, &meant).is_ok(), canonical);
        }
    }
}

/// The writer refuses keys that the reader would.
fn keys_fit(item: &Item) -> bool {
    match item {
        Item::Array(items) => items.iter().all(keys_fit),
        Item::Map(entries) => entries
            .iter()
            .all(|(key, item)| key.len() < 24 && keys_fit(item)),
        _ => true,
    }
}

type Read = fn(&mut Reader) -> Result<(), Malformed>;

fn said(hex: &str, read: Read) -> String {
    let bytes = hex::decode(hex).unwrap();
    let mut reader = Reader::new("item", &bytes, LIMITS).unwrap();
    match read(&mut reader).and_then(|()| reader.finish()) {
        Ok(()) => "accepted".into(),
        Err(Malformed(said)) => said,
    }
}

#[test]
fn errors_say_where_and_what() {
    const KEYS: [&str; 2] = ["a", "bc"];
    let uint: Read = |r| r.uint().map(drop);
    let text: Read = |r| r.text(3).map(drop);
    let four: Read = |r| r.bytes_n::<4>().map(drop);
    let list: Read = |r| r.list(1..=2, |r| r.uint()).map(drop);
    let map: Read = |r| {
        let mut map = r.map(&KEYS)?;
        map.field("a")?.uint()?;
        map.field("bc")?.list(0..=9, |r| r.uint())?;
        map.end();
        Ok(())
    };
    let any: Read = |r| r.text_map(2, |_, r| r.uint().map(drop));
    let nullable: Read = |r| r.or_null(|r| r.uint()).map(drop);
    for (hex, read, expected) in [
        ("", uint, "item: cut short"),
        ("18", uint, "item: cut short"),
        (
            "1817",
            uint,
            "item: a length or integer not in its shortest form",
        ),
        (
            "1900ff",
            uint,
            "item: a length or integer not in its shortest form",
        ),
        (
            "1a0000ffff",
            uint,
            "item: a length or integer not in its shortest form",
        ),
        (
            "1b00000000ffffffff",
            uint,
            "item: a length or integer not in its shortest form",
        ),
        ("1b001fffffffffffff", uint, "accepted"),
        ("1b0020000000000000", uint, "item: an integer above 2^53-1"),
        ("1c", uint, "item: not CBOR"),
        (
            "20",
            uint,
            "item: a negative integer, must be an unsigned integer",
        ),
        ("f90000", uint, "item: a float, must be an unsigned integer"),
        (
            "fb0000000000000000",
            uint,
            "item: a float, must be an unsigned integer",
        ),
        (
            "f5",
            uint,
            "item: a simple value other than null, must be an unsigned integer",
        ),
        ("f6", uint, "item: null, must be an unsigned integer"),
        ("c100", uint, "item: a tag, must be an unsigned integer"),
        ("0000", uint, "item: 1 bytes after the end"),
        ("6161", text, "accepted"),
        ("6461616161", text, "item: 4 bytes, at most 3"),
        ("62c328", text, "item: text that is not UTF-8"),
        ("7f616161ff", text, "item: of indefinite length"),
        ("43010203", four, "item: 3 bytes, must be 4"),
        ("44010203", four, "item: cut short"),
        (
            "5b0000010000000000",
            four,
            "item: 1099511627776 bytes, must be 4",
        ),
        ("820102", list, "accepted"),
        ("80", list, "item: 0 entries, must be 1 to 2"),
        ("83010203", list, "item: 3 entries, must be 1 to 2"),
        (
            "82016161",
            list,
            "item[1]: text, must be an unsigned integer",
        ),
        ("a2616101626263820203", map, "accepted"),
        (
            "a2616101626263820240",
            map,
            "item.bc[1]: a byte string, must be an unsigned integer",
        ),
        ("a1616101", map, "item: a map of 1 entries, must be 2"),
        (
            "a2626263800001",
            map,
            "item: key \"bc\" where \"a\" must be",
        ),
        (
            "a261610162626480",
            map,
            "item: key \"bd\" where \"bc\" must be",
        ),
        ("a200016161", map, "item: a key that is not text"),
        (
            "a2616101780262626380",
            map,
            "item: a length or integer not in its shortest form",
        ),
        (
            "a1781861616161616161616161616161616161616161616161616161",
            any,
            "item: a key of 24 bytes, must be fewer than 24",
        ),
        (
            "a2616101616102",
            any,
            "item: key \"a\" twice or out of order",
        ),
        (
            "a262616101616202",
            any,
            "item: key \"b\" twice or out of order",
        ),
        (
            "a2616101626161f6",
            any,
            "item[\"aa\"]: null, must be an unsigned integer",
        ),
        (
            "a3616101616202616303",
            any,
            "item: 3 entries, must be 0 to 2",
        ),
        (
            "bb0000010000000000",
            any,
            "item: 1099511627776 entries, must be 0 to 2",
        ),
        ("f6", nullable, "accepted"),
        ("05", nullable, "accepted"),
        (
            "f7",
            nullable,
            "item: a simple value other than null, must be an unsigned integer",
        ),
    ] {
        assert_eq!(said(hex, read), expected, "{hex}");
    }
}

#[test]
fn one_of_two_lists_of_keys_is_told_by_its_length() {
    let either: Read = |r| {
        let (which, mut map) = r.map_of_either(&[&["t", "of"], &["seat"]])?;
        if which == 0 {
            map.field("t")?.uint()?;
            map.field("of")?.uint()?;
        } else {
            map.field("seat")?.uint()?;
        }
        map.end();
        Ok(())
    };
    assert_eq!(said("a1647365617401", either), "accepted");
    assert_eq!(said("a2617401626f6602", either), "accepted");
    assert_eq!(
        said("a0", either),
        "item: a map of 0 entries, must be 2 or 1"
    );
    assert_eq!(
        said("a1617401", either),
        "item: key \"t\" where \"seat\" must be"
    );
}

#[test]
fn containers_go_as_deep_as_the_limit_and_no_deeper() {
    fn nested(r: &mut Reader) -> Result<usize, Malformed> {
        let mut array = r.array(0..=1)?;
        let inner = array.next().map(nested).transpose()?;
        Ok(1 + inner.unwrap_or(0))
    }
    let read: Read = |r| nested(r).map(drop);
    assert_eq!(said("818181818180", read), "accepted");
    assert_eq!(
        said("81818181818180", read),
        "item[0][0][0][0][0][0]: containers more than 6 deep"
    );
}

#[test]
fn input_over_the_limit_is_refused_unread() {
    let Malformed(said) = Reader::new("item", &[0; 4097], LIMITS).err().unwrap();
    assert_eq!(said, "item: 4097 bytes, at most 4096");
}

#[test]
fn entries_that_nobody_read_are_refused_in_the_end() {
    let first_alone: Read = |r| {
        r.array(0..=2)?.next();
        Ok(())
    };
    assert_eq!(
        said("820102", first_alone),
        "item: entries that do not belong here"
    );
    let says_so: Read = |r| r.array(0..=2)?.end();
    assert_eq!(said("820102", says_so), "item: 2 entries too many");
}

#[test]
fn a_span_is_the_bytes_of_what_was_read() {
    let bytes = hex::decode("8301820203f6").unwrap();
    let mut reader = Reader::new("item", &bytes, LIMITS).unwrap();
    let mut array = reader.array(3..=3).unwrap();
    array.item("first").uint().unwrap();
    let second = array
        .item("second")
        .spanned(|r| r.list(0..=9, |r| r.uint()))
        .unwrap();
    assert_eq!(second, (vec![2, 3], &bytes[2..5]));
    let Malformed(said) = array.item("third").uint().unwrap_err();
    assert!(said.starts_with("item.third: null"), "{said}");
}
