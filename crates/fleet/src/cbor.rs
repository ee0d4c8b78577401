//! Canonical CBOR (RFC 8949, section 4.2.1) of arrays, whole numbers, byte strings, texts, booleans and null.
//!
//! Everything that is signed or hashed has exactly one form in bytes. The decoder underneath is lenient, so what was
//! read is written again and compared: whatever differs is refused.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// Longer than anything of this kind.
    #[error("{size} bytes are too many: {limit} are allowed")]
    Oversized {
        /// How many there are.
        size: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Not of the shape that is expected.
    #[error("byte {at}: {expected} is expected")]
    Malformed {
        /// Where.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The end comes too early.
    #[error("the bytes end at {at}, before they are complete")]
    Truncated {
        /// How many there are.
        at: usize,
    },
    /// The bytes say the right thing in another form than the one allowed.
    #[error("the bytes are not in canonical form")]
    NotCanonical,
}

/// What can be read from and written to canonical CBOR.
pub trait Cbor: Sized {
    /// Writes it at the end.
    fn write(&self, out: &mut Writer);
    /// Reads it from the front.
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError>;
}

/// The canonical form.
pub fn to_bytes(value: &impl Cbor) -> Vec<u8> {
    let mut out = Writer(Encoder::new(Vec::new()));
    value.write(&mut out);
    out.0.into_writer()
}

/// Reads the canonical form, of at most `limit` bytes, and nothing after it.
pub fn from_bytes<T: Cbor>(bytes: &[u8], limit: usize) -> Result<T, BytesError> {
    if bytes.len() > limit {
        return Err(BytesError::Oversized { size: bytes.len(), limit });
    }
    let mut input = Reader(Decoder::new(bytes));
    let value = T::read(&mut input)?;
    if input.0.position() != bytes.len() {
        return Err(input.malformed("the end"));
    }
    if to_bytes(&value) != bytes {
        return Err(BytesError::NotCanonical);
    }
    Ok(value)
}

/// Reads the canonical form at the front, of at most `limit` bytes, and says how long it is.
pub fn first_bytes<T: Cbor>(bytes: &[u8], limit: usize) -> Result<(T, usize), BytesError> {
    let bytes = &bytes[..bytes.len().min(limit)];
    let mut input = Reader(Decoder::new(bytes));
    let value = T::read(&mut input)?;
    let length = input.0.position();
    match to_bytes(&value) == bytes[..length] {
        true => Ok((value, length)),
        false => Err(BytesError::NotCanonical),
    }
}

/// Where canonical CBOR is written.
pub struct Writer(Encoder<Vec<u8>>);

impl Writer {
    /// The head of an array of so many items.
    pub fn array(&mut self, count: usize) {
        self.put(|out| out.array(count as u64).map(drop));
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.put(|out| out.bytes(bytes).map(drop));
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.put(|out| out.str(text).map(drop));
    }

    /// Null.
    pub fn null(&mut self) {
        self.put(|out| out.null().map(drop));
    }

    fn put(
        &mut self,
        write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
    ) {
        write(&mut self.0).expect("invariant: a vector takes any bytes");
    }
}

/// Where CBOR is read from.
pub struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    /// The head of an array; how many items follow.
    pub fn array(&mut self) -> Result<usize, BytesError> {
        let count = self.take("an array", Decoder::array)?;
        let count = count.ok_or_else(|| self.malformed("an array whose length is said"))?;
        // No item is shorter than a byte: what cannot be there need not be made room for.
        let left = self.0.input().len() - self.0.position().min(self.0.input().len());
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= left)
            .ok_or(BytesError::Truncated { at: self.0.input().len() })
    }

    /// The head of an array of exactly so many items.
    pub fn array_of(&mut self, count: usize, what: &'static str) -> Result<(), BytesError> {
        match self.array()? == count {
            true => Ok(()),
            false => Err(self.malformed(what)),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], BytesError> {
        self.take("a byte string", Decoder::bytes)
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str, BytesError> {
        self.take("a text", Decoder::str)
    }

    /// Whether null follows, which is taken then.
    pub fn null(&mut self) -> Result<bool, BytesError> {
        let null = self.kind()? == Type::Null;
        if null {
            self.take("null", Decoder::null)?;
        }
        Ok(null)
    }

    /// What follows, which is not taken.
    pub fn kind(&mut self) -> Result<Type, BytesError> {
        self.take("an item", |input| input.datatype())
    }

    /// Where it stands, for an error.
    pub fn malformed(&self, expected: &'static str) -> BytesError {
        BytesError::Malformed { at: self.0.position(), expected }
    }

    fn take<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, BytesError> {
        let at = self.0.position();
        read(&mut self.0).map_err(|error| match error.is_end_of_input() {
            true => BytesError::Truncated { at: self.0.input().len() },
            false => BytesError::Malformed { at, expected },
        })
    }
}

macro_rules! numbers {
    ($($type:ident $expected:literal;)*) => {$(
        impl Cbor for $type {
            fn write(&self, out: &mut Writer) {
                out.put(|out| out.$type(*self).map(drop));
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
                input.take($expected, Decoder::$type)
            }
        }
    )*};
}

numbers! {
    u8 "a whole number below 256";
    u16 "a whole number below 65536";
    u32 "a whole number of 32 bits";
    u64 "a whole number of 64 bits";
    bool "true or false";
}

impl Cbor for String {
    fn write(&self, out: &mut Writer) {
        out.text(self);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        Ok(input.text()?.to_owned())
    }
}

/// Bytes of any length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Blob(pub Vec<u8>);

impl Cbor for Blob {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        Ok(Self(input.bytes()?.to_vec()))
    }
}

impl<const N: usize> Cbor for [u8; N] {
    fn write(&self, out: &mut Writer) {
        out.bytes(self);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        let error = input.malformed("a byte string of another length");
        input.bytes()?.try_into().map_err(|_| error)
    }
}

impl<T: Cbor> Cbor for Vec<T> {
    fn write(&self, out: &mut Writer) {
        out.array(self.len());
        self.iter().for_each(|item| item.write(out));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        let count = input.array()?;
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::read(input)?);
        }
        Ok(items)
    }
}

impl<T: Cbor> Cbor for Option<T> {
    fn write(&self, out: &mut Writer) {
        match self {
            Some(value) => value.write(out),
            None => out.null(),
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        match input.null()? {
            true => Ok(None),
            false => Ok(Some(T::read(input)?)),
        }
    }
}

impl<A: Cbor, B: Cbor> Cbor for (A, B) {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        self.0.write(out);
        self.1.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        input.array_of(2, "an array of two")?;
        Ok((A::read(input)?, B::read(input)?))
    }
}

/// Structs as arrays of their fields, in the order given.
macro_rules! cbor_arrays {
    ($($type:ident $count:literal [$($field:ident),* $(,)?];)*) => {$(
        impl $crate::cbor::Cbor for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                out.array($count);
                $($crate::cbor::Cbor::write(&self.$field, out);)*
            }
            fn read(input: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::BytesError> {
                input.array_of($count, concat!("an array of ", $count))?;
                Ok(Self { $($field: $crate::cbor::Cbor::read(input)?),* })
            }
        }
    )*};
}

/// Types of fixed size as byte strings.
macro_rules! cbor_bytes {
    ($($type:ident)*) => {$(
        impl $crate::cbor::Cbor for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                out.bytes(self.bytes());
            }
            fn read(input: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::BytesError> {
                Ok(Self::of($crate::cbor::Cbor::read(input)?))
            }
        }
    )*};
}

/// Types with one text form as texts.
macro_rules! cbor_texts {
    ($($type:ident $expected:literal;)*) => {$(
        impl $crate::cbor::Cbor for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                out.text(self.as_str());
            }
            fn read(input: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::BytesError> {
                let error = input.malformed($expected);
                input.text()?.parse().map_err(|_| error)
            }
        }
    )*};
}

/// Enums without fields as whole numbers.
macro_rules! cbor_numbers {
    ($($type:ident $expected:literal { $($variant:ident = $number:literal),* $(,)? })*) => {$(
        impl $crate::cbor::Cbor for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                let number: u8 = match self { $(Self::$variant => $number),* };
                $crate::cbor::Cbor::write(&number, out);
            }
            fn read(input: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::BytesError> {
                let error = input.malformed($expected);
                match <u8 as $crate::cbor::Cbor>::read(input)? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(error),
                }
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Nested = Vec<(u64, Option<Blob>)>;

    #[test]
    fn the_form_is_the_shortest_one() {
        assert_eq!(
            to_bytes(&vec![(23_u64, None::<Blob>), (24, Some(Blob(vec![1])))]),
            b"\x82\x82\x17\xf6\x82\x18\x18\x41\x01"
        );
    }

    #[test]
    fn other_forms_of_the_same_are_refused() {
        for (bytes, why) in [
            (&b"\x18\x17"[..], "a number longer than it need be"),
            (b"\x1b\0\0\0\0\0\0\0\x01", "eight bytes for one"),
            (b"\xc1\x01", "a tag"),
        ] {
            assert!(from_bytes::<u64>(bytes, 100).is_err(), "{why}");
        }
        assert!(from_bytes::<Vec<u64>>(b"\x9f\x01\xff", 100).is_err(), "an array without length");
        assert!(from_bytes::<Blob>(b"\x5f\x41\x01\xff", 100).is_err(), "bytes in pieces");
        assert_eq!(from_bytes::<u64>(b"\x18\x17", 100), Err(BytesError::NotCanonical));
    }

    #[test]
    fn what_is_too_long_too_short_or_followed_is_named() {
        assert_eq!(from_bytes::<Blob>(&[0; 11], 10), Err(BytesError::Oversized { size: 11, limit: 10 }));
        assert_eq!(from_bytes::<Blob>(b"\x43ab", 10), Err(BytesError::Truncated { at: 3 }));
        assert_eq!(from_bytes::<u8>(b"\x01\x01", 10), Err(BytesError::Malformed { at: 1, expected: "the end" }));
        assert_eq!(
            from_bytes::<Vec<u8>>(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 10),
            Err(BytesError::Truncated { at: 9 })
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in prop::collection::vec((any::<u64>(), prop::option::of(any::<Vec<u8>>().prop_map(Blob))), 0..20)) {
            let bytes = to_bytes(&value);
            prop_assert_eq!(from_bytes::<Nested>(&bytes, usize::MAX).unwrap(), value);
        }

        #[test]
        fn what_is_read_has_one_form(bytes: Vec<u8>) {
            if let Ok(value) = from_bytes::<Nested>(&bytes, 100) {
                prop_assert_eq!(to_bytes(&value), bytes);
            }
        }
    }
}
