//! How many clients at once, and for how long: connections are files, and the process has other uses for those.
//!
//! Every connection takes a place for as long as it is open. When all places are taken, some spare ones let a client in
//! for one answer: 503, but the health checks are answered (see `guard::admit`), for they are asked because of moments
//! like this. When the spare ones are taken too, connections are closed unheard.
//!
//! Who holds a place must use it: a head has to be there in time (see `listen`), and a connection on which no byte
//! moves either way is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

/// Most spare places: a few health checks, and the answer 503 for the rest. They are free again at once.
pub(super) const SPARE: usize = 32;
/// A connection on which nothing moves is closed after this long: twice the longest request, during which nothing may.
const QUIET: Duration = Duration::from_secs(60);
/// A full house is logged this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Places {
    limit: usize,
    ordinary: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    said: Arc<Mutex<Option<Instant>>>,
}

/// Which kind of place the connection of a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ordinary,
    Spare,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ordinary: Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))),
            spare: Arc::new(Semaphore::new(SPARE)),
            said: Arc::default(),
        }
    }

    fn take(&self) -> Option<(Place, OwnedSemaphorePermit)> {
        if let Ok(permit) = Arc::clone(&self.ordinary).try_acquire_owned() {
            return Some((Place::Ordinary, permit));
        }
        metrics::counter!("orchestrator_http_connections_beyond_limit_total").increment(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(limit = self.limit, "more clients than HTTPMaxConnections: further ones get status 503");
        }
        Arc::clone(&self.spare).try_acquire_owned().ok().map(|permit| (Place::Spare, permit))
    }
}

/// Gives each connection a place before `inner` begins with it: a TLS handshake counts.
#[derive(Debug, Clone)]
pub(super) struct Door<A> {
    places: Places,
    inner: A,
}

impl<A> Door<A> {
    pub(super) fn new(places: Places, inner: A) -> Self {
        Self { places, inner }
    }
}

impl<A, I, S> Accept<I, S> for Door<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Seated<A::Stream>;
    type Service = Marked<A::Service>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Some((place, permit)) = self.places.take() else {
            return Box::pin(std::future::ready(Err(io::Error::other("no place is left"))));
        };
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((Seated { stream, quiet: Box::pin(sleep(QUIET)), _permit: permit }, Marked { service, place }))
        })
    }
}

/// Tells the requests of a connection what place it has.
#[derive(Debug, Clone)]
pub(super) struct Marked<S> {
    service: S,
    place: Place,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Marked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.place);
        self.service.call(request)
    }
}

/// A connection with its place.
#[derive(Debug)]
pub(super) struct Seated<T> {
    stream: T,
    quiet: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Seated<T> {
    /// Something moved, or waits: for how long already?
    fn watched<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + QUIET);
            return polled;
        }
        ready!(self.quiet.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Seated<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watched(cx, polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Seated<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watched(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A flush that has nothing to do is no movement.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.watched(cx, Poll::Pending),
            flushed @ Poll::Ready(_) => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn seated(places: &Places, size: usize) -> (Seated<DuplexStream>, DuplexStream) {
        let (stream, client) = duplex(size);
        let (_, permit) = places.take().expect("a place");
        (Seated { stream, quiet: Box::pin(sleep(QUIET)), _permit: permit }, client)
    }

    #[tokio::test]
    async fn places_are_taken_in_order_and_given_back() {
        let places = Places::new(2);
        let mut taken: Vec<_> = (0..2 + SPARE).map(|_| places.take().expect("a place")).collect();
        let kinds: Vec<Place> = taken.iter().map(|(place, _)| *place).collect();
        assert_eq!(kinds[..3], [Place::Ordinary, Place::Ordinary, Place::Spare]);
        assert!(places.take().is_none(), "full");
        drop(taken.remove(0));
        assert_eq!(places.take().map(|(place, _)| place), Some(Place::Ordinary));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_moves_ends() {
        let places = Places::new(1);
        let (mut server, mut client) = seated(&places, 64);
        let began = Instant::now();
        let mut byte = [0_u8; 1];
        // What moves, moves the end.
        for _ in 0..3 {
            tokio::time::advance(QUIET / 2).await;
            client.write_all(b"x").await.expect("sent");
            server.read_exact(&mut byte).await.expect("received");
        }
        let error = server.read_exact(&mut byte).await.expect_err("nothing more comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= QUIET * 5 / 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_its_answer_is_cut_off() {
        let places = Places::new(1);
        let (mut server, _client) = seated(&places, 64);
        let error = server.write_all(&[0; 1000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
