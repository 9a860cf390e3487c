//! Who calls, from one node to another: what a principal is, never how it has shown that.

use std::{collections::HashMap, sync::Arc};

use prost::{Message, bytes::Bytes};

use crate::{
    auth::{Grant, Principal},
    bounds::PRINCIPAL_BYTES,
    wire::peer::v1::Caller,
};

/// Callers of one stream that are remembered, in each of two halves.
const REMEMBERED: usize = 1_024;
/// Longer ones are read each time.
const REMEMBERED_BYTES: usize = 4 << 10;

/// The caller as the other node is shown it.
pub(super) fn encoded(principal: &Principal) -> Bytes {
    Bytes::copy_from_slice(principal.shown(|principal| caller(principal).encode_to_vec()))
}

fn caller(principal: &Principal) -> Caller {
    let Some(Grant { role, orgs, scopes, bind }) = principal.granted() else {
        return Caller { anybody: true, name: principal.name().to_owned(), ..Caller::default() };
    };
    Caller {
        anybody: false,
        name: principal.name().to_owned(),
        role: role.name().to_owned(),
        orgs: orgs.clone(),
        scopes: scopes.clone(),
        bind: bind.clone(),
    }
}

/// A principal that is judged as that of the other node.
///
/// # Errors
/// Naming what is not allowed: the other node is of another version.
fn principal(bytes: &[u8]) -> Result<Principal, String> {
    let Caller { anybody, name, role, orgs, scopes, bind } =
        Caller::decode(bytes).map_err(|error| error.to_string())?;
    if anybody {
        // A node of an older version does not say from where.
        let is_name = (1..=PRINCIPAL_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        return Ok(if is_name { Principal::somebody(&name) } else { Principal::anybody() });
    }
    let role = role.parse().map_err(|error: crate::domain::input::InputError| error.to_string())?;
    Grant { role, orgs, scopes, bind }.to(&name, None).map_err(|error| error.to_string())
}

/// The callers of one stream, by what is sent of them. Those that were not seen among the last ones are forgotten.
#[derive(Debug, Default)]
pub(super) struct Callers {
    recent: HashMap<Bytes, Arc<Principal>>,
    before: HashMap<Bytes, Arc<Principal>>,
}

impl Callers {
    /// # Errors
    /// As [`principal`].
    pub(super) fn get(&mut self, bytes: &Bytes) -> Result<Arc<Principal>, String> {
        if let Some(known) = self.recent.get(bytes) {
            return Ok(known.clone());
        }
        let found = match self.before.remove(bytes) {
            Some(known) => known,
            None => Arc::new(principal(bytes)?),
        };
        if bytes.len() <= REMEMBERED_BYTES {
            if self.recent.len() >= REMEMBERED {
                self.before = std::mem::take(&mut self.recent);
            }
            // A part of what was read would keep all of it.
            self.recent.insert(Bytes::copy_from_slice(bytes), found.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::auth::Role;

    fn grants() -> impl Strategy<Value = Grant> {
        let orgs = vec(select(vec!["acme", "beta-*", "*", "b*", "acme2"]), 1..4);
        let scopes = vec(select(vec!["agent/*", "agent/7", "prod", "*", "workspace/w*"]), 0..3);
        let bind = vec(select(vec!["agent/7", "prod", "workspace/w1"]), 0..3);
        let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        (select(Role::ALL.to_vec()), orgs, scopes, bind).prop_map(move |(role, orgs, scopes, bind)| {
            let has_scopes = matches!(role, Role::Plane | Role::Reporter);
            let (scopes, bind) = if has_scopes { (texts(scopes), texts(bind)) } else { (vec![], vec![]) };
            Grant { role, orgs: texts(orgs), scopes, bind }
        })
    }

    /// Everything that is asked of a principal.
    fn judged(principal: &Principal, org: &str, named: &[String]) -> impl PartialEq + std::fmt::Debug + use<> {
        let bound = principal.scopes().map(|rules| {
            let (mut first, mut others) = (String::new(), named.to_vec());
            if !others.is_empty() {
                first = others.remove(0);
            }
            let allowed = rules.bind(&mut first, &mut others);
            (allowed, first, others)
        });
        let reach = (principal.orgs().covers(org), principal.orgs().are_all());
        (principal.name().to_owned(), principal.role(), reach, bound, principal.scopes().cloned())
    }

    proptest! {
        #[test]
        fn both_nodes_judge_a_caller_alike(
            grant in grants(),
            org in select(vec!["acme", "acme2", "beta-1", "beta", "b", "", "Ä"]),
            named in vec(select(vec!["agent/7", "agent/8", "prod", "test", "workspace/w1", "", "a b"]), 0..4),
        ) {
            let named: Vec<String> = named.into_iter().map(str::to_owned).collect();
            let own = grant.to("token:plane", None).unwrap();
            let other = Callers::default().get(&encoded(&own)).unwrap();
            prop_assert_eq!(judged(&own, org, &named), judged(&other, org, &named));
            prop_assert_eq!(encoded(&own), encoded(&other), "and so does a third");
        }
    }

    #[test]
    fn anybody_is_anybody_and_shares_nothing() {
        let other = Callers::default().get(&encoded(&Principal::anybody())).unwrap();
        assert_eq!((other.name(), other.role(), other.orgs().are_all()), ("anybody", Role::Admin, true));
        assert!(other.worked_on().is_none() && other.granted().is_none());
    }

    #[test]
    fn what_is_no_caller_is_refused_by_name() {
        let of = |role: &str, orgs: &[&str], name: &str| {
            let orgs = orgs.iter().map(ToString::to_string).collect();
            let caller = Caller { role: role.into(), orgs, name: name.into(), ..Caller::default() };
            Callers::default().get(&Bytes::from(caller.encode_to_vec())).unwrap_err()
        };
        assert!(of("owner", &["*"], "x").contains("role"));
        assert!(of("admin", &[], "x").contains("orgs"));
        assert!(of("admin", &["a*b"], "x").contains("orgs"));
        assert!(of("admin", &["*"], "").contains("name"));
        assert!(Callers::default().get(&Bytes::from_static(b"\xff")).is_err());
    }

    #[test]
    fn a_caller_is_the_same_principal_each_time_and_those_of_long_ago_are_forgotten() {
        let mut callers = Callers::default();
        let grant = Grant { role: Role::Plane, orgs: vec!["*".into()], scopes: vec![], bind: vec![] };
        let bytes = |at: usize| encoded(&grant.to(&format!("token:{at}"), None).unwrap());
        let first = callers.get(&bytes(0)).unwrap();
        for at in 1..REMEMBERED {
            callers.get(&bytes(at)).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &callers.get(&bytes(0)).unwrap()));
        callers.get(&bytes(REMEMBERED)).unwrap();
        assert!(Arc::ptr_eq(&first, &callers.get(&bytes(0)).unwrap()), "of the half before");
        for at in 1..3 * REMEMBERED {
            callers.get(&bytes(at)).unwrap();
        }
        assert!(callers.recent.len() + callers.before.len() <= 2 * REMEMBERED);
        assert!(!Arc::ptr_eq(&first, &callers.get(&bytes(0)).unwrap()));
    }
}
