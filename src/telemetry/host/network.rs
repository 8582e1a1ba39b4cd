//! Network interfaces and the kernel's TCP settings.

use super::{Finding, State, names, read, size};
use crate::sys::net::interface_addresses;

const GROUP: &str = "network";
/// Below this a lane cannot keep a fast link busy.
const SOCKET_BUFFER_WANTED: u64 = 4 << 20;

pub fn findings() -> Vec<Finding> {
    let mut findings = interfaces();
    findings.extend([buffers("tcp_rmem", "receive"), buffers("tcp_wmem", "send"), congestion_control()]);
    findings
}

fn interfaces() -> Vec<Finding> {
    let addresses = interface_addresses().unwrap_or_default();
    let mut interfaces: Vec<String> = addresses.iter().map(|address| address.interface.clone()).collect();
    interfaces.extend(names("/sys/class/net"));
    interfaces.sort();
    interfaces.dedup();
    if interfaces.is_empty() {
        return vec![
            Finding::new(GROUP, "interfaces", State::Missing, "none")
                .why("peers on other hosts are reached through an interface")
                .advice("bring one up, or restrict the engine to this host: MC_LISTEN=false"),
        ];
    }
    let mut findings: Vec<Finding> = Vec::new();
    for name in interfaces {
        let own: Vec<_> = addresses.iter().filter(|address| address.interface == name).collect();
        let attribute = |file: &str| read(&format!("/sys/class/net/{name}/{file}"));
        let is_up =
            own.iter().any(|address| address.is_up) || attribute("operstate").as_deref() == Some("up");
        let list: Vec<String> = own.iter().map(|address| address.address.to_string()).collect();
        let list = if list.is_empty() { "no address".to_owned() } else { list.join(" ") };
        let speed = attribute("speed").and_then(|text| text.parse::<i64>().ok()).filter(|speed| *speed > 0);
        let speed = speed.map_or("speed unknown".to_owned(), |megabits| format!("{megabits} Mb/s"));
        let mtu = attribute("mtu").map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
        let up = if is_up { "up" } else { "down" };
        let state = if is_up && !own.is_empty() { State::Ok } else { State::Missing };
        let is_loopback = own.iter().any(|address| address.is_loopback);
        findings.push(
            Finding::new(GROUP, name, state, format!("{up}, {list}, {speed}{mtu}"))
                .why(if is_loopback { "peers on this host" } else { "peers on other hosts" })
                .advice(
                    "not used as it is; give it an address and bring it up if peers should come this way",
                ),
        );
    }
    findings
}

/// The largest buffer that the kernel grows a socket to.
fn buffers(file: &str, of: &str) -> Finding {
    let text = read(&format!("/proc/sys/net/ipv4/{file}")).unwrap_or_default();
    let most = text.split_whitespace().nth(2).and_then(|text| text.parse::<u64>().ok());
    let state =
        if most.is_some_and(|most| most >= SOCKET_BUFFER_WANTED) { State::Ok } else { State::Warning };
    Finding::new(
        GROUP,
        format!("TCP {of} buffer"),
        state,
        most.map_or("unknown".to_owned(), |most| format!("up to {}", size(most))),
    )
    .why("one lane carries at most buffer / round trip time; on a link with delay small buffers cap it")
    .advice(format!("sysctl -w net.ipv4.{file}=\"4096 131072 16777216\", or more lanes"))
}

fn congestion_control() -> Finding {
    let name = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let state = if name.is_some() { State::Ok } else { State::Missing };
    Finding::new(GROUP, "TCP congestion control", state, name.unwrap_or("unknown".to_owned()))
        .why("how lanes share a link with other traffic")
        .advice("/proc/sys/net is not readable here; nothing to do")
}
