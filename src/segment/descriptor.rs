//! What a peer offers: the regions of its segment as told by itself, and the blob that carries them.

use prost::Message;

use super::memory::{MemoryTable, REMOTE_READ, Region};
use crate::error::Result;
use crate::{bail, fail};

/// Identity of one engine, made anew whenever one is created: two lives of one program differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct EngineId(pub [u8; 16]);

impl EngineId {
    pub fn random() -> EngineId {
        EngineId(crate::sys::random::bytes())
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<EngineId> {
        let array: [u8; 16] = bytes
            .try_into()
            .map_err(|_| fail!(Rejected, "an engine id has 16 bytes, not {}", bytes.len()))?;
        Ok(EngineId(array))
    }
}

impl std::fmt::Display for EngineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for EngineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// One region on the wire. Field numbers outlive releases.
#[derive(Clone, PartialEq, Message)]
pub struct RegionRecord {
    #[prost(uint64, tag = "1")]
    pub address: u64,
    #[prost(uint64, tag = "2")]
    pub length: u64,
    #[prost(uint64, tag = "3")]
    pub key: u64,
    #[prost(uint32, tag = "4")]
    pub permissions: u32,
    #[prost(string, tag = "5")]
    pub location: String,
    /// The owner allocated it: peers of its host can map it.
    #[prost(bool, tag = "6")]
    pub is_mappable: bool,
}

/// A segment on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct SegmentRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub engine_id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, repeated, tag = "3")]
    pub addresses: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub regions: Vec<RegionRecord>,
    /// MemoryTable::version() when this was made.
    #[prost(uint64, tag = "5")]
    pub version: u64,
}

/// Most regions in one record: what a hostile peer can make us allocate is bounded by the frame size anyway, this
/// bounds what we send.
pub const MAX_REGIONS: usize = 1 << 18;

fn record_of(region: &Region) -> RegionRecord {
    RegionRecord {
        address: region.mem.address() as u64,
        length: region.mem.len() as u64,
        key: region.key,
        permissions: region.permissions,
        location: region.location.clone(),
        // A mapping cannot be made write-only.
        is_mappable: region.allocation.is_some() && region.permissions & REMOTE_READ != 0,
    }
}

impl SegmentRecord {
    /// What this engine offers at the moment; `only` picks regions by id.
    pub fn of(
        memory: &MemoryTable,
        id: EngineId,
        name: &str,
        addresses: Vec<String>,
        only: Option<&[u64]>,
    ) -> Result<SegmentRecord> {
        let version = memory.version();
        let regions: Vec<RegionRecord> = match only {
            None => memory.offered().iter().take(MAX_REGIONS).map(|region| record_of(region)).collect(),
            Some(ids) => ids
                .iter()
                .map(|id| {
                    let region = memory.get(*id)?;
                    if region.permissions == 0 {
                        bail!(InvalidArgument, "region {id:#x} is local only: peers may not reach it");
                    }
                    Ok(record_of(&region))
                })
                .collect::<Result<_>>()?,
        };
        Ok(SegmentRecord { engine_id: id.0.to_vec(), name: name.to_owned(), addresses, regions, version })
    }
}

/// A segment record, searchable.
#[derive(Debug, Default)]
pub struct Descriptor {
    pub version: u64,
    /// In the order of registration.
    pub regions: Vec<RemoteRegion>,
    /// Indices into `regions` by address, and how far each prefix reaches.
    sorted: Vec<u32>,
    reach: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RemoteRegion {
    pub address: u64,
    pub length: u64,
    pub key: u64,
    pub permissions: u32,
    pub location: String,
    pub is_mappable: bool,
}

impl RemoteRegion {
    pub fn contains(&self, address: u64, length: u64) -> bool {
        address >= self.address && length <= self.length && address - self.address <= self.length - length
    }
}

impl Descriptor {
    /// Takes a peer's word apart; what cannot be true is refused.
    pub fn from_record(record: SegmentRecord) -> Result<Descriptor> {
        let mut regions = Vec::with_capacity(record.regions.len());
        for region in record.regions {
            if region.length == 0 || region.address.checked_add(region.length).is_none() || region.key == 0 {
                bail!(Rejected, "the peer describes an impossible region at {:#x}", region.address);
            }
            let location = region.location.chars().filter(|c| !c.is_control()).take(31).collect();
            regions.push(RemoteRegion {
                address: region.address,
                length: region.length,
                key: region.key,
                permissions: region.permissions & 3,
                location,
                is_mappable: region.is_mappable,
            });
        }
        let mut sorted: Vec<u32> = (0..regions.len() as u32).collect();
        sorted.sort_by_key(|index| regions[*index as usize].address);
        let mut highest = 0;
        let reach = sorted
            .iter()
            .map(|index| {
                let region = &regions[*index as usize];
                highest = highest.max(region.address + region.length);
                highest
            })
            .collect();
        Ok(Descriptor { version: record.version, regions, sorted, reach })
    }

    /// The region that holds a whole range; the newest one, where registrations overlap.
    pub fn find(&self, address: u64, length: u64) -> Option<&RemoteRegion> {
        let end = address.checked_add(length)?;
        let from = self.sorted.partition_point(|index| self.regions[*index as usize].address <= address);
        (0..from)
            .rev()
            .take_while(|position| self.reach[*position] >= end)
            .map(|position| &self.regions[self.sorted[position] as usize])
            .find(|region| region.contains(address, length))
    }

    pub fn total_bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.length).sum()
    }
}

/// First bytes of an exported blob; the last one is the version of what follows.
const BLOB_MAGIC: &[u8; 8] = b"MCBLOB\0\x01";

/// A blob as `mc_engine_export` hands it out: magic, checksum, record.
pub fn to_blob(record: &SegmentRecord) -> Vec<u8> {
    let body = record.encode_to_vec();
    let mut blob = BLOB_MAGIC.to_vec();
    blob.extend_from_slice(&crate::sys::checksum::crc32c(&body).to_le_bytes());
    blob.extend_from_slice(&body);
    blob
}

/// Takes a blob apart.
pub fn from_blob(blob: &[u8]) -> Result<SegmentRecord> {
    let Some((head, body)) = blob.split_at_checked(12) else {
        bail!(InvalidArgument, "{} bytes are no blob of mc_engine_export()", blob.len());
    };
    if head[..7] != BLOB_MAGIC[..7] {
        bail!(InvalidArgument, "this is no blob of mc_engine_export()");
    }
    if head[7] != BLOB_MAGIC[7] {
        bail!(
            VersionMismatch,
            "the blob has version {}, this library reads version {}",
            head[7],
            BLOB_MAGIC[7]
        );
    }
    if head[8..] != crate::sys::checksum::crc32c(body).to_le_bytes() {
        bail!(InvalidArgument, "the blob was cut or changed on its way");
    }
    let record = SegmentRecord::decode(body)
        .map_err(|error| fail!(InvalidArgument, "the blob cannot be read: {error}"))?;
    EngineId::from_bytes(&record.engine_id)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(ranges: &[(u64, u64)]) -> SegmentRecord {
        SegmentRecord {
            engine_id: vec![7; 16],
            name: "n".into(),
            regions: ranges
                .iter()
                .enumerate()
                .map(|(index, (address, length))| RegionRecord {
                    address: *address,
                    length: *length,
                    key: index as u64 + 1,
                    permissions: 3,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_blob_survives_the_way_and_a_changed_one_is_refused() {
        let blob = to_blob(&record(&[(1, 2)]));
        assert_eq!(from_blob(&blob).expect("intact"), record(&[(1, 2)]));
        for cut in 0..blob.len() {
            assert!(from_blob(&blob[..cut]).is_err());
        }
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert!(from_blob(&changed).is_err());
        }
    }

    #[test]
    fn impossible_regions_are_refused() {
        assert!(Descriptor::from_record(record(&[(u64::MAX, 2)])).is_err());
        assert!(Descriptor::from_record(record(&[(5, 0)])).is_err());
    }

    proptest! {
        #[test]
        fn find_agrees_with_a_linear_search(
            ranges in proptest::collection::vec((0u64..300, 1u64..100), 0..30),
            probes in proptest::collection::vec((0u64..400, 0u64..50), 1..60),
        ) {
            let descriptor = Descriptor::from_record(record(&ranges)).expect("possible");
            for (address, length) in probes {
                let expected = ranges.iter().any(|(a, l)| address >= *a && address + length <= a + l);
                prop_assert_eq!(descriptor.find(address, length).is_some(), expected);
            }
        }
    }
}
