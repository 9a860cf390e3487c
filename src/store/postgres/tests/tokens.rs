//! Tokens as nodes read them and as the command writes them, on a real server.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    super::*,
    faults::ask,
    server::{self, Server},
};
use crate::ports::{TokenRow, TokenRows, TokenStore};

fn row(name: &str) -> TokenRow {
    TokenRow {
        id: format!("id-{name}"),
        name: name.into(),
        role: "plane".into(),
        orgs: vec!["acme-*".into(), "beta".into()],
        scopes: vec![],
        bind: vec!["agent/a".into()],
        sha256: (0..32).collect(),
        created: 1_700_000_000_000,
        expires: Some(4_102_444_800_000),
    }
}

fn named(rows: &TokenRows) -> Vec<&str> {
    rows.rows.iter().map(|row| row.name.as_str()).collect()
}

async fn fresh() -> (PgOptions, TokenTable, PgTokens) {
    let options = server::shared().options();
    let table = TokenTable::open(options.clone()).await.unwrap();
    (options.clone(), table, PgTokens::new(options))
}

#[tokio::test]
async fn what_is_made_is_read_as_it_was_made_and_once_per_change() {
    let (_, table, tokens) = fresh().await;
    let nothing = tokens.changed(None).await.unwrap().unwrap();
    assert_eq!(named(&nothing), [""; 0]);
    assert_eq!(tokens.changed(Some(&nothing.mark)).await.unwrap(), None);
    let later = TokenRow { created: 1_800_000_000_000, expires: None, ..row("a") };
    table.create(&later).await.unwrap();
    table.create(&row("b")).await.unwrap();
    let read = tokens.changed(Some(&nothing.mark)).await.unwrap().unwrap();
    assert_eq!(read.rows, [row("b"), later.clone()]);
    assert_eq!(table.all().await.unwrap(), read.rows);
    assert_eq!(tokens.changed(Some(&read.mark)).await.unwrap(), None);
    assert_eq!((table.revoke("b").await, table.revoke("b").await), (Ok(true), Ok(false)));
    let read = tokens.changed(Some(&read.mark)).await.unwrap().unwrap();
    assert_eq!(read.rows, [later]);
}

#[tokio::test]
async fn a_name_and_an_id_are_given_once() {
    let (options, table, _) = fresh().await;
    table.create(&row("a")).await.unwrap();
    let again = table.create(&TokenRow { id: "other".into(), ..row("a") }).await.unwrap_err();
    assert!(again.to_string().contains("a token named \"a\" already"), "{again}");
    let again = table.create(&TokenRow { name: "b".into(), ..row("a") }).await.unwrap_err();
    assert!(again.to_string().contains("a token with the id \"id-a\" already"), "{again}");
    let wrong = table.create(&TokenRow { role: "boss".into(), ..row("c") }).await.unwrap_err();
    assert!(wrong.to_string().contains("token_role_check"), "{wrong}");
    let fill = format!(
        "INSERT INTO {}.token (name, id, sha256, role, orgs) \
         SELECT 'n' || n, 'i' || n, sha256('x'), 'plane', '{{*}}' FROM generate_series(2, 10000) AS n",
        options.schema
    );
    ask(&options, &fill).await;
    let many = table.create(&row("d")).await.unwrap_err();
    assert!(many.to_string().contains("there are 10000 tokens, at most 10000"), "{many}");
}

#[tokio::test]
async fn any_change_of_the_rows_is_noticed_whoever_made_it() {
    let (options, table, tokens) = fresh().await;
    table.create(&row("a")).await.unwrap();
    let mut mark = tokens.changed(None).await.unwrap().unwrap().mark;
    for (sql, left) in [
        ("UPDATE s.token SET role = 'viewer', bind = '{}'", vec!["a"]),
        (
            "INSERT INTO s.token (name, id, sha256, role, orgs) VALUES ('b', 'b', sha256('x'), 'admin', '{*}')",
            vec!["a", "b"],
        ),
        ("DELETE FROM s.token WHERE name = 'a'", vec!["b"]),
        ("TRUNCATE s.token", vec![]),
    ] {
        ask(&options, &sql.replace("s.", &format!("{}.", options.schema))).await;
        let read = tokens.changed(Some(&mark)).await.unwrap().unwrap();
        assert_eq!(named(&read), left, "{sql}");
        mark = read.mark;
    }
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_seen() {
    let (options, table, tokens) = fresh().await;
    let schema = &options.schema;
    let slow = Connection::open(&options).await.unwrap();
    let insert = format!(
        "INSERT INTO {schema}.token (name, id, sha256, role, orgs) VALUES ('slow', 's', sha256('x'), 'plane', '{{*}}')"
    );
    slow.run(&format!("BEGIN; {insert}")).await.unwrap();
    let fast = tokio::spawn(async move { table.create(&row("fast")).await });
    let waits =
        format!("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}.token%'");
    while ask(&options, &waits).await.is_empty() {}
    let before = tokens.changed(None).await.unwrap().unwrap();
    assert_eq!(named(&before), [""; 0], "neither is committed, so the mark is that of nothing");
    slow.run("COMMIT").await.unwrap();
    fast.await.unwrap().unwrap();
    let after = tokens.changed(Some(&before.mark)).await.unwrap().unwrap();
    assert_eq!(named(&after), ["fast", "slow"]);
}

#[tokio::test]
async fn a_change_is_told_of_and_changes_of_other_schemas_are_not() {
    let (_, table, tokens) = fresh().await;
    let (_, elsewhere, _) = fresh().await;
    tokens.changed(None).await.unwrap();
    let mut told = tokens.told();
    // It says so when it begins to listen.
    timeout(Duration::from_secs(10), told.wait_for(|count| *count > 0)).await.unwrap().unwrap();
    elsewhere.create(&row("a")).await.unwrap();
    table.create(&row("a")).await.unwrap();
    timeout(Duration::from_secs(10), told.changed()).await.unwrap().unwrap();
    assert_eq!(*told.borrow(), 2);
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_comes_back_by_itself() {
    let server = Server::start();
    let options = server.options();
    let table = TokenTable::open(options.clone()).await.unwrap();
    table.create(&row("a")).await.unwrap();
    let tokens = PgTokens::new(options);
    let read = tokens.changed(None).await.unwrap().unwrap();
    server.down();
    let fault = tokens.changed(Some(&read.mark)).await.unwrap_err();
    assert_eq!(fault.operation, "tokens");
    assert!(tokens.changed(None).await.is_err());
    server.up();
    assert_eq!(tokens.changed(Some(&read.mark)).await.unwrap(), None);
    assert!(table.revoke("a").await.unwrap_err().to_string().contains("may be done or not"));
}

#[tokio::test]
async fn a_standby_is_not_believed() {
    let server = Server::start();
    let options = server.options();
    TokenTable::open(options.clone()).await.unwrap().create(&row("a")).await.unwrap();
    let tokens = PgTokens::new(options);
    let read = tokens.changed(None).await.unwrap().unwrap();
    server.again(true);
    // The first finds its connection cut, the others ask the standby, each over another connection.
    let _ = tokens.changed(Some(&read.mark)).await;
    for seen in [Some(read.mark.as_str()), None] {
        let fault = tokens.changed(seen).await.unwrap_err();
        assert!(fault.cause.contains("is a standby"), "{fault}");
    }
    server.again(false);
    let _ = tokens.changed(None).await;
    assert_eq!(tokens.changed(Some(&read.mark)).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let (options, _, tokens) = fresh().await;
    let read = tokens.changed(None).await.unwrap().unwrap();
    let holder = Connection::open(&options).await.unwrap();
    holder.run(&format!("BEGIN; LOCK TABLE {}.token_change", options.schema)).await.unwrap();
    let given_up = timeout(Duration::from_secs(2), tokens.changed(Some(&read.mark))).await.unwrap().unwrap_err();
    assert!(given_up.cause.contains("no answer within 900ms"), "{given_up}");
    drop(holder);
    // Behind the statement that was left there.
    while tokens.changed(Some(&read.mark)).await != Ok(None) {}
}

#[tokio::test]
async fn a_command_makes_tables_where_there_are_none_and_changes_no_older_ones() {
    let options = server::shared().options();
    let schema = options.schema.clone();
    let sql =
        format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.migration (number integer, name text, sha256 text)");
    Connection::open(&options).await.unwrap().run(&sql).await.unwrap();
    let older = TokenTable::open(options.clone()).await.unwrap_err();
    assert!(older.to_string().contains("start a node of this version first"), "{older}");
    let (options, table, _) = fresh().await;
    table.create(&row("a")).await.unwrap();
    let schema = &options.schema;
    let second = format!("INSERT INTO {schema}.cell (cluster, number, cells, is_born) VALUES ('x', 2, 2, true)");
    let connection = Connection::open(&options).await.unwrap();
    connection.run(&second).await.unwrap();
    let other = TokenTable::open(options.clone()).await.unwrap_err();
    assert!(other.to_string().contains("database 2 of its cluster: tokens are in the first one"), "{other}");
    connection.run(&format!("DELETE FROM {schema}.cell")).await.unwrap();
    // What the command has made serves a node, and the other way round.
    PgStore::open(options.clone()).await.unwrap();
    assert_eq!(TokenTable::open(options).await.unwrap().all().await.unwrap(), [row("a")]);
}
