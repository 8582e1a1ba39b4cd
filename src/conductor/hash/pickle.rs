//! The few shapes of Python's pickle (protocol 5) that vLLM hashes, byte for byte as CPython's pickler writes them.
//!
//! **Memo.** The pickler marks every string, bytes and tuple that it wrote with MEMOIZE and refers back to it where
//! the same *object* comes again. Numbers and None are never marked, and in what is written here no object comes
//! twice, so there is a mark after each and never a reference.
//!
//! **Frames.** From protocol 4 on the stream is cut into frames, each led by its length. Before each object, numbers
//! within a tuple included, the pickler closes the frame if it has reached 64 KiB, and begins another with the next
//! byte. (One of fewer than 4 bytes would get no header; here the last object and what ends the stream have 4.)

use super::Extra;

const PROTO: u8 = 0x80;
const FRAME: u8 = 0x95;
const STOP: u8 = b'.';
const MEMOIZE: u8 = 0x94;
const NONE: u8 = b'N';
const MARK: u8 = b'(';
const TUPLE: u8 = b't';
const TUPLE1: u8 = 0x85;
const SHORT_BINBYTES: u8 = b'C';
const SHORT_BINUNICODE: u8 = 0x8c;
const BINUNICODE: u8 = b'X';
const BININT1: u8 = b'K';
const BININT2: u8 = b'M';
const BININT: u8 = b'J';
const LONG1: u8 = 0x8a;

const FRAME_TARGET: usize = 64 * 1024;
const FRAME_HEADER: usize = 9;

pub fn text(text: &str, out: &mut Vec<u8>) {
    let mut pickler = Pickler::new(out);
    pickler.text(text);
    pickler.finish();
}

/// The tuple (parent, (tokens), None or (LoRA, salt)).
pub fn block(parent: &[u8; 32], tokens: &[u32], extra: Extra<'_>, out: &mut Vec<u8>) {
    let mut pickler = Pickler::new(out);
    pickler.bytes(parent);
    pickler.tuple(tokens.len(), tokens, |pickler, token| pickler.number(*token));
    match extra.names().count() {
        0 => pickler.none(),
        count => pickler.tuple(count, extra.names(), Pickler::text),
    }
    pickler.put(&[tuple_of(3), MEMOIZE]);
    pickler.finish();
}

/// The code that makes a tuple of the last one, two or three objects.
fn tuple_of(count: usize) -> u8 {
    TUPLE1 + (count as u8 - 1)
}

struct Pickler<'a> {
    out: &'a mut Vec<u8>,
    /// Where the header of the open frame stands.
    frame: Option<usize>,
}

impl Pickler<'_> {
    fn new(out: &mut Vec<u8>) -> Pickler<'_> {
        out.extend_from_slice(&[PROTO, 5]);
        Pickler { out, frame: None }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.frame.is_none() {
            self.frame = Some(self.out.len());
            self.out.extend_from_slice(&[FRAME, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.out.extend_from_slice(bytes);
    }

    /// Goes before each object.
    fn begin(&mut self) {
        if self.frame.is_some_and(|start| self.out.len() - start - FRAME_HEADER >= FRAME_TARGET) {
            self.close_frame();
        }
    }

    fn close_frame(&mut self) {
        if let Some(start) = self.frame.take() {
            let length = (self.out.len() - start - FRAME_HEADER) as u64;
            self.out[start + 1..start + FRAME_HEADER].copy_from_slice(&length.to_le_bytes());
        }
    }

    fn finish(mut self) {
        self.put(&[STOP]);
        self.close_frame();
    }

    fn none(&mut self) {
        self.begin();
        self.put(&[NONE]);
    }

    fn text(&mut self, text: &str) {
        self.begin();
        match u8::try_from(text.len()) {
            Ok(length) => self.put(&[SHORT_BINUNICODE, length]),
            Err(_) => {
                self.put(&[BINUNICODE]);
                self.put(&(text.len() as u32).to_le_bytes());
            }
        }
        self.put(text.as_bytes());
        self.put(&[MEMOIZE]);
    }

    fn bytes(&mut self, bytes: &[u8; 32]) {
        self.begin();
        self.put(&[SHORT_BINBYTES, 32]);
        self.put(bytes);
        self.put(&[MEMOIZE]);
    }

    /// Of at least one item: the empty tuple is written in another way.
    fn tuple<T>(
        &mut self,
        count: usize,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.begin();
        let short = count <= 3;
        if !short {
            self.put(&[MARK]);
        }
        items.into_iter().for_each(|item| write(self, item));
        self.put(&[if short { tuple_of(count) } else { TUPLE }, MEMOIZE]);
    }

    /// Numbers are signed: what does not fit 31 bits is a "long", of as few bytes as keep its sign.
    fn number(&mut self, number: u32) {
        self.begin();
        let bytes = number.to_le_bytes();
        match number {
            0..=0xff => self.put(&[BININT1, bytes[0]]),
            0x100..=0xffff => self.put(&[BININT2, bytes[0], bytes[1]]),
            0x1_0000..=0x7fff_ffff => self.put(&[BININT, bytes[0], bytes[1], bytes[2], bytes[3]]),
            _ => self.put(&[LONG1, 5, bytes[0], bytes[1], bytes[2], bytes[3], 0]),
        }
    }
}
