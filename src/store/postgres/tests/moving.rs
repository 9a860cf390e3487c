//! A data directory into PostgreSQL and back.

use tempfile::TempDir;

use super::{cell::node, server, start};
use crate::{
    domain::{
        rows::{JournalRow, OrgWrite, Row},
        shard::ShardSet,
    },
    ports::{Cell, OrgStore},
    store::{
        conformance::{commit, head_with_journal, write},
        memory::MemoryStore,
        offline::{self, ImportOptions},
        postgres::moving::{export, import},
        samples::{T0, rows},
    },
};

/// Orgs whose rows fit together, with a clock.
pub(super) async fn original() -> String {
    let store = MemoryStore::new();
    let rows: Vec<Row> = rows().into_iter().filter(|row| !matches!(row, Row::Head(_) | Row::Timer(_))).collect();
    for name in ["a", "a:b", "acme", "zz"] {
        let journal = |seq| Row::Journal(JournalRow { seq, at: T0, entries: vec![] });
        let puts = [
            vec![head_with_journal(2), journal(1), journal(2)],
            rows.iter().filter(|row| !matches!(row, Row::Journal(_) | Row::LongJournal(_))).cloned().collect(),
        ]
        .concat();
        commit(&*store, OrgWrite { ..write(name, puts) }).await.unwrap();
    }
    let mut text = Vec::new();
    let mark = Some(crate::domain::service_time::ClockMark { service: T0, ..Default::default() });
    crate::store::dump::write(&*store, &crate::store::dump::Header { group: 42, mark }, &mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn what_a_directory_has_is_the_same_in_postgres_and_in_another_directory() {
    let first = TempDir::new().unwrap();
    let accept = ImportOptions { accept_damage: true, ..ImportOptions::default() };
    offline::import(first.path(), &mut original().await.as_bytes(), accept).await.unwrap();
    let mut text = Vec::new();
    offline::export(first.path(), &mut text).await.unwrap();
    let options = server::shared().options();
    let lines = import(vec![options.clone()], &mut text.as_slice(), false).await.unwrap();
    let mut from_postgres = Vec::new();
    assert_eq!(export(vec![options], &mut from_postgres).await.unwrap(), lines);
    assert_eq!(String::from_utf8(from_postgres.clone()).unwrap(), String::from_utf8(text.clone()).unwrap());
    let second = TempDir::new().unwrap();
    offline::import(second.path(), &mut from_postgres.as_slice(), accept).await.unwrap();
    let mut again = Vec::new();
    offline::export(second.path(), &mut again).await.unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(text).unwrap());
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_and_one_into_rows_is_refused() {
    let options = server::shared().options();
    let text = original().await;
    let (cut, _) = text.rsplit_once("{\"end\"").unwrap();
    let refused = import(vec![options.clone()], &mut cut.as_bytes(), false).await.unwrap_err().to_string();
    assert!(refused.contains("cut short"), "{refused}");
    let other = text.replacen("\"kind\":\"budget\"", "\"kind\":\"budgie\"", 1);
    let refused = import(vec![options.clone()], &mut other.as_bytes(), false).await.unwrap_err().to_string();
    assert!(refused.contains("line "), "{refused}");
    assert!(import(vec![options.clone()], &mut text.as_bytes(), false).await.is_ok(), "it is empty still");
    let refused = import(vec![options.clone()], &mut text.as_bytes(), false).await.unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
    let mut kept = Vec::new();
    export(vec![options], &mut kept).await.unwrap();
    assert_eq!(String::from_utf8(kept).unwrap(), text);
}

#[tokio::test]
async fn an_import_is_refused_beside_nodes_and_what_it_has_imported_is_theirs() {
    let options = server::shared().options();
    let text = original().await;
    let (store, id) = node(&options, "a").await;
    let refused = import(vec![options.clone()], &mut text.as_bytes(), false).await.unwrap_err().to_string();
    assert!(refused.contains("is served by a: stop every node of it first"), "{refused}");
    assert_eq!(store.claim(&id, &ShardSet::all()).await.unwrap(), ShardSet::all(), "nothing was taken from it");
    store.leave(&id).await.unwrap();
    import(vec![options.clone()], &mut text.as_bytes(), false).await.unwrap();
    assert!(import(vec![options.clone()], &mut text.as_bytes(), false).await.is_err());
    let (store, id) = node(&options, "a").await;
    assert_eq!(store.claim(&id, &ShardSet::all()).await.unwrap(), ShardSet::all());
}

/// Asked as an analyst asks.
#[tokio::test]
async fn views_say_what_people_ask_for() {
    let options = server::shared().options();
    let store = start(options.clone()).await;
    commit(&*store, write("acme", rows())).await.unwrap();
    store.close().await.unwrap();
    let connection = super::super::connection::Connection::open(&options).await.unwrap();
    for (sql, expected) in [
        (
            "SELECT org || ' ' || admitted_total || ' ' || frozen_reason || ' ' || calls_in_window FROM s.orgs",
            "acme 1000000 abuse, see \"ticket\" 999",
        ),
        (
            "SELECT string_agg(DISTINCT period || ' ' || limit_micro_usd, ', ') FROM s.budgets",
            "fortnightly 7, hourly 5000000",
        ),
        (
            "SELECT (count(*) > 0)::text FROM s.ledger_hours WHERE org = 'acme' AND amount > 0 AND hour_at > '2020-01-01'",
            "true",
        ),
        (
            "SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM s.sessions WHERE started_at > '2020-01-01'",
            "expired running",
        ),
        ("SELECT (count(*) > 0)::text FROM s.outbox WHERE units > 0 AND meter <> '' AND due_at > '2020-01-01'", "true"),
    ] {
        let found = connection.query(&sql.replace("s.", &format!("{}.", options.schema)), &[]).await.unwrap();
        assert_eq!(found[0].get::<_, String>(0), expected, "{sql}");
    }
}
