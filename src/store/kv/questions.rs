//! What every store over a keyspace asks it, written once: methods of `OrgStore` for a type whose `read` runs a closure
//! over its keyspace.

/// `questions!()`: all that say the same of damaged directories. `questions!(list)`: also the list of orgs by heads.
macro_rules! questions {
    (list) => {
        fn list(
            &self,
            shards: &ShardSet,
            after: Option<&OrgId>,
            max: usize,
        ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
            let (shards, after) = (shards.clone(), after.cloned());
            self.read(move |from| read::list(from, &shards, after.as_ref(), max)).boxed()
        }

        questions!();
    };
    () => {
        fn due(
            &self,
            now: Millis,
            shards: &ShardSet,
            max: usize,
        ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>> {
            let shards = shards.clone();
            self.read(move |from| read::due(from, now, &shards, max)).boxed()
        }

        fn having(
            &self,
            kind: RowKind,
            shards: &ShardSet,
            after: Option<&OrgId>,
            max: usize,
        ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>> {
            let (shards, after) = (shards.clone(), after.cloned());
            self.read(move |from| read::having(from, kind, &shards, after.as_ref(), max)).boxed()
        }

        fn some(&self, org: &OrgId, kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
            let org = org.clone();
            self.read(move |from| read::some(from, &org, kinds)).boxed()
        }

        fn latest(&self, org: &OrgId, names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
            let org = org.clone();
            self.read(move |from| beside::latest(from, &org, &names)).boxed()
        }

        fn beside(
            &self,
            org: &OrgId,
            kind: RowKind,
            after: Option<RowKey>,
            max: usize,
        ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
            let org = org.clone();
            self.read(move |from| beside::beside(from, &org, kind, after.as_ref(), max)).boxed()
        }
    };
}

pub(super) use questions;
