//! Another process's memory file, mapped here: what a copy into mapped memory costs at least needs the same memory.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use mooncake::sys::memory::Mem;

use super::raw::Mapped;

/// A range of the target's memory, mapped here.
pub struct Shared {
    mapped: Mapped,
    /// Where the range starts in the mapping.
    skip: usize,
    length: usize,
}

impl Shared {
    /// Finds the file behind the target's range in its table of mappings, and opens it through the target's
    /// descriptors.
    pub fn of_process(pid: i32, address: usize, length: usize) -> Result<Shared, String> {
        let table = fs::read_to_string(format!("/proc/{pid}/maps"))
            .map_err(|error| format!("reading the mappings of process {pid}: {error}"))?;
        let row = table.lines().filter_map(Row::parse).find(|row| row.start <= address && address < row.end);
        let row = row.ok_or_else(|| format!("process {pid} has no mapping at {address:#x}"))?;
        let file = find_file(pid, row.inode)?;
        let skip = address - row.start;
        let mapped = Mapped::of_file(&file, skip + length, row.offset)?;
        Ok(Shared { mapped, skip, length })
    }

    pub fn mem(&self) -> Mem {
        self.mapped.mem().part(self.skip, self.length)
    }
}

struct Row {
    start: usize,
    end: usize,
    offset: u64,
    inode: u64,
}

impl Row {
    /// "START-END PERMISSIONS OFFSET DEVICE INODE PATH"
    fn parse(line: &str) -> Option<Row> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let offset = words.nth(1)?;
        let inode = words.nth(1)?;
        Some(Row {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            inode: inode.parse().ok().filter(|inode| *inode != 0)?,
        })
    }
}

fn find_file(pid: i32, inode: u64) -> Result<File, String> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).map_err(|error| format!("reading {folder}: {error}"))?;
    for entry in entries.flatten() {
        // Of all its files only the one that is mapped is opened.
        if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.ino() == inode && metadata.is_file()) {
            return File::options()
                .read(true)
                .write(true)
                .open(entry.path())
                .map_err(|error| format!("opening the memory file of process {pid}: {error}"));
        }
    }
    Err(format!("process {pid} holds no descriptor of its mapped memory file"))
}

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;

    #[test]
    fn a_memory_file_of_a_process_is_found_and_shared() {
        let file = raw::memory_file(8192).expect("a file");
        let original = Mapped::of_file(&file, 8192, 0).expect("a mapping");
        let pid = std::process::id() as i32;
        let shared = Shared::of_process(pid, original.mem().address() + 100, 1000).expect("the same memory");
        original.mem().part(100, 5).write(b"hello");
        assert!(shared.mem().with_bytes(|bytes| bytes.starts_with(b"hello") && bytes.len() == 1000));
    }

    #[test]
    fn memory_that_is_no_file_is_refused() {
        let private = Mapped::anonymous(4096).expect("memory");
        let pid = std::process::id() as i32;
        assert!(Shared::of_process(pid, private.mem().address(), 4096).is_err());
    }
}
