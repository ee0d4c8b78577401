//! DNS messages, as far as updates go (RFC 1035, RFC 2136).

use types::DomainName;

use super::Target;

/// Types of records.
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const TXT: u16 = 16;
const AAAA: u16 = 28;
pub(super) const TSIG: u16 = 250;
const ANY_TYPE: u16 = 255;
/// Classes of records.
const IN: u16 = 1;
const NONE: u16 = 254;
pub(super) const ANY: u16 = 255;
/// The operation.
const UPDATE: u16 = 5;
pub(super) const HEADER: usize = 12;

/// One record of a message.
struct Record {
    name: DomainName,
    kind: u16,
    class: u16,
    ttl: u32,
    data: Vec<u8>,
}

/// What has to be so for an update to be done, and what is done then: all of it, or nothing.
pub struct Update {
    zone: DomainName,
    prerequisites: Vec<Record>,
    changes: Vec<Record>,
}

impl Update {
    /// An update of a zone that does nothing yet.
    pub fn of(zone: &DomainName) -> Self {
        Self { zone: zone.clone(), prerequisites: Vec::new(), changes: Vec::new() }
    }

    /// Only if a name has no records at all.
    pub fn only_if_unused(mut self, name: &DomainName) -> Self {
        self.prerequisites.push(Record { name: name.clone(), kind: ANY_TYPE, class: NONE, ttl: 0, data: Vec::new() });
        self
    }

    /// Only if a name has just this text.
    pub fn only_if_text_is(mut self, name: &DomainName, text: &str) -> Self {
        let data = text_data(text);
        self.prerequisites.push(Record { name: name.clone(), kind: TXT, class: IN, ttl: 0, data });
        self
    }

    /// Removes all records of a name.
    pub fn remove(mut self, name: &DomainName) -> Self {
        self.changes.push(Record { name: name.clone(), kind: ANY_TYPE, class: ANY, ttl: 0, data: Vec::new() });
        self
    }

    /// Makes a name lead to a target.
    pub fn point(mut self, name: &DomainName, target: &Target, ttl: u32) -> Self {
        let (kind, data) = match target {
            Target::A(address) => (A, address.octets().to_vec()),
            Target::Aaaa(address) => (AAAA, address.octets().to_vec()),
            Target::Cname(other) => (CNAME, name_data(other)),
        };
        self.changes.push(Record { name: name.clone(), kind, class: IN, ttl, data });
        self
    }

    /// Gives a name a text.
    pub fn text(mut self, name: &DomainName, text: &str, ttl: u32) -> Self {
        let data = text_data(text);
        self.changes.push(Record { name: name.clone(), kind: TXT, class: IN, ttl, data });
        self
    }

    /// The message, not signed.
    pub fn message(&self, id: u16) -> Vec<u8> {
        let counts =
            [1, self.prerequisites.len(), self.changes.len(), 0].map(|count| u16::try_from(count).unwrap_or(u16::MAX));
        let mut message = Vec::new();
        for number in [id, UPDATE << 11].into_iter().chain(counts) {
            message.extend(number.to_be_bytes());
        }
        message.extend(name_data(&self.zone));
        message.extend(SOA.to_be_bytes());
        message.extend(IN.to_be_bytes());
        for record in self.prerequisites.iter().chain(&self.changes) {
            message.extend(name_data(&record.name));
            message.extend(record.kind.to_be_bytes());
            message.extend(record.class.to_be_bytes());
            message.extend(record.ttl.to_be_bytes());
            message.extend(u16::try_from(record.data.len()).unwrap_or(u16::MAX).to_be_bytes());
            message.extend(&record.data);
        }
        message
    }
}

/// A name as labels with their lengths. Names are in lower case, as signatures want them.
pub(super) fn name_data(name: &DomainName) -> Vec<u8> {
    let mut data = Vec::new();
    for label in name.as_str().split('.') {
        data.push(u8::try_from(label.len()).unwrap_or(63));
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

fn text_data(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(255)];
    let mut data = vec![u8::try_from(text.len()).unwrap_or(255)];
    data.extend(text);
    data
}

/// Where the last record of a message begins, and where its fixed part does; nothing where the message is broken or has
/// no records.
pub(super) fn last_record(message: &[u8]) -> Option<(usize, usize)> {
    let count = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (questions, mut records) = (count(4)?, 0_u32);
    for at in [6, 8, 10] {
        records += u32::from(count(at)?);
    }
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(message, at)? + 4;
    }
    let mut last = None;
    for _ in 0..records {
        let fixed = after_name(message, at)?;
        last = Some((at, fixed));
        at = fixed + 10 + usize::from(count(fixed + 8)?);
    }
    last.filter(|_| at == message.len())
}

/// Where a name ends, which may end in a pointer to another.
pub(super) fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_shape_of_the_rfc() {
        let (zone, name) = ("example.org".parse().unwrap(), "a.example.org".parse().unwrap());
        let update = Update::of(&zone).only_if_unused(&name).point(&name, &Target::A([1, 2, 3, 4].into()), 60);
        let message = update.message(7);
        assert_eq!(message[..12], [0, 7, 0x28, 0, 0, 1, 0, 1, 0, 1, 0, 0]);
        assert_eq!(message[12..29], *b"\x07example\x03org\0\0\x06\0\x01");
        let (begin, fixed) = last_record(&message).unwrap();
        assert_eq!(message[begin..fixed], *b"\x01a\x07example\x03org\0");
        assert_eq!(message[fixed..], [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
    }

    #[test]
    fn hostile_messages_are_borne() {
        let zone = "example.org".parse().unwrap();
        fuzz::Corpus::of([Update::of(&zone).remove(&zone).message(1)]).run(|message| {
            let _ = last_record(message);
        });
    }
}
