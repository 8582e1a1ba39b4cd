//! Which transports a program asked for. Paths within a host come with any of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::bail;
use crate::error::Result;

/// A protocol that Mooncake knows by name.
#[derive(Debug)]
pub struct Protocol {
    pub name: &'static str,
    is_here: bool,
}

const fn here(name: &'static str) -> Protocol {
    Protocol { name, is_here: true }
}

const fn elsewhere(name: &'static str) -> Protocol {
    Protocol { name, is_here: false }
}

static PROTOCOLS: &[Protocol] = &[
    here("tcp"),
    elsewhere("rdma"),
    elsewhere("ascend"),
    elsewhere("barex"),
    elsewhere("cxi"),
    elsewhere("cxl"),
    elsewhere("efa"),
    elsewhere("flagcx"),
    elsewhere("hip"),
    elsewhere("maca"),
    elsewhere("musa"),
    elsewhere("nccl"),
    elsewhere("nvlink"),
    elsewhere("nvlink_intra"),
    elsewhere("nvmeof"),
    elsewhere("sunrise_link"),
    elsewhere("ub"),
    elsewhere("ubshmem"),
];

#[derive(Default)]
pub struct Transports {
    installed: Mutex<BTreeSet<&'static str>>,
    /// TCP stands in for what is not here.
    is_tcp_forced: AtomicBool,
}

impl Transports {
    /// From here on TCP carries what other protocols are asked for.
    pub fn force_tcp(&self) {
        self.is_tcp_forced.store(true, Ordering::Relaxed);
        self.install_default();
    }

    pub fn install_default(&self) {
        self.installed.lock().insert("tcp");
    }

    /// Installing again what is installed changes nothing.
    pub fn install(&self, name: &str) -> Result<&'static Protocol> {
        let Some(protocol) = PROTOCOLS.iter().find(|protocol| protocol.name == name) else {
            bail!(NotFound, "there is no transport {name:?}");
        };
        if !protocol.is_here {
            if !self.is_tcp_forced.load(Ordering::Relaxed) {
                bail!(
                    Unsupported,
                    "transport {name:?} is not in this library yet: install \"tcp\", or set MC_FORCE_TCP=1 to let TCP carry it"
                );
            }
            tracing::warn!("transport {name:?} was asked for; MC_FORCE_TCP is set, so TCP carries its bytes");
        }
        self.installed.lock().insert(protocol.name);
        Ok(protocol)
    }

    /// Transfers under way go on; with no transport left, new ones are refused.
    pub fn uninstall(&self, name: &str) {
        self.installed.lock().remove(name);
    }

    pub fn require_one(&self) -> Result<()> {
        if self.installed.lock().is_empty() {
            bail!(Unsupported, "no transport is installed: installTransport(\"tcp\") first");
        }
        Ok(())
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.installed.lock().iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn rdma_is_refused_unless_tcp_may_carry_it() {
        let transports = Transports::default();
        assert_eq!(transports.require_one().expect_err("none").code, Code::Unsupported);
        assert_eq!(transports.install("rdma").expect_err("not here").code, Code::Unsupported);
        assert_eq!(transports.install("no such").expect_err("unknown").code, Code::NotFound);
        assert!(transports.require_one().is_err());
        transports.force_tcp();
        assert_eq!(transports.install("rdma").expect("carried").name, "rdma");
        assert_eq!(transports.names(), ["rdma", "tcp"]);
    }

    #[test]
    fn what_is_uninstalled_is_gone_until_it_is_installed_again() {
        let transports = Transports::default();
        let first: *const Protocol = transports.install("tcp").expect("tcp");
        let again: *const Protocol = transports.install("tcp").expect("again");
        assert_eq!(first, again);
        transports.uninstall("tcp");
        transports.uninstall("tcp");
        transports.uninstall("unknown");
        assert!(transports.require_one().is_err());
        transports.install("tcp").expect("tcp");
        assert!(transports.require_one().is_ok());
    }
}
