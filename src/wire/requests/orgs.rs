//! Which orgs a list is about, and in which order.

use super::{Parsed, optional, org, page_size};
use crate::{
    bounds::ID_BYTES,
    domain::{ids::OrgId, input::InputError},
    wire::admin::v1 as admin,
};

/// Stands for any characters, also none.
const ANY: char = '*';

/// What is asked of a list of orgs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgsAsk {
    /// `None` = all orgs.
    pub org: Option<OrgId>,
    /// Only orgs with such a name; `None` = all.
    pub name: Option<NamePattern>,
    /// Only orgs with this plan; empty = any.
    pub plan: String,
    /// Only orgs in this state.
    pub state: Option<admin::OrgState>,
    /// Only orgs with a limit that is as full, in percent; 0 = any.
    pub near_percent: u64,
    /// `None` = by name.
    pub sort: Option<admin::OrgSort>,
    /// What each org says of itself is read.
    pub numbers: bool,
    /// Orgs in one answer.
    pub max: usize,
    /// Behind this org; `None` = from the first.
    pub after: Option<OrgId>,
}

/// Names, with `*` for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    fn parse(field: &str, text: &str) -> Parsed<Self> {
        let is_one = text.len() <= ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        let rule = "1 to 128 characters of the name of an org, with * for any characters, such as acme*";
        if is_one { Ok(Self(text.to_owned())) } else { Err(InputError::new(field, text, rule)) }
    }

    /// Whether a name is one of them. Each part between two `*` is looked for once, from the left,
    /// so this takes no longer than name and pattern together allow.
    pub fn covers(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once(ANY) else { return self.0 == name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once(ANY).unwrap_or(("", rest));
        for part in middle.split(ANY).filter(|part| !part.is_empty()) {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        left.ends_with(last)
    }
}

/// Numbers are read where anything but names is asked for.
pub fn list_orgs(request: &admin::ListOrgsRequest) -> Parsed<OrgsAsk> {
    let state = match admin::OrgState::try_from(request.state) {
        Ok(admin::OrgState::Unspecified) => None,
        Ok(state) => Some(state),
        Err(_) => return Err(InputError::new("state", request.state, "a number of OrgState, 0 to 6")),
    };
    let sort = match admin::OrgSort::try_from(request.sort) {
        Ok(admin::OrgSort::Unspecified) => None,
        Ok(sort) => Some(sort),
        Err(_) => return Err(InputError::new("sort", request.sort, "a number of OrgSort, 0 to 4")),
    };
    let near = u64::try_from(request.near_percent).ok().filter(|percent| *percent <= 100);
    let near_percent =
        near.ok_or_else(|| InputError::new("near_percent", request.near_percent, "1 to 100, or 0 for any"))?;
    let org = optional(&request.org, org)?;
    let is_filtered = !request.plan.is_empty() || state.is_some() || near_percent > 0 || sort.is_some();
    Ok(OrgsAsk {
        numbers: request.numbers || is_filtered || org.is_some(),
        org,
        name: optional(&request.r#match, |text| NamePattern::parse("match", text))?,
        plan: request.plan.clone(),
        state,
        near_percent,
        sort,
        max: page_size(request.page_size)?,
        after: optional(&request.page_token, |text| OrgId::parse("page_token", text))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_its_parts_are_found_in() {
        for (pattern, covered, others) in [
            ("acme", &["acme"][..], &["acme-1", "Acme", ""][..]),
            ("acme*", &["acme", "acme-1"], &["an-acme", "acm"]),
            ("*-test", &["a-test", "-test"], &["a-test-1", "test"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc"], &["ab", "acb", "abcd"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("*", &["a", "x/y"], &[]),
            ("a**z", &["az", "a--z"], &["a"]),
        ] {
            let pattern = NamePattern::parse("match", pattern).unwrap();
            for name in covered {
                assert!(pattern.covers(name), "{pattern:?} {name}");
            }
            for name in others {
                assert!(!pattern.covers(name), "{pattern:?} {name}");
            }
        }
        for wrong in ["a b", "é", &"x".repeat(129)] {
            assert!(NamePattern::parse("match", wrong).is_err(), "{wrong}");
        }
    }
}
