//! Listeners and connections: how many, how slow, and how they end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::access::LocalAddress;
use super::timed::{Limits, Requests, Timed};
use crate::config::Network;

/// Connections that the kernel keeps for us while we have no room.
const BACKLOG: u32 = 1024;
/// Bytes of a request's head, and of one read of its body.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// After the system refused a connection, for instance because there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {source}; choose another address, or end what uses it")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// An address that is ours. Nobody can connect until it serves.
pub struct Listener {
    socket: TcpSocket,
    address: SocketAddr,
}

/// Connections of a listener that has closed.
pub struct Closing(GracefulShutdown);

impl Closing {
    /// Returns when each has answered the request that it is in.
    pub async fn closed(self) {
        self.0.shutdown().await;
    }
}

impl Listener {
    /// Takes the address. Port 0 takes a free port.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|source| BindError { address, source })
    }

    /// The address, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections are possible from now on.
    pub fn listen(self) -> Result<Open, BindError> {
        let address = self.address;
        let listener = self.socket.listen(BACKLOG).map_err(|source| BindError { address, source })?;
        Ok(Open { listener, address: LocalAddress(address) })
    }
}

/// A listener that can be connected to.
pub struct Open {
    listener: TcpListener,
    address: LocalAddress,
}

impl Open {
    /// Serves until `stop`, then closes the listener. Connections go on in tasks of their own.
    pub async fn serve(self, router: Router, network: Network, stop: impl Future<Output = ()>) -> Closing {
        let places = Arc::new(Semaphore::new(network.connections_max));
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                biased;
                () = &mut stop => return Closing(graceful),
                accepted = accept(&self.listener, &places) => accepted,
            };
            let (router, network, watcher) = (router.clone(), network.clone(), graceful.watcher());
            let local = self.address;
            tokio::spawn(async move {
                // How a connection ends is the client's affair: its requests have their lines in the log.
                let _ = connection(stream, local, router, &network, watcher).await;
                drop(place);
            });
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    local: LocalAddress,
    router: Router,
    network: &Network,
    watcher: Watcher,
) -> hyper::Result<()> {
    // Answers are small and complete: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let requests = Requests::default();
    let turns = requests.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        turns.turn();
        request.extensions_mut().insert(local);
        let (answer, turns) = (router.clone().oneshot(request.map(Body::new)), turns.clone());
        async move {
            let answer = answer.await.unwrap_or_else(|never| match never {});
            turns.turn();
            Ok::<_, Infallible>(answer)
        }
    });
    let limits = Limits { head: network.header_timeout, write: network.write_timeout };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(network.idle_timeout)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Timed::new(stream, limits, requests)), service);
    watcher.watch(connection).await
}
