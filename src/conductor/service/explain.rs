//! Why a request runs where it runs: what each instance would have taken, as JSON. The last decisions are kept.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::state::Desk;
use super::words::{Place, RequestId};
use crate::conductor::schedule::{self, Candidate, Decision, Reason, Rejection, Verdict, Way};

/// A decision, and what it was made of.
#[derive(Debug)]
pub struct Kept {
    request: schedule::Request,
    blocks: u32,
    at: f64,
    verdict: Verdict,
}

/// The last decisions of a model.
pub struct Explained {
    kept: VecDeque<(Kept, Vec<Candidate>)>,
    most: usize,
}

impl Explained {
    pub fn new(most: usize) -> Explained {
        Explained { kept: VecDeque::new(), most }
    }

    pub fn keep(&mut self, kept: Kept, candidates: &[Candidate]) {
        if self.most == 0 {
            return;
        }
        // The oldest one's memory is used again.
        let full = self.kept.len() >= self.most;
        let mut copies = if full { self.kept.pop_front().unzip().1.unwrap_or_default() } else { Vec::new() };
        copies.clear();
        copies.extend_from_slice(candidates);
        self.kept.push_back((kept, copies));
    }

    pub fn find(&self, request: schedule::RequestId) -> Option<(&Kept, &[Candidate])> {
        let is_it = |kept: &Kept| kept.verdict.decision().is_some_and(|decision| decision.request == request);
        let (kept, candidates) = self.kept.iter().rev().find(|(kept, _)| is_it(kept))?;
        Some((kept, candidates))
    }
}

impl Kept {
    pub fn new(request: schedule::Request, blocks: u32, at: f64, verdict: Verdict) -> Kept {
        Kept { request, blocks, at, verdict }
    }

    pub fn json(
        &self,
        model: &str,
        id: Option<RequestId>,
        candidates: &[Candidate],
        desk: &Desk,
        now: f64,
    ) -> String {
        let schedule::Request { tokens, priority, class, output } = self.request;
        let (decision, rejection) = match &self.verdict {
            Verdict::Run(decision) => (decided(decision, desk), Value::Null),
            Verdict::Rejected(rejection) => (Value::Null, rejected(rejection)),
        };
        let chosen = self.verdict.decision().map(|decision| decision.prefill);
        let candidates: Vec<Value> =
            candidates.iter().map(|one| candidate(one, chosen == Some(one.instance), desk)).collect();
        json!({
            "model": model,
            "request": id.map(|id| format!("{:#x}", id.0)),
            "age": now - self.at,
            "policy": desk.scheduler.options().policy.name,
            "tokens": tokens,
            "blocks": self.blocks,
            "priority": priority,
            "class": class,
            "output": output,
            "decision": decision,
            "rejection": rejection,
            "candidates": candidates,
        })
        .to_string()
    }
}

fn place(id: schedule::InstanceId, desk: &Desk) -> Value {
    match desk.places.get(&id) {
        Some(Place { instance, name, rank }) => {
            json!({ "instance": &**name, "id": format!("{:#x}", instance.0), "rank": rank })
        }
        // Unregistered since.
        None => Value::Null,
    }
}

fn source(from: schedule::Source, desk: &Desk) -> Value {
    match from {
        schedule::Source::Nowhere => Value::Null,
        schedule::Source::Instance(id) => place(id, desk),
        schedule::Source::Store => "store".into(),
    }
}

fn decided(decision: &Decision, desk: &Desk) -> Value {
    json!({
        "prefill": place(decision.prefill, desk),
        "group": decision.group.others().map(|id| place(id, desk)).collect::<Vec<_>>(),
        "decode": decision.decode.map(|id| place(id, desk)),
        "reused_blocks": decision.reused,
        "moved_blocks": decision.moved,
        "source": source(decision.source, desk),
        "computed_tokens": decision.computed_tokens,
        "queue": decision.queue,
        "transfer": decision.transfer,
        "compute": decision.compute,
        "ttft": decision.ttft,
        "tbt": decision.tbt,
    })
}

pub(super) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Prefill => "prefill",
        Reason::Decode => "decode",
        Reason::Rule => "rule",
    }
}

fn rejected(rejection: &Rejection) -> Value {
    json!({
        "reason": reason(rejection.reason),
        "load": rejection.load,
        "limit": rejection.limit,
        "retry_after": rejection.retry_after,
    })
}

fn candidate(one: &Candidate, is_chosen: bool, desk: &Desk) -> Value {
    let moves = one.reach > one.local;
    json!({
        "place": place(one.instance, desk),
        "chosen": is_chosen,
        "queue": one.queue,
        "doubt": one.doubt,
        "local_blocks": one.local,
        "recompute": { "prefill": one.recompute, "ttft": one.ttft(Way::Recompute) },
        "transfer": moves.then(|| json!({
            "blocks": one.reach,
            "source": source(one.source, desk),
            "transfer": one.transfer,
            "prefill": one.rest,
            "ttft": one.ttft(Way::Transfer),
        })),
    })
}
