//! What the configuration grants to names that somebody else gives: subjects of tokens, names in certificates.

use std::collections::BTreeMap;

use super::Grant;

/// At the end of a name: whatever follows.
const ANY: char = '*';

/// Grants by a name, or by what names begin with. The exact name goes first, then the longest beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    exact: BTreeMap<String, Grant>,
    /// The longest first.
    beginnings: Vec<(String, Grant)>,
}

impl Grants {
    /// Of names, each whole or ending in `*`.
    pub fn new(rows: impl IntoIterator<Item = (String, Grant)>) -> Self {
        let mut grants = Self::default();
        for (name, grant) in rows {
            match name.strip_suffix(ANY) {
                Some(beginning) => grants.beginnings.push((beginning.to_owned(), grant)),
                None => drop(grants.exact.insert(name, grant)),
            }
        }
        grants.beginnings.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        grants
    }

    /// Whether nobody is granted anything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.beginnings.is_empty()
    }

    /// What a name is granted.
    pub fn find(&self, name: &str) -> Option<&Grant> {
        self.exact.get(name).or_else(|| self.find_by_beginning(name).map(|(_, grant)| grant))
    }

    /// What the first of these names is granted that is granted something by itself, or else the one with the longest
    /// beginning. With the name.
    pub fn find_first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &Grant)> {
        let exact = names.iter().find_map(|name| self.exact.get_key_value(*name).map(|(_, grant)| (*name, grant)));
        exact.or_else(|| {
            let begun = names.iter().filter_map(|name| Some((*name, self.find_by_beginning(name)?)));
            // Of equals `max_by_key` takes the last.
            let longest = begun.rev().max_by_key(|(_, (beginning, _))| beginning.len());
            longest.map(|(name, (_, grant))| (name, grant))
        })
    }

    fn find_by_beginning(&self, name: &str) -> Option<(&str, &Grant)> {
        let found = self.beginnings.iter().find(|(beginning, _)| name.starts_with(beginning.as_str()));
        found.map(|(beginning, grant)| (beginning.as_str(), grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn to(org: &str) -> Grant {
        Grant { role: Role::Plane, orgs: vec![org.to_owned()], scopes: vec![], bind: vec![] }
    }

    fn grants(names: &[&str]) -> Grants {
        Grants::new(names.iter().map(|name| ((*name).to_owned(), to(&name.replace('*', "+")))))
    }

    #[test]
    fn the_exact_name_goes_before_the_longest_beginning() {
        let grants = grants(&["a/b", "a/*", "a/b*", "c"]);
        for (name, found) in [
            ("a/b", Some("a/b")),
            ("a/bc", Some("a/b+")),
            ("a/x", Some("a/+")),
            ("c", Some("c")),
            ("cd", None),
            ("", None),
        ] {
            assert_eq!(grants.find(name).map(|grant| grant.orgs[0].as_str()), found, "{name}");
        }
        assert_eq!(Grants::new([("*".to_owned(), to("x"))]).find("anything"), Some(&to("x")));
        assert_eq!(Grants::default().find(""), None);
    }

    #[test]
    fn of_several_names_the_first_exact_one_decides_then_the_longest_beginning() {
        let grants = grants(&["b", "c", "a*", "ab*"]);
        for (names, found) in [
            (&["abc", "c", "b"][..], Some("c")),
            (&["ax", "abx"], Some("abx")),
            (&["ax", "ay"], Some("ax")),
            (&["x"], None),
            (&[], None),
        ] {
            assert_eq!(grants.find_first(names).map(|(name, _)| name), found, "{names:?}");
        }
    }
}
