//! What goes out comes in again, and anything else is refused.

use proptest::prelude::*;
use prost::Message;

use super::master::{Get, PutStart, Report as MasterReport};
use super::node::Order;
use super::*;
use crate::store::message;
use crate::store::object::*;
use crate::store::view::{View, ViewId};

fn entry(state: EntryState) -> Entry {
    Entry {
        segment: SegmentId(1),
        offset: 64,
        length: 4112,
        generation: Generation(1 << 41 | 5),
        tenant: "t".into(),
        key: [0, 255, 10].into(),
        version: Version(9),
        size: 4096,
        stripe: 1,
        stripes: 3,
        replicas: 2,
        hard_pin: true,
        soft_pin_ms: 7,
        group: "g".into(),
        state,
    }
}

fn view() -> std::sync::Arc<View> {
    let id = ViewId { epoch: Epoch(3), number: 2 };
    let members = vec![NodeId(4), NodeId(9)];
    let (bases, names) = (vec![vec![NodeId(1)], vec![]], vec![(NodeId(4), "10.0.0.1:80".into())]);
    View { id, members, bases, names }.into()
}

fn spot() -> message::Spot {
    message::Spot { segment: SegmentId(1), offset: 64, generation: Generation(77) }
}

fn same<D, W>(value: &D)
where
    D: std::fmt::Debug + TryFrom<W, Error = crate::error::Error>,
    W: Message + Default + for<'a> From<&'a D>,
{
    let bytes = W::from(value).encode_to_vec();
    let back = D::try_from(decode::<W>(&bytes).expect("its own bytes")).expect("sound");
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
    for end in 0..bytes.len() {
        let _ = decode::<W>(&bytes[..end]).and_then(D::try_from);
    }
}

#[test]
fn orders_arrive_as_they_were_given() {
    use message::Command::*;
    let cursor = message::Cursor { segment: SegmentId(1), offset: 0 };
    let extent = Extent {
        node: NodeId(4),
        segment: SegmentId(1),
        offset: 128,
        length: 4112,
        generation: Generation(8),
    };
    let commands = [
        Claim { ask: 3, after: Some(cursor) },
        Claim { ask: 0, after: None },
        Lead { sent: 10, view: Some(view()) },
        Lead { sent: 10, view: None },
        Drop { spot: spot(), length: 100, readers_ms: 5, writer_done: true },
        Fetch { entry: Box::new(entry(EntryState::Quarantined)), from: vec![extent] },
        Expelled { view: view().id },
    ];
    for command in commands {
        let (master, to, floor) = (MasterId(u64::MAX), NodeId(4), Generation(1 << 40));
        same::<_, Order>(&message::Order { epoch: Epoch(1), master, to, floor, command });
    }
}

#[test]
fn reports_arrive_as_they_were_made() {
    use message::Report::*;
    let node = NodeId(u64::MAX - 1);
    let offer = message::Offer { segment: SegmentId(1), name: "s".into(), length: 1 << 30 };
    let (list, withdrawn) = (vec![offer], vec![SegmentId(1)]);
    let offers = message::Offers { number: 3, list, withdrawn, is_leaving: true };
    let writing = EntryState::Writing { writer: ClientId(6) };
    let (epoch, ask, sent) = (Epoch(2), 4, 5);
    let entries = [writing, EntryState::Committed, EntryState::Quarantined].map(entry).to_vec();
    let reports = [
        Hello {
            node,
            name: "n".into(),
            domain: "rack".into(),
            offers: offers.clone(),
            promised: epoch,
            is_fresh: true,
        },
        Page {
            node,
            epoch,
            ask,
            is_fresh: false,
            offers: offers.clone(),
            after: None,
            entries,
            next: None,
            view: Some(view()),
        },
        Following { node, epoch, sent, view: Some(view().id), offers },
        Refused { node, promised: epoch },
        Dropped { node, spot: spot(), released: true },
        Fetched { node, spot: spot(), done: false },
        Worn { node, spot: spot(), tenant: "t".into(), key: [1, 2].into() },
    ];
    for report in reports {
        same::<_, MasterReport>(&report);
    }
}

#[test]
fn a_message_of_many_empty_parts_is_refused_before_it_is_read() {
    let items = vec![Vec::new(); MAX_ITEMS + 100];
    let bytes = Get { tenant: "t".into(), keys: items }.encode_to_vec();
    assert!(decode::<Get>(&bytes).is_err());
    let enough = Get { tenant: "t".into(), keys: vec![vec![1]; MAX_ITEMS] }.encode_to_vec();
    assert_eq!(decode::<Get>(&enough).expect("as many as there may be").keys.len(), MAX_ITEMS);
    assert!(decode::<Get>(&vec![0; MAX_MESSAGE + 1]).is_err());
}

#[test]
fn a_node_cannot_offer_more_than_there_can_be() {
    for length in [0, u64::MAX] {
        let list = vec![message::Offer { segment: SegmentId(1), name: "s".into(), length }];
        let offers = message::Offers { list, ..Default::default() };
        let hello = message::Report::Hello {
            node: NodeId(1),
            name: "n".into(),
            domain: "d".into(),
            offers,
            promised: Epoch(0),
            is_fresh: true,
        };
        assert!(message::Report::try_from(MasterReport::from(&hello)).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode::<Order>(&bytes).and_then(message::Order::try_from);
        let _ = decode::<MasterReport>(&bytes).and_then(message::Report::try_from);
        let _ = decode::<PutStart>(&bytes);
        let _ = decode::<master::PutStartReply>(&bytes);
    }
}
