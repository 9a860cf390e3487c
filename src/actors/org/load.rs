//! What is stored of an org as of one commit of it.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout};

use super::OrgTask;
use crate::{cluster::table::Standing, domain::rows::OrgRows, error::ServiceError};

impl OrgTask {
    /// What is stored when all is that the org has decided. Its calls wait meanwhile, as they do for a start.
    pub(super) async fn load(&mut self) -> Result<OrgRows, ServiceError> {
        match self.standing() {
            Standing::Owned => {}
            Standing::Lapsed => return Err(ServiceError::NoOwner),
            Standing::Elsewhere | Standing::Free => return Err(ServiceError::Moved),
        }
        if let Some(fault) = self.fault() {
            return Err(ServiceError::Store(fault));
        }
        let (done, committed) = oneshot::channel();
        self.commit(Box::new(move |result| drop(done.send(result))));
        let loaded = async {
            committed.await.map_err(|_| ServiceError::Interrupted)??;
            self.shared.store.load(&self.org).await.map_err(ServiceError::Store)
        };
        let within = Duration::from_millis(self.shared.rules.load().bounds.decision_budget_ms.into());
        timeout(within, loaded).await.map_err(|_| ServiceError::TimedOut)?
    }
}
