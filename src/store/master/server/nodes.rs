//! What nodes tell, where they are found, and who this master is.

use prost::Message;

use crate::error::Result;
use crate::store::master::SegmentInfo;
use crate::store::message::Report;
use crate::store::object::NodeId;
use crate::store::wire::master::{
    Contacts, ContactsReply, Greet, Reports, ReportsReply, Segment, Segments, SegmentsReply, Welcome,
};
use crate::store::wire::{Call, decode};

use super::core::Core;

pub fn greet(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Greet {} = decode(body)?;
    core.counters.note(Greet::METHOD, 1, 0);
    let (epoch, is_serving) = core.work(|inner, now| (inner.state.epoch(), inner.state.is_serving_at(now)));
    let welcome = Welcome {
        master: core.master.0,
        epoch: epoch.0,
        is_serving,
        local: core.local().to_owned(),
        lease_ms: core.config.lease_ms,
        term_ms: core.config.term_ms,
        now_ms: crate::sys::clock::now_ms(),
    };
    Ok(welcome.encode_to_vec())
}

pub fn reports(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let request: Reports = decode(body)?;
    let reports = request.reports.into_iter().map(Report::try_from).collect::<Result<Vec<_>>>()?;
    core.counters.note(Reports::METHOD, reports.len(), 0);
    if let Some(contact) = request.contact {
        // Orders in answer to a greeting want to find the node.
        let greets = |report: &Report| matches!(report, Report::Hello { node, .. } if node.0 == contact.node);
        if reports.iter().any(greets) {
            core.links.learn(contact)?;
        }
    }
    core.take(reports);
    Ok(ReportsReply {}.encode_to_vec())
}

pub fn contacts(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Contacts { nodes } = decode(body)?;
    let contacts = core.links.contacts(nodes.into_iter().map(NodeId));
    core.counters.note(Contacts::METHOD, contacts.len(), 0);
    Ok(ContactsReply { contacts }.encode_to_vec())
}

pub fn segments(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Segments {} = decode(body)?;
    core.counters.note(Segments::METHOD, 1, 0);
    let segment = |info: SegmentInfo| Segment {
        node: info.node.0,
        name: info.name.as_ref().to_owned(),
        capacity: info.capacity,
        used: info.used,
        is_open: info.is_open,
        is_draining: info.is_draining,
    };
    let segments = core.work(|inner, _| inner.state.segments());
    Ok(SegmentsReply { segments: segments.into_iter().map(segment).collect() }.encode_to_vec())
}
