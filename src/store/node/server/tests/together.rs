//! With the real master and the real client.

use super::*;
use crate::store::client::{self, GetOptions, PutOptions, Store, Wanted};
use crate::store::master::server::{Master, Options as MasterOptions};

fn master(address: SocketAddr) -> Arc<Master> {
    let config =
        index::Config { found_after_ms: Some(200), lease_ms: 300, term_ms: 400, ..index::Config::default() };
    let options = MasterOptions { address, psk: Some(PSK.into()), config, workers: 1, feed: None };
    let until = soon();
    loop {
        match Master::start(options.clone()) {
            Ok(master) => return master,
            Err(error) => assert!(clock::now_ns() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn node(master: SocketAddr, index: usize) -> Arc<Node> {
    let started = Node::start(Options {
        masters: vec![master.to_string()],
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        segments: vec![SegmentOptions { name: format!("s{index}"), bytes: 4 * MIB }],
        domain: format!("d{index}"),
        engine: config("memfd,tcp"),
    });
    started.expect("a node")
}

struct Reader {
    engine: Arc<Engine>,
    store: Arc<Store>,
    mem: Mem,
}

impl Reader {
    fn new(master: SocketAddr, transports: &str) -> Reader {
        let engine = Engine::create(config(transports), 0).expect("an engine");
        let options = client::Options {
            masters: vec![master.to_string()],
            psk: Some(PSK.into()),
            deadline: Duration::from_secs(30),
            ..Default::default()
        };
        let store = Store::open(engine.clone(), &options).expect("a master answers");
        let (_, region) = engine.allocate_memory(MIB as usize, &MemoryOptions::default()).expect("memory");
        let mem = engine.memory.get(region).expect("live").mem;
        Reader { engine, store, mem }
    }

    fn put(&self, key: &str, bytes: &[u8], count: u8) {
        let from = self.mem.part(0, bytes.len());
        from.write(bytes);
        let put = client::Put { key: key.as_bytes(), from: &[from] };
        let config = ReplicateConfig { count, ..Default::default() };
        let results = self.store.put(&[put], &PutOptions { config, ..Default::default() });
        results[0].as_ref().unwrap_or_else(|error| panic!("putting {key}: {error:?}"));
    }

    fn get(&self, key: &str) -> Vec<u8> {
        let options = GetOptions { fresh: true, ..Default::default() };
        let results = self.store.get(&[(key.as_bytes(), Wanted::Whole(&[self.mem]))], &options);
        let got = results[0].as_ref().unwrap_or_else(|error| panic!("getting {key}: {error:?}"));
        self.mem.part(0, got.size as usize).with_bytes(<[u8]>::to_vec)
    }
}

impl std::ops::Drop for Reader {
    fn drop(&mut self) {
        self.engine.destroy();
    }
}

#[test]
fn objects_outlive_their_master_and_leave_with_nobody() {
    let first = master((Ipv4Addr::LOCALHOST, 0).into());
    let address = first.address();
    let nodes = [0, 1, 2].map(|index| node(address, index));
    wait_until("all nodes give memory", || {
        first.with(|state, _| state.segments().iter().filter(|one| one.is_open).count() == 3)
    });
    let near = Reader::new(address, "memfd,tcp");
    let far = Reader::new(address, "tcp");
    let sizes = [1, 5000, 700_001];
    for size in sizes {
        near.put(&format!("near {size}"), &data(size), 2);
        far.put(&format!("far {size}"), &data(size), 1);
    }
    let all_are_there = || {
        for size in sizes {
            for who in ["near", "far"] {
                let key = format!("{who} {size}");
                assert!(near.get(&key) == data(size) && far.get(&key) == data(size), "{key}");
            }
        }
    };
    all_are_there();
    first.stop();
    drop(first);
    let second = master(address);
    all_are_there();
    // What one has is moved to the others.
    nodes[0].drain(Duration::from_secs(60)).expect("it left in time");
    all_are_there();
    assert!(nodes[1].usage().held + nodes[2].usage().held >= 3 * 700_001);
    drop((near, far));
    nodes.iter().for_each(|node| node.stop());
    second.stop();
}
