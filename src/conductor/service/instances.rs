//! Who serves and who holds: instances come, change, report and go.

use std::sync::Arc;

use super::Conductor;
use super::hooks::refuse_inside;
use super::state::{Directory, Instance, Space};
use super::words::*;
use crate::bail;
use crate::conductor::schedule::Report;
use crate::error::{Context as _, Result};

impl Conductor {
    /// Takes an instance in. One that is registered already is changed to what is said now, its ranks and cost; if nothing
    /// changed, nothing happens. Its model and its role stay: unregister it to change those.
    pub fn register(&self, registration: &Registration) -> Result<InstanceId> {
        refuse_inside()?;
        let name = &registration.name;
        registration.check().context(format_args!("registering instance {name:?}"))?;
        let mut directory = self.directory.write();
        let known = directory.by_name.get(name.as_str()).copied();
        let done = match known {
            None => self.add(&mut directory, registration),
            Some(id) => self.change(&mut directory, id, registration).map(|()| id),
        };
        done.context(format_args!("registering instance {name:?}"))
    }

    /// Forgets an instance: what it has and the requests that wait for their first token there, at once.
    pub fn unregister(&self, name: &str) -> Result<()> {
        refuse_inside()?;
        let mut directory = self.directory.write();
        let instance = directory.named(name)?.clone();
        directory.by_name.remove(name);
        directory.instances.remove(instance.id.0)?;
        take_out(&directory, &instance, 0);
        directory.forget_models();
        drop(directory);
        self.forget_lost();
        Ok(())
    }

    pub fn instance(&self, name: &str) -> Result<InstanceId> {
        refuse_inside()?;
        Ok(self.directory.read().named(name)?.id)
    }

    pub fn instance_info(&self, id: InstanceId) -> Result<InstanceInfo> {
        refuse_inside()?;
        Ok(self.info_of(self.directory.read().instances.get(id.0)?))
    }

    pub fn instances(&self) -> Result<Vec<InstanceInfo>> {
        refuse_inside()?;
        Ok(self.directory.read().instances.iter().map(|(_, instance)| self.info_of(instance)).collect())
    }

    /// One rank of an instance says how it is.
    pub fn report(&self, id: InstanceId, rank: u32, report: &Report) -> Result<()> {
        refuse_inside()?;
        let instance = self.directory.read().instances.get(id.0)?.clone();
        let core = instance.core(rank)?;
        let Some(model) = &instance.model else { return Ok(()) };
        let told = model.desk.lock().scheduler.report(core, report, self.now());
        self.counts.reports.increment();
        told.context(format_args!("a report of instance {:?}", instance.name))
    }

    fn info_of(&self, instance: &Instance) -> InstanceInfo {
        let age = (self.now() - instance.since).max(0.0);
        InstanceInfo { id: instance.id, registration: instance.registration.clone(), age }
    }

    fn add(&self, directory: &mut Directory, registration: &Registration) -> Result<InstanceId> {
        let model = match registration.duty {
            Duty::Serve { .. } => {
                Some(directory.model(&registration.model, registration.block_size, &self.options)?)
            }
            Duty::Hold => None,
        };
        let name: Arc<str> = registration.name.as_str().into();
        let since = self.now();
        let nobody = InstanceId(0);
        // Its id is known only once it is in.
        let draft = Instance {
            id: nobody,
            registration: Registration { ranks: 0, ..registration.clone() },
            name: name.clone(),
            since,
            model,
            cores: Vec::new(),
        };
        let id = InstanceId(directory.instances.insert(Arc::new(draft))?);
        directory.by_name.insert(name.clone(), id);
        let grown = self.change(directory, id, registration);
        if grown.is_err() {
            directory.by_name.remove(&name);
            let _ = directory.instances.remove(id.0);
            directory.forget_models();
        }
        grown.map(|()| id)
    }

    /// Makes the instance what the registration says, or leaves it as it was.
    fn change(&self, directory: &mut Directory, id: InstanceId, new: &Registration) -> Result<()> {
        let old = directory.instances.get(id.0)?.clone();
        let own = &old.registration;
        if own.what() != new.what() {
            bail!(
                AlreadyExists,
                "it is there as {}, and cannot become {}: unregister it first",
                own.what(),
                new.what()
            );
        }
        if own == new {
            return Ok(());
        }
        let mut next = Instance {
            id,
            registration: new.clone(),
            name: old.name.clone(),
            since: old.since,
            model: old.model.clone(),
            cores: old.cores.iter().take(new.ranks as usize).copied().collect(),
        };
        if let Err(error) = self.enter(directory, &mut next) {
            // The ranks that it had stay.
            take_out(directory, &next, own.ranks);
            return Err(error);
        }
        if let (Some(model), Some(cost)) = (&next.model, next.cost().filter(|cost| old.cost() != Some(*cost)))
        {
            let mut desk = model.desk.lock();
            // Both are known to be fine.
            next.cores.iter().for_each(|core| drop(desk.scheduler.set_cost(*core, cost)));
        }
        take_out(directory, &old, new.ranks);
        *directory.instances.get_mut(id.0)? = Arc::new(next);
        Ok(())
    }

    /// Makes the ranks of the instance known that are not yet: to the scheduler of its model, and in its contexts.
    fn enter(&self, directory: &Directory, instance: &mut Instance) -> Result<()> {
        if let (Some(model), Some(cost), Duty::Serve { role, .. }) =
            (instance.model.clone(), instance.cost(), instance.registration.duty)
        {
            let now = self.now();
            let mut desk = model.desk.lock();
            for rank in instance.cores.len() as u32..instance.registration.ranks {
                let core = desk.scheduler.add(role, cost, now)?;
                desk.places.insert(core, instance.place(rank));
                instance.cores.push(core);
            }
        }
        let suits = |space: &&Arc<Space>| instance.registration.suits(&space.context);
        directory.spaces().filter(suits).try_for_each(|space| space.indexed.write().join(instance))
    }
}

/// Takes the ranks of an instance from `first` on out of its scheduler and of all contexts.
fn take_out(directory: &Directory, instance: &Instance, first: u32) {
    if let Some(model) = &instance.model {
        let mut desk = model.desk.lock();
        for core in instance.cores.iter().skip(first as usize) {
            // Its queue goes with it; that it is there, `cores` says.
            let _ = desk.scheduler.remove(*core);
            desk.places.remove(core);
        }
    }
    for space in directory.spaces() {
        space.indexed.write().leave(instance, first);
    }
}
