//! Memory named by its address: registering a range again changes nothing, a longer one grows it, one call ends it.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::segment::memory::{MemoryOptions, REMOTE_READ, REMOTE_WRITE};
use crate::sys::memory::is_readable;
use crate::{bail, fail};

/// What is registered at one address: longer ones were added by later calls.
#[derive(Default)]
struct Range {
    regions: Vec<u64>,
    length: usize,
    permissions: u32,
}

#[derive(Default)]
pub struct Registrations {
    ranges: Mutex<HashMap<usize, Range>>,
}

impl Registrations {
    /// Registers all ranges or none.
    pub fn register(
        &self,
        engine: &Engine,
        wanted: &[(usize, usize)],
        location: &str,
        is_remote: bool,
    ) -> Result<()> {
        let permissions = if is_remote { REMOTE_READ | REMOTE_WRITE } else { 0 };
        let options = MemoryOptions {
            permissions,
            location: location_of(location)?.to_owned(),
            ..MemoryOptions::default()
        };
        for (index, (address, length)) in wanted.iter().enumerate() {
            check(*address, *length).context(format_args!("range {index}"))?;
        }
        let missing: Vec<(usize, usize)> = {
            let ranges = self.ranges.lock();
            wanted.iter().filter(|range| !covers(&ranges, range, permissions)).copied().collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        // Not under the lock: it may be published in a metadata service. A range that two threads register at once is
        // registered twice, and ended by one call all the same.
        let results = engine.register_memory_batch(&missing, &options);
        let (made, failed): (Vec<_>, Vec<_>) =
            missing.into_iter().zip(results).partition(|(_, result)| result.is_ok());
        if let Some((_, Err(error))) = failed.into_iter().next() {
            for region in made.into_iter().filter_map(|(_, result)| result.ok()) {
                engine.unregister_memory(region, true)?;
            }
            return Err(error);
        }
        let mut ranges = self.ranges.lock();
        for ((address, length), region) in made {
            let range = ranges.entry(address).or_default();
            range.length = range.length.max(length);
            range.permissions |= permissions;
            range.regions.extend(region);
        }
        Ok(())
    }

    /// Ends whatever is registered at an address, however often it was registered.
    pub fn unregister(&self, engine: &Engine, address: usize) -> Result<()> {
        let Some(range) = self.ranges.lock().remove(&address) else {
            bail!(AddressNotRegistered, "nothing is registered at {address:#x}");
        };
        let mut left = range.regions.into_iter();
        for region in left.by_ref() {
            if let Err(error) = engine.unregister_memory(region, true) {
                // A peer is in the middle of a copy: what could not be taken back stays known.
                let regions = std::iter::once(region).chain(left).collect();
                self.ranges.lock().insert(address, Range { regions, ..range });
                return Err(error);
            }
        }
        Ok(())
    }

    /// As `unregister` for each; goes on after a failure and returns the first.
    pub fn unregister_all(&self, engine: &Engine, addresses: &[usize]) -> Result<()> {
        let results = addresses.iter().map(|address| self.unregister(engine, *address));
        let failures: Vec<Error> = results.filter_map(Result::err).collect();
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    pub fn count(&self) -> usize {
        self.ranges.lock().len()
    }
}

fn covers(ranges: &HashMap<usize, Range>, (address, length): &(usize, usize), permissions: u32) -> bool {
    ranges
        .get(address)
        .is_some_and(|range| range.length >= *length && range.permissions & permissions == permissions)
}

fn check(address: usize, length: usize) -> Result<()> {
    if address == 0 || length == 0 {
        bail!(InvalidArgument, "{length} bytes at {address:#x} are no memory");
    }
    if address.checked_add(length).is_none() {
        bail!(InvalidArgument, "{length} bytes at {address:#x} wrap around");
    }
    // Both ends: memory of a device is reserved in this address space and not readable.
    if !is_readable(address) || !is_readable(address + length - 1) {
        bail!(
            Unsupported,
            "the {length} bytes at {address:#x} are not readable by the processor: memory of devices is not supported yet"
        );
    }
    Ok(())
}

/// Where Mooncake's callers say that memory lies, as far as it matters here.
fn location_of(location: &str) -> Result<&str> {
    match location.split(':').next().unwrap_or_default() {
        // Striped over nodes: a hint that nothing here needs.
        "" | "*" | "segments" => Ok("*"),
        "cpu" if location.len() <= 31 => Ok(location),
        device => Err(fail!(Unsupported, "location {location:?}: memory of {device} is not supported yet")),
    }
}
