//! Metadata inside one process: for tests, and for engines that share a process.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{MetadataBackend, check};
use crate::bail;
use crate::error::Result;

/// A handle to one named store of this process, which lives as long as its last handle.
pub struct Memory {
    name: String,
    id: u64,
    store: Arc<Mutex<Store>>,
}

type Store = BTreeMap<String, Entry>;

struct Entry {
    value: Vec<u8>,
    /// The handle that claimed the key.
    owner: Option<u64>,
}

impl Memory {
    pub fn open(name: &str) -> Arc<Memory> {
        static STORES: Mutex<Option<HashMap<String, Weak<Mutex<Store>>>>> = Mutex::new(None);
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut stores = STORES.lock();
        let stores = stores.get_or_insert_default();
        stores.retain(|_, store| store.strong_count() > 0);
        let store = stores.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let store = Arc::default();
            stores.insert(name.to_owned(), Arc::downgrade(&store));
            store
        });
        Arc::new(Memory { name: name.to_owned(), id: NEXT.fetch_add(1, Ordering::Relaxed), store })
    }
}

impl MetadataBackend for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        Ok(self.store.lock().get(key).map(|entry| entry.value.clone()))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        let mut store = self.store.lock();
        let owner = store.get(key).and_then(|entry| entry.owner);
        store.insert(key.to_owned(), Entry { value: value.to_vec(), owner });
        Ok(())
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        let mut store = self.store.lock();
        if store.get(key).and_then(|entry| entry.owner).is_some_and(|owner| owner != self.id) {
            bail!(AlreadyExists, "{key:?} is taken in memory://{}", self.name);
        }
        store.insert(key.to_owned(), Entry { value: value.to_vec(), owner: Some(self.id) });
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<()> {
        check(key, &[])?;
        self.store.lock().remove(key);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let store = self.store.lock();
        let from = store.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        Ok(from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for entry in self.store.lock().values_mut() {
            if entry.owner == Some(self.id) {
                entry.owner = None;
            }
        }
    }
}
