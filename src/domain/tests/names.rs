//! Names of orgs: an org that is renamed, an id that leads to it, and a purge that frees them.

use super::*;
use crate::{
    bounds::FORMER_NAMES,
    domain::{
        command::{ClaimName, ForgetNames, FreeName, GetNames, Purge, Rename},
        ids::Reason,
        reply::Claimed,
        rows::{NamesRow, RowKind},
    },
};

fn named(name: &str) -> OrgId {
    OrgId::parse("org", name).unwrap()
}

impl OrgBench {
    fn rename(&mut self, to: &str, call: &str) -> Result<(bool, String), OrgError> {
        let reason = Reason::parse("reason", "ticket 1").unwrap();
        let rename = Rename { to: named(to), reason, idempotency: key(call) };
        let done = self.ask(Box::new(rename))?;
        Ok((done.replayed, done.outcome.before.to_string()))
    }

    fn names(&mut self) -> Option<NamesRow> {
        self.ask(GetNames).unwrap().row
    }

    fn former(&mut self) -> Vec<String> {
        self.names().map_or_else(Vec::new, |row| row.former.iter().map(|one| one.name.to_string()).collect())
    }

    fn shown(&mut self) -> Option<String> {
        self.names().and_then(|row| row.shown(&id()).map(OrgId::to_string))
    }
}

fn known() -> OrgBench {
    let mut org = OrgBench::new();
    org.run();
    org
}

#[test]
fn a_renamed_org_keeps_what_it_has_and_every_name_that_it_had() {
    let mut org = known();
    assert_eq!(org.rename("corp", "a"), Ok((false, id().to_string())), "R-CTRL-8");
    assert_eq!(org.after(1).rename("inc", "b"), Ok((false, "corp".into())));
    org.restart();
    assert_eq!((org.shown(), org.former()), (Some("inc".into()), vec![id().to_string(), "corp".into()]));
    assert_eq!(org.snapshot().admitted_total, 1, "no data moves");
    let untils: Vec<_> = org.names().unwrap().former.iter().map(|one| one.until).collect();
    assert_eq!(untils, [T0, T0 + 1]);
}

#[test]
fn renaming_back_takes_a_former_name_or_the_id() {
    let mut org = known();
    org.rename("corp", "a").unwrap();
    org.rename("inc", "b").unwrap();
    org.rename("corp", "c").unwrap();
    assert_eq!((org.shown(), org.former()), (Some("corp".into()), vec![id().to_string(), "inc".into()]));
    org.rename(id().as_str(), "d").unwrap();
    assert_eq!((org.shown(), org.former()), (None, vec!["inc".into(), "corp".into()]), "called as its id");
}

#[test]
fn a_retry_renames_once_also_after_a_restart_and_the_same_name_changes_nothing() {
    let mut org = known();
    org.rename("corp", "a").unwrap();
    org.restart();
    assert_eq!(org.rename("corp", "a"), Ok((true, id().to_string())), "R-PIPE-6");
    assert_eq!(org.rename("corp", "b"), Ok((false, "corp".into())));
    assert_eq!(org.former(), [id().to_string()]);
    let last = org.state.take_news().operations.pop().unwrap();
    assert_eq!((last.command, last.changes.as_slice()), ("RenameOrg", &[][..]), "no event for no change");
}

#[test]
fn former_names_are_bounded_and_one_of_them_can_be_taken_again() {
    let mut org = known();
    for count in 0..FORMER_NAMES {
        org.rename(&format!("name-{count}"), &format!("r{count}")).unwrap();
    }
    assert_eq!(org.rename("one-more", "full"), Err(OrgError::TooManyNames { most: FORMER_NAMES }));
    org.rename("name-0", "again").unwrap();
    assert_eq!(org.former().len(), FORMER_NAMES);
}

#[test]
fn an_org_of_which_nothing_is_kept_is_not_renamed() {
    let mut org = OrgBench::new();
    assert_eq!(org.rename("corp", "a"), Err(OrgError::OrgUnknown));
    assert!(org.flush().is_none());
}

#[test]
fn a_name_is_claimed_once_and_only_where_nothing_is_kept() {
    let claim = |org: &str| ClaimName { of: named(org) };
    let mut name = OrgBench::new();
    assert_eq!(name.ask(claim("a")), Ok(Claimed::Now));
    assert_eq!(name.ask(claim("a")), Ok(Claimed::Before));
    name.restart();
    assert_eq!(name.state.leads_to(), Some(&named("a")));
    assert_eq!(name.ask(claim("b")), Ok(Claimed::IsNameOf(named("a"))));
    let mut org = known();
    assert_eq!(org.ask(claim("a")), Ok(Claimed::IsOrg));
    assert_eq!(org.state.leads_to(), None);
}

#[test]
fn neither_a_name_nor_a_renamed_org_is_forgotten_for_idleness() {
    let mut name = OrgBench::new();
    name.ask(ClaimName { of: named("a") }).unwrap();
    let mut org = known();
    org.rename("corp", "a").unwrap();
    for bench in [&mut name, &mut org] {
        bench.flush();
        for _ in 0..10 {
            bench.after(400 * DAY_MS).sweep();
        }
        bench.restart();
    }
    assert_eq!(name.state.leads_to(), Some(&named("a")));
    assert_eq!(org.shown(), Some("corp".into()));
}

#[test]
fn a_name_is_freed_by_its_org_alone_and_forgotten() {
    let mut name = OrgBench::new();
    name.ask(ClaimName { of: named("a") }).unwrap();
    name.flush();
    assert_eq!(name.ask(FreeName { of: named("b") }), Ok(false));
    assert_eq!(name.ask(FreeName { of: named("a") }), Ok(true));
    let write = name.flush().unwrap();
    assert!(write.wipe && write.purged, "R-OPS-16");
    name.restart();
    assert_eq!(name.inspect(), None);
    assert_eq!(name.state.leads_to(), None);
    assert_eq!(name.ask(FreeName { of: named("a") }), Ok(false), "a retry finds nothing");
}

#[test]
fn a_purge_keeps_the_names_until_they_are_free() {
    let mut org = known();
    org.rename("corp", "a").unwrap();
    org.rename("inc", "b").unwrap();
    org.flush();
    let purged = org.ask(Purge).unwrap();
    let names = |purged: &[OrgId]| purged.iter().map(OrgId::to_string).collect::<Vec<_>>();
    assert_eq!(names(&purged.names), ["inc", "corp"], "the id is no name to free");
    let write = org.flush().unwrap();
    let kinds: Vec<_> = write.puts.iter().map(Row::kind).collect();
    assert!(write.wipe && kinds == [RowKind::Names, RowKind::Head], "{kinds:?}");
    org.restart();
    assert_eq!((org.shown(), org.used("rate")), (None, 0));
    assert_eq!(org.rename("else", "c"), Err(OrgError::BeingPurged));
    let again = org.after(5).ask(Purge).unwrap();
    assert_eq!((again.existed, names(&again.names)), (true, vec!["inc".into(), "corp".into()]), "a retry knows them");
    assert_eq!(org.names().unwrap().purged_at, Some(T0));
    org.ask(ForgetNames).unwrap();
    assert!(org.flush().unwrap().purged, "R-OPS-16");
    org.restart();
    assert_eq!(org.inspect(), None, "nothing is kept");
    assert_eq!(org.ask(Purge).unwrap().names, []);
}

#[test]
fn names_that_are_in_use_are_not_forgotten_and_an_org_with_its_id_alone_is_purged_at_once() {
    let mut org = known();
    org.rename("corp", "a").unwrap();
    org.ask(ForgetNames).unwrap();
    assert_eq!(org.shown(), Some("corp".into()));
    let mut plain = known();
    plain.flush();
    plain.ask(Purge).unwrap();
    plain.flush();
    assert_eq!(plain.inspect(), None);
}
