//! RDMA devices, accelerators, and the vendor libraries that would drive them.

use std::fs;

use super::{Finding, State, names, read};
use crate::sys::dylib::Library;

/// Libraries that are opened when first needed: file, what it is for, package that has it.
const LIBRARIES: &[(&str, &str, &str)] = &[
    ("libibverbs.so.1", "RDMA", "rdma-core (Debian: libibverbs1)"),
    ("librdmacm.so.1", "RDMA connections", "rdma-core (Debian: librdmacm1)"),
    ("libfabric.so.1", "EFA and other fabrics", "libfabric (Debian: libfabric1)"),
    ("libcuda.so.1", "NVIDIA GPU memory", "the NVIDIA driver"),
    ("libcufile.so.0", "NVIDIA GPU memory from and to files", "NVIDIA GPUDirect Storage"),
    ("libamdhip64.so", "AMD GPU memory", "ROCm"),
    ("libascendcl.so", "Ascend NPU memory", "Ascend CANN"),
];

pub fn findings() -> Vec<Finding> {
    let mut findings = rdma();
    findings.extend(accelerators());
    findings.extend(LIBRARIES.iter().map(|(file, purpose, package)| library(file, purpose, package)));
    findings
}

fn rdma() -> Vec<Finding> {
    let root = "/sys/class/infiniband";
    let why = "RDMA moves bytes without either processor";
    let devices = names(root);
    if devices.is_empty() {
        return vec![
            Finding::new("devices", "RDMA", State::Missing, format!("nothing in {root}"))
                .why(why)
                .advice("without one TCP is used; if there is a card, load its driver and give the container /dev/infiniband"),
        ];
    }
    let finding = |device: &String| {
        let ports: Vec<String> = names(&format!("{root}/{device}/ports"))
            .iter()
            .map(|port| {
                let attribute = |file| {
                    read(&format!("{root}/{device}/ports/{port}/{file}")).unwrap_or("unknown".to_owned())
                };
                format!(
                    "port {port}: {}, {}, {}",
                    attribute("state"),
                    attribute("rate"),
                    attribute("link_layer")
                )
            })
            .collect();
        let state = if ports.iter().any(|port| port.contains("ACTIVE")) { State::Ok } else { State::Warning };
        Finding::new("devices", format!("RDMA {device}"), state, ports.join("; "))
            .why(why)
            .advice("no port is active: check cable and subnet manager, or the address of its interface")
    };
    devices.iter().map(finding).collect()
}

fn accelerators() -> Vec<Finding> {
    let nvidia = names("/proc/driver/nvidia/gpus").into_iter().map(|gpu| {
        let information = read(&format!("/proc/driver/nvidia/gpus/{gpu}/information")).unwrap_or_default();
        let model = super::field(&information, "Model").unwrap_or("unknown model").to_owned();
        ("NVIDIA", format!("{model} at {gpu}"))
    });
    let numbered = |folder: &str, prefix: &str| -> Vec<String> {
        let is_device =
            |name: &String| name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
        names(folder).into_iter().filter(is_device).map(|name| format!("{folder}/{name}")).collect()
    };
    let amd = fs::metadata("/dev/kfd").is_ok().then(|| ("AMD", "/dev/kfd".to_owned()));
    let ascend = numbered("/dev", "davinci").into_iter().map(|path| ("Ascend", path));
    let render = numbered("/dev/dri", "renderD").into_iter().map(|path| ("render node", path));
    let found: Vec<(&str, String)> = nvidia.chain(amd).chain(ascend).chain(render).collect();
    let why = "this release transfers host memory; device memory is staged by its owner";
    if found.is_empty() {
        return vec![
            Finding::new("devices", "accelerators", State::Missing, "no GPU or NPU")
                .why(why)
                .advice("if there is one, give the container its devices (/dev/nvidia*, /dev/kfd, /dev/dri, /dev/davinci*)"),
        ];
    }
    found.into_iter().map(|(kind, value)| Finding::new("devices", kind, State::Ok, value).why(why)).collect()
}

fn library(file: &str, purpose: &str, package: &str) -> Finding {
    let opened = Library::open(file);
    let state = if opened.is_ok() { State::Ok } else { State::Missing };
    Finding::new("libraries", file, state, opened.map_or_else(|error| error, |_| "opened".to_owned()))
        .why(format!("for {purpose}; not needed otherwise"))
        .advice(format!("to use it install {package}"))
}
