//! The protocol of Redis, version 2: commands out, replies in. Nothing that a server sends can make us allocate much.

use std::io::{self, ErrorKind, Read, Write};

use super::{KEY_MAX, VALUE_MAX};

/// Longest line: a number, or what went wrong.
const LINE_MAX: usize = 4096;
/// Largest text in a reply: a value, or a key of another user of the database.
const BULK_MAX: usize = if VALUE_MAX > KEY_MAX { VALUE_MAX + 1 } else { KEY_MAX };
/// Most elements of an array; a step of a scan may return a few more than it was asked for.
const ARRAY_MAX: usize = 100_000;
/// Bytes of all texts of one reply.
const REPLY_MAX: usize = 64 << 20;
/// Arrays in arrays.
const DEPTH_MAX: usize = 3;

#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Number(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    /// For error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Reply::Simple(_) => "a word",
            Reply::Error(_) => "an error",
            Reply::Number(_) => "a number",
            Reply::Bulk(_) => "a text",
            Reply::Nil => "nothing",
            Reply::Array(_) => "a list",
        }
    }
}

pub fn write_command(stream: &mut impl Write, command: &[&[u8]]) -> io::Result<()> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    stream.write_all(&bytes)?;
    stream.flush()
}

/// Reads exactly one reply. `Unsupported` is what no Redis says, `FileTooLarge` what is beyond a bound.
pub fn read_reply(stream: &mut impl Read) -> io::Result<Reply> {
    let mut reader = Reader { inner: io::BufReader::new(stream), left: REPLY_MAX };
    let reply = reader.reply(0)?;
    // One command is under way at a time, so that nothing may follow its reply.
    if reader.inner.buffer().is_empty() { Ok(reply) } else { Err(garbage("more than one reply")) }
}

struct Reader<R> {
    inner: io::BufReader<R>,
    /// Bytes of texts that this reply may still have.
    left: usize,
}

impl<R: Read> Reader<R> {
    fn reply(&mut self, depth: usize) -> io::Result<Reply> {
        self.left = self.left.checked_sub(size_of::<Reply>()).ok_or_else(|| too_much(REPLY_MAX))?;
        let line = self.line()?;
        let text = || String::from_utf8_lossy(&line[1..]).into_owned();
        match line.first() {
            Some(b'+') => Ok(Reply::Simple(text())),
            Some(b'-') => Ok(Reply::Error(text())),
            Some(b':') => Ok(Reply::Number(number(&line[1..])?)),
            Some(b'$') => match length(&line[1..], BULK_MAX.min(self.left))? {
                Some(length) => self.bulk(length).map(Reply::Bulk),
                None => Ok(Reply::Nil),
            },
            Some(b'*') if depth < DEPTH_MAX => match length(&line[1..], ARRAY_MAX)? {
                Some(count) => {
                    (0..count).map(|_| self.reply(depth + 1)).collect::<io::Result<_>>().map(Reply::Array)
                }
                None => Ok(Reply::Nil),
            },
            _ => Err(garbage("that is not the protocol of Redis")),
        }
    }

    /// Without the line's end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.inner.read_exact(&mut byte)?;
            match byte[0] {
                b'\n' => break,
                _ if line.len() >= LINE_MAX => return Err(garbage("a line without an end")),
                other => line.push(other),
            }
        }
        if line.pop() == Some(b'\r') { Ok(line) } else { Err(garbage("that is not the protocol of Redis")) }
    }

    fn bulk(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.left -= length;
        let mut bytes = Vec::new();
        // It grows with what really comes.
        self.inner.by_ref().take(length as u64 + 2).read_to_end(&mut bytes)?;
        if bytes.len() < length + 2 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if !bytes.ends_with(b"\r\n") {
            return Err(garbage("a text of another length than it says"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn number(digits: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| garbage("a number that is none"))
}

/// -1 is no length.
fn length(digits: &[u8], most: usize) -> io::Result<Option<usize>> {
    match number(digits)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            Ok(_) => Err(too_much(most)),
            Err(_) => Err(garbage("a negative length")),
        },
    }
}

fn too_much(most: usize) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("more than there can be: {most}"))
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut &bytes[..])
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        assert_eq!(read(b"+OK\r\n").expect("a word"), Reply::Simple("OK".to_owned()));
        assert_eq!(read(b"-ERR no\r\n").expect("an error"), Reply::Error("ERR no".to_owned()));
        assert_eq!(read(b":-7\r\n").expect("a number"), Reply::Number(-7));
        assert_eq!(read(b"$4\r\na\r\nb\r\n").expect("a text"), Reply::Bulk(b"a\r\nb".to_vec()));
        assert_eq!(
            (read(b"$-1\r\n").expect("nil"), read(b"*-1\r\n").expect("nil")),
            (Reply::Nil, Reply::Nil)
        );
        let inner = Reply::Array(vec![Reply::Bulk(Vec::new())]);
        assert_eq!(
            read(b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n").expect("a list"),
            Reply::Array(vec![Reply::Number(1), inner])
        );
    }

    #[test]
    fn what_no_redis_says_is_refused_before_memory_is_allocated() {
        let kind = |bytes: &[u8]| read(bytes).expect_err("an error").kind();
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"+OK\n",
            b":x\r\n",
            b"$-2\r\n",
            b"$1\r\nabc",
            b"+OK\r\n+OK\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        ] {
            assert_eq!(kind(bytes), ErrorKind::Unsupported, "{}", bytes.escape_ascii());
        }
        assert_eq!(kind(&[b'+'; 2 * LINE_MAX]), ErrorKind::Unsupported);
        assert_eq!(kind(b"$9223372036854775807\r\n"), ErrorKind::FileTooLarge);
        assert_eq!(kind(b"*99999999\r\n"), ErrorKind::FileTooLarge);
        for bytes in [&b""[..], b"+O", b"$4\r\nab", b"*2\r\n:1\r\n"] {
            assert_eq!(kind(bytes), ErrorKind::UnexpectedEof, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_command_is_counted_and_measured() {
        let mut bytes = Vec::new();
        write_command(&mut bytes, &[b"SET", b"", b"\r\n"]).expect("a command");
        assert_eq!(bytes, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(prop::sample::select(&b"$*+-:0123456789\r\n\xffA"[..]), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
