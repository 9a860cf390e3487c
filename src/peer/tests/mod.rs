//! Two nodes in one process: over pipes in paused time, and over sockets with certificates.

mod client;
mod owner;
mod sockets;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use prost::{Message, bytes::Bytes};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::*;
use crate::{
    auth::{Grant, Role},
    domain::members::Incarnation,
    net::{Dial, Socket},
};

fn id(name: &str) -> NodeId {
    NodeId { name: name.into(), incarnation: Incarnation(7) }
}

fn at(name: &str, address: &str) -> Node {
    Node { name: name.into(), address: address.into() }
}

/// Of the node that forwards.
fn options() -> Options {
    Options { in_flight: 64, ..Options::of(Arc::new(id("a"))) }
}

fn forward(rpc: &'static str, request: &impl Message, caller: &Arc<Principal>) -> Forward {
    Forward {
        rpc,
        request: request.encode_to_vec().into(),
        within: Duration::from_secs(2),
        epoch: None,
        caller: caller.clone(),
        said: None,
        traceparent: None,
    }
}

fn anybody() -> Arc<Principal> {
    Arc::new(Principal::anybody())
}

fn plane(orgs: &[&str], scopes: &[&str], bind: &[&str]) -> Arc<Principal> {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let grant = Grant { role: Role::Plane, orgs: texts(orgs), scopes: texts(scopes), bind: texts(bind) };
    Arc::new(grant.to("token:plane", None).unwrap())
}

/// Connections within the process.
#[derive(Debug)]
struct Pipes {
    other_ends: mpsc::UnboundedSender<DuplexStream>,
    dialed: AtomicUsize,
    refuses: AtomicBool,
}

impl Pipes {
    fn new() -> (Arc<Self>, impl Stream<Item = io::Result<DuplexStream>>) {
        let (other_ends, accepted) = mpsc::unbounded_channel();
        let accepted = stream::unfold(accepted, |mut accepted| async { Some((accepted.recv().await?, accepted)) });
        (Arc::new(Self { other_ends, dialed: 0.into(), refuses: false.into() }), accepted.map(Ok))
    }
}

impl Dial for Pipes {
    fn dial(&self, _: Arc<str>) -> BoxFuture<'static, io::Result<Socket>> {
        self.dialed.fetch_add(1, SeqCst);
        let (near, far) = duplex(64 << 10);
        let sent = if self.refuses.load(SeqCst) { None } else { self.other_ends.send(far).ok() };
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens");
        Box::pin(std::future::ready(sent.map(|()| Socket::new(near)).ok_or_else(refused)))
    }
}

/// Owns every org but some, at one epoch.
#[derive(Debug)]
struct Owned {
    others: BTreeSet<&'static str>,
    epoch: Epoch,
}

impl Owns for Owned {
    fn owns(&self, org: &str, epoch: Option<Epoch>) -> Result<(), WrongOwner> {
        let is_own = !self.others.contains(org) && epoch.is_none_or(|epoch| epoch == self.epoch);
        if is_own { Ok(()) } else { Err(WrongOwner { epoch: Some(self.epoch) }) }
    }
}

fn owned() -> Arc<Owned> {
    Arc::new(Owned { others: ["elsewhere"].into(), epoch: Epoch(3) })
}

fn response<R: Message + Default>(answered: &Answered) -> R {
    R::decode(answered.response.clone().unwrap()).unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
