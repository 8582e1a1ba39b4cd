//! A subscriber and publishers that lose messages, forget them, restart and go away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::subscriber::{Sink, Subscriber};
use super::watched::Watched;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Told {
    Applied(String),
    Cleared,
}

struct Notes(UnboundedSender<Told>);

impl Sink for Notes {
    fn apply(&mut self, payload: &[u8]) {
        let _ = self.0.send(Told::Applied(String::from_utf8_lossy(payload).into_owned()));
    }

    fn clear(&mut self) {
        let _ = self.0.send(Told::Cleared);
    }
}

fn message(parts: Vec<Vec<u8>>) -> ZmqMessage {
    let parts: VecDeque<_> = parts.into_iter().map(Into::into).collect();
    ZmqMessage::try_from(parts).expect("it has parts")
}

/// Publishes as engines do: numbers from 0 on, the last `keeps` messages kept for replays.
struct Publisher {
    live: PubSocket,
    replay: Option<RouterSocket>,
    kept: VecDeque<(u64, String)>,
    keeps: usize,
    next: u64,
    endpoint: String,
    replay_endpoint: String,
}

impl Publisher {
    async fn start(endpoint: &str, replay_endpoint: &str, keeps: usize) -> Publisher {
        let (mut live, mut router) = (PubSocket::new(), RouterSocket::new());
        let endpoint = bind(&mut live, endpoint).await;
        let replay_endpoint = bind(&mut router, replay_endpoint).await;
        let (replay, kept) = (Some(router), VecDeque::new());
        Publisher { live, replay, kept, keeps, next: 0, endpoint, replay_endpoint }
    }

    async fn new(keeps: usize) -> Publisher {
        Publisher::start("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", keeps).await
    }

    /// A message that is numbered and kept, and lost on its way.
    fn lose(&mut self, text: &str) -> u64 {
        self.kept.push_back((self.next, text.to_owned()));
        if self.kept.len() > self.keeps {
            self.kept.pop_front();
        }
        self.next += 1;
        self.next - 1
    }

    async fn tell(&mut self, text: &str) {
        let number = self.lose(text);
        let parts = vec![vec![], number.to_be_bytes().to_vec(), text.as_bytes().to_vec()];
        self.live.send(message(parts)).await.expect("sent");
    }

    /// Answers one request for a replay.
    async fn answer(&mut self) {
        let router = self.replay.as_mut().expect("not gone");
        let request = router.recv().await.expect("a request").into_vec();
        let [identity, empty, from] = &request[..] else { panic!("{request:?}") };
        assert!(empty.is_empty());
        let from = u64::from_be_bytes(from[..].try_into().expect("eight bytes"));
        for (number, text) in self.kept.iter().filter(|(number, _)| *number >= from) {
            let parts = [&identity[..], b"", &number.to_be_bytes(), text.as_bytes()];
            router.send(message(parts.map(<[u8]>::to_vec).to_vec())).await.expect("sent");
        }
        let parts = [&identity[..], b"", &u64::MAX.to_be_bytes(), b""];
        router.send(message(parts.map(<[u8]>::to_vec).to_vec())).await.expect("sent");
    }
}

async fn bind(socket: &mut impl Socket, endpoint: &str) -> String {
    // A port that was in use until a moment ago may not be free at once.
    for _ in 0..100 {
        if let Ok(bound) = socket.bind(endpoint).await {
            return bound.to_string();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{endpoint} is not free");
}

struct Follower {
    told: UnboundedReceiver<Told>,
    watched: Arc<Watched>,
    task: JoinHandle<()>,
}

impl Follower {
    fn of(publisher: &Publisher, with_replay: bool) -> Follower {
        let (notes, told) = unbounded_channel();
        let watched = Arc::new(Watched::default());
        let address = publisher.endpoint.trim_start_matches("tcp://");
        let replay = with_replay.then(|| publisher.replay_endpoint.trim_start_matches("tcp://"));
        let subscriber = Subscriber::new(address, replay, None, Notes(notes), watched.clone());
        Follower { told, watched, task: tokio::spawn(subscriber.run()) }
    }

    async fn next(&mut self) -> Told {
        timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("it runs")
    }

    async fn expect(&mut self, texts: &[&str]) {
        for text in texts {
            let wanted = match *text {
                "CLEARED" => Told::Cleared,
                text => Told::Applied(text.to_owned()),
            };
            assert_eq!(self.next().await, wanted);
        }
    }

    /// Messages before this one may have been sent before the subscription arrived.
    async fn wait_for(&mut self, publisher: &mut Publisher, text: &str) {
        loop {
            publisher.tell(text).await;
            if timeout(Duration::from_millis(100), self.told.recv()).await.is_ok() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        while self.told.try_recv().is_ok() {}
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("starts").block_on(test);
}

#[test]
fn what_was_published_before_and_what_was_lost_is_replayed_in_order() {
    run(async {
        let mut publisher = Publisher::new(100).await;
        publisher.lose("a");
        publisher.lose("b");
        let mut follower = Follower::of(&publisher, true);
        publisher.answer().await;
        follower.expect(&["a", "b"]).await;
        follower.wait_for(&mut publisher, "c").await;
        publisher.lose("d");
        publisher.lose("e");
        publisher.tell("f").await;
        publisher.answer().await;
        publisher.tell("g").await;
        follower.expect(&["d", "e", "f", "g"]).await;
        let figures = &follower.watched.figures;
        assert_eq!((figures.gaps.load(Relaxed), figures.missed.load(Relaxed)), (1, 2));
        assert_eq!((figures.resyncs.load(Relaxed), figures.restarts.load(Relaxed)), (0, 0));
    });
}

#[test]
fn without_a_replay_a_gap_clears_the_blocks() {
    run(async {
        let mut publisher = Publisher::new(100).await;
        let mut follower = Follower::of(&publisher, false);
        follower.wait_for(&mut publisher, "a").await;
        publisher.lose("b");
        publisher.tell("c").await;
        publisher.tell("d").await;
        follower.expect(&["CLEARED", "c", "d"]).await;
        assert_eq!(follower.watched.figures.resyncs.load(Relaxed), 1);
    });
}

#[test]
fn a_gap_older_than_what_is_kept_clears_the_blocks_and_begins_with_what_is() {
    run(async {
        let mut publisher = Publisher::new(3).await;
        let mut follower = Follower::of(&publisher, true);
        publisher.answer().await;
        follower.wait_for(&mut publisher, "a").await;
        for text in ["b", "c", "d", "e"] {
            publisher.lose(text);
        }
        publisher.tell("f").await;
        publisher.answer().await;
        publisher.answer().await;
        follower.expect(&["CLEARED", "d", "e", "f"]).await;
        assert_eq!(follower.watched.figures.resyncs.load(Relaxed), 1);
    });
}

#[test]
fn a_replay_that_does_not_come_clears_the_blocks() {
    run(async {
        let mut publisher = Publisher::new(3).await;
        let mut follower = Follower::of(&publisher, true);
        publisher.answer().await;
        follower.wait_for(&mut publisher, "a").await;
        // Nobody listens there any more.
        publisher.replay = None;
        publisher.lose("b");
        publisher.tell("c").await;
        follower.expect(&["CLEARED", "c"]).await;
        assert!(follower.watched.figures.replay_failures.load(Relaxed) >= 1);
    });
}

#[test]
fn a_publisher_that_was_restarted_is_another_one() {
    run(async {
        for with_replay in [true, false] {
            let mut publisher = Publisher::new(100).await;
            // Without a replay there is nothing but its numbers to tell it by.
            publisher.next = 1000;
            let mut follower = Follower::of(&publisher, with_replay);
            if with_replay {
                publisher.answer().await;
            }
            follower.wait_for(&mut publisher, "a").await;
            let (endpoint, replay) = (publisher.endpoint.clone(), publisher.replay_endpoint.clone());
            drop(publisher);
            let mut publisher = Publisher::start(&endpoint, &replay, 100).await;
            if with_replay {
                publisher.lose("x");
                // Whether the last message is known, unless nobody was met in the meantime; then all there is.
                loop {
                    publisher.answer().await;
                    if let Ok(told) = timeout(Duration::from_millis(500), follower.told.recv()).await {
                        assert_eq!(told, Some(Told::Cleared));
                        break;
                    }
                }
                if timeout(Duration::from_millis(500), publisher.answer()).await.is_err() {
                    // It was asked for all at once.
                }
                follower.expect(&["x"]).await;
            } else {
                assert_eq!(follower.next_while(&mut publisher, "x").await, Told::Cleared);
                assert_eq!(follower.next().await, Told::Applied("x".into()));
            }
        }
    });
}

impl Follower {
    /// What is told next, while the publisher publishes.
    async fn next_while(&mut self, publisher: &mut Publisher, text: &str) -> Told {
        loop {
            publisher.tell(text).await;
            if let Ok(told) = timeout(Duration::from_millis(50), self.told.recv()).await {
                return told.expect("it runs");
            }
        }
    }
}
