//! Who is let in, and whom a peer believes: tokens, garbage, floods, and owners that lie.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mooncake::error::Code;
use mooncake::segment::descriptor::EngineId;
use mooncake::sys::{mmap, random, unix};
use mooncake::transport::shm::{Offer, wire};
use mooncake::transport::{Opcode, Outcome};
use wire::{Challenge, Grant, Message, Side, Transcript, Welcome};

use crate::world::*;

#[test]
fn a_wrong_token_is_refused() {
    let (owner, peer) = (End::new(), End::new());
    let offer = owner.host.offer().expect("offer");
    let wrong = Offer { token: [1; 16], ..offer.clone() };
    let error = peer.attach(owner.id, &wrong).err().expect("refused");
    assert_eq!(error.code, Code::Unauthenticated);
    peer.attach(owner.id, &offer).expect("the right one is good");
}

#[test]
fn an_engine_that_is_not_the_one_that_was_met_is_refused() {
    let (owner, peer) = (End::new(), End::new());
    let error = peer.attach(EngineId::random(), &owner.host.offer().expect("offer")).err().expect("refused");
    assert!(error.message().contains(&owner.id.to_string()), "{error}");
    assert_eq!(owner.metrics.refused_count.get(), 1);
}

#[test]
fn nobody_listens_before_somebody_is_told_and_after_the_close() {
    let (owner, peer) = (End::new(), End::new());
    let offer = owner.host.offer().expect("offer");
    let attached = peer.attach(owner.id, &offer).expect("attached");
    owner.host.close();
    attached.wait_until_lost();
    assert!(peer.attach(owner.id, &offer).is_err());
    assert!(owner.host.offer().is_err());
}

#[test]
fn garbage_and_floods_leave_the_door_open_for_others() {
    let (owner, peer) = (End::new(), End::new());
    let offer = owner.host.offer().expect("offer");
    let event = mooncake::sys::reactor::eventfd().expect("eventfd");
    let hello = wire::encode(Message::Hello(wire::Hello {
        version: wire::VERSION,
        engine_id: peer.id.0.to_vec(),
        owner_id: owner.id.0.to_vec(),
        nonce: vec![0; 16],
    }));
    let mut packets: Vec<Vec<u8>> =
        (0..200).map(|length| vec![length as u8; length * 7 % 2000 + 1]).collect();
    packets.extend((0..hello.len()).map(|cut| hello[..cut.max(1)].to_vec()));
    packets.push(wire::encode(Message::Ask(wire::Ask { key: 1, address: 0, length: u64::MAX })));
    packets.push(wire::encode(Message::Answer(wire::Answer { proof: vec![0; 32] })));
    for packet in packets {
        let socket = connect(&offer);
        for _ in 0..3 {
            let _ = unix::send(&socket, &packet, Some(event.as_fd()));
        }
    }
    // Strangers that say nothing, more of them than are kept.
    let silent: Vec<OwnedFd> = (0..100).map(|_| connect(&offer)).collect();
    let started = std::time::Instant::now();
    let attached = loop {
        match peer.attach(owner.id, &offer) {
            Ok(attached) => break attached,
            // The queue of those who wait to be accepted is full.
            Err(error) => assert!(started.elapsed() < HANG, "never attached: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    drop(silent);
    let target = owner.allocate(4096, BOTH);
    assert_eq!(transfer(&attached.memfd(), Opcode::Write, &[1; 64], target), Outcome::Done);
}

#[test]
fn an_admitted_peer_that_sends_garbage_is_shown_out_and_others_stay() {
    let (owner, peer) = (End::new(), End::new());
    let offer = owner.host.offer().expect("offer");
    let good = peer.attach(owner.id, &offer).expect("attached");
    let liar = Liar::attach(&owner, &offer);
    let target = owner.allocate(4096, BOTH);
    let asks =
        [(target.key, u64::MAX, u64::MAX), (target.key, 0, 0), (u64::MAX, target.mem.address() as u64, 1)];
    for (key, address, length) in asks {
        liar.say(Message::Ask(wire::Ask { key, address, length }));
        let Some(Message::Grant(grant)) = liar.hear() else { panic!("an answer") };
        assert_eq!(grant.status, Code::AddressNotRegistered as i32);
    }
    liar.say(Message::Gone(wire::Gone { key: 1 }));
    assert!(matches!(liar.hear(), Some(Message::Refused(_))));
    assert!(liar.hear().is_none(), "shown out");
    assert_eq!(transfer(&good.memfd(), Opcode::Write, &[1; 64], target), Outcome::Done);
}

#[test]
fn a_peer_that_lies_on_its_control_page_delays_only_until_it_leaves_its_process() {
    let owner = End::new();
    let liar = Liar::attach(&owner, &owner.host.offer().expect("offer"));
    let target = owner.allocate(4096, BOTH);
    liar.say(Message::Ask(wire::Ask { key: target.key, address: target.mem.address() as u64, length: 1 }));
    assert!(matches!(liar.hear(), Some(Message::Grant(_))));
    let page = liar.page();
    // Every counter says that a copy is under way, every key says what is wrong.
    page.mem().fill(0xff);
    let error = owner.memory.free(target.id, false).expect_err("it says that it is inside");
    assert_eq!(error.code, Code::Busy);
    owner.host.collect();
    page.mem().fill(0);
    owner.memory.free(target.id, false).expect("nobody is inside");
}

#[test]
fn an_owner_without_the_token_is_not_believed() {
    let peer = End::new();
    let impostor = Impostor::new();
    let answering = impostor.answer(|transcript, _| (transcript.proof(&[0; 16], Side::Owner), None));
    let error = peer.attach(impostor.id, &impostor.offer).err().expect("refused");
    assert_eq!(error.code, Code::Unauthenticated);
    answering.join().expect("no panic");
}

#[test]
fn a_control_page_that_can_shrink_is_refused() {
    let peer = End::new();
    let impostor = Impostor::new();
    let answering = impostor.answer(|transcript, token| {
        let page = mmap::memory_file("page", PAGE_LENGTH, 0).expect("file");
        (transcript.proof(token, Side::Owner), Some(page))
    });
    let error = peer.attach(impostor.id, &impostor.offer).err().expect("refused");
    assert_eq!(error.code, Code::Rejected);
    answering.join().expect("no panic");
}

#[test]
fn memory_files_that_could_be_a_trap_are_not_mapped() {
    let sealed = |length: usize| {
        let file = mmap::memory_file("region", length, 0).expect("file");
        mmap::seal(&file, false).expect("seal");
        file
    };
    let unsealed = || mmap::memory_file("region", 8192, 0).expect("file");
    let hollow = || {
        let file = unsealed();
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), hole, 0, 8192) }, 0);
        mmap::seal(&file, false).expect("seal");
        file
    };
    for (what, file) in [
        ("unsealed", unsealed()),
        ("shorter than its region", sealed(4096)),
        ("without memory", hollow()),
        ("no memory file", mooncake::sys::reactor::eventfd().expect("eventfd")),
    ] {
        assert_eq!(read_from_impostor(Some(file), 8192), Outcome::Reroute, "{what}");
    }
    assert_eq!(read_from_impostor(Some(sealed(8192)), 8192), Outcome::Done);
}

const PAGE_LENGTH: usize = (64 + 4096 * 64usize).next_multiple_of(4096);

/// Reads 64 bytes from a region for which the owner sends this file.
fn read_from_impostor(file: Option<OwnedFd>, length: u64) -> Outcome {
    let peer = End::new();
    let impostor = Impostor::new();
    let page = mmap::memory_file("page", PAGE_LENGTH, 0).expect("file");
    mmap::seal(&page, false).expect("seal");
    // The region's key in the first slot.
    mmap::Mapping::of_file(&page, PAGE_LENGTH, true)
        .expect("map")
        .mem()
        .part(64, 8)
        .write(&7u64.to_ne_bytes());
    let answering =
        impostor.answer(move |transcript, token| (transcript.proof(token, Side::Owner), Some(page)));
    let attached = peer.attach(impostor.id, &impostor.offer).expect("attached");
    let socket = answering.join().expect("no panic");
    // SAFETY: only named.
    let mem = unsafe { mooncake::sys::memory::Mem::new(1 << 30, length as usize) };
    let target = Target { id: 0, key: 7, mem };
    let local = vec![0; 64];
    let job = Job::new(vec![slice(Opcode::Read, &local, target, 0)]).submit(&attached.memfd());
    assert!(matches!(hear(&socket), Some(Message::Ask(_))));
    let grant = Grant { key: 7, address: 1 << 30, length, permissions: BOTH, ..Grant::default() };
    let grant = wire::encode(Message::Grant(grant));
    assert!(unix::send(&socket, &grant, file.as_ref().map(|file| file.as_fd())).expect("sent"));
    job.wait()[0]
}

fn hear(socket: &OwnedFd) -> Option<Message> {
    hear_with(socket).map(|(message, _)| message)
}

fn hear_with(socket: &OwnedFd) -> Option<(Message, Option<OwnedFd>)> {
    assert!(mooncake::sys::net::wait_readable(socket, HANG), "nothing was said");
    let (mut buffer, mut files) = ([0; wire::MAX_PACKET], Vec::new());
    match unix::receive(socket, &mut buffer, &mut files) {
        Ok(Some(length)) if length > 0 => {
            Some((wire::decode(&buffer[..length]).expect("readable"), files.pop()))
        }
        _ => None,
    }
}

/// Connects, as soon as there is room in the queue of those who wait to be accepted.
fn connect(offer: &Offer) -> OwnedFd {
    let started = std::time::Instant::now();
    loop {
        match unix::connect(&offer.socket) {
            Ok(socket) => return socket,
            Err(error) => assert!(started.elapsed() < HANG, "never connected: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A peer that has the token and says what it likes.
struct Liar {
    socket: OwnedFd,
    page: OwnedFd,
}

impl Liar {
    fn attach(owner: &End, offer: &Offer) -> Liar {
        let socket = unix::connect(&offer.socket).expect("connected");
        let say = |message| assert!(unix::send(&socket, &wire::encode(message), None).expect("sent"));
        let (peer, peer_nonce) = (EngineId::random(), random::bytes());
        say(Message::Hello(wire::Hello {
            version: wire::VERSION,
            engine_id: peer.0.to_vec(),
            owner_id: owner.id.0.to_vec(),
            nonce: peer_nonce.to_vec(),
        }));
        let Some(Message::Challenge(challenge)) = hear(&socket) else { panic!("a challenge") };
        let owner_nonce = wire::nonce(&challenge.nonce).expect("a nonce");
        let transcript = Transcript { owner: owner.id, peer, owner_nonce, peer_nonce };
        say(Message::Answer(wire::Answer { proof: transcript.proof(&offer.token, Side::Peer) }));
        let Some((Message::Welcome(_), Some(page))) = hear_with(&socket) else { panic!("a welcome") };
        Liar { socket, page }
    }

    fn say(&self, message: Message) {
        assert!(unix::send(&self.socket, &wire::encode(message), None).expect("sent"));
    }

    fn hear(&self) -> Option<Message> {
        hear(&self.socket)
    }

    fn page(&self) -> mmap::Mapping {
        mmap::Mapping::of_file(&self.page, PAGE_LENGTH, true).expect("mapped")
    }
}

/// Somebody who listens under a name and claims to be an engine.
struct Impostor {
    id: EngineId,
    offer: Offer,
    listener: Arc<OwnedFd>,
}

impl Impostor {
    fn new() -> Impostor {
        let socket = format!("impostor-{}", EngineId::random()).into_bytes();
        let listener = Arc::new(unix::listen(&socket).expect("listening"));
        Impostor { id: EngineId::random(), offer: Offer { socket, token: random::bytes() }, listener }
    }

    /// Greets one peer with the proof and the page that `make` makes; returns the connection.
    fn answer(
        &self,
        make: impl FnOnce(&Transcript, &[u8; 16]) -> (Vec<u8>, Option<OwnedFd>) + Send + 'static,
    ) -> std::thread::JoinHandle<OwnedFd> {
        let (listener, token) = (self.listener.clone(), self.offer.token);
        std::thread::spawn(move || {
            assert!(mooncake::sys::net::wait_readable(&*listener, HANG), "nobody came");
            let socket = unix::accept(&listener).expect("accepted").expect("one waits");
            let say = |message, file: Option<&OwnedFd>| {
                let _ = unix::send(&socket, &wire::encode(message), file.map(|file| file.as_fd()));
            };
            let Some(Message::Hello(hello)) = hear(&socket) else { panic!("a hello") };
            let transcript = Transcript {
                owner: EngineId::from_bytes(&hello.owner_id).expect("an id"),
                peer: EngineId::from_bytes(&hello.engine_id).expect("an id"),
                owner_nonce: random::bytes(),
                peer_nonce: wire::nonce(&hello.nonce).expect("a nonce"),
            };
            let (proof, page) = make(&transcript, &token);
            say(Message::Challenge(Challenge { nonce: transcript.owner_nonce.to_vec(), proof }), None);
            if let Some(page) = page {
                assert!(matches!(hear(&socket), Some(Message::Answer(_))));
                say(Message::Welcome(Welcome { secret_address: 8, secret: vec![0; 16] }), Some(&page));
            }
            socket
        })
    }
}
