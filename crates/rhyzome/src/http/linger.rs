//! A connection that ends in good order although the client is still sending: closing a socket with unread bytes in it
//! makes the system tear the connection down, and the client may lose the answer that it was given.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and how many bytes, a client may go on sending after its last answer.
const TIME: Duration = Duration::from_secs(5);
const BYTES: usize = 64 << 20;
/// Read at once.
const CHUNK: usize = 16 << 10;

/// A stream whose shutdown sends the end and then swallows what still comes, within bounds.
pub struct Lingering<T> {
    stream: T,
    end: Option<End>,
}

struct End {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<T> Lingering<T> {
    /// Wraps a stream.
    pub fn new(stream: T) -> Self {
        Self { stream, end: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let end = match &mut this.end {
            Some(end) => end,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.end.insert(End { deadline: Box::pin(tokio::time::sleep(TIME)), left: BYTES })
            }
        };
        let mut chunk = [0; CHUNK];
        while end.left > 0 && end.deadline.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => end.left = end.left.saturating_sub(buf.filled().len()),
                // The client has closed, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn an_answer_arrives_although_the_client_is_still_sending() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let served = tokio::spawn(async move {
            let mut stream = Lingering::new(listener.accept().await.unwrap().0);
            stream.write_all(b"no").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        client.write_all(&vec![b'x'; 32 << 20]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(client);
        served.await.unwrap();
    }
}
