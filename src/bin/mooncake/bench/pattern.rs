//! What the buffers hold: a source tells each byte's place, a destination starts with a sentinel.

use mooncake::sys::memory::Mem;

use super::case::Case;
use super::walk::Walk;

/// What a destination is full of before a measurement.
const SENTINEL: u8 = 0xa5;
const CHUNK: usize = 64 << 10;

/// Fills a source: every eight bytes tell their offset.
pub fn fill_source(source: Mem) {
    let mut bytes = vec![0; CHUNK];
    let mut offset = 0;
    while offset < source.len() {
        let length = CHUNK.min(source.len() - offset);
        expect(offset, &mut bytes[..length]);
        source.part(offset, length).write(&bytes[..length]);
        offset += length;
    }
}

/// Fills what a case can reach of a destination with the sentinel.
pub fn reset(destination: Mem, case: &Case) {
    for thread in 0..case.threads {
        let (start, length) = Walk::new(case, thread).reach();
        destination.part(start, length).fill(SENTINEL);
    }
}

/// Checks a destination after so many steps of each thread: every block that was due holds its source's bytes, and
/// every other one the sentinel still.
pub fn verify(destination: Mem, case: &Case, steps: &[u64]) -> Result<(), String> {
    let mut wanted = vec![0; case.size];
    for (thread, steps) in steps.iter().enumerate() {
        let walk = Walk::new(case, thread);
        for position in 0..walk.positions() {
            let is_due = (position as u64) < *steps;
            for (from, to) in walk.blocks(position) {
                if is_due {
                    expect(from, &mut wanted);
                } else {
                    wanted.fill(SENTINEL);
                }
                destination.part(to, case.size).with_bytes(|bytes| compare(bytes, &wanted, to, is_due))?;
            }
        }
    }
    Ok(())
}

fn compare(bytes: &[u8], wanted: &[u8], at: usize, is_due: bool) -> Result<(), String> {
    if bytes == wanted {
        return Ok(());
    }
    let first = bytes.iter().zip(wanted).position(|(byte, want)| byte != want).unwrap_or(0);
    let wrong = bytes.iter().zip(wanted).filter(|(byte, want)| byte != want).count();
    let what = if is_due { "a block that was transferred" } else { "a block that nobody asked to write" };
    Err(format!(
        "{what} is wrong: {wrong} of {} bytes differ, the first at offset {}: {:#04x} instead of {:#04x}",
        bytes.len(),
        at + first,
        bytes[first],
        wanted[first]
    ))
}

/// The bytes of a source at `offset`.
fn expect(offset: usize, bytes: &mut [u8]) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done;
        let word = mix((at / 8) as u64).to_le_bytes();
        let part = &word[at % 8..];
        let length = part.len().min(bytes.len() - done);
        bytes[done..done + length].copy_from_slice(&part[..length]);
        done += length;
    }
}

/// A permutation of 64-bit numbers whose results look random.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits ^ (bits >> 32)
}

#[cfg(test)]
mod tests {
    use super::super::case::{Op, Path};
    use super::*;

    fn world() -> (Case, Vec<u8>, Vec<u8>) {
        let case = Case {
            path: Path::Local,
            op: Op::Write,
            size: 100,
            batch: 3,
            threads: 2,
            is_cold: true,
            buffer: 10_000,
            positions: usize::MAX,
        };
        let (source, destination) = (vec![0; 10_000], vec![0; 10_000]);
        fill_source(Mem::of(&source));
        reset(Mem::of(&destination), &case);
        (case, source, destination)
    }

    fn transfer(case: &Case, source: &[u8], destination: &mut [u8], thread: usize, step: u64) {
        let walk = Walk::new(case, thread);
        for (from, to) in walk.blocks(walk.position(step)) {
            destination[to..to + case.size].copy_from_slice(&source[from..from + case.size]);
        }
    }

    #[test]
    fn what_was_transferred_passes_and_what_is_missing_does_not() {
        let (case, source, mut destination) = world();
        transfer(&case, &source, &mut destination, 0, 0);
        transfer(&case, &source, &mut destination, 1, 0);
        assert_eq!(verify(Mem::of(&destination), &case, &[1, 1]), Ok(()));
        assert!(
            verify(Mem::of(&destination), &case, &[2, 1])
                .expect_err("a wrong byte")
                .contains("was transferred is wrong")
        );
        assert!(
            verify(Mem::of(&destination), &case, &[1, 0]).expect_err("a wrong byte").contains("nobody asked")
        );
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let (case, source, mut destination) = world();
        transfer(&case, &source, &mut destination, 0, 0);
        let (_, at) = Walk::new(&case, 0).blocks(0).nth(1).expect("a batch of three");
        destination[at + 99] ^= 1;
        let told = verify(Mem::of(&destination), &case, &[1, 0]).expect_err("a wrong byte");
        assert!(told.contains(&format!("1 of 100 bytes differ, the first at offset {}", at + 99)), "{told}");
    }
}
