//! Plans that an org is given at run time, and where limits come from.

use super::*;
use crate::domain::limit::{Limit, LimitSource};

const TEXT: &str = "[rate]\namount = 7\n[plans.free]\nspend = { daily = \"$25\" }\n\
                    [plans.pro]\nspend = { daily = \"$250\", hourly = \"$50\" }\nrate = { amount = 5000 }\nmax_sessions = 9\n\
                    scopes.\"workspace/*\" = { spend = { daily = \"$5\" } }\n\
                    [orgs.acme]\nplan = \"free\"\nspend = { hourly = \"$9\" }\nbilling_anchor = 15\n\
                    [orgs.plain]\nplan = \"free\"\n";

fn org(name: &str) -> OrgId {
    OrgId::parse("org", name).unwrap()
}

fn sources(policy: &OrgPolicy) -> Vec<(String, Option<u64>, LimitSource)> {
    let of = |limit: &Limit| (limit.name().to_owned(), limit.amount, limit.label.origin.source);
    policy.limits.iter().map(of).collect()
}

#[test]
fn what_an_org_says_itself_stands_over_a_plan_that_it_is_given() {
    let policies = good(TEXT).policies;
    let pro = policies.with_plan(&org("acme"), "pro").unwrap();
    assert_eq!(pro.plan, "pro");
    let hourly = ("budget/hourly".to_owned(), Some(9_000_000), LimitSource::Org);
    let daily = ("budget/daily".to_owned(), Some(250_000_000), LimitSource::Plan);
    assert_eq!(sources(&pro), [hourly, daily], "R-CTRL-1");
    assert_eq!((pro.rate.amount, pro.rate.origin.source), (Some(5000), LimitSource::Plan));
    assert_eq!((pro.sessions.max, pro.sessions.origin.source), (Some(9), LimitSource::Plan));
    let none = policies.with_plan(&org("acme"), "").unwrap();
    assert_eq!((none.plan.as_str(), none.rate.amount, none.rate.origin.source), ("", Some(7), LimitSource::Default));
    assert_eq!(policies.with_plan(&org("acme"), "gold"), None);
    assert!(policies.plan_names().contains(&"pro".to_owned()));
    for name in ["plain", "stranger"] {
        let pro = policies.with_plan(&org(name), "pro").unwrap();
        assert_eq!((pro.limits.len(), pro.limits[0].amount), (2, Some(50_000_000)), "{name}");
    }
    let same = policies.with_plan(&org("acme"), "free").unwrap();
    assert_eq!(*same, *policies.policy(&org("acme")), "as its section has it");
}

#[test]
fn the_same_configuration_is_equal_wherever_it_is_written() {
    let moved = format!("# A comment moves every line.\n\n{TEXT}");
    assert_eq!(good(&moved).policies, good(TEXT).policies);
    assert_eq!(format!("{:?}", good(&moved).policies), format!("{:?}", good(TEXT).policies), "nodes compare them");
    assert_ne!(good(&TEXT.replace("$250", "$251")).policies, good(TEXT).policies, "a plan that no org has");
}
