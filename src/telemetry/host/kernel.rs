//! The kernel, its limits, and what it allows between processes.

use std::fs;

use super::{Finding, State, field, names, read};

const GROUP: &str = "kernel";
const CAP_SYS_PTRACE: u32 = 19;
/// Below this many file descriptors a busy engine runs out.
const DESCRIPTORS_WANTED: u64 = 4096;

pub fn findings() -> Vec<Finding> {
    vec![version(), processors(), descriptors(), cross_memory_attach(), io_uring(), namespaces()]
}

fn version() -> Finding {
    let version = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // pidfd_open came with 5.3.
    let state = if release >= (5, 3) { State::Ok } else { State::Warning };
    Finding::new(GROUP, "version", state, if version.is_empty() { "unknown".to_owned() } else { version })
        .why("5.3 or newer has pidfds, without which the paths between processes of one host stay off")
        .advice("use a newer kernel, or TCP between processes of this host")
}

fn processors() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let nodes = names("/sys/devices/system/node")
        .iter()
        .filter(|name| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok()))
        .count()
        .max(1);
    let state = if count > 1 { State::Ok } else { State::Warning };
    Finding::new(GROUP, "processors", state, format!("{count} usable, {nodes} NUMA node(s)"))
        .why("lanes and worker threads are chosen from the usable processors")
        .advice("give the process more than one processor: both ends of a transfer share this one")
}

fn descriptors() -> Finding {
    let limits = read("/proc/self/limits").unwrap_or_default();
    let row = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = row.split_whitespace().nth(3).unwrap_or("unknown").to_owned();
    let is_enough = soft == "unlimited" || soft.parse::<u64>().is_ok_and(|limit| limit >= DESCRIPTORS_WANTED);
    Finding::new(GROUP, "file descriptors", if is_enough { State::Ok } else { State::Warning }, soft)
        .why("each peer costs a few: lanes, a control connection, shared memory")
        .advice("raise the limit: ulimit -n 65536")
}

fn cross_memory_attach() -> Finding {
    let scope = read("/proc/sys/kernel/yama/ptrace_scope");
    let has_capability = read("/proc/self/status")
        .and_then(|status| field(&status, "CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok()))
        .is_some_and(|mask| mask & (1 << CAP_SYS_PTRACE) != 0);
    let state = match scope.as_deref() {
        None | Some("0") => State::Ok,
        Some("3") => State::Missing,
        Some(_) if has_capability => State::Ok,
        Some(_) => State::Warning,
    };
    let scope = scope.map_or("no Yama".to_owned(), |scope| format!("ptrace_scope {scope}"));
    let capability = if has_capability { "CAP_SYS_PTRACE" } else { "no CAP_SYS_PTRACE" };
    Finding::new(GROUP, "cross-memory attach", state, format!("{scope}, {capability}"))
        .why("path \"cma\" between processes of one user on this host, for memory that mc_memory_allocate did not make")
        .advice("set kernel.yama.ptrace_scope=0, or grant CAP_SYS_PTRACE, or use mc_memory_allocate (path \"memfd\")")
}

fn io_uring() -> Finding {
    let disabled = read("/proc/sys/kernel/io_uring_disabled");
    let (state, value) = match disabled.as_deref() {
        Some("0") => (State::Ok, "enabled"),
        Some("1") => (State::Warning, "only for members of kernel.io_uring_group"),
        Some(_) => (State::Missing, "disabled by kernel.io_uring_disabled"),
        None if fs::metadata("/proc/sys/kernel").is_ok() => {
            (State::Missing, "no switch in this kernel: older than 6.6, or built without")
        }
        None => (State::Missing, "unknown, /proc/sys is not mounted"),
    };
    Finding::new(GROUP, "io_uring", state, value)
        .why("transfers do not use it yet; sockets are driven by epoll")
        .advice("nothing to do")
}

fn namespaces() -> Finding {
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/self/ns/{name}")).ok();
        target.map_or("unknown".to_owned(), |target| target.display().to_string())
    };
    Finding::new(GROUP, "namespaces", State::Ok, format!("{}, {}", link("pid"), link("net")))
        .why("processes with another pid namespace reach each other by memfd or TCP, with another net namespace by TCP")
}
