//! Several databases as one store.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{cell::another, server};
use crate::{
    domain::{members::About, rows::Row},
    store::{
        conformance::{Harness, commit, conformance_suite, write},
        postgres::moving::{export, import},
        samples::{org, rows},
    },
};

use super::*;

pub(super) const SOON: Duration = Duration::from_secs(10);

/// Three schemas of one server, each as a database of its own.
struct InCells(Vec<PgOptions>);

impl Default for InCells {
    fn default() -> Self {
        Self((0..3).map(|_| server::shared().options()).collect())
    }
}

async fn open(options: &[PgOptions]) -> Result<Arc<PgCells>, PgError> {
    PgCells::open(options.to_vec(), Duration::ZERO).await
}

impl Harness for InCells {
    type Store = PgCells;

    async fn start(&self) -> Arc<PgCells> {
        let store = open(&self.0).await.unwrap();
        for (cell, shards) in store.parts() {
            assert_eq!(cell.claim_alone(&shards).await.unwrap(), shards.len());
        }
        store
    }

    async fn restart(&self, _closed: Arc<PgCells>) -> Arc<PgCells> {
        self.start().await
    }
}

conformance_suite!(InCells);

async fn orgs_of(options: &PgOptions) -> Vec<String> {
    let connection = Connection::open(options).await.unwrap();
    let sql = format!("SELECT org FROM {}.head ORDER BY octet_length(org), org", options.schema);
    connection.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn each_org_is_in_the_database_that_has_its_shard_and_nowhere_else() {
    let cells = InCells::default();
    let store = cells.start().await;
    let names: Vec<String> = (0..60).map(|n| format!("o{n}")).collect();
    for name in &names {
        let head = rows().into_iter().find(|row| matches!(row, Row::Head(_))).unwrap();
        commit(&*store, write(name, vec![head])).await.unwrap();
    }
    for (at, options) in cells.0.iter().enumerate() {
        let expected: Vec<_> = names.iter().filter(|name| Shard::of(&org(name)).cell(3) == at).cloned().collect();
        assert!(expected.len() > 10);
        assert_eq!(orgs_of(options).await, expected);
    }
}

#[tokio::test]
async fn databases_of_a_cluster_are_known_in_their_order_alone_and_one_that_was_emptied_is_refused() {
    let InCells(options) = InCells::default();
    drop(open(&options).await.unwrap());
    drop(open(&options).await.unwrap());
    let refused = async |options: &[PgOptions]| open(options).await.unwrap_err().to_string();
    let [a, b, c] = [0, 1, 2].map(|at| options[at].clone());
    let swapped = refused(&[b.clone(), a.clone(), c.clone()]).await;
    assert!(swapped.contains("database 1 of 3 is database 2 of 3 of its cluster"), "{swapped}");
    let fewer = refused(&[a.clone(), b.clone()]).await;
    assert!(fewer.contains("database 1 of 2 is database 1 of 3"), "{fewer}");
    let emptied = refused(&[a.clone(), b.clone(), server::shared().options()]).await;
    assert!(emptied.contains("database 3 is empty") && emptied.contains("restore it"), "{emptied}");
    let InCells(others) = InCells::default();
    drop(open(&others).await.unwrap());
    let mixed = refused(&[a, b, others[2].clone()]).await;
    assert!(mixed.contains("database 3 belongs to cluster"), "{mixed}");
}

#[tokio::test]
async fn nodes_that_begin_a_cluster_at_once_begin_one() {
    let InCells(options) = InCells::default();
    let begun = || PgCells::open(options.clone(), SOON);
    let opened = join_all((0..8).map(|_| begun())).await;
    for store in opened {
        store.unwrap();
    }
    let names = join_all(options.iter().map(|options| async move {
        let connection = Connection::open(options).await.unwrap();
        let sql = format!("SELECT cluster FROM {}.cell", options.schema);
        connection.query(&sql, &[]).await.unwrap()[0].get::<_, String>(0)
    }));
    let names = names.await;
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[tokio::test]
async fn a_database_of_nodes_that_knew_no_cells_is_the_only_one_of_its_cluster() {
    let options = server::shared().options();
    drop(PgStore::open(options.clone()).await.unwrap());
    let connection = Connection::open(&options).await.unwrap();
    let schema = &options.schema;
    let before = format!(
        "DROP TABLE {schema}.cell; DELETE FROM {schema}.migration WHERE name = 'cell'; \
         UPDATE {schema}.shard SET epoch = 1 WHERE shard_id = 7"
    );
    connection.run(&before).await.unwrap();
    let two = open(&[options.clone(), server::shared().options()]).await.unwrap_err().to_string();
    assert!(two.contains("database 1 of 2 is database 1 of 1 of its cluster"), "{two}");
    drop(open(&[options]).await.unwrap());
}

/// The orgs of the others are served meanwhile, by a node that has started without it.
#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_opened_when_it_is_back() {
    let away = server::Server::start();
    let options = [server::shared().options(), away.options()];
    drop(open(&options).await.unwrap());
    away.down();
    let began = Instant::now();
    let store = PgCells::open(options.to_vec(), Duration::from_secs(60)).await.unwrap();
    assert!(began.elapsed() < SOON, "the others are not held up");
    let [here, gone] = [0, 1].map(|cell| {
        let mut names = (0..).map(|n| org(&format!("o{n}")));
        names.find(|org| Shard::of(org).cell(2) == cell).unwrap()
    });
    assert_eq!(store.load(&here).await.unwrap().rows, []);
    assert!(OrgStore::fault(&*store, &here).is_none() && OrgStore::fault(&*store, &gone).is_some());
    assert_eq!(store.answers_for(), ShardSet::of_cell(0, 2));
    let fault = store.state().borrow().fault().cloned().unwrap();
    assert!(fault.cause.starts_with("database 2 of 2: "), "{fault}");
    assert!(store.load(&gone).await.is_err());
    let (cells, id) = (store.as_cells(), another("a"));
    let about = About {
        peer: String::new(),
        grpc: String::new(),
        weight: std::num::NonZeroU16::MIN,
        version: String::new(),
        config: String::new(),
    };
    assert!(cells[0].register(&id, &about).await.is_ok());
    assert!(cells[1].register(&id, &about).await.is_err());
    away.up();
    let mut state = store.state();
    timeout(SOON, state.wait_for(StoreState::is_up)).await.unwrap().unwrap();
    assert!(cells[1].register(&id, &about).await.is_ok());
    assert_eq!(store.load(&gone).await.unwrap().rows, []);
    // It is cut off once more, and what is wrong is wrong with it alone.
    away.down();
    let _ = timeout(SOON, async {
        while OrgStore::fault(&*store, &gone).is_none() {
            let _ = store.load(&gone).await;
        }
    })
    .await;
    assert!(OrgStore::fault(&*store, &here).is_none() && OrgStore::fault(&*store, &gone).is_some());
    timeout(SOON, state.wait_for(|state| !state.is_up())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cluster_does_not_begin_without_one_of_its_databases() {
    let nobody = server::shared().options_at(1, "absent");
    let here = server::shared().options();
    let refused = open(&[here.clone(), nobody]).await.unwrap_err().to_string();
    assert!(refused.contains("database 2 of 2: "), "{refused}");
    drop(open(&[here]).await.unwrap());
}

#[tokio::test]
async fn a_dump_of_one_database_is_the_same_behind_three_and_one_of_three_behind_one() {
    let (InCells(three), one) = (InCells::default(), server::shared().options());
    let text = super::moving::original().await;
    let lines = import(three.clone(), &mut text.as_bytes(), false).await.unwrap();
    let mut from_three = Vec::new();
    assert_eq!(export(three.clone(), &mut from_three).await.unwrap(), lines);
    assert_eq!(String::from_utf8(from_three.clone()).unwrap(), text);
    import(vec![one.clone()], &mut from_three.as_slice(), false).await.unwrap();
    let mut from_one = Vec::new();
    export(vec![one], &mut from_one).await.unwrap();
    assert_eq!(String::from_utf8(from_one).unwrap(), text);
    let mut spread = 0;
    for options in &three {
        spread += usize::from(!orgs_of(options).await.is_empty());
    }
    assert!(spread > 1, "it has orgs of several");
    // Nothing is left where an import fails, in any of them.
    let InCells(others) = InCells::default();
    let (cut, _) = text.rsplit_once("{\"end\"").unwrap();
    import(others.clone(), &mut cut.as_bytes(), false).await.unwrap_err();
    import(others, &mut text.as_bytes(), false).await.unwrap();
}
