//! Grants that last until they are spent: what is spent of them by usage over their limit.
//!
//! ```text
//! taken   used + reserved in the window that runs
//! usable  the amount of the limit without these grants, less its buffer
//! over    max(0, taken - usable)
//! spent   grows with `over` and falls with it where usage changes, between 0 and what is granted
//! limit   amount + over + granted - spent: what is over it already, and beside that what is left of the grants
//! ```
//!
//! Usage that leaves its window makes `over` less and gives nothing back: time spends nothing and gives nothing back. A
//! limit of $50 a day with a grant of $20:
//!
//! | | taken | over | spent | limit | left to use |
//! | --- | --- | --- | --- | --- | --- |
//! | $45 is used | $45 | 0 | 0 | $70 | $25 |
//! | a call for $8 | $53 | $3 | $3 | $70 | $17 |
//! | $1 of it is refunded | $52 | $2 | $2 | $70 | $18 |
//! | the next day begins | 0 | 0 | $2 | $68 | $68 |
//! | $60 is used | $60 | $10 | $12 | $68 | $8 |
//! | $8 more | $68 | $18 | $20 | $50 | it has ended |

/// How the grants of one limit that last until they are spent stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spending {
    /// What they have granted, in the unit of the meter; 0 = there is none.
    pub granted: u64,
    /// What is spent of that.
    pub spent: u64,
    /// What the window has over the limit without them.
    pub over: u64,
}

impl Spending {
    /// What is left of them.
    pub const fn left(self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    /// What the limit has more than without them: nothing once they are spent.
    pub const fn more(self) -> u64 {
        if self.left() == 0 { 0 } else { self.over.saturating_add(self.left()) }
    }

    /// The amount in force of a limit that has this one without them.
    pub fn over_amount(self, amount: Option<u64>) -> Option<u64> {
        amount.map(|amount| amount.saturating_add(self.more()))
    }

    /// The same once so much is taken of the limit, of which this may be used without them.
    pub(super) fn at(self, usable: u64, taken: u64) -> Self {
        let over = taken.saturating_sub(usable);
        let spent = (u128::from(self.spent) + u128::from(over)).saturating_sub(u128::from(self.over));
        let spent = u64::try_from(spent).unwrap_or(u64::MAX).min(self.granted);
        if self.granted == 0 { self } else { Self { spent, over, ..self } }
    }

    /// The same after a hold of so much has ended: what was over the limit with it comes back.
    pub(super) fn released(self, held: u64) -> Self {
        let less = self.over.min(held);
        Self { over: self.over - less, spent: self.spent.saturating_sub(less), ..self }
    }

    /// The same after so much has left the window.
    pub(super) fn left_behind(self, used: u64) -> Self {
        Self { over: self.over.saturating_sub(used), ..self }
    }
}

/// The grants of one limit, as their rows have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Grants {
    pub(super) granted: u64,
    pub(super) spent: u64,
    /// What the first of them has granted, which is spent before the others.
    pub(super) first: u64,
}

/// The same as they stood before a change of the usage of their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    /// Of the limit without them.
    usable: u64,
    grants: Grants,
    over: u64,
}

impl Marked {
    /// As they stand with so much taken of the limit.
    pub(super) fn new(usable: u64, grants: Grants, taken: u64) -> Self {
        Self { usable, grants, over: taken.saturating_sub(usable) }
    }

    /// Usage changes from here on.
    pub(super) fn mark(&mut self, taken: u64) {
        self.over = taken.saturating_sub(self.usable);
    }

    /// As they stand once so much is taken.
    pub(super) fn at(&self, taken: u64) -> Spending {
        let Grants { granted, spent, .. } = self.grants;
        Spending { granted, spent, over: self.over }.at(self.usable, taken)
    }

    /// The same, from where usage changes further. The second answer: rows of them change with it, or may end.
    pub(super) fn settle(&mut self, taken: u64) -> (Spending, bool) {
        let now = self.at(taken);
        let is_changed = now.spent != self.grants.spent || now.spent >= self.grants.first;
        self.grants.spent = now.spent;
        self.mark(taken);
        (now, is_changed)
    }

    /// The grants of a limit that has not changed, as it was marked before.
    pub(super) fn since(self, known: Option<&Self>) -> Self {
        let same = known.filter(|known| known.usable == self.usable);
        same.map_or(self, |known| Self { over: known.over, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(granted: u64, spent: u64) -> Grants {
        Grants { granted, spent, first: granted }
    }

    #[test]
    fn the_limit_grows_by_what_is_over_it_and_by_what_is_left() {
        let mut grant = Marked::new(50, of(20, 0), 45);
        let mut stands = |taken: u64| {
            let (now, _) = grant.settle(taken);
            (now.over, now.spent, 50 + now.more())
        };
        assert_eq!(stands(45), (0, 0, 70));
        assert_eq!(stands(53), (3, 3, 70), "what is over the limit is spent");
        assert_eq!(stands(52), (2, 2, 70), "a refund gives it back");
        assert_eq!(stands(30), (0, 0, 70), "as far as it was over");
        assert_eq!(stands(60), (10, 10, 70));
        grant.mark(5);
        assert_eq!(50 + grant.at(5).more(), 60, "time gives nothing back");
        assert_eq!(
            (grant.at(75).spent, grant.at(75).more()),
            (20, 0),
            "never more than is granted, and then it is over"
        );
    }

    #[test]
    fn what_was_over_before_a_grant_is_not_spent_of_it() {
        let grant = Marked::new(50, of(20, 0), 80);
        assert_eq!((grant.at(80).more(), grant.at(80).spent), (50, 0), "what is over already fits, and 20 beside it");
        assert_eq!((grant.at(90).more(), grant.at(90).spent), (50, 10));
        assert_eq!(grant.at(60).spent, 0, "never below nothing");
        let full = Marked::new(u64::MAX, of(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(full.at(u64::MAX), Spending { granted: u64::MAX, spent: u64::MAX, over: 0 });
    }
}
