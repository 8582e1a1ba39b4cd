//! Memory: what may be locked and shared, and on which pages.

use super::{Finding, State, field, names, read, size};

const GROUP: &str = "memory";
const KIB: u64 = 1024;
/// RDMA drivers pin what is registered: less than this fails at the first large region.
const LOCKED_WANTED: u64 = 64 << 20;

pub fn findings() -> Vec<Finding> {
    let mut findings = vec![available(), locked()];
    findings.extend(huge_pages());
    findings
        .extend([transparent("enabled", "anonymous memory"), transparent("shmem_enabled", "shared memory")]);
    findings
}

fn available() -> Finding {
    let info = read("/proc/meminfo").unwrap_or_default();
    let bytes = |key| {
        field(&info, key)
            .and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kib| kib * KIB)
    };
    let value = match (bytes("MemAvailable"), bytes("MemTotal")) {
        (Some(available), Some(total)) => format!("{} of {} available", size(available), size(total)),
        _ => "unknown, /proc/meminfo cannot be read".to_owned(),
    };
    Finding::new(GROUP, "total", State::Ok, value)
        .why("what this host could offer to its peers; a container may have less")
}

fn locked() -> Finding {
    let limits = read("/proc/self/limits").unwrap_or_default();
    let row = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap_or_default();
    let soft = row.split_whitespace().nth(3).unwrap_or("unknown");
    let limit = soft.parse::<u64>().ok();
    let is_enough = soft == "unlimited" || limit.is_some_and(|limit| limit >= LOCKED_WANTED);
    Finding::new(
        GROUP,
        "locked memory",
        if is_enough { State::Ok } else { State::Warning },
        limit.map_or(soft.to_owned(), size),
    )
    .why("RDMA registration pins memory against this limit; TCP and shared memory do not need it")
    .advice("raise it before using RDMA: ulimit -l unlimited, or LimitMEMLOCK=infinity in a systemd unit")
}

fn huge_pages() -> Vec<Finding> {
    let root = "/sys/kernel/mm/hugepages";
    let why = "memory of mc_memory_allocate lies on huge pages where enough are free: fewer page faults and TLB misses";
    let advice = |kind: &str| format!("reserve some, e.g. echo 512 > {root}/{kind}/nr_hugepages");
    let kinds = names(root);
    if kinds.is_empty() {
        return vec![
            Finding::new(GROUP, "huge pages", State::Missing, "none in this kernel, or /sys is not mounted")
                .why(why)
                .advice("nothing to do: ordinary pages are used"),
        ];
    }
    let finding = |kind: &String| {
        let number = |name| {
            read(&format!("{root}/{kind}/{name}")).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        let kib = kind.trim_start_matches("hugepages-").trim_end_matches("kB").parse::<u64>().unwrap_or(0);
        let (free, all) = (number("free_hugepages"), number("nr_hugepages"));
        let state = if free > 0 { State::Ok } else { State::Missing };
        Finding::new(
            GROUP,
            format!("huge pages of {}", size(kib * KIB)),
            state,
            format!("{free} of {all} free"),
        )
        .why(why)
        .advice(advice(kind))
    };
    kinds.iter().map(finding).collect()
}

/// The setting in a file such as `always [madvise] never`.
fn transparent(file: &str, of: &str) -> Finding {
    let text = read(&format!("/sys/kernel/mm/transparent_hugepage/{file}"));
    let chosen = text.as_deref().and_then(chosen).unwrap_or("unknown").to_owned();
    let state =
        if matches!(chosen.as_str(), "never" | "deny" | "unknown") { State::Missing } else { State::Ok };
    Finding::new(GROUP, format!("transparent huge pages, {of}"), state, chosen)
        .why("\"always\", \"advise\" or \"madvise\" lets the kernel use huge pages without a reservation")
        .advice(format!(
            "echo {} > /sys/kernel/mm/transparent_hugepage/{file}",
            if file == "enabled" { "madvise" } else { "advise" }
        ))
}

fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_chosen_word_is_the_one_in_brackets() {
        assert_eq!(super::chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(super::chosen("always"), None);
    }
}
