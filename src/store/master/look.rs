//! Looking: whether objects are there, many at a time; and what operators see.

use crate::store::object::Name;
use crate::store::refusal::Result;

use super::get::Located;
use super::state::State;

/// A tenant, for those who look on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantInfo {
    pub name: String,
    pub used_bytes: u64,
    /// None is no limit.
    pub quota_bytes: Option<u64>,
    pub objects: u64,
}

impl State {
    /// Bytes and replicas of an object. A lease is granted only if asked for. Errors: NOT_FOUND, NOT_READY.
    pub fn look(&mut self, now: u64, name: Name<'_>, prolong: bool) -> Result<(u64, u8)> {
        let at = self.lookup(now, name)?;
        if prolong {
            self.prolong(now, at);
        }
        let object = self.object(at);
        Ok((object.size, object.replicas))
    }

    /// Where an object lies, without a lease: it may be elsewhere by the time this is read. Errors: NOT_FOUND, NOT_READY.
    pub fn whereabouts(&mut self, now: u64, name: Name<'_>) -> Result<Located> {
        let at = self.lookup(now, name)?;
        let object = self.object(at);
        let replicas = self.replicas(now, object);
        Ok(Located { version: object.version, size: object.size, replicas, lease_ms: 0 })
    }

    pub fn tenants(&self) -> Vec<TenantInfo> {
        let info = |(_, tenant): (u16, &super::quota::Tenant)| TenantInfo {
            name: tenant.name.as_ref().to_owned(),
            used_bytes: tenant.used,
            quota_bytes: tenant.quota,
            objects: tenant.objects,
        };
        self.tenants.iter().map(info).collect()
    }
}
