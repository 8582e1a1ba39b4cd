//! Which method is answered by what.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fail;
use crate::rpc::{Answer, Caller, Service};
use crate::store::wire::Call;
use crate::store::wire::master::*;

use super::core::Core;
use super::pending::Who;
use super::{nodes, objects, tasks};

/// What one of the two servers calls.
pub struct Front {
    pub core: Arc<Core>,
    pub is_local: bool,
}

impl Front {
    fn who(&self, caller: &Caller) -> Who {
        Who { is_local: self.is_local, number: caller.number }
    }

    /// What is answered at once. Errors say of the whole call that it was not done.
    fn ask(&self, method: u16, body: &[u8]) -> Result<Vec<u8>> {
        let core = &*self.core;
        match method {
            Greet::METHOD => nodes::greet(core, body),
            Get::METHOD => objects::get(core, body),
            Exists::METHOD => objects::exists(core, body),
            PutStart::METHOD => objects::put_start(core, body),
            PutRevoke::METHOD => objects::put_revoke(core, body),
            PutExtend::METHOD => objects::put_extend(core, body),
            List::METHOD => objects::list(core, body),
            Renew::METHOD => objects::renew(core, body),
            Contacts::METHOD => nodes::contacts(core, body),
            Copy::METHOD => tasks::copy(core, body),
            Move::METHOD => tasks::move_replica(core, body),
            Trim::METHOD => tasks::trim(core, body),
            Drain::METHOD => tasks::drain(core, body),
            Task::METHOD => tasks::task(core, body),
            CancelTask::METHOD => tasks::cancel(core, body),
            SetQuota::METHOD => objects::set_quota(core, body),
            Tenant::METHOD => objects::tenant(core, body),
            Segments::METHOD => nodes::segments(core, body),
            Reports::METHOD => nodes::reports(core, body),
            _ => Err(fail!(
                Unsupported,
                "a master has no method {method}: is the caller newer than the master?"
            )),
        }
    }
}

impl Service for Front {
    fn call(&self, caller: &Caller, method: u16, body: &[u8], answer: Answer) {
        let who = self.who(caller);
        match method {
            PutCommit::METHOD => objects::put_commit(&self.core, who, body, answer),
            Remove::METHOD => objects::remove(&self.core, who, body, answer),
            RemoveWhere::METHOD => objects::remove_where(&self.core, who, body, answer),
            _ => {
                let result = self.ask(method, body);
                answer.send(result.as_deref().map_err(Error::clone));
            }
        }
    }

    fn gone(&self, caller: &Caller) {
        self.core.forget(self.who(caller));
    }
}
