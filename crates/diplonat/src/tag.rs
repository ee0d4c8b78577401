//! Tags: what a service in Consul, or in a file, says about its publication.
//!
//! `(diplonat (tcp_port 1337) (udp_port 53 5353))` opens ports; `(expose (tcp 443 (to 8443) (from 10.0.0.0/8) (dns
//! www.example.org)))` says more; `d53-a www.example.org`, `d53-aaaa` and `d53-cname` name the service's ports. Other
//! tags are other programs'. A tag of ours that cannot be read fails the service that bears it, and no other.

mod expression;

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use ipnet::IpNet;

use crate::exposure::{Exposure, PublicPort, RecordKind, Service, Transport, WantedName};
use expression::{Expression, TagError, Word, parse};

/// The tags that name a service's ports, and the records they ask for.
const NAMES: [(&str, RecordKind); 3] =
    [("d53-a", RecordKind::A), ("d53-aaaa", RecordKind::Aaaa), ("d53-cname", RecordKind::Cname)];

/// What the tags of one service ask for. Of the ports of one number the first counts.
pub fn service<'t>(name: &str, tags: impl IntoIterator<Item = &'t str>) -> Service {
    Service { name: name.to_owned(), ports: ports(name, tags) }
}

fn ports<'t>(service: &str, tags: impl IntoIterator<Item = &'t str>) -> Result<Vec<Exposure>, String> {
    let (mut ports, mut names) = (Vec::<Exposure>::new(), BTreeSet::new());
    for tag in tags {
        let read = read(service, tag).map_err(|error| format!("tag {tag:?}, {error}"))?;
        match read {
            Tag::Ports(more) => {
                for exposure in more {
                    if !ports.iter().any(|other| other.port == exposure.port) {
                        ports.push(exposure);
                    }
                }
            }
            Tag::Name(name) => {
                names.insert(name);
            }
            Tag::Foreign => {}
        }
    }
    if ports.is_empty() && !names.is_empty() {
        return Err("has names in DNS but no port; add a tag as in (diplonat (tcp_port 443))".into());
    }
    for exposure in &mut ports {
        exposure.names.extend(names.iter().cloned());
    }
    Ok(ports)
}

enum Tag {
    Ports(Vec<Exposure>),
    Name(WantedName),
    Foreign,
}

fn read(service: &str, tag: &str) -> Result<Tag, TagError> {
    if let Some(name) = d53(tag)? {
        return Ok(Tag::Name(name));
    }
    match head(tag) {
        Some("diplonat") => Ok(Tag::Ports(diplonat(service, &parse(tag)?)?)),
        Some("expose") => Ok(Tag::Ports(expose(service, &parse(tag)?)?)),
        _ => Ok(Tag::Foreign),
    }
}

/// The first word of a list, also of one that is broken further on.
fn head(tag: &str) -> Option<&str> {
    let inner = tag.trim_start().strip_prefix('(')?.trim_start();
    inner.split(|character: char| character.is_whitespace() || "()".contains(character)).next()
}

fn d53(tag: &str) -> Result<Option<WantedName>, TagError> {
    let Some((word, name)) = tag.trim().split_once(char::is_whitespace) else { return Ok(None) };
    let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == word) else { return Ok(None) };
    let column = tag.chars().count() - tag.trim_start().chars().count() + word.chars().count() + 2;
    Ok(Some(wanted_name(*kind, Word { column, text: name.trim() })?))
}

fn diplonat(service: &str, list: &[Expression<'_>]) -> Result<Vec<Exposure>, TagError> {
    let mut ports = Vec::new();
    for entry in &list[1..] {
        let (head, numbers) = named(entry, "a list as in (tcp_port 443)")?;
        let transport = match head.text {
            "tcp_port" => Transport::Tcp,
            "udp_port" => Transport::Udp,
            other => return Err(TagError::at(head.column, format!("{other:?} is neither tcp_port nor udp_port"))),
        };
        if numbers.is_empty() {
            return Err(TagError::at(head.column, format!("{} has no port", head.text)));
        }
        for number in numbers {
            let number = port(word(number)?)?;
            let port = PublicPort { transport, number };
            ports.push(Exposure { service: service.into(), port, to: number, from: [].into(), names: [].into() });
        }
    }
    Ok(ports)
}

fn expose(service: &str, list: &[Expression<'_>]) -> Result<Vec<Exposure>, TagError> {
    list[1..].iter().map(|entry| exposed(service, entry)).collect()
}

fn exposed(service: &str, entry: &Expression<'_>) -> Result<Exposure, TagError> {
    let (head, rest) = named(entry, "a list as in (tcp 443)")?;
    let transport = match head.text {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        other => return Err(TagError::at(head.column, format!("{other:?} is neither tcp nor udp"))),
    };
    let Some((number, clauses)) = rest.split_first() else {
        return Err(TagError::at(head.column, format!("{} has no port", head.text)));
    };
    let number = port(word(number)?)?;
    let port_outside = PublicPort { transport, number };
    let mut exposure =
        Exposure { service: service.into(), port: port_outside, to: number, from: [].into(), names: [].into() };
    for clause in clauses {
        let (head, values) = named(clause, "a list as in (to 8443)")?;
        if values.is_empty() {
            return Err(TagError::at(head.column, format!("{} says nothing", head.text)));
        }
        for value in values {
            let value = word(value)?;
            match head.text {
                "to" => exposure.to = port(value)?,
                "from" => drop(exposure.from.insert(source(value)?)),
                "dns" => drop(exposure.names.insert(wanted_name(RecordKind::A, value)?)),
                other => return Err(TagError::at(head.column, format!("{other:?} is neither to, from nor dns"))),
            }
        }
    }
    Ok(exposure)
}

/// A list that begins with a word.
fn named<'e, 't>(entry: &'e Expression<'t>, expected: &str) -> Result<(Word<'t>, &'e [Expression<'t>]), TagError> {
    match entry {
        Expression::List(column, list) => match list.split_first() {
            Some((Expression::Word(head), rest)) => Ok((*head, rest)),
            _ => Err(TagError::at(*column, format!("expected {expected}"))),
        },
        Expression::Word(word) => Err(TagError::at(word.column, format!("{:?}: expected {expected}", word.text))),
    }
}

fn word<'t>(entry: &Expression<'t>) -> Result<Word<'t>, TagError> {
    match entry {
        Expression::Word(word) => Ok(*word),
        list @ Expression::List(..) => Err(TagError::at(list.column(), "expected a word and not a list")),
    }
}

fn port(word: Word<'_>) -> Result<NonZeroU16, TagError> {
    let wrong = || TagError::at(word.column, format!("{:?} is no port; expected 1 to 65535", word.text));
    word.text.parse().map_err(|_| wrong())
}

/// A network, or an address, which is the network of it alone.
fn source(word: Word<'_>) -> Result<IpNet, TagError> {
    let address = || Some(IpNet::from(word.text.parse::<std::net::IpAddr>().ok()?));
    let wrong = || TagError::at(word.column, format!("{:?} is no network; expected one as in 10.0.0.0/8", word.text));
    word.text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc()).ok_or_else(wrong)
}

fn wanted_name(kind: RecordKind, word: Word<'_>) -> Result<WantedName, TagError> {
    let name = word.text.trim_end_matches('.').to_ascii_lowercase();
    let name = name.parse().map_err(|error: types::ParseError| TagError::at(word.column, error.to_string()))?;
    Ok(WantedName { kind, name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complaint(tag: &str) -> String {
        service("web", [tag]).ports.unwrap_err()
    }

    fn numbers(tags: &[&str]) -> Vec<String> {
        let ports = service("web", tags.iter().copied()).ports.unwrap();
        ports.iter().map(|exposure| exposure.port.to_string()).collect()
    }

    #[test]
    fn the_tags_of_old_are_read() {
        let tag = "(diplonat (tcp_port 1337) (tcp_port 1338 1339) (udp_port 53))";
        assert_eq!(numbers(&[tag]), ["tcp/1337", "tcp/1338", "tcp/1339", "udp/53"]);
        assert_eq!(numbers(&["(diplonat (tcp_port 80))", "  ( diplonat ( udp_port 53 ) ) "]), ["tcp/80", "udp/53"]);
        assert_eq!(numbers(&["http", "(other stuff", "traefik.enable=true", "(diplonatx (a"]), Vec::<String>::new());
    }

    #[test]
    fn names_of_the_sister_program_belong_to_all_ports() {
        let tags = ["(diplonat (tcp_port 80 443))", "d53-a www.Example.org.", "d53-cname git.example.org"];
        let ports = service("web", tags).ports.unwrap();
        let shown = |exposure: &Exposure| {
            exposure.names.iter().map(|name| format!("{:?} {}", name.kind, name.name)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&ports[0]), ["A www.example.org", "Cname git.example.org"]);
        assert_eq!(shown(&ports[0]), shown(&ports[1]));
    }

    #[test]
    fn an_exposure_says_more() {
        let tag = "(expose (tcp 443 (to 8443) (from 10.1.0.0/8 2001:db8::1) (dns www.example.org)) (udp 443))";
        let ports = service("web", [tag]).ports.unwrap();
        assert_eq!((ports[0].to.get(), ports[1].to.get()), (8443, 443));
        let from: Vec<_> = ports[0].from.iter().map(ToString::to_string).collect();
        assert_eq!(from, ["10.0.0.0/8", "2001:db8::1/128"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            ("(diplonat (tcp_port 0))", "column 21: \"0\" is no port; expected 1 to 65535"),
            ("(diplonat (tcp_port 80)", "column 24: expected \")\" for the \"(\" in column 1"),
            ("(diplonat (sctp_port 80))", "column 12: \"sctp_port\" is neither tcp_port nor udp_port"),
            ("(diplonat tcp_port)", "column 11: \"tcp_port\": expected a list as in (tcp_port 443)"),
            ("(diplonat (tcp_port))", "column 12: tcp_port has no port"),
            ("(expose (tcp 1 (from 10/8)))", "column 22: \"10/8\" is no network; expected one as in 10.0.0.0/8"),
            ("(expose (tcp 1 (dns a..b)))", "column 21: \"a..b\" is not a domain name"),
            ("(expose (tcp 1)) x", "column 18: expected the end after the closing parenthesis"),
            ("d53-a exa_mple", "column 7: \"exa_mple\" is not a domain name"),
        ];
        for (tag, expected) in cases {
            let complaint = complaint(tag);
            assert!(complaint.contains(expected), "{tag}: {complaint}");
            assert!(complaint.starts_with("tag \""), "{complaint}");
        }
    }

    #[test]
    fn any_number_of_parentheses_is_borne() {
        let deep = format!("(diplonat {}", "(".repeat(100_000));
        assert!(complaint(&deep).contains("too many lists within lists"));
    }

    proptest! {
        #[test]
        fn ports_that_are_written_are_read(ports in prop::collection::btree_set(1_u16.., 1..20), udp: bool) {
            let word = if udp { "udp_port" } else { "tcp_port" };
            let written: Vec<_> = ports.iter().map(ToString::to_string).collect();
            let read = service("web", [format!("(diplonat ({word} {}))", written.join(" ")).as_str()]).ports.unwrap();
            let read: BTreeSet<_> = read.iter().map(|exposure| exposure.port.number.get()).collect();
            prop_assert_eq!(read, ports);
        }

        #[test]
        fn nothing_makes_the_reader_fall(tag in "[(]?(diplonat|expose|d53-a)?[ ()a-z0-9_/.é]{0,60}") {
            let _ = service("web", [tag.as_str()]);
        }
    }
}
