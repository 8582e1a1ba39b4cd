//! Servers of the program. HTTP connections: so many at once, none for ever, and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use mooncake::sys::net;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long a connection may be without a request, or a request without the end of its head.
const IDLE_WITHIN: Duration = Duration::from_secs(60);
/// Largest head of a request.
const HEAD_MAX: usize = 64 << 10;
/// What requests that are under way get when the server is told to end.
const END_WITHIN: Duration = Duration::from_secs(5);
/// After a failure to accept, such as too many open files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where to listen, as --listen says it.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    net::resolve(text).map_err(|error| format!("--listen {text}: {error}"))
}

/// Ends with the name of the signal that says so. From here on these signals end nothing by themselves.
pub fn told_to_end() -> io::Result<impl Future<Output = &'static str>> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => "SIGTERM",
            _ = interrupted.recv() => "SIGINT",
        }
    })
}

/// Serves until it is told to end, and says by what; connections beyond the limit wait.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    told: impl Future<Output = &'static str>,
) -> &'static str {
    let mut told = std::pin::pin!(told);
    let places = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    let why = loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = next => accepted,
            why = &mut told => break why,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        // It delays answers otherwise; a connection that is gone already shows that soon enough.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_WITHIN)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that went away is no event.
            let _ = connection.await;
            drop(place);
        });
    };
    drop(listener);
    // What is not done by then was not confirmed either.
    let _ = timeout(END_WITHIN, graceful.shutdown()).await;
    why
}
