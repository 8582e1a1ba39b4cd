//! The floor: a process that answers so many bytes with so many, over one connection, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::super::drive::Mover;
use super::processes::until_told;

/// A question: how many bytes it has after these, and how many the answer has.
const HEAD: usize = 16;

pub fn serve() -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    until_told(&address.to_string());
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut bytes) = ([0; HEAD], vec![7u8; 16 << 20]);
    loop {
        stream.read_exact(&mut head)?;
        let [ask, reply] = lengths(&head).map(|length| length.min(bytes.len()));
        stream.read_exact(&mut bytes[..ask])?;
        stream.write_all(&bytes[..reply])?;
    }
}

fn lengths(head: &[u8; HEAD]) -> [usize; 2] {
    let number = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(word) as usize
    };
    [number(0), number(8)]
}

/// Asks and waits, again and again.
pub struct Ping {
    stream: TcpStream,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Ping {
    pub fn new(address: &str, ask: usize, reply: usize) -> Result<Ping, String> {
        let stream =
            TcpStream::connect(address).map_err(|error| format!("connecting to the floor: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let rest = ask.saturating_sub(HEAD);
        let mut question = Vec::with_capacity(HEAD + rest);
        question.extend_from_slice(&(rest as u64).to_le_bytes());
        question.extend_from_slice(&(reply as u64).to_le_bytes());
        question.resize(HEAD + rest, 3);
        Ok(Ping { stream, question, answer: vec![0; reply] })
    }
}

impl Mover for Ping {
    fn step(&mut self, _: u64) -> Result<(), String> {
        let asked =
            self.stream.write_all(&self.question).and_then(|()| self.stream.read_exact(&mut self.answer));
        asked.map_err(|error| format!("the floor: {error}"))
    }
}
