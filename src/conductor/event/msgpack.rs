//! MessagePack, read where it lies: nothing is copied, and nothing is allocated for what a stranger announces.

use rmp::Marker;

use crate::error::Result;
use crate::{bail, fail};

/// A value, or the head of one that has parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// Below 0.
    Negative(i64),
    Float(f64),
    /// Text that is not checked to be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs follow.
    Map(u32),
    Extension,
}

/// Where reading is in some bytes. A copy goes on from the same place.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Bytes that are left: no more values than that can follow.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn item(&mut self) -> Result<Item<'a>> {
        Ok(match Marker::from_u8(self.number(1)? as u8) {
            Marker::Null => Item::Nil,
            Marker::True => Item::Bool(true),
            Marker::False => Item::Bool(false),
            Marker::FixPos(value) => Item::Unsigned(value.into()),
            Marker::FixNeg(value) => Item::Negative(value.into()),
            Marker::U8 => Item::Unsigned(self.number(1)?),
            Marker::U16 => Item::Unsigned(self.number(2)?),
            Marker::U32 => Item::Unsigned(self.number(4)?),
            Marker::U64 => Item::Unsigned(self.number(8)?),
            Marker::I8 => signed((self.number(1)? as i8).into()),
            Marker::I16 => signed((self.number(2)? as i16).into()),
            Marker::I32 => signed((self.number(4)? as i32).into()),
            Marker::I64 => signed(self.number(8)? as i64),
            Marker::F32 => Item::Float(f32::from_bits(self.number(4)? as u32).into()),
            Marker::F64 => Item::Float(f64::from_bits(self.number(8)?)),
            Marker::FixStr(length) => Item::Text(self.bytes(length.into())?),
            Marker::Str8 => Item::Text(self.sized(1)?),
            Marker::Str16 => Item::Text(self.sized(2)?),
            Marker::Str32 => Item::Text(self.sized(4)?),
            Marker::Bin8 => Item::Bytes(self.sized(1)?),
            Marker::Bin16 => Item::Bytes(self.sized(2)?),
            Marker::Bin32 => Item::Bytes(self.sized(4)?),
            Marker::FixArray(count) => Item::Array(count.into()),
            Marker::Array16 => Item::Array(self.number(2)? as u32),
            Marker::Array32 => Item::Array(self.number(4)? as u32),
            Marker::FixMap(count) => Item::Map(count.into()),
            Marker::Map16 => Item::Map(self.number(2)? as u32),
            Marker::Map32 => Item::Map(self.number(4)? as u32),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.long_extension(1)?,
            Marker::Ext16 => self.long_extension(2)?,
            Marker::Ext32 => self.long_extension(4)?,
            Marker::Reserved => bail!(Rejected, "a byte 0xc1, which MessagePack does not have"),
        })
    }

    /// Goes behind the next value, however deep its parts lie in one another.
    pub fn skip(&mut self) -> Result<()> {
        let mut left = 1_u64;
        while left > 0 {
            // Each part takes at least a byte: there are never more steps than bytes.
            left += match self.item()? {
                Item::Array(count) => count.into(),
                Item::Map(count) => 2 * u64::from(count),
                _ => 0,
            };
            left -= 1;
        }
        Ok(())
    }

    /// A reader before the next value, while this one goes behind it.
    pub fn value(&mut self) -> Result<Reader<'a>> {
        let before = self.rest;
        self.skip()?;
        Ok(Reader { rest: &before[..before.len() - self.rest.len()] })
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(fail!(
                Rejected,
                "it ends in the middle: {length} bytes are to come, {} do",
                self.rest.len()
            ));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// A number of up to 8 bytes, big-endian.
    fn number(&mut self, length: usize) -> Result<u64> {
        Ok(self.bytes(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn sized(&mut self, digits: usize) -> Result<&'a [u8]> {
        let length = self.number(digits)?;
        self.bytes(length as usize)
    }

    fn extension(&mut self, length: usize) -> Result<Item<'a>> {
        self.bytes(1 + length).map(|_| Item::Extension)
    }

    fn long_extension(&mut self, digits: usize) -> Result<Item<'a>> {
        let length = self.number(digits)?;
        self.extension(length as usize)
    }
}

/// Encoders may write a number that is not negative in a signed form.
fn signed(value: i64) -> Item<'static> {
    u64::try_from(value).map_or(Item::Negative(value), Item::Unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_value_is_read_and_skipped() {
        let cases: &[(&[u8], Item<'_>)] = &[
            (b"\xc0", Item::Nil),
            (b"\xc2", Item::Bool(false)),
            (b"\x7f", Item::Unsigned(127)),
            (b"\xff", Item::Negative(-1)),
            (b"\xcc\xff", Item::Unsigned(255)),
            (b"\xcd\x01\x00", Item::Unsigned(256)),
            (b"\xce\xff\xff\xff\xff", Item::Unsigned(u32::MAX as u64)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Item::Unsigned(u64::MAX)),
            (b"\xd0\x80", Item::Negative(-128)),
            (b"\xd0\x05", Item::Unsigned(5)),
            (b"\xd1\xff\x00", Item::Negative(-256)),
            (b"\xd2\x80\x00\x00\x00", Item::Negative(i32::MIN as i64)),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Item::Negative(i64::MIN)),
            (b"\xca\x3f\x80\x00\x00", Item::Float(1.0)),
            (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", Item::Float(1.0)),
            (b"\xa2ab", Item::Text(b"ab")),
            (b"\xd9\x01a", Item::Text(b"a")),
            (b"\xda\x00\x01a", Item::Text(b"a")),
            (b"\xdb\x00\x00\x00\x01a", Item::Text(b"a")),
            (b"\xc4\x01a", Item::Bytes(b"a")),
            (b"\xc5\x00\x01a", Item::Bytes(b"a")),
            (b"\xc6\x00\x00\x00\x01a", Item::Bytes(b"a")),
            (b"\x91\xc0", Item::Array(1)),
            (b"\xdc\x00\x01\xc0", Item::Array(1)),
            (b"\xdd\x00\x00\x00\x01\xc0", Item::Array(1)),
            (b"\x81\xc0\xc0", Item::Map(1)),
            (b"\xde\x00\x01\xc0\xc0", Item::Map(1)),
            (b"\xdf\x00\x00\x00\x01\xc0\xc0", Item::Map(1)),
            (b"\xd4\x01a", Item::Extension),
            (b"\xd8\x010123456789abcdef", Item::Extension),
            (b"\xc7\x02\x01ab", Item::Extension),
            (b"\xc9\x00\x00\x00\x01\x01a", Item::Extension),
        ];
        for (bytes, item) in cases {
            assert_eq!(Reader::new(bytes).item().expect("well-formed"), *item, "{bytes:x?}");
            let mut whole = Reader::new(bytes);
            whole.skip().expect("well-formed");
            assert_eq!(whole.left(), 0, "{bytes:x?}");
            let cut = &bytes[..bytes.len() - 1];
            assert!(Reader::new(cut).skip().is_err(), "{cut:x?}");
        }
    }

    #[test]
    fn parts_that_never_come_cost_nothing() {
        // Arrays of four thousand million values, each in the one before.
        let nested: Vec<u8> = b"\xdd\xff\xff\xff\xff".repeat(10_000);
        assert!(Reader::new(&nested).skip().is_err());
        assert!(Reader::new(b"\xdb\xff\xff\xff\xff").item().is_err());
        assert!(Reader::new(b"\xc1").item().is_err());
    }
}
