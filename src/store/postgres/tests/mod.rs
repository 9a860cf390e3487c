//! The suite of every store, on a real server.

mod cell;
mod cells;
mod faults;
mod moving;
mod proxy;
mod race;
mod server;
mod tokens;

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

/// The same where commits have names.
mod with_names {
    use super::*;
    use crate::store::postgres::connection::{Connection, NAMED};

    struct Named(InPostgres);

    fn options() -> PgOptions {
        PgOptions { prepared_statements: true, ..server::shared().options() }
    }

    impl Default for Named {
        fn default() -> Self {
            Self(InPostgres(options()))
        }
    }

    impl Harness for Named {
        type Store = PgStore;

        async fn start(&self) -> Arc<PgStore> {
            self.0.start().await
        }

        async fn restart(&self, closed: Arc<PgStore>) -> Arc<PgStore> {
            self.0.restart(closed).await
        }
    }

    conformance_suite!(Named);

    async fn names(connection: &Connection) -> i64 {
        connection.query("SELECT count(*) FROM pg_prepared_statements", &[]).await.unwrap()[0].get(0)
    }

    #[tokio::test]
    async fn only_what_comes_again_has_a_name_and_only_where_it_may() {
        let connection = Connection::open(&options()).await.unwrap();
        for number in 0..NAMED + 10 {
            for _ in 0..2 {
                let sql = format!("SELECT {number}");
                let found: i32 = connection.query_again(&sql, &[]).await.unwrap()[0].get(0);
                assert_eq!(usize::try_from(found), Ok(number));
            }
        }
        assert_eq!(names(&connection).await, i64::try_from(NAMED).unwrap(), "the rest is sent without a name");
        let other = Connection::open(&server::shared().options()).await.unwrap();
        other.query_again("SELECT 1", &[]).await.unwrap();
        assert_eq!(names(&other).await, 0, "a pooler may be in between");
    }

    #[tokio::test]
    async fn a_name_that_the_server_has_forgotten_is_given_again() {
        let connection = Connection::open(&options()).await.unwrap();
        connection.query_again("SELECT 1", &[]).await.unwrap();
        connection.run("DEALLOCATE ALL").await.unwrap();
        assert!(connection.query_again("SELECT 1", &[]).await.is_err(), "it says so");
        connection.query_again("SELECT 1", &[]).await.unwrap();
    }
}
