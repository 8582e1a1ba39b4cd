//! What time brings: questions that were not answered, deadlines, views, room.

use crate::store::object::NodeId;

use super::lead::{Node, Phase};
use super::state::State;

impl State {
    /// Does what is due. Some ten times as often as things are sent again is often enough.
    pub fn tick(&mut self, now: u64) {
        if self.is_deposed() {
            return;
        }
        // Whoever was stopped has heard nobody, and that says nothing about them.
        if now >= self.ticked_at + 2 * self.config.lead_every_ms {
            self.lead.nodes.values_mut().for_each(|node| node.heard_at = now);
        }
        self.ticked_at = now;
        self.ask(now);
        match self.lead.phase {
            Phase::Gathering => self.gather(now),
            Phase::Rebuilding | Phase::Installing => self.finish_rebuild(now),
            Phase::Serving => self.propose(now),
            Phase::Deposed => {}
        }
        if self.lead.phase == Phase::Serving {
            self.forget_strangers(now);
        }
        let resend = self.resent_at + self.config.resend_ms <= now;
        if resend {
            self.resent_at = now;
        }
        self.resend_drops(now);
        self.grants.tick(now);
        self.go_on_changing(now, resend);
        if self.may_change(now).is_ok() {
            self.make_room(now, 0);
            self.go_on_draining(now);
        }
        self.go_on_sweeping(now);
    }

    /// Promises and pages that are missing, and followers that are to go on.
    fn ask(&mut self, now: u64) {
        let (phase, resend_ms, lead_every_ms) =
            (self.lead.phase, self.config.resend_ms, self.config.lead_every_ms);
        let is_due = |at: Option<u64>, every: u64| at.is_none_or(|at| at + every <= now);
        let wants_pages = |id: NodeId| match phase {
            Phase::Gathering => false,
            Phase::Rebuilding | Phase::Installing => self.lead.heirs.contains(&id),
            _ => true,
        };
        let is_missing = |id: NodeId, node: &Node| !node.promised || !node.reported && wants_pages(id);
        let nodes = self.lead.nodes.iter();
        let asked: Vec<NodeId> = nodes
            .clone()
            .filter(|(id, node)| is_missing(**id, node) && is_due(node.asked_at, resend_ms))
            .map(|(id, _)| *id)
            .collect();
        let led: Vec<NodeId> = nodes
            .filter(|(_, node)| {
                phase != Phase::Gathering && node.promised && is_due(node.led_at, lead_every_ms)
            })
            .map(|(id, _)| *id)
            .collect();
        asked.into_iter().for_each(|node| self.claim(now, node));
        led.into_iter().for_each(|node| self.lead_on(now, node));
    }
}
