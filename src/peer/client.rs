//! The other nodes, as callers of this one reach them through it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::{task::AbortHandle, time::timeout};

use super::{
    Answered, FRAME_BYTES, Forward, Node, NotForwarded, Options, WrongOwner, caller, link,
    waiting::{Ended, Waiting},
};
use crate::{
    domain::{ids::OrgId, shard::Epoch},
    net::Dial,
    wire::{
        peer::v1::{self, answer::Outcome},
        status,
    },
};

/// The most that is said of who calls.
const CALLER_BYTES: usize = FRAME_BYTES / 2;
/// Why the calls of a node end that is not a member any more.
const NO_MEMBER: &str = "the node is not a member of the cluster any more";

/// Forwards calls to other nodes; cheap to clone. The streams end with the last of its clones.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Arc<Options>,
    dial: Arc<dyn Dial>,
    links: RwLock<HashMap<Node, Arc<Link>>>,
}

/// The way to one node.
#[derive(Debug)]
struct Link {
    node: Arc<str>,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.waiting.close(NO_MEMBER);
        self.task.abort();
    }
}

impl Peers {
    /// No stream is opened before a call needs it.
    pub fn new(options: Options, dial: Arc<dyn Dial>) -> Self {
        Self(Arc::new(Inner { options: Arc::new(options), dial, links: RwLock::default() }))
    }

    /// Hands the call to this node, and its answer back. Dropped, nobody waits for the answer any more, and a call that
    /// was not sent yet is not sent.
    ///
    /// # Errors
    /// Why there is no answer of the owner, and whether the call may have been carried out.
    pub async fn forward(&self, to: &Node, call: Forward) -> Result<Answered, NotForwarded> {
        let Forward { rpc, request, within, epoch, caller, said, traceparent } = call;
        let link = self.link(to);
        let options = &self.0.options;
        let caller = caller::encoded(&caller);
        if request.len() > options.request_bytes || caller.len() > CALLER_BYTES {
            let why = format!(
                "the request has {} bytes and its caller {}: {} and {CALLER_BYTES} cross between nodes",
                request.len(),
                caller.len(),
                options.request_bytes,
            );
            return Err(NotForwarded::Gone { is_sent: false, why: why.into() });
        }
        let call = v1::Call {
            id: 0,
            rpc: rpc.to_owned(),
            request,
            within_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
            epoch: epoch.map(|epoch| epoch.0),
            caller,
            traceparent,
            said: said.as_ref().map(OrgId::to_string).unwrap_or_default(),
        };
        if call.within_ms == 0 {
            return Err(NotForwarded::TimedOut { is_sent: false });
        }
        let mut begun = link.waiting.begin(call)?;
        match timeout(within, begun.ended()).await {
            Ok(ended) => answered(&link.node, ended),
            Err(_) => Err(NotForwarded::TimedOut { is_sent: begun.give_up() }),
        }
    }

    /// Ends the streams to all other nodes, and their calls.
    pub fn keep_only(&self, members: &HashSet<Node>) {
        let mut links = self.0.links.write().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<_> = links.extract_if(|node, _| !members.contains(node)).collect();
        drop(links);
        for (_, link) in left {
            link.waiting.close(NO_MEMBER);
            link.task.abort();
        }
    }

    fn link(&self, to: &Node) -> Arc<Link> {
        let Inner { options, dial, links } = &*self.0;
        if let Some(link) = links.read().unwrap_or_else(PoisonError::into_inner).get(to) {
            return link.clone();
        }
        let mut links = links.write().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            let waiting = Waiting::new(options.in_flight);
            let kept = link::keep(options.clone(), dial.clone(), to.clone(), waiting.clone());
            let task = tokio::spawn(kept).abort_handle();
            Arc::new(Link { node: to.name.clone(), waiting, task })
        };
        links.entry(to.clone()).or_insert_with(open).clone()
    }

    #[cfg(test)]
    pub(super) fn kept(&self, to: &Node) -> (usize, usize) {
        self.0.links.read().unwrap()[to].waiting.kept()
    }
}

fn answered(node: &Arc<str>, ended: Ended) -> Result<Answered, NotForwarded> {
    let response = match ended? {
        Outcome::Response(response) => Ok(response),
        Outcome::Error(error) => Err(status::from_peer(error)),
        Outcome::WrongOwner(wrong) => {
            return Err(NotForwarded::WrongOwner(WrongOwner { epoch: wrong.epoch.map(Epoch) }));
        }
    };
    Ok(Answered { node: node.clone(), response })
}
