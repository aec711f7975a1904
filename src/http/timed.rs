use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that fails when the other side is slow on purpose: a client must not hold a connection for ever.
///
/// - A request's head must be complete within a time from its first byte. The server's own limit counts from the end
///   of the request before, and is longer, because a quiet connection is no harm.
/// - Something of what is written must be taken within a time.
pub struct Timed<S> {
    stream: S,
    limits: Limits,
    requests: Requests,
    /// Runs while a head is incomplete: the count of requests when it began, and its end.
    head: Option<(usize, Pin<Box<Sleep>>)>,
    /// Runs while a write waits.
    write: Option<Pin<Box<Sleep>>>,
}

/// How slow is too slow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// For any byte of an answer to be taken.
    pub write: Duration,
}

/// Tells the stream where requests begin and end: odd while a request is in progress.
#[derive(Clone, Default)]
pub struct Requests(Arc<AtomicUsize>);

impl Requests {
    /// A head is complete, or its answer is ready.
    pub fn turn(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Timed<S> {
    /// Whoever handles requests turns `requests`.
    pub fn new(stream: S, limits: Limits, requests: Requests) -> Self {
        Self { stream, limits, requests, head: None, write: None }
    }

    /// What a read becomes: an error when the head takes too long.
    fn timed_read(&mut self, cx: &mut Context<'_>, read: Poll<io::Result<()>>, is_data: bool) -> Poll<io::Result<()>> {
        let count = self.requests.count();
        self.head.take_if(|(begun, _)| *begun != count);
        let between_requests = count.is_multiple_of(2);
        if is_data && between_requests && self.head.is_none() {
            self.head = Some((count, Box::pin(sleep(self.limits.head))));
        }
        let head = self.head.as_mut().filter(|_| read.is_pending());
        if head.is_some_and(|(_, end)| end.as_mut().poll(cx).is_ready()) {
            return late("the head is not complete");
        }
        read
    }

    /// What a write becomes: an error when it has waited too long.
    fn timed_write<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.write = None;
            return write;
        }
        let limit = self.limits.write;
        let end = self.write.get_or_insert_with(|| Box::pin(sleep(limit)));
        if end.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        end.as_mut().reset(Instant::now() + limit);
        late("the client takes nothing of its answer")
    }
}

fn late<T>(what: &'static str) -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let is_data = buffer.filled().len() > before;
        self.timed_read(cx, read, is_data)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed_write(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.timed_write(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed_write(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    const SECOND: Duration = Duration::from_secs(1);

    fn pair() -> (Timed<DuplexStream>, DuplexStream, Requests) {
        let (near, far) = duplex(4);
        let requests = Requests::default();
        (Timed::new(near, Limits { head: SECOND, write: SECOND }, requests.clone()), far, requests)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_given_up() {
        let (mut near, mut far, _) = pair();
        near.write_all(b"abcd").await.expect("fits");
        let error = near.write_all(b"e").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut read = [0; 4];
        far.read_exact(&mut read).await.expect("written");
        near.write_all(b"e").await.expect("there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_time_and_silence_and_bodies_have_none() {
        let (mut near, mut far, requests) = pair();
        let mut byte = [0];
        assert!(timeout(3 * SECOND, near.read(&mut byte)).await.is_err(), "silence");
        far.write_all(b"h").await.expect("room");
        near.read_exact(&mut byte).await.expect("there");
        requests.turn();
        assert!(timeout(3 * SECOND, near.read(&mut byte)).await.is_err(), "a body that is slow");
        requests.turn();
        assert!(timeout(3 * SECOND, near.read(&mut byte)).await.is_err(), "silence");
        far.write_all(b"h").await.expect("room");
        near.read_exact(&mut byte).await.expect("there");
        let error = timeout(3 * SECOND, near.read(&mut byte)).await.expect("given up").expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
