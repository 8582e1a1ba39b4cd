//! Every message of the store, from a stranger: the first byte says which. What is read can be sent again, and what it
//! stands for is what it stood for.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use mooncake::error::Error;
use mooncake::store::object::ReplicateConfig;
use mooncake::store::wire::quick::Keys;
use mooncake::store::wire::{MAX_ITEMS, decode, master, node};
use mooncake::store::{master as index, message};
use prost::Message;

/// What decodes survives another round trip.
fn round_trip<M: Message + Default + PartialEq>(body: &[u8]) -> Option<M> {
    let message: M = decode(body).ok()?;
    let again: M = M::decode(&*message.encode_to_vec()).expect("its own encoding");
    assert!(again == message);
    Some(message)
}

/// And so does what it stands for, where it stands for something.
fn meaning<W, D>(body: &[u8])
where
    W: Message + Default + PartialEq + for<'a> From<&'a D>,
    D: Debug + TryFrom<W, Error = Error>,
{
    let Some(meant) = round_trip::<W>(body).and_then(|message| D::try_from(message).ok()) else { return };
    let again = D::try_from(W::from(&meant)).expect("its own message");
    assert_eq!(format!("{again:?}"), format!("{meant:?}"));
}

/// Keys are read where they lie, and as the message has them.
fn keys(body: &[u8]) {
    let message = round_trip::<master::Exists>(body);
    let Ok(read) = Keys::read(body) else { return };
    let Some(message) = message else {
        // A message may have a few more fields than it may have keys.
        return assert!(read.len() <= MAX_ITEMS);
    };
    assert_eq!((read.tenant, read.prolong), (&*message.tenant, message.prolong));
    assert!(read.iter().eq(message.keys.iter().map(Vec::as_slice)));
}

macro_rules! one_of {
    ($number:expr, $body:expr; $($message:ty),* $(,)?) => {{
        let all: &[fn(&[u8])] = &[$(|body| drop(round_trip::<$message>(body))),*];
        if let Some(read) = all.get($number) {
            read($body);
        }
    }};
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 64 {
        0 => meaning::<node::Order, message::Order>(body),
        1 => meaning::<node::Report, message::Report>(body),
        2 => meaning::<master::Grant, index::Grant>(body),
        3 => keys(body),
        4 => {
            let Some(located) = round_trip::<master::Located>(body) else { return };
            let meant = index::Located::from(&located);
            assert_eq!(index::Located::from(&master::Located::from(&meant)), meant);
        }
        5 => {
            let Some(wanted) = round_trip::<master::Replication>(body) else { return };
            let config = ReplicateConfig::from(wanted);
            // As much as is checked here: nothing that it says is divided by or multiplied with.
            let _ = config.check();
            assert!((1..=256).contains(&config.stripes(1 << 30)));
        }
        other => one_of!(usize::from(other - 6), body;
            master::Greet, master::Welcome, master::Results, master::Get, master::GetReply, master::ExistsReply,
            master::PutStart, master::PutStartReply, master::PutCommit, master::PutRevoke, master::PutExtend,
            master::Remove, master::RemoveWhere, master::RemoveWhereReply, master::List, master::ListReply,
            master::Renew, master::Contacts, master::ContactsReply, master::Copy, master::Move, master::Trim,
            master::Drain, master::TaskStarted, master::Task, master::TaskReply, master::CancelTask,
            master::SetQuota, master::Tenant, master::TenantReply, master::Segments, master::SegmentsReply,
            master::Reports, node::Orders, node::OrdersReply, node::Attach, node::Attached, node::Prepare,
            node::Commit, node::Put, node::Done, node::MayRead, node::Verify),
    }
});
