//! Which orgs may execute.

use super::*;

const LISTED: &str = "[orgs.\"acme\"]\nexempt = true\n";

fn admitted<'o>(config: &Config, orgs: &[&'o str]) -> Vec<&'o str> {
    let admits = |name: &&&str| config.policies.admits(&OrgId::parse("org", name).unwrap());
    orgs.iter().filter(admits).copied().collect()
}

#[test]
fn listed_orgs_are_admitted_and_others_as_the_key_says() {
    let orgs = ["acme", "beta-1", "gamma"];
    for (value, expected) in [
        ("", &orgs[..]),
        ("admit = \"any\"", &orgs[..]),
        ("admit = \"listed\"", &["acme"]),
        ("admit = [\"beta-*\"]", &["acme", "beta-1"]),
        ("admit = [\"gamma\", \"beta-1\"]", &orgs[..]),
        ("admit = [\"*\"]", &orgs[..]),
    ] {
        assert_eq!(admitted(&good(&format!("[orgs]\n{value}\n{LISTED}")), &orgs), expected, "{value}");
    }
}

#[test]
fn an_org_may_be_called_like_the_key() {
    let config = good("[orgs.admit]\nexempt = true\n");
    assert_eq!(config.policies.listed().map(|(org, _)| org.as_str()).collect::<Vec<_>>(), ["admit"]);
    assert_eq!(admitted(&config, &["admit", "other"]), ["admit", "other"]);
}

#[test]
fn what_admits_nobody_is_refused_or_warned_of() {
    for value in ["\"none\"", "[]", "5", "[\"a*b\"]", "[5]", "[\"\"]"] {
        let refused = errors(&format!("[orgs]\nadmit = {value}\n"));
        assert!(refused.contains("orgs.admit") && refused.contains("\"listed\""), "{value}: {refused}");
    }
    let nobody = good("[orgs]\nadmit = \"listed\"\n");
    assert!(nobody.warnings()[0].contains("no org may execute"), "{:?}", nobody.warnings());
    assert!(good(&format!("[orgs]\nadmit = \"listed\"\n{LISTED}")).warnings().is_empty());
}
