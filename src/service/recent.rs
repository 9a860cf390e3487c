//! Admissions of the last minutes, in the memory of this node: all of them while there are few, a sample of them
//! when there are many. A denial is kept by its org instead.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    bounds::{ADMISSIONS_PER_SECOND, ADMISSIONS_REMEMBERED_MS, SECOND_MS},
    domain::{
        decision::Decision,
        denials::DenialRow,
        ids::{Amounts, DecisionId, OrgId},
        refund::Charge,
        window::Millis,
    },
};

/// Parts of the memory, so that calls of different orgs seldom wait for each other.
const PARTS: usize = 16;
/// Of each part.
const PER_SECOND: u64 = ADMISSIONS_PER_SECOND / PARTS as u64;

/// An admission, as it was answered.
#[derive(Debug, Clone)]
pub struct Admission {
    /// What was asked, and what each gate said.
    pub row: DenialRow,
    /// The answer, with its limits.
    pub decision: Decision,
}

impl Admission {
    /// What it has charged.
    pub(super) fn charge(&self) -> Charge {
        let asked = &self.row.asked;
        Charge {
            scopes: asked.scopes.clone(),
            plane: asked.plane.clone(),
            admitted_at: self.decision.decided_at,
            cost: asked.cost.clone(),
            settled_at: 0,
            booked: Amounts::new(),
            completed: false,
        }
    }
}

/// Of all orgs of this node.
#[derive(Debug, Default)]
pub(super) struct Recent {
    parts: [Part; PARTS],
    random: RandomState,
}

#[derive(Debug, Default)]
struct Part {
    /// The running second in its upper bits, and how many were kept in it.
    kept: AtomicU64,
    admissions: Mutex<VecDeque<(OrgId, Millis, Admission)>>,
}

/// The lowest bits of [`Part::kept`] count; the rest says in which second.
const COUNT_BITS: u32 = 16;

impl Part {
    /// Whether one more is kept within this second.
    fn takes(&self, now: Millis) -> bool {
        let second = now / SECOND_MS;
        let kept = self.kept.load(Ordering::Relaxed);
        if kept >> COUNT_BITS != second {
            self.kept.store(second << COUNT_BITS | 1, Ordering::Relaxed);
            return true;
        }
        let takes = kept & ((1 << COUNT_BITS) - 1) < PER_SECOND;
        if takes {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }
}

impl Recent {
    fn part(&self, org: &OrgId) -> &Part {
        let number = usize::try_from(self.random.hash_one(org) % PARTS as u64).unwrap_or(0);
        &self.parts[number]
    }

    /// Keeps one, if there is room in this second.
    pub(super) fn keep(&self, org: &OrgId, now: Millis, admission: impl FnOnce() -> Admission) {
        let part = self.part(org);
        if !part.takes(now) {
            return;
        }
        let kept = (org.clone(), now, admission());
        let mut admissions = part.admissions.lock().unwrap_or_else(PoisonError::into_inner);
        while admissions.front().is_some_and(|(_, at, _)| at.saturating_add(ADMISSIONS_REMEMBERED_MS) < now) {
            admissions.pop_front();
        }
        admissions.push_back(kept);
    }

    pub(super) fn get(&self, org: &OrgId, id: DecisionId) -> Option<Admission> {
        let admissions = self.part(org).admissions.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(of, _, admission): &&(OrgId, Millis, Admission)| of == org && admission.decision.id == Some(id);
        admissions.iter().find(same).map(|(_, _, admission)| admission.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{denials::Asked, lease::Now},
        testing::{acquire, org},
    };

    fn admission(id: u64) -> Admission {
        let decision = Decision::allowed(Some(DecisionId(id.into())));
        let row = DenialRow::of(Asked::of(&acquire()), &decision, 0, None, &Now::at(1), &"n".into());
        Admission { row, decision }
    }

    #[test]
    fn few_are_all_remembered_and_many_are_a_sample() {
        let recent = Recent::default();
        let known = |id: u64| recent.get(&org("a"), DecisionId(id.into())).is_some();
        for id in 0..1_000 {
            recent.keep(&org("a"), 5 * SECOND_MS, || admission(id));
        }
        let kept = (0..1_000).filter(|id| known(*id)).count();
        assert_eq!(kept, usize::try_from(PER_SECOND).unwrap(), "R-EXPL-1");
        recent.keep(&org("a"), 6 * SECOND_MS, || admission(1_000));
        assert!(known(0) && known(1_000));
        assert!(recent.get(&org("b"), DecisionId(0)).is_none(), "of another org");
        recent.keep(&org("a"), 7 * SECOND_MS + ADMISSIONS_REMEMBERED_MS, || admission(1_001));
        assert!(!known(0) && known(1_001), "they are forgotten");
    }
}
