//! What Prometheus reads: under Mooncake's names where the meaning is the same, so that its dashboards go on working.

use std::fmt::Write;

use mooncake::store::master::server::{Counted, Seen};

/// Most segments and tenants that have lines of their own.
const MOST_LABELS: usize = 1000;

/// Our methods by Mooncake's names, those that it counts as batches, too.
const BATCHED: &[(&str, &str)] = &[
    ("Exists", "exist_key"),
    ("Get", "get_replica_list"),
    ("PutStart", "put_start"),
    ("PutCommit", "put_end"),
    ("PutRevoke", "put_revoke"),
];
/// And those of which it knows one form.
const SINGLE: &[(&str, &str)] = &[
    ("Remove", "remove"),
    ("RemoveWhere", "remove_by_regex"),
    ("Copy", "create_copy_task"),
    ("Move", "create_move_task"),
    ("Task", "query_task"),
];

/// A name, its kind and what it tells, and its value.
type Row = (&'static str, &'static str, &'static str, u64);

pub fn text(seen: &Seen) -> String {
    let mut text = String::with_capacity(16 << 10);
    for (name, kind, help, value) in amounts(seen) {
        head(&mut text, name, kind, help);
        put(&mut text, name, "", value);
    }
    methods(&mut text, seen);
    labeled(&mut text, seen);
    text
}

fn amounts(seen: &Seen) -> Vec<Row> {
    let got = of(seen, "Get");
    let found = got.items() - got.failed();
    let (gauge, counter) = ("gauge", "counter");
    vec![
        (
            "master_allocated_bytes",
            gauge,
            "Memory in use, what is not free again yet included.",
            seen.stats.used_bytes,
        ),
        ("master_total_capacity_bytes", gauge, "Memory of all nodes.", seen.stats.capacity_bytes),
        ("master_key_count", gauge, "Objects.", seen.stats.objects),
        ("mem_cache_hit_nums_", counter, "Objects that were found by those who read.", found),
        ("mem_cache_hit_bytes_total", counter, "Bytes of these.", seen.found_bytes),
        ("valid_get_nums_", counter, "Reads of objects that were there.", found),
        ("total_get_nums_", counter, "Reads.", got.items()),
        ("master_evicted_key_count", counter, "Objects that made room for others.", seen.stats.evicted),
        ("master_evicted_size_bytes", counter, "Bytes of these.", seen.stats.evicted_bytes),
        ("master_put_start_alloc_failures_total", counter, "Puts that found no memory.", seen.no_space),
        (
            "master_put_start_discard_cnt",
            counter,
            "Puts whose writer did not end in time.",
            seen.stats.puts_missed,
        ),
        (
            "mooncake_master_lost_objects_total",
            counter,
            "Objects that were lost with their nodes.",
            seen.stats.lost,
        ),
        ("mooncake_master_dropping_ranges", gauge, "Ranges that nodes are giving up.", seen.stats.dropping),
        ("mooncake_master_waiting_calls", gauge, "Calls that wait for nodes.", seen.waiting as u64),
        ("mooncake_master_connections", gauge, "Connections of clients and nodes.", seen.connections as u64),
        ("mooncake_master_members", gauge, "Nodes in the view.", seen.members as u64),
        ("mooncake_master_epoch", gauge, "The reign of this master.", seen.epoch),
        ("mooncake_master_serving", gauge, "1 if all that nodes hold is known.", u64::from(seen.is_serving)),
        ("mooncake_master_deposed", gauge, "1 if another master has taken over.", u64::from(seen.is_deposed)),
    ]
}

fn of(seen: &Seen, method: &str) -> Counted {
    seen.counted.iter().find(|counted| counted.method == method).copied().unwrap_or_default()
}

fn methods(text: &mut String, seen: &Seen) {
    for (method, name) in BATCHED {
        let counted = of(seen, method);
        single(text, name, counted.singles, counted.singles_failed);
        let rows = [
            ("requests", "Calls for several keys.", counted.batches),
            ("failures", "Of these, those of which nothing was done.", counted.batches_failed),
            ("partial_successes", "Those of which some was done.", counted.batches_partial),
            ("items", "Keys in such calls.", counted.batch_items),
            ("failed_items", "Of these, those that were not done.", counted.batch_items_failed),
        ];
        for (what, help, value) in rows {
            let name = format!("master_batch_{name}_{what}_total");
            head(text, &name, "counter", help);
            put(text, &name, "", value);
        }
    }
    for (method, name) in SINGLE {
        let counted = of(seen, method);
        single(text, name, counted.items(), counted.failed());
    }
    let (calls, items) = ("mooncake_master_calls_total", "mooncake_master_items_total");
    head(text, calls, "counter", "Calls, by method.");
    for counted in &seen.counted {
        put(text, calls, &format!("method=\"{}\"", counted.method), counted.calls());
    }
    head(text, items, "counter", "Keys or other parts of calls, by method.");
    for counted in &seen.counted {
        put(text, items, &format!("method=\"{}\"", counted.method), counted.items());
    }
}

fn single(text: &mut String, name: &str, requests: u64, failures: u64) {
    for (what, help, value) in
        [("requests", "Calls for one key.", requests), ("failures", "Of these, those that failed.", failures)]
    {
        let name = format!("master_{name}_{what}_total");
        head(text, &name, "counter", help);
        put(text, &name, "", value);
    }
}

fn labeled(text: &mut String, seen: &Seen) {
    let segments = seen.segments.iter().take(MOST_LABELS);
    let segments: Vec<_> = segments.map(|one| (format!("segment=\"{}\"", escape(&one.name)), one)).collect();
    head(text, "segment_allocated_bytes", "gauge", "Memory in use, by segment.");
    segments.iter().for_each(|(label, one)| put(text, "segment_allocated_bytes", label, one.used));
    head(text, "segment_total_capacity_bytes", "gauge", "Memory, by segment.");
    segments.iter().for_each(|(label, one)| put(text, "segment_total_capacity_bytes", label, one.capacity));

    let tenants = seen.tenants.iter().take(MOST_LABELS);
    let tenants: Vec<_> = tenants.map(|one| (format!("tenant_id=\"{}\"", escape(&one.name)), one)).collect();
    let (used, quota) = ("mooncake_tenant_quota_charged_bytes", "mooncake_tenant_quota_requested_bytes");
    head(text, used, "gauge", "Bytes of all replicas of a tenant's objects.");
    tenants.iter().for_each(|(label, one)| put(text, used, label, one.used_bytes));
    head(text, quota, "gauge", "Bytes that a tenant may have; none where there is no limit.");
    tenants.iter().for_each(|(label, one)| {
        one.quota_bytes.into_iter().for_each(|bytes| put(text, quota, label, bytes));
    });
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a string does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn put(text: &mut String, name: &str, label: &str, value: u64) {
    let _ = match label {
        "" => writeln!(text, "{name} {value}"),
        label => writeln!(text, "{name}{{{label}}} {value}"),
    };
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
