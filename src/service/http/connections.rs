//! How many clients at once, and for how long: connections are files, and the process has other uses for those.
//!
//! Every connection takes a place for as long as it is open. When all places are taken, some spare ones let a client in
//! for one answer: 503, but the health checks are answered (see `guard::admit`), for they are asked because of moments
//! like this. When the spare ones are taken too, who came first has to go: clients that connect and say nothing could
//! hold them, while a health check asks as soon as it is connected.
//!
//! Who holds a place must use it: a head has to be there in time (see `listen`), and a connection on which no byte
//! moves either way is closed.

use std::collections::BTreeMap;
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
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Spare places: a few health checks, and the answer 503 for the rest. They are free again at once.
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
    spare: Arc<Mutex<Spare>>,
}

/// Who has the spare places, in the order in which they came.
#[derive(Debug, Default)]
struct Spare {
    taken: BTreeMap<u64, CancellationToken>,
    next: u64,
    said: Option<Instant>,
}

/// Which kind of place the connection of a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ordinary,
    Spare,
}

/// A place while it is taken.
#[derive(Debug)]
enum Seat {
    Ordinary { _permit: OwnedSemaphorePermit },
    Spare { number: u64, places: Places, told_to_go: CancellationToken },
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        let ordinary = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        Self { limit, ordinary, spare: Arc::default() }
    }

    fn take(&self) -> Seat {
        if let Ok(permit) = Arc::clone(&self.ordinary).try_acquire_owned() {
            return Seat::Ordinary { _permit: permit };
        }
        metrics::counter!("orchestrator_http_connections_beyond_limit_total").increment(1);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            spare.said = Some(Instant::now());
            tracing::warn!(limit = self.limit, "more clients than HTTPMaxConnections: further ones get status 503");
        }
        if spare.taken.len() >= SPARE
            && let Some((_, first)) = spare.taken.pop_first()
        {
            first.cancel();
        }
        let (number, told_to_go) = (spare.next, CancellationToken::new());
        spare.next += 1;
        spare.taken.insert(number, told_to_go.clone());
        Seat::Spare { number, places: self.clone(), told_to_go }
    }
}

impl Seat {
    fn place(&self) -> Place {
        match self {
            Self::Ordinary { .. } => Place::Ordinary,
            Self::Spare { .. } => Place::Spare,
        }
    }

    /// Comes when somebody else needs the place; never for an ordinary one.
    fn told_to_go(&self) -> BoxFuture<'static, ()> {
        match self {
            Self::Ordinary { .. } => Box::pin(std::future::pending()),
            Self::Spare { told_to_go, .. } => Box::pin(told_to_go.clone().cancelled_owned()),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Self::Spare { number, places, .. } = self {
            places.spare.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(number);
        }
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
        let seat = self.places.take();
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let mut told_to_go = seat.told_to_go();
            let (stream, service) = tokio::select! {
                accepted = accepting => accepted?,
                () = &mut told_to_go => return Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            };
            let place = seat.place();
            Ok((Seated::new(stream, seat, told_to_go), Marked { service, place }))
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
pub(super) struct Seated<T> {
    stream: T,
    quiet: Pin<Box<Sleep>>,
    told_to_go: BoxFuture<'static, ()>,
    _seat: Seat,
}

impl<T> Seated<T> {
    fn new(stream: T, seat: Seat, told_to_go: BoxFuture<'static, ()>) -> Self {
        Self { stream, quiet: Box::pin(sleep(QUIET)), told_to_go, _seat: seat }
    }

    /// Something moved, or waits: for how long already?
    fn watched<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + QUIET);
            return polled;
        }
        if self.told_to_go.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
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
        let seat = places.take();
        let told_to_go = seat.told_to_go();
        (Seated::new(stream, seat, told_to_go), client)
    }

    #[tokio::test]
    async fn places_are_taken_in_order_and_given_back() {
        let places = Places::new(2);
        let mut taken: Vec<Seat> = (0..3).map(|_| places.take()).collect();
        let kinds: Vec<Place> = taken.iter().map(Seat::place).collect();
        assert_eq!(kinds, [Place::Ordinary, Place::Ordinary, Place::Spare]);
        drop(taken.remove(0));
        assert_eq!(places.take().place(), Place::Ordinary);
        drop(taken);
        assert!(places.spare.lock().expect("held by nobody").taken.is_empty());
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_first_spare_client_goes() {
        let places = Places::new(1);
        let (mut ordinary, _client) = seated(&places, 64);
        let mut spare: Vec<_> = (0..=SPARE).map(|_| seated(&places, 64)).collect();
        let mut byte = [0_u8; 1];
        let error = spare[0].0.read_exact(&mut byte).await.expect_err("the first had to go");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        // Nobody else.
        for (one, client) in &mut spare[1..] {
            client.write_all(b"x").await.expect("sent");
            one.read_exact(&mut byte).await.expect("received");
        }
        assert!(futures::poll!(std::pin::pin!(ordinary.read_exact(&mut byte))).is_pending());
        assert_eq!(places.spare.lock().expect("held by nobody").taken.len(), SPARE);
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
