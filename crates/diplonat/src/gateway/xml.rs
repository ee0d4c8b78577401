//! XML as gateways write it: element names without prefixes and in lower case, texts, and nothing else.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Elements that are read; a description has some hundreds.
const MOST: usize = 20_000;
/// Elements within elements that are read.
const DEEPEST: usize = 64;

/// What a reader comes by, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'x> {
    /// An element begins.
    Open(&'x str),
    /// An element ends; its text is what stood in it since the last mark.
    Close(&'x str, &'x str),
}

/// Walks through a text. Entities other than XML's own stay as they are: nothing is expanded.
pub fn walk(text: &str, mut visit: impl FnMut(Mark<'_>)) -> Result<(), String> {
    let mut reader = Reader::from_str(text);
    // Routers close what they have not opened.
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let (mut open, mut content, mut count) = (Vec::<String>::new(), String::new(), 0);
    loop {
        match reader.read_event().map_err(|error| format!("no XML: {error}"))? {
            Event::Start(start) => {
                count += 1;
                if count > MOST || open.len() >= DEEPEST {
                    return Err("XML of a size that no gateway has need of".into());
                }
                open.push(name(start.local_name().as_ref()));
                content.clear();
                visit(Mark::Open(open.last().map_or("", String::as_str)));
            }
            Event::Empty(empty) => {
                let name = name(empty.local_name().as_ref());
                visit(Mark::Open(&name));
                visit(Mark::Close(&name, ""));
                content.clear();
            }
            Event::End(_) => {
                if let Some(name) = open.pop() {
                    visit(Mark::Close(&name, content.trim()));
                }
                content.clear();
            }
            Event::Text(text) => content.push_str(&String::from_utf8_lossy(&text)),
            Event::CData(text) => content.push_str(&String::from_utf8_lossy(&text)),
            Event::GeneralRef(reference) => content.push_str(&resolved(&reference)),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    match reference.as_ref() {
        b"amp" => "&".into(),
        b"lt" => "<".into(),
        b"gt" => ">".into(),
        b"quot" => "\"".into(),
        b"apos" => "'".into(),
        other => format!("&{};", String::from_utf8_lossy(other)),
    }
}

/// A text that can stand in XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut closed = Vec::new();
        walk(text, |mark| {
            if let Mark::Close(name, text) = mark {
                closed.push((name.to_owned(), text.to_owned()));
            }
        })?;
        Ok(closed)
    }

    #[test]
    fn names_lose_prefix_and_case_and_texts_their_escapes() {
        let read = closed("<?xml version='1.0'?><s:A xmlns:s='x'> <u:ErrorCode>7&#49;4</u:ErrorCode><b/>t&amp;u</s:A>")
            .unwrap();
        let expected = [("errorcode", "714"), ("b", ""), ("a", "t&u")];
        assert_eq!(read, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_bomb_stays_what_it_is() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"boom\"><!ENTITY b \"&a;&a;&a;\">]><x>&b;&b;</x>";
        assert_eq!(closed(bomb).unwrap(), [("x".to_owned(), "&b;&b;".to_owned())]);
        assert!(closed(&"<a>".repeat(100)).is_err());
        assert!(closed(&"<a></a>".repeat(30_000)).is_err());
    }

    #[test]
    fn hostile_texts_are_borne() {
        let good = b"<a b='c'><d:E>f&amp;&#49;</d:E><![CDATA[g]]><!-- h --></a>".to_vec();
        fuzz::Corpus::of([good]).run(|bytes| {
            let _ = walk(&String::from_utf8_lossy(bytes), |_| {});
        });
    }
}
