//! What happened to requests: their end above all, with which everything that was kept of them goes.

use std::sync::Arc;

use super::Conductor;
use super::hooks::refuse_inside;
use super::state::{LiveRequest, Model};
use super::words::*;
use crate::conductor::schedule::{self, Rejection};
use crate::error::{Code, Context as _, Result};
use crate::fail;

impl Conductor {
    /// Tells what happened to a request. Its end takes its id away; without a first token before, `Finished` says that
    /// its prefill was all that was wanted.
    pub fn feedback(&self, id: RequestId, feedback: Feedback) -> Result<()> {
        refuse_inside()?;
        let (model, core) = self.live_request(id)?;
        let now = self.now();
        let mut desk = model.desk.lock();
        let scheduler = &mut desk.scheduler;
        let told = match feedback {
            Feedback::Started => scheduler.started(core, now),
            Feedback::FirstToken => scheduler.first_token(core, now),
            Feedback::Finished => scheduler.finished(core, now),
            Feedback::Failed => scheduler.failed(core, now),
            Feedback::Cancelled => scheduler.cancelled(core, now),
        };
        drop(desk);
        if told.as_ref().is_err_and(|error| error.code == Code::InvalidHandle) {
            self.forget(id, true);
            return Err(given_up(id));
        }
        told.context(format_args!("telling that request {:#x} {}", id.0, feedback.name()))?;
        self.counts.feedback[feedback as usize].increment();
        match feedback {
            Feedback::Started => {}
            Feedback::FirstToken => {
                let kept = self.live.lock().requests.get_mut(id.0).ok().and_then(|live| live.promised.take());
                drop(kept);
            }
            Feedback::Finished => self.forget(id, false),
            Feedback::Failed | Feedback::Cancelled => self.forget(id, true),
        }
        Ok(())
    }

    /// With the admission "load", to be asked when the prefill has ended and before that is told: whether there is room
    /// to decode. What is rejected then has to be cancelled.
    pub fn recheck(&self, id: RequestId) -> Result<Option<Rejection>> {
        refuse_inside()?;
        let (model, core) = self.live_request(id)?;
        let checked = model.desk.lock().scheduler.recheck(core, self.now());
        match checked {
            Err(error) if error.code == Code::InvalidHandle => Err(given_up(id)),
            checked => checked.context(format_args!("looking for room to decode request {:#x}", id.0)),
        }
    }

    /// Why a request that has not ended runs where it runs: JSON.
    pub fn explain(&self, id: RequestId) -> Result<String> {
        refuse_inside()?;
        let (model, core) = self.live_request(id)?;
        let desk = model.desk.lock();
        let Some((kept, candidates)) = desk.explained.find(core) else {
            return Err(fail!(
                NotFound,
                "request {:#x} was decided too long ago: {} decisions per model are kept",
                id.0,
                self.options.explained
            ));
        };
        Ok(kept.json(&model.name, Some(id), candidates, &desk, self.now()))
    }

    fn live_request(&self, id: RequestId) -> Result<(Arc<Model>, schedule::RequestId)> {
        let live = self.live.lock();
        let request = live.requests.get(id.0)?;
        Ok((request.model.clone(), request.core))
    }

    /// Forgets a request; what it was to leave at its instance too, if that will not come.
    fn forget(&self, id: RequestId, is_broken: bool) {
        let mut live = self.live.lock();
        // Two may tell the same end: the other one was here then.
        let Ok(request) = live.requests.remove(id.0) else { return };
        if !request.name.is_empty() {
            live.by_name.remove(&request.name);
        }
        drop(live);
        let LiveRequest { space, promised, .. } = request;
        if let Some((holder, keys)) = promised.filter(|_| is_broken) {
            space.indexed.write().index.withdraw(holder, &keys);
        }
    }

    /// Forgets the requests that schedulers gave up.
    pub(super) fn forget_lost(&self) {
        let models: Vec<Arc<Model>> = self.directory.read().models().cloned().collect();
        for model in models {
            let mut desk = model.desk.lock();
            let lost = desk.scheduler.lost();
            if std::mem::replace(&mut desk.forgotten, lost) == lost {
                continue;
            }
            drop(desk);
            let of_model = |live: &LiveRequest| Arc::ptr_eq(&live.model, &model);
            let all: Vec<(u64, schedule::RequestId)> = {
                let live = self.live.lock();
                let own = live.requests.iter().filter(|(_, live)| of_model(live));
                own.map(|(id, live)| (id, live.core)).collect()
            };
            let desk = model.desk.lock();
            let gone: Vec<u64> = all
                .into_iter()
                .filter(|(_, core)| !desk.scheduler.is_running(*core))
                .map(|(id, _)| id)
                .collect();
            drop(desk);
            gone.into_iter().for_each(|id| self.forget(RequestId(id), true));
        }
    }
}

fn given_up(id: RequestId) -> crate::error::Error {
    fail!(
        InvalidHandle,
        "request {:#x} was given up: its instance was unregistered or silent for too long, or its end was not told",
        id.0
    )
}
