//! The life of one connection: served until it ends, is asked to go (by age, by silence, because the node stops),
//! or is cut.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{
    Request,
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    BoxError, Front,
    activity::{Activity, Verdict},
    arriving::{Arriving, Unread},
    io::{Observed, Reading},
    leaving::Leaving,
    peer::Peer,
    tls::Tls,
};
use crate::turns::{OfConnection, Share, Turns};

/// How long the first bytes of a client may take.
const PREFACE_WITHIN: Duration = Duration::from_secs(10);
/// From asking an aged connection to go to its end.
const AGE_GRACE: Duration = Duration::from_secs(30);
/// How often a connection is judged, at most.
const JUDGED_EVERY: Duration = Duration::from_secs(5);
/// So many times within the shortest of its times.
const JUDGED_WITHIN: u32 = 4;

/// What every connection of a listener may do.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) unread: Arc<Unread>,
    pub(super) turns: Arc<Turns>,
    pub(super) tls: Option<Arc<Tls>>,
    /// For a message to arrive, and for a TLS handshake.
    pub(super) request_within: Duration,
    /// For an answer to leave.
    pub(super) answer_within: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// When it is asked to go; `None` = never.
    pub(super) age: Option<Duration>,
}

impl Terms {
    /// Moved by -10 to +10 %, so that connections made together do not end together.
    fn age(&self, turn: usize) -> Option<Duration> {
        let percent = 90 + u32::try_from(turn % 21).unwrap_or(10);
        Some(self.age? * percent / 100)
    }

    fn judged_every(&self) -> Duration {
        JUDGED_EVERY.min(self.idle.min(self.answer_within) / JUDGED_WITHIN)
    }
}

/// The connection of a request: an extension of every request.
#[derive(Debug, Clone)]
pub struct Reached {
    /// When the connection is asked to go away, where it is.
    at: Option<Instant>,
    /// What it has in flight, counted by who works on it.
    of: Arc<OfConnection>,
}

impl Reached {
    /// Resolves when the connection has reached its age; never where the age is not known.
    pub async fn age(of: Option<Self>) {
        match of {
            Some(Self { at: Some(at), .. }) => sleep_until(at).await,
            Some(Self { at: None, .. }) | None => pending().await,
        }
    }

    /// Requests of the connection that are being worked on, counted by who works on them.
    pub fn worked_on(&self) -> &Share {
        &self.of.worked_on
    }
}

/// Serves one connection to its end, behind TLS where the listener has it.
pub(super) async fn serve<B>(
    io: TcpStream,
    mut peer: Peer,
    front: impl Front<B>,
    terms: Arc<Terms>,
    turn: usize,
    stop: CancellationToken,
) where
    B: Body<Error: Into<BoxError>, Data: Send> + Send + Unpin + 'static,
{
    let activity = Activity::new();
    let of = Arc::<OfConnection>::default();
    let io = Observed::new(io, activity.clone(), Reading::new(terms.turns.clone(), of.clone()));
    let Some(tls) = terms.tls.clone() else {
        return speak(io, peer, (activity, of), front, terms, turn, stop).await;
    };
    let handshake = tls.handshake();
    let shaken = tokio::select! {
        shaken = timeout(terms.request_within, activity.counting(handshake.acceptor().accept(io))) => shaken,
        () = stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(io)) => {
            peer.certificate = tls.shown(&handshake, io.get_ref().1.peer_certificates());
            drop((tls, handshake));
            speak(io, peer, (activity, of), front, terms, turn, stop).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

fn speak<B>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    (activity, of): (Arc<Activity>, Arc<OfConnection>),
    front: impl Front<B>,
    terms: Arc<Terms>,
    turn: usize,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send
where
    B: Body<Error: Into<BoxError>, Data: Send> + Send + Unpin + 'static,
{
    let ends = terms.age(turn).map(|age| Instant::now() + age);
    let answer = {
        let (terms, activity) = (terms.clone(), activity.clone());
        let reached = Reached { at: ends, of };
        service_fn(move |request: Request<Incoming>| {
            let flight = activity.begin();
            let mut request = request.map(|body| Arriving::new(body, terms.unread.clone(), terms.request_within));
            request.extensions_mut().insert(reached.clone());
            request.extensions_mut().insert(peer.clone());
            let answered = front.clone().call(request);
            async move { answered.await.map(|answer| answer.map(|body| Leaving::new(body, flight))) }
        })
    };
    async move {
        let mut connection = pin!(terms.http.serve_connection(TokioIo::new(io), answer));
        let (mut asked, mut is_old) = (false, false);
        let mut aged = pin!(sleep_until(ends.unwrap_or_else(Instant::now)));
        let mut judged = pin!(sleep(terms.judged_every()));
        loop {
            let go = tokio::select! {
                ended = activity.counting(connection.as_mut()) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = stop.cancelled(), if !asked => true,
                () = aged.as_mut(), if ends.is_some() => {
                    if std::mem::replace(&mut is_old, true) {
                        return;
                    }
                    aged.as_mut().reset(Instant::now() + AGE_GRACE);
                    true
                }
                () = judged.as_mut() => {
                    judged.as_mut().reset(Instant::now() + terms.judged_every());
                    match activity.judge(PREFACE_WITHIN, terms.idle, terms.answer_within) {
                        Verdict::Goes => false,
                        Verdict::Idle => true,
                        Verdict::Stuck => return,
                    }
                }
            };
            if go && !std::mem::replace(&mut asked, true) {
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
