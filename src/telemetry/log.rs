//! Where log lines go: from `tracing` to one sink of the process, or nowhere.
//!
//! This library carries its own copy of `tracing`, so taking its global default disturbs nobody. While there is no sink
//! the macros cost one atomic load and format nothing.

use std::ffi::{CStr, CString};
use std::fmt::{self, Write};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::RwLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::bail;
use crate::error::Result;

/// Names of the levels; the index is the number that C sees.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// "info".
pub(crate) const DEFAULT_LEVEL: u32 = 3;

static SINK: RwLock<Option<Arc<dyn Sink>>> = RwLock::new(None);
static LEVEL: AtomicU32 = AtomicU32::new(DEFAULT_LEVEL);
static LEVEL_IS_EXPLICIT: AtomicBool = AtomicBool::new(false);

/// Receives log lines, from any thread and from several at once. It must not log itself.
pub trait Sink: Send + Sync {
    fn line(&self, level: u32, target: &CStr, message: &CStr);
}

/// Sends the log to `sink`, or nowhere. The sink before is dropped as soon as no call of it runs any more.
pub fn set_sink(sink: Option<Box<dyn Sink>>) {
    static INSTALLED: Once = Once::new();
    let before = std::mem::replace(&mut *SINK.write(), sink.map(Arc::from));
    INSTALLED.call_once(|| {
        // It fails only when somebody set one before; nobody else can reach this copy of tracing.
        let _ = tracing::subscriber::set_global_default(ToSink);
    });
    tracing::callsite::rebuild_interest_cache();
    drop(before);
}

/// The same, unless there is a sink already.
pub fn set_sink_if_none(make: impl FnOnce() -> Box<dyn Sink>) {
    if SINK.read().is_none() {
        set_sink(Some(make()));
    }
}

/// A sink that writes lines to standard error, each at once.
pub struct StandardError;

impl Sink for StandardError {
    fn line(&self, level: u32, _: &CStr, message: &CStr) {
        let name = LEVELS.get(level as usize).copied().unwrap_or_default();
        // Nobody can be told that standard error is gone.
        let _ = std::io::stderr()
            .write_all(format!("mooncake {name}: {}\n", message.to_string_lossy()).as_bytes());
    }
}

/// Chooses how much is logged; it stays so whatever the environment says.
pub fn set_level(level: u32) -> Result<()> {
    if level as usize >= LEVELS.len() {
        bail!(InvalidArgument, "log level is {level}: 0 (off) to {} (trace)", LEVELS.len() - 1);
    }
    LEVEL_IS_EXPLICIT.store(true, Ordering::Relaxed);
    change_level(level);
    Ok(())
}

/// The level that configuration asks for: weaker than `set_level`.
pub(crate) fn set_configured_level(level: u32) {
    if !LEVEL_IS_EXPLICIT.load(Ordering::Relaxed) {
        change_level(level);
    }
}

fn change_level(level: u32) {
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The subscriber: events become lines, spans are not used.
struct ToSink;

impl Subscriber for ToSink {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(*metadata.level()) <= LEVEL.load(Ordering::Relaxed) && SINK.read().is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if SINK.read().is_none() {
            return Some(LevelFilter::OFF);
        }
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        // The clone keeps the sink alive during the call and the lock free of it.
        let Some(sink) = SINK.read().clone() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        sink.line(number(*metadata.level()), &c_text(metadata.target().into()), &c_text(line.finish()));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// One line in the making: the message, then its fields as `name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// A line holds neither line feeds nor NULs, whatever a peer put into its name.
fn c_text(text: String) -> CString {
    let mut bytes = text.into_bytes();
    for byte in &mut bytes {
        if matches!(*byte, b'\0' | b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    CString::new(bytes).expect("NULs were replaced above")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    /// The sink is one per process: tests that use it take turns.
    static TURN: Mutex<()> = Mutex::new(());

    struct Recorder {
        lines: mpsc::Sender<(u32, String, String)>,
        dropped: mpsc::Sender<()>,
    }

    impl Sink for Recorder {
        fn line(&self, level: u32, target: &CStr, message: &CStr) {
            let text = |c: &CStr| c.to_str().expect("UTF-8").to_owned();
            // Other tests of this process may log as well.
            if text(message).starts_with("log test") {
                let _ = self.lines.send((level, text(target), text(message)));
            }
        }
    }

    impl Drop for Recorder {
        fn drop(&mut self) {
            let _ = self.dropped.send(());
        }
    }

    type Lines = mpsc::Receiver<(u32, String, String)>;

    fn recorder() -> (Box<dyn Sink>, Lines, mpsc::Receiver<()>) {
        let (lines, lines_seen) = mpsc::channel();
        let (dropped, dropped_seen) = mpsc::channel();
        (Box::new(Recorder { lines, dropped }), lines_seen, dropped_seen)
    }

    #[test]
    fn lines_reach_the_sink_with_level_target_and_fields() {
        let _turn = TURN.lock();
        let (sink, lines, dropped) = recorder();
        set_sink(Some(sink));
        tracing::warn!(peer = "10.0.0.2:1", count = 3, "log test {}\nsecond", 1);
        let (level, target, message) = lines.recv_timeout(Duration::from_secs(5)).expect("a line");
        assert_eq!(level, 2);
        assert!(target.ends_with("telemetry::log::tests"), "{target}");
        assert_eq!(message, "log test 1 second peer=\"10.0.0.2:1\" count=3");
        set_sink(None);
        dropped.recv_timeout(Duration::from_secs(5)).expect("a replaced sink is dropped");
    }

    #[test]
    fn nothing_is_formatted_below_the_level_or_without_a_sink() {
        struct Bomb;
        impl fmt::Display for Bomb {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("formatted though nobody listens")
            }
        }
        let _turn = TURN.lock();
        tracing::error!("log test {Bomb}");
        let (sink, lines, _dropped) = recorder();
        set_sink(Some(sink));
        tracing::debug!("log test {Bomb}");
        set_level(4).expect("a level");
        tracing::debug!("log test debug");
        set_level(3).expect("a level");
        tracing::debug!("log test {Bomb}");
        set_sink(None);
        assert_eq!(lines.try_iter().map(|line| line.2).collect::<Vec<_>>(), ["log test debug"]);
    }

    #[test]
    fn a_sink_lives_until_its_running_call_ends() {
        struct Slow {
            entered: mpsc::Sender<()>,
            go_on: Mutex<mpsc::Receiver<()>>,
            dropped: mpsc::Sender<()>,
        }
        impl Sink for Slow {
            fn line(&self, _: u32, _: &CStr, message: &CStr) {
                if message == c"log test slow" {
                    let _ = self.entered.send(());
                    let _ = self.go_on.lock().recv_timeout(Duration::from_secs(5));
                }
            }
        }
        impl Drop for Slow {
            fn drop(&mut self) {
                let _ = self.dropped.send(());
            }
        }
        let _turn = TURN.lock();
        let (entered, has_entered) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let (dropped, was_dropped) = mpsc::channel();
        set_sink(Some(Box::new(Slow { entered, go_on: Mutex::new(wait), dropped })));
        let logger = std::thread::spawn(|| tracing::error!("log test slow"));
        has_entered.recv_timeout(Duration::from_secs(5)).expect("the call began");
        set_sink(None);
        assert!(was_dropped.try_recv().is_err(), "dropped under a running call");
        go_on.send(()).expect("the sink waits");
        was_dropped.recv_timeout(Duration::from_secs(5)).expect("dropped after its call");
        logger.join().expect("the logging thread ends");
    }

    #[test]
    fn an_unknown_level_is_refused() {
        assert!(set_level(6).expect_err("no such level").to_string().contains("log level is 6"));
    }
}
