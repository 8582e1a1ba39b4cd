//! The other end: publishers and routers that listen. What strangers send is small or refused, and whoever reads too
//! slowly misses messages, or is left alone.

use std::collections::HashMap;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{Connection, GREET_WITHIN, Kind, late};

/// Connections at once; further ones wait.
const SUBSCRIBERS: usize = 256;
const ASKERS: usize = 32;
/// Messages that wait for one peer.
const WAITING: usize = 16_384;
/// Requests that wait for an answer.
const ASKED: usize = 64;
/// Topics of one subscriber.
const MOST_TOPICS: usize = 64;
/// After a failure to accept, such as too many open files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

type Message = Arc<[Vec<u8>]>;
type Peers = Arc<Mutex<HashMap<u64, Sender<Message>>>>;

/// Accepts until it is dropped.
struct Listening {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends each message to all who subscribed to its topic.
pub struct Publisher {
    listening: Listening,
    peers: Peers,
}

impl Publisher {
    pub async fn bind(address: &str) -> Result<Publisher> {
        let peers = Peers::default();
        let of = peers.clone();
        let serve = move |connection, number| publish(connection, number, of.clone());
        let listening = listen(address, Kind::Publisher, SUBSCRIBERS, serve).await?;
        Ok(Publisher { listening, peers })
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Those that have too much before them miss it, and see so by its number.
    pub fn send(&self, message: Vec<Vec<u8>>) {
        let message: Message = message.into();
        self.peers.lock().values().for_each(|peer| drop(peer.try_send(message.clone())));
    }
}

async fn publish(mut connection: Connection, number: u64, peers: Peers) {
    let (queue, mut waiting) = mpsc::channel(WAITING);
    let mut topics: Vec<Vec<u8>> = Vec::new();
    loop {
        tokio::select! {
            said = connection.receive() => {
                let Some(said) = said.ok().and_then(|mut parts| parts.pop()) else { break };
                match said.split_first() {
                    Some((1, topic)) if topics.len() < MOST_TOPICS => topics.push(topic.to_vec()),
                    Some((0, topic)) => topics.retain(|known| known != topic),
                    _ => break,
                }
                peers.lock().insert(number, queue.clone());
            }
            Some(message) = waiting.recv() => {
                let message: Message = message;
                let topic = message.first().map(Vec::as_slice).unwrap_or_default();
                if topics.iter().any(|wanted| topic.starts_with(wanted)) && connection.send(&message).await.is_err() {
                    break;
                }
            }
        }
    }
    peers.lock().remove(&number);
}

/// Takes requests, and answers whoever asked.
pub struct Router {
    listening: Listening,
    peers: Peers,
    asked: Receiver<(u64, Vec<Vec<u8>>)>,
}

impl Router {
    pub async fn bind(address: &str) -> Result<Router> {
        let (peers, (tell, asked)) = (Peers::default(), mpsc::channel(ASKED));
        let of = peers.clone();
        let serve = move |connection, number| answer(connection, number, of.clone(), tell.clone());
        let listening = listen(address, Kind::Router, ASKERS, serve).await?;
        Ok(Router { listening, peers, asked })
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// The next request, and the number by which its sender is answered.
    pub async fn receive(&mut self) -> Option<(u64, Vec<Vec<u8>>)> {
        self.asked.recv().await
    }

    /// Whoever does not take its answers is left alone.
    pub fn send(&self, peer: u64, message: Vec<Vec<u8>>) {
        let mut peers = self.peers.lock();
        if peers.get(&peer).is_some_and(|queue| queue.try_send(message.into()).is_err()) {
            peers.remove(&peer);
        }
    }
}

async fn answer(mut connection: Connection, number: u64, peers: Peers, tell: Sender<(u64, Vec<Vec<u8>>)>) {
    let (queue, mut waiting) = mpsc::channel(WAITING * 2);
    peers.lock().insert(number, queue);
    loop {
        tokio::select! {
            said = connection.receive() => {
                let Ok(said) = said else { break };
                if tell.try_send((number, said)).is_err() {
                    break;
                }
            }
            message = waiting.recv() => {
                let Some(message) = message else { break };
                if connection.send(&message).await.is_err() {
                    break;
                }
            }
        }
    }
    peers.lock().remove(&number);
}

async fn listen<F>(
    address: &str,
    kind: Kind,
    most: usize,
    serve: impl Fn(Connection, u64) -> F + Send + Sync + 'static,
) -> Result<Listening>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (places, serve, mut number) = (Arc::new(Semaphore::new(most)), Arc::new(serve), 0);
    let accept = async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            };
            number += 1;
            let (serve, number) = (serve.clone(), number);
            tokio::spawn(async move {
                if let Ok(connection) = greet(stream, kind).await {
                    serve(connection, number).await;
                }
                drop(place);
            });
        }
    };
    let task = tokio::spawn(accept).abort_handle();
    Ok(Listening { address, task })
}

async fn greet(stream: TcpStream, kind: Kind) -> Result<Connection> {
    timeout(GREET_WITHIN, Connection::greet(stream, kind)).await.unwrap_or_else(|_| Err(late("greeting")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::{COMMAND, GREETING, LONG, framed};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts").block_on(test);
    }

    async fn next(connection: &mut Connection) -> Vec<Vec<u8>> {
        timeout(PATIENCE, connection.receive()).await.expect("in time").expect("a message")
    }

    #[test]
    fn subscribers_get_what_is_sent_and_askers_their_answers() {
        run(async {
            let publisher = Publisher::bind("127.0.0.1:0").await.expect("a port");
            let address = publisher.address().to_string();
            let mut subscriber = Connection::open(&address, Kind::Subscriber).await.expect("it listens");
            let sends = async {
                loop {
                    publisher.send(vec![b"topic".to_vec(), vec![7; 300]]);
                    sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                () = sends => {}
                got = next(&mut subscriber) => assert_eq!(got, [b"topic".to_vec(), vec![7; 300]]),
            }
            let mut router = Router::bind("127.0.0.1:0").await.expect("a port");
            let address = router.address().to_string();
            let mut askers = Vec::new();
            for number in [1_u8, 2] {
                let mut asker = Connection::open(&address, Kind::Dealer).await.expect("it listens");
                asker.send(&[vec![], vec![number]]).await.expect("sent");
                askers.push(asker);
            }
            for _ in 0..2 {
                let (peer, asked) = router.receive().await.expect("a request");
                router.send(peer, vec![vec![], vec![asked[1][0] + 10]]);
            }
            for (asker, number) in askers.iter_mut().zip([11, 12]) {
                assert_eq!(next(asker).await, [vec![], vec![number]]);
            }
        });
    }

    /// A socket that made room for whatever was announced ended the whole process.
    #[test]
    fn strangers_that_announce_more_than_there_is_are_shown_the_door() {
        run(async {
            let publisher = Publisher::bind("127.0.0.1:0").await.expect("a port");
            let router = Router::bind("127.0.0.1:0").await.expect("a port");
            for address in [publisher.address(), router.address()] {
                for end in [vec![LONG, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], framed(0, &[1; 5000])]
                {
                    let stranger = tokio::task::spawn_blocking(move || {
                        let mut stream = TcpStream::connect(address).expect("it listens");
                        let mut greeting = [0; GREETING];
                        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
                        greeting[12..16].copy_from_slice(b"NULL");
                        let ready = framed(COMMAND, b"\x05READY");
                        stream.write_all(&[&greeting, &ready[..], &end].concat()).expect("sent");
                        // Until the other end closes; what was not read by then makes it an error.
                        let _ = stream.read_to_end(&mut Vec::new());
                    });
                    timeout(PATIENCE, stranger).await.expect("in time").expect("no panic");
                }
            }
        });
    }
}
