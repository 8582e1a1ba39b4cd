//! Live progress on standard error, where that is a terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::super::drive::Ticker;

/// Rare enough not to disturb what is measured.
const TICK: Duration = Duration::from_millis(250);

/// A bar over all measurements, with the steps of the one that runs.
pub struct Progress {
    bar: ProgressBar,
    ticker: Arc<Ticker>,
    thread: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Progress {
    pub fn new(measurements: u64) -> Progress {
        let ticker: Arc<Ticker> = Arc::default();
        if !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), ticker, thread: None };
        }
        let template = "{elapsed_precise} [{bar:30}] {pos}/{len} {msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(measurements).with_style(style);
        let has_ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let (bar, ticker, has_ended) = (bar.clone(), ticker.clone(), has_ended.clone());
            std::thread::spawn(move || {
                while !has_ended.load(Ordering::Relaxed) {
                    let name = bar.prefix();
                    bar.set_message(format!("{name}: {} batches", ticker.steps()));
                    std::thread::park_timeout(TICK);
                }
            })
        };
        Progress { bar, ticker, thread: Some((thread, has_ended)) }
    }

    pub fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub fn begin(&self, name: String) {
        self.bar.set_prefix(name);
    }

    pub fn advance(&self, measurements: u64) {
        self.bar.inc(measurements);
    }

    /// Prints without tearing the bar.
    pub fn print(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((thread, has_ended)) = self.thread.take() {
            has_ended.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
