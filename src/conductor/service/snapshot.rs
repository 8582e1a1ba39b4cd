//! What outlives a restart, as bytes: instances with what was learnt of them, contexts, and who holds which block.
//!
//! ```text
//!   "MCCONDUC"  version:4  instances  models  contexts  CRC32C of all before:4       integers little-endian
//!   instance:   name  model  block_size:4  ranks:4  duty:1  [cost]  [learned per rank]
//!   model:      name  block_size:4  decode_seconds:8
//!   context:    tenant  model  lora?  salt?  block_size:4  scheme  holders  (count:4 block*)*  0:4
//!   block:      key:8  idle seconds:4  count:2  (holder:2 tiers:1)*
//! ```
//!
//! Lists and texts have their length before them. Requests that run are not in it: they end with the process, or are told
//! of by instances.

use std::collections::HashMap;

use super::Conductor;
use super::hooks::refuse_inside;
use super::state::{Instance, Space};
use super::words::*;
use crate::conductor::cost::{Cost, Decode, Prefill};
use crate::conductor::hash::Scheme;
use crate::conductor::index::{HolderId, MOST_HOLDERS, Tiers};
use crate::conductor::schedule::{Learned, MOST_INSTANCES, Role};
use crate::error::{Context as _, Result};
use crate::sys::checksum::crc32c;
use crate::{bail, fail};

const MAGIC: &[u8; 8] = b"MCCONDUC";
const VERSION: u32 = 1;
/// Models of a snapshot: as many as can be.
const MOST_MODELS: usize = 1024;

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub instances: usize,
    pub contexts: usize,
    /// Blocks in all contexts together.
    pub blocks: usize,
}

impl Conductor {
    /// What is known, as bytes. Events and requests go on meanwhile: an index is read a part at a time.
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        refuse_inside()?;
        let mut out = Writer(Vec::new());
        out.0.extend_from_slice(MAGIC);
        out.u32(VERSION);
        let directory = self.directory.read();
        let instances: Vec<_> = directory.instances.iter().map(|(_, instance)| instance.clone()).collect();
        let spaces: Vec<_> = directory.spaces().cloned().collect();
        let models: Vec<_> = directory.models().cloned().collect();
        drop(directory);
        out.u32(instances.len() as u32);
        instances.iter().for_each(|instance| out.instance(instance));
        out.u32(models.len() as u32);
        for model in models {
            out.text(&model.name);
            out.u32(model.block_size);
            let decode_seconds = model.desk.lock().scheduler.decode_seconds();
            out.f64(decode_seconds);
        }
        out.u32(spaces.len() as u32);
        let numbers: HashMap<InstanceId, u32> =
            instances.iter().zip(0..).map(|(one, number)| (one.id, number)).collect();
        spaces.iter().for_each(|space| out.space(space, &numbers));
        let sum = crc32c(&out.0);
        out.u32(sum);
        Ok(out.0)
    }

    /// Takes up what another conductor knew. This one must know nothing yet; if the bytes are no snapshot of this
    /// version, or broken, it still knows nothing after.
    pub fn restore(&self, bytes: &[u8]) -> Result<Restored> {
        refuse_inside()?;
        let directory = self.directory.read();
        if !directory.instances.is_empty() || !directory.spaces.is_empty() {
            bail!(InvalidState, "this conductor has instances or contexts already: restore comes first");
        }
        drop(directory);
        let parsed = Parsed::of(bytes).context("restoring a conductor")?;
        let restored = self.take_up(&parsed);
        if restored.is_err() {
            for (registration, _) in &parsed.instances {
                let _ = self.unregister(&registration.name);
            }
            for space in &parsed.contexts {
                let id = self.directory.read().by_context.get(&space.context).copied();
                let _ = id.map(|id| self.close_context(id));
            }
        }
        restored.context("restoring a conductor")
    }

    fn take_up(&self, parsed: &Parsed<'_>) -> Result<Restored> {
        let mut restored = Restored::default();
        let mut ids = Vec::new();
        for (registration, learned) in &parsed.instances {
            let id = self.register(registration)?;
            self.teach(id, learned)?;
            ids.push(id);
            restored.instances += 1;
        }
        for space in &parsed.contexts {
            let id = self.open_context(&space.context)?;
            restored.blocks += self.refill(id, space, &ids)?;
            restored.contexts += 1;
        }
        let directory = self.directory.read();
        for model in directory.models() {
            let key = (model.name.as_str(), model.block_size);
            if let Some((.., seconds)) = parsed.models.iter().find(|(name, size, _)| (*name, *size) == key) {
                model.desk.lock().scheduler.set_decode_seconds(*seconds)?;
            }
        }
        Ok(restored)
    }

    fn teach(&self, id: InstanceId, learned: &[Learned]) -> Result<()> {
        let instance = self.directory.read().instances.get(id.0)?.clone();
        let Some(model) = &instance.model else { return Ok(()) };
        let mut desk = model.desk.lock();
        let mut pairs = instance.cores.iter().zip(learned);
        pairs.try_for_each(|(core, learned)| desk.scheduler.teach(*core, learned))
    }

    fn refill(&self, id: ContextId, parsed: &ParsedSpace<'_>, ids: &[InstanceId]) -> Result<usize> {
        let space = self.space(id)?;
        let holders: Vec<Option<HolderId>> = {
            let indexed = space.indexed.read();
            let holder =
                |(number, rank): &(u32, u32)| indexed.ids.get(&(*ids.get(*number as usize)?, *rank)).copied();
            parsed.holders.iter().map(holder).collect()
        };
        let now = self.now_ms();
        let mut blocks = parsed.blocks.clone();
        loop {
            let count = blocks.u32()?;
            if count == 0 {
                break;
            }
            // A part at a time: whoever asks meanwhile waits for that only.
            let mut indexed = space.indexed.write();
            for _ in 0..count {
                let (key, idle, held) =
                    blocks.block(|number| holders.get(number as usize).copied().flatten())?;
                indexed.index.put_back(key, idle, &held, now);
            }
        }
        Ok(space.indexed.read().index.len())
    }
}

/// Who has a block.
type Held = Vec<(HolderId, Tiers)>;

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn f64(&mut self, number: f64) {
        self.u64(number.to_bits());
    }

    /// None is a text that cannot be.
    fn maybe(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.0.extend_from_slice(&u16::MAX.to_le_bytes()),
        }
    }

    /// Names have at most [`LONGEST_NAME`] bytes.
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn instance(&mut self, instance: &Instance) {
        let Registration { name, model, block_size, ranks, duty } = &instance.registration;
        self.text(name);
        self.text(model);
        self.u32(*block_size);
        self.u32(*ranks);
        let role = match duty {
            Duty::Serve { role: Role::Prefill, .. } => 0,
            Duty::Serve { role: Role::Decode, .. } => 1,
            Duty::Serve { role: Role::Both, .. } => 2,
            Duty::Hold => 3,
        };
        self.0.push(role);
        let (Some(model), Duty::Serve { cost, .. }) = (&instance.model, duty) else { return };
        self.cost(cost);
        let desk = model.desk.lock();
        for core in &instance.cores {
            // Of one that was unregistered meanwhile nothing is known any more.
            let unknown = Learned { prefill: cost.prefill, pace: 1.0, decode_pace: 1.0 };
            let Learned { prefill, pace, decode_pace } = desk.scheduler.learned(*core).unwrap_or(unknown);
            for number in [prefill.fixed, prefill.linear, prefill.quadratic, pace, decode_pace] {
                self.f64(number);
            }
        }
    }

    fn cost(&mut self, cost: &Cost) {
        let Cost { prefill, decode, .. } = cost;
        for number in [
            cost.kv_bytes_per_token,
            prefill.fixed,
            prefill.linear,
            prefill.quadratic,
            decode.fixed,
            decode.per_request,
            decode.per_token,
            cost.host_rate,
            cost.disk_rate,
            cost.link_rate,
        ] {
            self.f64(number);
        }
        self.u32(cost.block_tokens);
        self.u32(cost.layers);
        self.u64(cost.kv_tokens);
        self.u64(cost.chunk_tokens);
    }

    fn space(&mut self, space: &Space, numbers: &HashMap<InstanceId, u32>) {
        let Context { tenant, model, lora, salt, block_size, scheme } = &space.context;
        self.text(tenant);
        self.text(model);
        self.maybe(lora.as_deref());
        self.maybe(salt.as_deref());
        self.u32(*block_size);
        match scheme {
            Scheme::Xxh3 { seed } => {
                self.0.push(0);
                self.u64(*seed);
            }
            Scheme::VllmCbor { python_hash_seed } => {
                self.0.push(1);
                self.text(python_hash_seed);
            }
            Scheme::VllmPickle { python_hash_seed } => {
                self.0.push(2);
                self.text(python_hash_seed);
            }
        }
        let mut places: HashMap<HolderId, u16> = HashMap::new();
        let indexed = space.indexed.read();
        let known = indexed
            .owners
            .iter()
            .filter_map(|(id, owner)| Some((*id, *numbers.get(&owner.instance)?, owner.rank)));
        let known: Vec<(HolderId, u32, u32)> = known.collect();
        drop(indexed);
        self.u32(known.len() as u32);
        for ((id, number, rank), place) in known.into_iter().zip(0..) {
            places.insert(id, place);
            self.u32(number);
            self.u32(rank);
        }
        let parts = space.indexed.read().index.parts();
        for part in (0..parts).rev() {
            let indexed = space.indexed.read();
            let at = self.0.len();
            let mut count = 0;
            self.u32(0);
            indexed
                .index
                .copy_part(part, |key, idle, held| count += u32::from(self.block(key, idle, held, &places)));
            if count == 0 {
                self.0.truncate(at);
            } else {
                self.0[at..at + 4].copy_from_slice(&count.to_le_bytes());
            }
        }
        self.u32(0);
    }

    /// False if nobody has it who is written.
    fn block(
        &mut self,
        key: u64,
        idle: u32,
        held: &[(HolderId, Tiers)],
        places: &HashMap<HolderId, u16>,
    ) -> bool {
        let known = || held.iter().filter_map(|(id, tiers)| Some((places.get(id)?, tiers)));
        let count = known().count() as u16;
        if count == 0 {
            return false;
        }
        self.u64(key);
        self.u32(idle);
        self.0.extend_from_slice(&count.to_le_bytes());
        for (place, tiers) in known() {
            self.0.extend_from_slice(&place.to_le_bytes());
            self.0.push(*tiers);
        }
        true
    }
}

/// A snapshot that was read to its end and found sound.
struct Parsed<'a> {
    instances: Vec<(Registration, Vec<Learned>)>,
    models: Vec<(&'a str, u32, f64)>,
    contexts: Vec<ParsedSpace<'a>>,
}

struct ParsedSpace<'a> {
    context: Context,
    /// The number of the instance, and the rank.
    holders: Vec<(u32, u32)>,
    blocks: Reader<'a>,
}

/// What is left to read.
#[derive(Clone)]
struct Reader<'a>(&'a [u8]);

impl<'a> Parsed<'a> {
    fn of(bytes: &'a [u8]) -> Result<Parsed<'a>> {
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else { return Err(short()) };
        let mut reader = Reader(body);
        if reader.take(MAGIC.len())? != MAGIC {
            bail!(Corrupted, "these bytes are no snapshot of a conductor");
        }
        let version = reader.u32()?;
        if version != VERSION {
            bail!(VersionMismatch, "a snapshot of version {version}: this library reads {VERSION}");
        }
        if crc32c(body) != u32::from_le_bytes(*sum) {
            bail!(Corrupted, "the snapshot does not match its checksum");
        }
        let mut names = std::collections::HashSet::new();
        let instances = reader.list(MOST_INSTANCES, Reader::instance)?;
        if !instances.iter().all(|(registration, _)| names.insert(registration.name.clone())) {
            bail!(Corrupted, "two instances of the snapshot have the same name");
        }
        let models = reader.list(MOST_MODELS, |reader| Ok((reader.text()?, reader.u32()?, reader.f64()?)))?;
        let contexts = reader.list(crate::id::MAX_INDEX, Reader::space)?;
        if !reader.0.is_empty() {
            bail!(Corrupted, "the snapshot goes on for {} bytes after its end", reader.0.len());
        }
        Ok(Parsed { instances, models, contexts })
    }
}

fn short() -> crate::error::Error {
    fail!(Corrupted, "the snapshot ends too early")
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Grows with what is really there, whatever the count says.
    fn list<T>(&mut self, most: usize, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.u32()? as usize;
        if count > most {
            bail!(Corrupted, "a list of the snapshot has {count} entries, above {most}");
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn maybe(&mut self) -> Result<Option<&'a str>> {
        let length = self.u16()?;
        if length == u16::MAX {
            return Ok(None);
        }
        let bytes = self.take(usize::from(length))?;
        std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| fail!(Corrupted, "a text of the snapshot is not UTF-8"))
    }

    fn text(&mut self) -> Result<&'a str> {
        self.maybe()?.ok_or_else(|| fail!(Corrupted, "a text of the snapshot is missing"))
    }

    fn instance(&mut self) -> Result<(Registration, Vec<Learned>)> {
        let (name, model) = (self.text()?.to_owned(), self.text()?.to_owned());
        let (block_size, ranks) = (self.u32()?, self.u32()?);
        let role = match self.u8()? {
            0 => Some(Role::Prefill),
            1 => Some(Role::Decode),
            2 => Some(Role::Both),
            3 => None,
            other => bail!(Corrupted, "instance {name:?} of the snapshot has the duty {other}"),
        };
        let duty = match role {
            Some(role) => Duty::Serve { role, cost: self.cost()? },
            None => Duty::Hold,
        };
        let registration = Registration { name, model, block_size, ranks, duty };
        registration.check()?;
        let serving = if role.is_some() { ranks } else { 0 };
        let learned = (0..serving).map(|_| self.learned()).collect::<Result<_>>()?;
        Ok((registration, learned))
    }

    fn prefill(&mut self) -> Result<Prefill> {
        Ok(Prefill { fixed: self.f64()?, linear: self.f64()?, quadratic: self.f64()? })
    }

    fn learned(&mut self) -> Result<Learned> {
        let learned = Learned { prefill: self.prefill()?, pace: self.f64()?, decode_pace: self.f64()? };
        learned.check()?;
        Ok(learned)
    }

    fn cost(&mut self) -> Result<Cost> {
        Ok(Cost {
            kv_bytes_per_token: self.f64()?,
            prefill: self.prefill()?,
            decode: Decode { fixed: self.f64()?, per_request: self.f64()?, per_token: self.f64()? },
            host_rate: self.f64()?,
            disk_rate: self.f64()?,
            link_rate: self.f64()?,
            block_tokens: self.u32()?,
            layers: self.u32()?,
            kv_tokens: self.u64()?,
            chunk_tokens: self.u64()?,
        })
    }

    fn space(&mut self) -> Result<ParsedSpace<'a>> {
        let (tenant, model) = (self.text()?.to_owned(), self.text()?.to_owned());
        let (lora, salt) = (self.maybe()?.map(str::to_owned), self.maybe()?.map(str::to_owned));
        let block_size = self.u32()?;
        let scheme = match self.u8()? {
            0 => Scheme::Xxh3 { seed: self.u64()? },
            1 => Scheme::VllmCbor { python_hash_seed: self.text()?.to_owned() },
            2 => Scheme::VllmPickle { python_hash_seed: self.text()?.to_owned() },
            other => bail!(Corrupted, "a context of the snapshot has the hash scheme {other}"),
        };
        let context = Context { tenant, model, lora, salt, block_size, scheme };
        context.check()?;
        let holders = self.list(MOST_HOLDERS, |reader| Ok((reader.u32()?, reader.u32()?)))?;
        let blocks = self.clone();
        loop {
            let count = self.u32()?;
            if count == 0 {
                return Ok(ParsedSpace { context, holders, blocks });
            }
            for _ in 0..count {
                self.take(8 + 4)?;
                let held = usize::from(self.u16()?);
                self.take(held * 3)?;
            }
        }
    }

    /// A block with those of its holders that are known.
    fn block(&mut self, known: impl Fn(u16) -> Option<HolderId>) -> Result<(u64, u32, Held)> {
        let (key, idle, count) = (self.u64()?, self.u32()?, self.u16()?);
        let mut held = Vec::with_capacity(usize::from(count).min(MOST_HOLDERS));
        for _ in 0..count {
            let (number, tiers) = (self.u16()?, self.u8()?);
            held.extend(known(number).map(|holder| (holder, tiers)));
        }
        Ok((key, idle, held))
    }
}
