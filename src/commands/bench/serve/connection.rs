use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an answer's head, and of its body.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 16 << 20;

/// A connection to the server, kept for many requests. It speaks as much HTTP/1.1 as our own server does: bodies have a
/// length. A client that does more would take cores from the server beside it.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// Whether the connection can be used again.
    pub kept: bool,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 << 10) })
    }

    /// Sends the bytes of a request and reads its whole answer. After an error the connection is of no use.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::read(&self.buffer)? {
                break head;
            }
            self.more(HEAD_BYTES_MAX).await?;
        };
        while self.buffer.len() < head.bytes + head.body_bytes {
            self.more(HEAD_BYTES_MAX + BODY_BYTES_MAX).await?;
        }
        Ok(head.answer)
    }

    /// Whether it can be used again: the server has not closed it, and no byte came that nobody asked for.
    pub fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    async fn more(&mut self, bytes_max: usize) -> Result<()> {
        if self.buffer.len() >= bytes_max {
            return Err(bad("the answer is too long"));
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head of an answer, and how long it and its body are.
#[derive(Debug, PartialEq)]
struct Head {
    answer: Answer,
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// None while it is incomplete.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("the answer's head is no text"))?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| bad("the answer is not HTTP/1.1"))?;
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
        let length = field("content-length").and_then(|length| length.parse().ok());
        let body_bytes =
            length.filter(|&length| length <= BODY_BYTES_MAX).ok_or_else(|| bad("the answer has no length"))?;
        let kept = !field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Some(Self { answer: Answer { status, kept }, bytes: end + END.len(), body_bytes }))
    }
}

fn bad(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 12\r\nconnection: close\r\n\r\nbody";
        let head = Head::read(text).expect("HTTP").expect("whole");
        assert_eq!(head, Head { answer: Answer { status: 429, kept: false }, bytes: text.len() - 4, body_bytes: 12 });
        assert_eq!(Head::read(&text[..40]).expect("so far"), None);
    }

    #[test]
    fn other_protocols_and_bodies_without_length_are_errors() {
        let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", u64::MAX);
        for text in
            ["SSH-2.0\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", &long]
        {
            assert!(Head::read(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
