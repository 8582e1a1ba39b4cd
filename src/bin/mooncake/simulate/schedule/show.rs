//! What was played, as a table or as JSON.

use mooncake::conductor::schedule::Admission;
use serde_json::json;

use super::super::numbered::Trace;
use super::world::{Full, Played};
use super::{Row, ScheduleArgs};

pub fn print_title(trace: &Trace, full: bool) {
    say!("requests                {}", trace.requests.len());
    say!("blocks                  {}", trace.blocks());
    say!("");
    let title = "policy   mean TTFT       p50       p90       p99     hit  GPU s/req   moved  busiest";
    if full {
        say!(
            "{title}  admission  decode s  rejected  (prefill  decode   late)   good  Mtokens  wasted s  swing"
        );
    } else {
        say!("{title}");
    }
}

pub fn print_row(trace: &Trace, row: &Row) {
    let Row { policy, setup, played } = row;
    let requests = trace.requests.len() as u64;
    let mut line = format!(
        "{:<8} {:>9.3} {:>9.3} {:>9.3} {:>9.3}  {:>6.4}  {:>9.4}  {:>6.4}  {:>7.3}",
        policy.name,
        played.mean(),
        played.quantile(0.5),
        played.quantile(0.9),
        played.quantile(0.99),
        share(played.hits, trace.blocks()),
        played.busy / requests.max(1) as f64,
        share(played.moved, trace.blocks()),
        share(played.busiest(), requests),
    );
    if let Some(full) = &setup.full {
        let rejected = played.rejected;
        line += &format!(
            "  {:<9}  {:>8}  {:>8}  ({:>7} {:>7} {:>6}) {:>6}  {:>7.2}  {:>8.0}  {:.4}",
            name_of(full.admission),
            full.decode_seconds.map_or("-".to_string(), |seconds| seconds.to_string()),
            rejected.all(),
            rejected.prefill,
            rejected.decode,
            rejected.late,
            played.good,
            played.good_tokens as f64 / 1e6,
            played.wasted,
            swing(played),
        );
    }
    say!("{line}");
}

pub fn print_object(args: &ScheduleArgs, trace: &Trace, row: &Row) {
    let Row { policy, setup, played } = row;
    let requests = trace.requests.len() as u64;
    let mut object = json!({
        "policy": policy.name,
        "instances": args.instances,
        "mfu": args.mfu,
        "link_gbytes": args.link_gbytes,
        "capacity": args.capacity,
        "threshold": args.threshold,
        "speed": args.speed,
        "requests": requests,
        "blocks": trace.blocks(),
        "ttft_mean": played.mean(),
        "ttft_p50": played.quantile(0.5),
        "ttft_p90": played.quantile(0.9),
        "ttft_p99": played.quantile(0.99),
        "ttft_max": played.quantile(1.0),
        "hit_rate": share(played.hits, trace.blocks()),
        "gpu_seconds_per_request": played.busy / requests.max(1) as f64,
        "moved_share": share(played.moved, trace.blocks()),
        "requests_by_instance": played.requests,
        "busiest_share": share(played.busiest(), requests),
        "prediction_error": played.error,
    });
    if let Some(full) = &setup.full {
        add_full(object.as_object_mut().expect("it was made as one"), full, played);
    }
    say!("{object}");
}

fn add_full(object: &mut serde_json::Map<String, serde_json::Value>, full: &Full, played: &Played) {
    let more = json!({
        "decoders": full.decoders,
        "admission": name_of(full.admission),
        "decode_seconds": full.decode_seconds,
        "ttft_slo": full.ttft,
        "tbt_slo": full.tbt,
        "noise": full.noise,
        "rejected": played.rejected.all(),
        "rejected_for_prefill": played.rejected.prefill,
        "rejected_for_decode": played.rejected.decode,
        "rejected_after_prefill": played.rejected.late,
        "good": played.good,
        "good_tokens": played.good_tokens,
        "wasted_seconds": played.wasted,
        "tbt_mean": played.tbt.iter().sum::<f64>() / played.tbt.len().max(1) as f64,
        "swing": swing(played),
    });
    let serde_json::Value::Object(more) = more else { return };
    object.extend(more);
}

pub fn name_of(admission: Admission) -> &'static str {
    Admission::ALL.iter().find(|known| known.1 == admission).map_or("", |known| known.0)
}

pub fn share(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

/// Seconds over which a swing is looked for: what changes more slowly is the traffic's own.
const SWING_WINDOW: usize = 120;

/// How much the load of decode swings: its standard deviation from its own mean over two minutes.
pub fn swing(played: &Played) -> f64 {
    let loads: Vec<f64> = played.loads.iter().map(|loads| loads.1).collect();
    if loads.len() <= SWING_WINDOW {
        return 0.0;
    }
    let squares = loads.windows(SWING_WINDOW + 1).map(|window| {
        let mean = window.iter().sum::<f64>() / window.len() as f64;
        (window[SWING_WINDOW / 2] - mean).powi(2)
    });
    (squares.sum::<f64>() / (loads.len() - SWING_WINDOW) as f64).sqrt()
}
