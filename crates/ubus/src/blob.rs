//! The binary form of ubus messages: libubox's blobs, and blobmsg, which carries JSON in them (`blob.h`, `blobmsg.h`).
//!
//! An attribute is a word of 32 bits, big-endian: a bit that says whether a name follows, seven bits of id, and 24 bits of
//! length, which counts the word itself. Attributes begin at multiples of four bytes. A named attribute is one of
//! blobmsg: its id is its type, and its content begins with the length of the name in 16 bits, the name, a zero, and
//! zeros up to a multiple of four.

use serde_json::{Map, Number, Value};

const NAMED: u32 = 0x8000_0000;
const LENGTH: u32 = 0x00ff_ffff;
/// How deep values may lie in one another.
const DEEPEST: usize = 64;

const ARRAY: u8 = 1;
const TABLE: u8 = 2;
const STRING: u8 = 3;
const INT64: u8 = 4;
const INT32: u8 = 5;
const INT16: u8 = 6;
const INT8: u8 = 7;
const DOUBLE: u8 = 8;

/// Bytes that are no blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected blobs of libubox")]
pub struct Malformed;

/// Appends an attribute without a name.
pub fn put(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    put_attribute(out, u32::from(id) << 24, content);
}

/// Appends an attribute with a text, which ends with a zero.
pub fn put_text(out: &mut Vec<u8>, id: u8, text: &str) {
    put(out, id, &[text.as_bytes(), &[0]].concat());
}

/// The attributes in these bytes: id and content.
pub fn attributes(mut bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, Malformed> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (word, content, rest) = split(bytes)?;
        found.push((id(word), content));
        bytes = rest;
    }
    Ok(found)
}

/// A text that ends with a zero.
pub fn text(content: &[u8]) -> Result<&str, Malformed> {
    let end = content.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
    std::str::from_utf8(&content[..end]).map_err(|_| Malformed)
}

/// A number of 32 bits.
pub fn number(content: &[u8]) -> Result<u32, Malformed> {
    content.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)
}

/// The members of an object, as blobmsg.
#[must_use]
pub fn encode(members: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in members {
        put_value(&mut out, name, value);
    }
    out
}

/// The object whose members these bytes are.
pub fn decode(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    members(bytes, DEEPEST)
}

fn put_attribute(out: &mut Vec<u8>, word: u32, content: &[u8]) {
    let length = u32::try_from(content.len() + 4).unwrap_or(LENGTH) & LENGTH;
    out.extend((word | length).to_be_bytes());
    out.extend(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn put_value(out: &mut Vec<u8>, name: &str, value: &Value) {
    let mut content = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    content.extend(name.as_bytes());
    content.push(0);
    pad(&mut content);
    let kind = match value {
        Value::Null => 0,
        Value::Bool(value) => {
            content.push(u8::from(*value));
            INT8
        }
        Value::Number(number) => put_number(&mut content, number),
        Value::String(text) => {
            content.extend(text.as_bytes());
            content.push(0);
            STRING
        }
        Value::Array(items) => {
            items.iter().for_each(|item| put_value(&mut content, "", item));
            ARRAY
        }
        Value::Object(members) => {
            content.extend(encode(members));
            TABLE
        }
    };
    put_attribute(out, NAMED | u32::from(kind) << 24, &content);
}

fn put_number(content: &mut Vec<u8>, number: &Number) -> u8 {
    if let Some(small) = number.as_i64().and_then(|number| i32::try_from(number).ok()) {
        content.extend(small.to_be_bytes());
        return INT32;
    }
    match (number.as_i64(), number.as_u64()) {
        (Some(large), _) => content.extend(large.to_be_bytes()),
        (None, Some(large)) => content.extend(large.to_be_bytes()),
        (None, None) => {
            content.extend(number.as_f64().unwrap_or_default().to_be_bytes());
            return DOUBLE;
        }
    }
    INT64
}

/// The word of the first attribute, its content, and what follows it.
fn split(bytes: &[u8]) -> Result<(u32, &[u8], &[u8]), Malformed> {
    let (word, _) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    let word = u32::from_be_bytes(*word);
    let length = (word & LENGTH) as usize;
    let content = bytes.get(4..length).ok_or(Malformed)?;
    // The last one may lack its padding.
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((word, content, rest))
}

fn id(word: u32) -> u8 {
    u8::try_from(word >> 24 & 0x7f).unwrap_or_default()
}

fn members(bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Malformed> {
    named(bytes, depth)?.into_iter().map(|(name, value)| Ok((name.to_owned(), value))).collect()
}

fn named(mut bytes: &[u8], depth: usize) -> Result<Vec<(&str, Value)>, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (word, content, rest) = split(bytes)?;
        if word & NAMED == 0 {
            return Err(Malformed);
        }
        let (length, _) = content.split_first_chunk::<2>().ok_or(Malformed)?;
        let end = 2 + usize::from(u16::from_be_bytes(*length));
        let name = std::str::from_utf8(content.get(2..end).ok_or(Malformed)?).map_err(|_| Malformed)?;
        let payload = content.get((end + 1).next_multiple_of(4)..).unwrap_or_default();
        found.push((name, value(id(word), payload, depth)?));
        bytes = rest;
    }
    Ok(found)
}

fn value(kind: u8, content: &[u8], depth: usize) -> Result<Value, Malformed> {
    let whole = |number: i64| Ok(Value::from(number));
    match kind {
        0 => Ok(Value::Null),
        ARRAY => Ok(Value::Array(named(content, depth)?.into_iter().map(|(_, item)| item).collect())),
        TABLE => members(content, depth).map(Value::Object),
        // A text of another encoding than UTF-8 is told as well as it can be.
        STRING => {
            let end = content.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
            Ok(Value::String(String::from_utf8_lossy(&content[..end]).into_owned()))
        }
        INT64 => whole(content.try_into().map(i64::from_be_bytes).map_err(|_| Malformed)?),
        INT32 => whole(content.try_into().map(i32::from_be_bytes).map_err(|_| Malformed)?.into()),
        INT16 => whole(content.try_into().map(i16::from_be_bytes).map_err(|_| Malformed)?.into()),
        INT8 => Ok(Value::Bool(*content.first().ok_or(Malformed)? != 0)),
        DOUBLE => {
            let number = content.try_into().map(f64::from_be_bytes).map_err(|_| Malformed)?;
            Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn bytes_are_those_of_libubox() {
        // {"config":"toys","on":true,"n":7} as blobmsg_add_json_from writes it: words by hand from blobmsg.h.
        let expected = [
            &[0x83, 0, 0, 0x15][..],
            b"\0\x06config\0\0\0\0toys\0\0\0\0",
            &[0x85, 0, 0, 0x0c],
            b"\0\x01n\0\0\0\0\x07",
            &[0x87, 0, 0, 0x0d],
            b"\0\x02on\0\0\0\0\x01\0\0\0",
        ]
        .concat();
        let found = encode(&object(json!({"config": "toys", "on": true, "n": 7})));
        let expected_text = expected.len();
        assert_eq!((found.len(), &found), (expected_text, &expected));
        assert_eq!(decode(&found).unwrap(), object(json!({"config": "toys", "on": true, "n": 7})));
    }

    #[test]
    fn what_is_written_is_read() {
        let all = object(json!({
            "": null, "list": ["a", 1, false, {"deep": []}], "large": 1_i64 << 40, "negative": -5, "half": 0.5,
            "text": "äöü \"quoted\"", "table": {"x": {"y": "z"}}
        }));
        assert_eq!(decode(&encode(&all)).unwrap(), all);
        let mut message = Vec::new();
        put_text(&mut message, 2, "uci");
        put(&mut message, 3, &7_u32.to_be_bytes());
        let read = attributes(&message).unwrap();
        assert_eq!((text(read[0].1), number(read[1].1)), (Ok("uci"), Ok(7)));
    }

    #[test]
    fn no_bytes_make_it_fall_over() {
        let good = encode(&object(json!({"a": ["b", {"c": 1}]})));
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = decode(&bad);
                let _ = decode(&good[..at]);
                let _ = attributes(&bad);
            }
        }
        let mut deep = Vec::new();
        for _ in 0..200 {
            let mut outer = Vec::new();
            put_attribute(&mut outer, NAMED | u32::from(TABLE) << 24, &[&[0, 0, 0, 0][..], &deep].concat());
            deep = outer;
        }
        assert_eq!(decode(&deep), Err(Malformed));
    }
}
