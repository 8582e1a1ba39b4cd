//! What outlives a restart, as a file: who is registered, up to which message each was followed, and all blocks.
//!
//! ```text
//!   "MCCONDFILE1\n"  length:8  JSON {"sources": [{"registration", "sequence", "digest"}]}  the conductor's snapshot  CRC32C:4
//! ```
//!
//! It is written beside the file and then takes its place, so that there is always a whole one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mooncake::conductor::service::Conductor;
use mooncake::sys::checksum::crc32c;
use serde_json::{Value, json};

use super::intake::order::Last;
use super::sources::{Kept, Sources};

const MAGIC: &[u8] = b"MCCONDFILE1\n";

/// What was in a file.
pub struct Snapshot {
    pub kept: Vec<Kept>,
    /// For [`Conductor::restore`].
    pub blocks: Vec<u8>,
}

pub fn write(path: &Path, sources: &Sources, conductor: &Conductor) -> Result<usize, String> {
    // How far each publisher was followed comes first: of what is applied meanwhile more is in the blocks, and it is
    // applied again.
    let kept = sources.kept();
    let blocks = conductor.snapshot().map_err(|error| error.message().to_owned())?;
    let bytes = encode(&kept, &blocks);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // The new name outlives a loss of power once its folder does.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes.len())
}

/// None if there is no such file.
pub fn read(path: &Path) -> Result<Option<Snapshot>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    decode(&bytes).map(Some)
}

/// Puts a file aside that cannot be used, and says where it is now.
pub fn put_aside(path: &Path) -> Result<PathBuf, String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{seconds}"));
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(aside)
}

fn encode(kept: &[Kept], blocks: &[u8]) -> Vec<u8> {
    let source = |kept: &Kept| {
        json!({
            "registration": kept.written,
            "sequence": kept.last.map(|last| last.sequence),
            "digest": kept.last.map(|last| last.digest),
        })
    };
    let head = json!({ "sources": kept.iter().map(source).collect::<Vec<_>>() }).to_string();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(head.len() as u64).to_le_bytes());
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(blocks);
    let sum = crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Snapshot, String> {
    let wrong = || "it is no snapshot of a conductor".to_owned();
    let inside = bytes.strip_prefix(MAGIC).ok_or_else(wrong)?;
    let (whole, sum) = bytes.split_last_chunk().ok_or_else(wrong)?;
    if crc32c(whole) != u32::from_le_bytes(*sum) {
        return Err("it is damaged: its checksum is another one".into());
    }
    let inside = &inside[..inside.len().saturating_sub(sum.len())];
    let (length, inside) = inside.split_first_chunk().ok_or_else(wrong)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| wrong())?;
    let (head, blocks) = inside.split_at_checked(length).ok_or_else(wrong)?;
    let head: Value = serde_json::from_slice(head).map_err(|error| format!("its head: {error}"))?;
    let source = |source: &Value| {
        let last = source["sequence"].as_u64().zip(source["digest"].as_u64());
        Some(Kept {
            written: source["registration"].as_object()?.clone(),
            last: last.map(|(sequence, digest)| Last { sequence, digest }),
        })
    };
    let sources = head["sources"].as_array().ok_or_else(wrong)?;
    let kept = sources.iter().map(source).collect::<Option<_>>().ok_or_else(wrong)?;
    Ok(Snapshot { kept, blocks: blocks.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_no_other() {
        let kept = [
            Kept { written: serde_json::Map::from_iter([("a".into(), 1.into())]), last: None },
            Kept { written: serde_json::Map::new(), last: Some(Last { sequence: 7, digest: u64::MAX }) },
        ];
        let bytes = encode(&kept, b"blocks");
        let read = decode(&bytes).expect("its own");
        assert_eq!(read.blocks, b"blocks");
        for (read, kept) in read.kept.iter().zip(&kept) {
            assert_eq!((&read.written, read.last), (&kept.written, kept.last));
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(decode(&damaged).is_err(), "damaged at {place}");
        }
    }
}
