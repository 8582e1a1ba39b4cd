//! Orders and reports: what masters and nodes tell one another (`store::message`).

use std::sync::Arc;

use prost::{Message, Oneof};

use super::parts::{Entry, Extent};
use crate::error::{Error, Result};
use crate::fail;
use crate::store::message::{self, Spot};
use crate::store::object::{self, Epoch, Generation, MasterId, NodeId, SegmentId};
use crate::store::view;

fn lacking(what: &str) -> Error {
    fail!(Rejected, "a message without its {what}")
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ViewId {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

impl From<view::ViewId> for ViewId {
    fn from(id: view::ViewId) -> ViewId {
        ViewId { epoch: id.epoch.0, number: id.number }
    }
}

impl From<ViewId> for view::ViewId {
    fn from(id: ViewId) -> view::ViewId {
        view::ViewId { epoch: Epoch(id.epoch), number: id.number }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Members {
    #[prost(fixed64, repeated, tag = "1")]
    pub nodes: Vec<u64>,
}

impl Members {
    fn of(nodes: &[NodeId]) -> Members {
        Members { nodes: nodes.iter().map(|node| node.0).collect() }
    }

    /// Members are looked up by order.
    fn into_nodes(mut self) -> Vec<NodeId> {
        self.nodes.sort_unstable();
        self.nodes.dedup();
        self.nodes.into_iter().map(NodeId).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeName {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct View {
    #[prost(message, optional, tag = "1")]
    pub id: Option<ViewId>,
    #[prost(message, optional, tag = "2")]
    pub members: Option<Members>,
    #[prost(message, repeated, tag = "3")]
    pub bases: Vec<Members>,
    #[prost(message, repeated, tag = "4")]
    pub names: Vec<NodeName>,
}

impl From<&view::View> for View {
    fn from(view: &view::View) -> View {
        let name = |(node, name): &(NodeId, Arc<str>)| NodeName { node: node.0, name: name.as_ref().into() };
        View {
            id: Some(view.id.into()),
            members: Some(Members::of(&view.members)),
            bases: view.bases.iter().map(|base| Members::of(base)).collect(),
            names: view.names.iter().map(name).collect(),
        }
    }
}

impl TryFrom<View> for Arc<view::View> {
    type Error = Error;

    fn try_from(view: View) -> Result<Arc<view::View>> {
        Ok(Arc::new(view::View {
            id: view.id.ok_or_else(|| lacking("view"))?.into(),
            members: view.members.unwrap_or_default().into_nodes(),
            bases: view.bases.into_iter().map(Members::into_nodes).collect(),
            names: view.names.into_iter().map(|one| (NodeId(one.node), one.name.into())).collect(),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Cursor {
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
}

impl From<message::Cursor> for Cursor {
    fn from(cursor: message::Cursor) -> Cursor {
        Cursor { segment: cursor.segment.0, offset: cursor.offset }
    }
}

impl From<Cursor> for message::Cursor {
    fn from(cursor: Cursor) -> message::Cursor {
        message::Cursor { segment: SegmentId(cursor.segment), offset: cursor.offset }
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct WireSpot {
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(fixed64, tag = "3")]
    pub generation: u64,
}

impl From<Spot> for WireSpot {
    fn from(spot: Spot) -> WireSpot {
        WireSpot { segment: spot.segment.0, offset: spot.offset, generation: spot.generation.0 }
    }
}

impl From<WireSpot> for Spot {
    fn from(spot: WireSpot) -> Spot {
        Spot {
            segment: SegmentId(spot.segment),
            offset: spot.offset,
            generation: Generation(spot.generation),
        }
    }
}

// ---- orders

#[derive(Clone, PartialEq, Message)]
pub struct Claim {
    #[prost(uint64, tag = "1")]
    pub ask: u64,
    #[prost(message, optional, tag = "2")]
    pub after: Option<Cursor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Lead {
    #[prost(uint64, tag = "1")]
    pub sent: u64,
    #[prost(message, optional, tag = "2")]
    pub view: Option<View>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Drop {
    #[prost(message, optional, tag = "1")]
    pub spot: Option<WireSpot>,
    #[prost(uint64, tag = "2")]
    pub length: u64,
    #[prost(uint64, tag = "3")]
    pub readers_ms: u64,
    #[prost(bool, tag = "4")]
    pub writer_done: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Fetch {
    #[prost(message, optional, tag = "1")]
    pub entry: Option<Entry>,
    #[prost(message, repeated, tag = "2")]
    pub from: Vec<Extent>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Expelled {
    #[prost(message, optional, tag = "1")]
    pub view: Option<ViewId>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Command {
    #[prost(message, tag = "10")]
    Claim(Claim),
    #[prost(message, tag = "11")]
    Lead(Lead),
    #[prost(message, tag = "12")]
    Drop(Drop),
    #[prost(message, tag = "13")]
    Fetch(Fetch),
    #[prost(message, tag = "14")]
    Expelled(Expelled),
}

#[derive(Clone, PartialEq, Message)]
pub struct Order {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(fixed64, tag = "2")]
    pub master: u64,
    #[prost(fixed64, tag = "3")]
    pub to: u64,
    #[prost(fixed64, tag = "4")]
    pub floor: u64,
    #[prost(oneof = "Command", tags = "10, 11, 12, 13, 14")]
    pub command: Option<Command>,
}

impl From<&message::Order> for Order {
    fn from(order: &message::Order) -> Order {
        let command = match &order.command {
            message::Command::Claim { ask, after } => {
                Command::Claim(Claim { ask: *ask, after: after.map(Cursor::from) })
            }
            message::Command::Lead { sent, view } => {
                Command::Lead(Lead { sent: *sent, view: view.as_deref().map(View::from) })
            }
            message::Command::Drop { spot, length, readers_ms, writer_done } => Command::Drop(Drop {
                spot: Some((*spot).into()),
                length: *length,
                readers_ms: *readers_ms,
                writer_done: *writer_done,
            }),
            message::Command::Fetch { entry, from } => Command::Fetch(Fetch {
                entry: Some(entry.as_ref().into()),
                from: from.iter().map(Extent::from).collect(),
            }),
            message::Command::Expelled { view } => Command::Expelled(Expelled { view: Some((*view).into()) }),
        };
        Order {
            epoch: order.epoch.0,
            master: order.master.0,
            to: order.to.0,
            floor: order.floor.0,
            command: Some(command),
        }
    }
}

impl TryFrom<Order> for message::Order {
    type Error = Error;

    fn try_from(order: Order) -> Result<message::Order> {
        let command = match order.command.ok_or_else(|| lacking("command"))? {
            Command::Claim(claim) => {
                message::Command::Claim { ask: claim.ask, after: claim.after.map(Into::into) }
            }
            Command::Lead(lead) => message::Command::Lead {
                sent: lead.sent,
                view: lead.view.map(TryInto::try_into).transpose()?,
            },
            Command::Drop(drop) => message::Command::Drop {
                spot: drop.spot.ok_or_else(|| lacking("place"))?.into(),
                length: drop.length,
                readers_ms: drop.readers_ms,
                writer_done: drop.writer_done,
            },
            Command::Fetch(fetch) => message::Command::Fetch {
                entry: Box::new(fetch.entry.ok_or_else(|| lacking("entry"))?.try_into()?),
                from: fetch.from.iter().map(object::Extent::from).collect(),
            },
            Command::Expelled(expelled) => {
                message::Command::Expelled { view: expelled.view.ok_or_else(|| lacking("view"))?.into() }
            }
        };
        Ok(message::Order {
            epoch: Epoch(order.epoch),
            master: MasterId(order.master),
            to: NodeId(order.to),
            floor: Generation(order.floor),
            command,
        })
    }
}

// ---- reports

/// Most bytes of a segment: what an address can name, and so little that the sum of all can be counted.
const MAX_SEGMENT: u64 = 1 << 48;

#[derive(Clone, PartialEq, Message)]
pub struct Offer {
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Offers {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(message, repeated, tag = "2")]
    pub list: Vec<Offer>,
    #[prost(uint64, repeated, tag = "3")]
    pub withdrawn: Vec<u64>,
    #[prost(bool, tag = "4")]
    pub is_leaving: bool,
}

impl From<&message::Offers> for Offers {
    fn from(offers: &message::Offers) -> Offers {
        let offer = |offer: &message::Offer| Offer {
            segment: offer.segment.0,
            name: offer.name.as_ref().into(),
            length: offer.length,
        };
        Offers {
            number: offers.number,
            list: offers.list.iter().map(offer).collect(),
            withdrawn: offers.withdrawn.iter().map(|segment| segment.0).collect(),
            is_leaving: offers.is_leaving,
        }
    }
}

impl TryFrom<Option<Offers>> for message::Offers {
    type Error = Error;

    fn try_from(offers: Option<Offers>) -> Result<message::Offers> {
        let offers = offers.ok_or_else(|| lacking("offers"))?;
        Ok(message::Offers {
            number: offers.number,
            list: offers.list.into_iter().map(offered).collect::<Result<_>>()?,
            withdrawn: offers.withdrawn.into_iter().map(SegmentId).collect(),
            is_leaving: offers.is_leaving,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub domain: String,
    #[prost(message, optional, tag = "3")]
    pub offers: Option<Offers>,
    #[prost(uint64, tag = "4")]
    pub promised: u64,
    #[prost(bool, tag = "5")]
    pub is_fresh: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Page {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub ask: u64,
    #[prost(bool, tag = "3")]
    pub is_fresh: bool,
    #[prost(message, optional, tag = "4")]
    pub after: Option<Cursor>,
    #[prost(message, repeated, tag = "5")]
    pub entries: Vec<Entry>,
    #[prost(message, optional, tag = "6")]
    pub next: Option<Cursor>,
    #[prost(message, optional, tag = "7")]
    pub view: Option<View>,
    #[prost(message, optional, tag = "8")]
    pub offers: Option<Offers>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Following {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub sent: u64,
    #[prost(message, optional, tag = "3")]
    pub view: Option<ViewId>,
    #[prost(message, optional, tag = "4")]
    pub offers: Option<Offers>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    #[prost(uint64, tag = "1")]
    pub promised: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dropped {
    #[prost(message, optional, tag = "1")]
    pub spot: Option<WireSpot>,
    #[prost(bool, tag = "2")]
    pub released: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Fetched {
    #[prost(message, optional, tag = "1")]
    pub spot: Option<WireSpot>,
    #[prost(bool, tag = "2")]
    pub done: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Worn {
    #[prost(message, optional, tag = "1")]
    pub spot: Option<WireSpot>,
    #[prost(string, tag = "2")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Said {
    #[prost(message, tag = "10")]
    Hello(Hello),
    #[prost(message, tag = "11")]
    Page(Page),
    #[prost(message, tag = "12")]
    Following(Following),
    #[prost(message, tag = "13")]
    Refused(Refused),
    #[prost(message, tag = "14")]
    Dropped(Dropped),
    #[prost(message, tag = "15")]
    Fetched(Fetched),
    #[prost(message, tag = "16")]
    Worn(Worn),
}

#[derive(Clone, PartialEq, Message)]
pub struct Report {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(oneof = "Said", tags = "10, 11, 12, 13, 14, 15, 16")]
    pub said: Option<Said>,
}

fn offered(offer: Offer) -> Result<message::Offer> {
    if !(1..=MAX_SEGMENT).contains(&offer.length) || offer.name.len() > object::MAX_NAME {
        return Err(fail!(Rejected, "a segment of {} bytes with the name {:.300}", offer.length, offer.name));
    }
    let segment = SegmentId(offer.segment);
    Ok(message::Offer { segment, name: offer.name.into(), length: offer.length })
}

impl From<&message::Report> for Report {
    fn from(report: &message::Report) -> Report {
        let (node, said) = match report {
            message::Report::Hello { node, name, domain, offers, promised, is_fresh } => {
                let hello = Hello {
                    name: name.as_ref().into(),
                    domain: domain.as_ref().into(),
                    offers: Some(offers.into()),
                    promised: promised.0,
                    is_fresh: *is_fresh,
                };
                (node, Said::Hello(hello))
            }
            message::Report::Page { node, epoch, ask, is_fresh, offers, after, entries, next, view } => {
                let page = Page {
                    epoch: epoch.0,
                    ask: *ask,
                    is_fresh: *is_fresh,
                    after: after.map(Cursor::from),
                    entries: entries.iter().map(Entry::from).collect(),
                    next: next.map(Cursor::from),
                    view: view.as_deref().map(View::from),
                    offers: Some(offers.into()),
                };
                (node, Said::Page(page))
            }
            message::Report::Following { node, epoch, sent, view, offers } => {
                let (view, offers) = (view.map(Into::into), Some(offers.into()));
                (node, Said::Following(Following { epoch: epoch.0, sent: *sent, view, offers }))
            }
            message::Report::Refused { node, promised } => {
                (node, Said::Refused(Refused { promised: promised.0 }))
            }
            message::Report::Dropped { node, spot, released } => {
                (node, Said::Dropped(Dropped { spot: Some((*spot).into()), released: *released }))
            }
            message::Report::Fetched { node, spot, done } => {
                (node, Said::Fetched(Fetched { spot: Some((*spot).into()), done: *done }))
            }
            message::Report::Worn { node, spot, tenant, key } => {
                let (tenant, key) = (tenant.as_ref().to_owned(), key.to_vec());
                (node, Said::Worn(Worn { spot: Some((*spot).into()), tenant, key }))
            }
        };
        Report { node: node.0, said: Some(said) }
    }
}

impl TryFrom<Report> for message::Report {
    type Error = Error;

    fn try_from(report: Report) -> Result<message::Report> {
        let node = NodeId(report.node);
        let spot = |spot: Option<WireSpot>| spot.map(Spot::from).ok_or_else(|| lacking("place"));
        Ok(match report.said.ok_or_else(|| lacking("report"))? {
            Said::Hello(hello) => message::Report::Hello {
                node,
                name: hello.name.into(),
                domain: hello.domain.into(),
                offers: hello.offers.try_into()?,
                promised: Epoch(hello.promised),
                is_fresh: hello.is_fresh,
            },
            Said::Page(page) => message::Report::Page {
                node,
                epoch: Epoch(page.epoch),
                ask: page.ask,
                is_fresh: page.is_fresh,
                after: page.after.map(Into::into),
                entries: page.entries.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
                next: page.next.map(Into::into),
                view: page.view.map(TryInto::try_into).transpose()?,
                offers: page.offers.try_into()?,
            },
            Said::Following(following) => message::Report::Following {
                node,
                epoch: Epoch(following.epoch),
                sent: following.sent,
                view: following.view.map(Into::into),
                offers: following.offers.try_into()?,
            },
            Said::Refused(refused) => message::Report::Refused { node, promised: Epoch(refused.promised) },
            Said::Dropped(dropped) => {
                message::Report::Dropped { node, spot: spot(dropped.spot)?, released: dropped.released }
            }
            Said::Worn(worn) => message::Report::Worn {
                node,
                spot: spot(worn.spot)?,
                tenant: worn.tenant.into(),
                key: worn.key.into(),
            },
            Said::Fetched(fetched) => {
                message::Report::Fetched { node, spot: spot(fetched.spot)?, done: fetched.done }
            }
        })
    }
}
