//! Requests to a server: as fast as it answers, or at times that do not depend on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Answer, Connection};

/// Connections at once; further requests wait for one, and that counts as their latency.
const CONNECTIONS_MAX: usize = 512;
/// After it a request counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A closed loop's first part, in which queues fill.
const WARM_UP: Duration = Duration::from_secs(1);

/// A server, and the requests that it gets in turns.
pub struct Target {
    address: String,
    requests: Vec<Vec<u8>>,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// None when there was no answer.
    pub status: Option<u16>,
    /// From when the request was meant to begin.
    pub latency: Duration,
    /// From the start of all.
    pub ended: Duration,
}

impl Target {
    /// `address` is `host:port`; requests are whole, head and body.
    pub fn new(address: String, requests: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { address, requests, idle: Mutex::default(), places: Semaphore::new(CONNECTIONS_MAX) })
    }

    /// Answers with 200 per second to clients of which each waits for its answer before it asks again.
    pub async fn closed_loop(self: &Arc<Self>, clients: usize, time: Duration, bar: &ProgressBar) -> f64 {
        let (begin, start) = (bar.position(), Instant::now() + WARM_UP);
        let mut all = JoinSet::new();
        for client in 0..clients {
            let target = self.clone();
            all.spawn(async move {
                let mut answered = 0u32;
                for turn in (client..).step_by(clients) {
                    let status = target.call(turn).await;
                    let now = Instant::now();
                    if now > start + time {
                        break;
                    }
                    answered += u32::from(now > start && status == Some(200));
                    if status.is_none() {
                        sleep_until(now + WARM_UP).await;
                    }
                }
                answered
            });
        }
        let answered: u32 = all.join_all().await.into_iter().sum();
        bar.set_position(begin + millis(time));
        f64::from(answered) / time.as_secs_f64()
    }

    /// Requests that begin at these times, whatever becomes of the earlier ones.
    pub async fn open_loop(self: &Arc<Self>, arrivals: &[Duration], bar: &ProgressBar) -> Vec<Sample> {
        let (begin, start) = (bar.position(), Instant::now());
        let mut all = JoinSet::new();
        for (turn, &arrival) in arrivals.iter().enumerate() {
            sleep_until(start + arrival).await;
            bar.set_position(begin + millis(arrival));
            let target = self.clone();
            all.spawn(async move {
                let status = target.call(turn).await;
                let ended = start.elapsed();
                Sample { status, latency: ended.saturating_sub(arrival), ended }
            });
        }
        all.join_all().await
    }

    /// The status, or none when the connection failed.
    async fn call(&self, turn: usize) -> Option<u16> {
        let _place = self.places.acquire().await.ok()?;
        let request = &self.requests[turn % self.requests.len()];
        let exchange = async {
            let mut connection = match self.take_idle() {
                Some(connection) => connection,
                None => Connection::open(&self.address).await?,
            };
            let Answer { status, kept } = connection.send(request).await?;
            if kept {
                self.idle().push(connection);
            }
            Ok::<_, std::io::Error>(status)
        };
        timeout(CALL_TIMEOUT, exchange).await.ok()?.ok()
    }

    /// One that is kept and that the server has not closed: it closes those that were idle for long, and that is no failure.
    fn take_idle(&self) -> Option<Connection> {
        std::iter::from_fn(|| self.idle().pop()).find(Connection::is_open)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Steps of the progress bar.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_the_server_closed_while_it_was_idle_is_no_failure() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = Target::new(listener.local_addr().expect("bound").to_string(), vec![REQUEST.to_vec()]);
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("a client");
                stream.read_exact(&mut [0; REQUEST.len()]).await.expect("a request");
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
            }
        });
        assert_eq!(target.call(0).await, Some(200));
        while target.idle()[0].is_open() {
            tokio::task::yield_now().await;
        }
        assert_eq!(target.call(1).await, Some(200));
        server.await.expect("both were answered");
    }
}
