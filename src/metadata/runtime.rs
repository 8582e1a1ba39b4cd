//! A small tokio runtime on one thread, for a client library that wants one. It exists as long as its backend.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::error::{Context, Result};

pub struct Runtime {
    handle: Handle,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub fn start(name: &str) -> Result<Runtime> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()
            .context("making a runtime for metadata")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Its sender is only ever dropped.
                let _ = runtime.block_on(stopped);
                // A name that is being resolved is not waited for.
                runtime.shutdown_background();
            })
            .context("starting a thread for metadata")?;
        Ok(Runtime { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(task));
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panics only if tokio does, which has been told already.
            let _ = thread.join();
        }
    }
}
