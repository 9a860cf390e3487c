//! The log of an org: what is in it, in which order, for how long, and what no flood removes.

use super::*;
use crate::{
    bounds::{EVENT_RETENTION_MS, OPERATOR_EVENT_RETENTION_MS},
    domain::{
        command::{ClearAccount, ConfigurePool, ListEvents, NewAccount},
        events::{Change, EventKind, EventPage, EventRow, Happening},
        ids::{AccountId, PoolId},
        policy::{PoolSettings, Profile},
    },
};

pub(super) fn all() -> ListEvents {
    ListEvents { kinds: vec![], after: 0, since: None, until: None, max: 1000, durable: false }
}

impl OrgBench {
    fn page(&mut self, list: ListEvents) -> EventPage {
        self.ask(list).unwrap().expect("a known org")
    }

    pub(super) fn events(&mut self) -> Vec<EventRow> {
        self.page(all()).rows
    }

    pub(super) fn numbers(&mut self) -> Vec<u64> {
        self.events().iter().map(|row| row.number).collect()
    }

    /// What each operator's event says: the command, and its changes.
    fn changes(&mut self) -> Vec<(String, Vec<String>)> {
        let rows = self.events();
        let said = rows.iter().filter_map(|row| match &row.what {
            Happening::Operated { command, changes, .. } => {
                Some((command.to_string(), changes.iter().map(ToString::to_string).collect()))
            }
            _ => None,
        });
        said.collect()
    }
}

fn changed(command: &str, changes: &[&str]) -> (String, Vec<String>) {
    (command.to_owned(), changes.iter().map(|text| (*text).to_owned()).collect())
}

fn set(periods: &[(&'static str, Option<u64>)], scope_name: &str, id: &str) -> Box<SetBudget> {
    let scope = if scope_name.is_empty() { Scope::org() } else { scope(scope_name) };
    let (periods, idempotency) = (periods.to_vec(), key(id));
    Box::new(SetBudget { scope, replace: false, periods, expected_version: None, idempotency })
}

#[test]
fn who_changed_what_from_which_value_to_which_is_in_the_commit_of_the_change() {
    let mut org = OrgBench::new();
    org.ask(set(&[("daily", Some(5_000_000))], "", "a")).unwrap();
    let write = org.flush().unwrap();
    assert!(write.puts.iter().any(|row| matches!(row, Row::Event(_))) && write.puts.iter().any(is_budget));
    org.after(1).ask(set(&[("daily", Some(10_000_000)), ("weekly", Some(0))], "workspace/a", "b")).unwrap();
    org.after(1).ask(set(&[("daily", None)], "", "c")).unwrap();
    org.freeze("f").unwrap();
    org.unfreeze("u").unwrap();
    org.restart();
    let expected = [
        changed("UpdateBudget", &["daily spend: as configured -> $5.00"]),
        changed(
            "UpdateBudget",
            &["workspace/a daily spend: as configured -> $10.00", "workspace/a weekly spend: as configured -> $0.00"],
        ),
        changed("UpdateBudget", &["daily spend: $5.00 -> as configured"]),
        changed("Freeze", &["frozen: no -> yes: fraud"]),
        changed("Unfreeze", &["frozen: yes: fraud -> no"]),
    ];
    assert_eq!(org.changes(), expected);
    let rows = org.events();
    assert_eq!(org.numbers(), [1, 2, 3, 4, 5]);
    assert_eq!([rows[0].at, rows[1].at, rows[4].at], [T0, T0 + 1, T0 + 2]);
    let Happening::Operated { caller, reason, .. } = &rows[3].what else { panic!("{rows:?}") };
    assert_eq!((&**caller, reason.as_str()), ("test", "fraud"), "R-CTRL-1");
}

fn is_budget(row: &Row) -> bool {
    matches!(row, Row::Budget(_))
}

#[test]
fn what_changes_nothing_and_what_is_refused_or_repeated_is_not_in_the_log() {
    let mut org = OrgBench::new();
    org.unfreeze("u").unwrap();
    org.freeze("f").unwrap();
    assert!(org.freeze("f").unwrap().replayed);
    org.freeze("g").unwrap();
    org.ask(ReplayOutbox { key: None }).unwrap();
    let stale = SetBudget { expected_version: Some(7), ..*set(&[("daily", Some(1))], "", "a") };
    assert!(org.ask(Box::new(stale)).is_err());
    assert_eq!(org.changes(), [changed("Freeze", &["frozen: no -> yes: fraud"])]);
}

#[test]
fn pools_are_in_the_log_by_what_changed_and_no_account_by_its_name() {
    let mut org = OrgBench::new();
    let pool = PoolId::parse("pool", "relay").unwrap();
    let new_account = |name: &str, daily_limit| NewAccount {
        id: AccountId::parse("account", name).unwrap(),
        daily_limit,
        safety_buffer: None,
        window: None,
        per_minute: Some(60),
    };
    let secret = "sk-live-0123456789";
    let mut configure = |accounts: Vec<NewAccount>, id: &str| {
        let (pool, idempotency) = (pool.clone(), key(id));
        let set = ConfigurePool { pool, accounts, settings: None, expected_version: None, idempotency };
        org.ask(Box::new(set)).unwrap();
    };
    configure(vec![new_account(secret, Some(10))], "a");
    configure(vec![new_account(secret, Some(10))], "same");
    configure(vec![new_account(secret, Some(20)), new_account("sk-other-987654321", None)], "b");
    configure(vec![], "c");
    let account = AccountId::parse("account", secret).unwrap();
    let pool = PoolId::parse("pool", "relay").unwrap();
    assert!(org.ask(Box::new(ClearAccount { pool, account, idempotency: key("d") })).is_err());
    let said = org.changes();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        said[0].1,
        ["pool relay: none -> configured", "pool relay, account sk-l…6789: none -> at most 10, 60 per minute"]
    );
    assert_eq!(said[1].1[0], "pool relay, account sk-l…6789: at most 10, 60 per minute -> at most 20, 60 per minute");
    assert_eq!(said[2].1[0], "pool relay: configured -> none");
    let set = PoolSettings { profile: Some(Profile::Llm), per_minute: Some(60), ..PoolSettings::default() };
    let pool = PoolId::parse("pool", "keys").unwrap();
    let (settings, idempotency) = (Some(set), key("e"));
    let accounts = vec![new_account(secret, None)];
    org.ask(Box::new(ConfigurePool { pool, accounts, settings, expected_version: None, idempotency })).unwrap();
    assert_eq!(
        org.changes().pop().unwrap().1[..2],
        ["pool keys, profile: none -> llm", "pool keys, per_minute: none -> 60"]
    );
    assert!(!format!("{:?}", org.events()).contains(secret));
}

#[test]
fn a_row_ends_after_its_time_and_the_number_goes_on() {
    let mut org = OrgBench::new();
    for id in ["a", "b"] {
        org.freeze(id).unwrap();
        org.unfreeze(id).unwrap();
        org.after(HOUR_MS);
    }
    org.ask(set(&[("daily", Some(1))], "", "kept")).unwrap();
    org.restart().at(T0 + OPERATOR_EVENT_RETENTION_MS - 1).sweep();
    assert_eq!(org.numbers(), [1, 2, 3, 4, 5]);
    org.at(T0 + OPERATOR_EVENT_RETENTION_MS).sweep();
    assert_eq!(org.numbers(), [3, 4, 5]);
    org.restart().after(DAY_MS).sweep();
    assert_eq!(org.numbers(), [5], "for its number");
    assert_eq!(org.restart().numbers(), [5]);
    org.freeze("c").unwrap();
    assert_eq!(org.numbers(), [5, 6]);
    org.unfreeze("c").unwrap();
    org.ask(set(&[("daily", None)], "", "cleared")).unwrap();
    org.restart().after(2 * OPERATOR_EVENT_RETENTION_MS).sweep();
    org.after(DAY_MS).sweep();
    assert!(org.disk.is_empty(), "nothing but a log whose time is over: the org is forgotten");
}

#[test]
fn no_flood_removes_what_operators_did_and_what_there_is_no_room_for_goes_oldest_first() {
    let mut org = OrgBench::new();
    org.bounds.operator_events_per_org = 3;
    for number in 0..4 {
        org.freeze(&format!("f{number}")).unwrap();
        org.unfreeze(&format!("u{number}")).unwrap();
    }
    assert_eq!(org.numbers(), [6, 7, 8]);
    org.restart();
    assert_eq!(org.numbers(), [6, 7, 8]);
    assert_eq!(org.disk.count(|row| matches!(row, Row::Event(_))), 3);
    org.bounds.operator_events_per_org = 1;
    org.freeze("less").unwrap();
    assert_eq!(org.restart().numbers(), [9]);
}

#[test]
fn a_page_begins_behind_a_number_and_has_what_is_asked_for() {
    let mut org = OrgBench::new();
    for number in 0..3 {
        org.freeze(&format!("f{number}")).unwrap();
        org.after(1000).unfreeze(&format!("u{number}")).unwrap();
    }
    let page = |org: &mut OrgBench, list: ListEvents| {
        let page = org.page(list);
        assert_eq!((page.oldest, page.newest), (1, 6));
        page.rows.iter().map(|row| row.number).collect::<Vec<_>>()
    };
    assert_eq!(page(&mut org, ListEvents { max: 2, ..all() }), [1, 2]);
    assert_eq!(page(&mut org, ListEvents { after: 2, max: 2, ..all() }), [3, 4]);
    assert_eq!(page(&mut org, ListEvents { after: 6, ..all() }), [0_u64; 0]);
    assert_eq!(page(&mut org, ListEvents { after: u64::MAX, ..all() }), [0_u64; 0]);
    assert_eq!(page(&mut org, ListEvents { since: Some(T0 + 1000), until: Some(T0 + 2000), ..all() }), [2, 3]);
    assert_eq!(page(&mut org, ListEvents { kinds: vec![EventKind::Operator], max: 1, ..all() }), [1]);
    assert_eq!(OrgBench::new().ask(all()), Ok(None), "nothing is kept of it");
}

#[test]
fn a_purge_takes_the_log_with_it_and_another_begins_at_1() {
    let mut org = OrgBench::new();
    org.freeze("f").unwrap();
    org.flush();
    org.ask(Purge).unwrap();
    let news = org.state.take_news();
    let purged = news.operations.last().unwrap();
    assert_eq!((purged.command, &*purged.caller), ("PurgeOrg", "test"), "it is announced");
    assert_eq!(purged.changes, [Change::new("records", "kept", "")]);
    org.restart();
    assert!(org.disk.is_empty());
    org.freeze("f").unwrap();
    assert_eq!(org.numbers(), [1]);
}

/// That of other events is shorter, so that what operators did is never the first to go.
const _: () = assert!(EVENT_RETENTION_MS < OPERATOR_EVENT_RETENTION_MS);
