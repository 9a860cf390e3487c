//! The suite of every store, on a real server.

mod cell;
mod cells;
mod faults;
mod moving;
mod proxy;
mod race;
mod server;

use super::*;
use crate::store::conformance::{Harness, conformance_suite};

/// Opens a store and owns everything.
async fn start(options: PgOptions) -> Arc<PgStore> {
    let store = PgStore::open(options).await.unwrap();
    assert_eq!(store.claim_alone(&ShardSet::all()).await.unwrap(), 1024);
    Arc::new(store)
}

struct InPostgres(PgOptions);

impl Default for InPostgres {
    fn default() -> Self {
        Self(server::shared().options())
    }
}

impl Harness for InPostgres {
    type Store = PgStore;

    async fn start(&self) -> Arc<PgStore> {
        start(self.0.clone()).await
    }

    async fn restart(&self, _closed: Arc<PgStore>) -> Arc<PgStore> {
        self.start().await
    }
}

conformance_suite!(InPostgres);
