//! What of a charge is counted in a shared ledger, because the org has no room for one of its own.
//!
//! A hold remembers it: what is held is given back where it is held, whatever room there is by then.

use super::{
    ids::{Amounts, Meter, Scope},
    scopes::{Scopes, charged},
};

/// A pair of scope and meter that shares a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// As the call names it.
    pub scope: Scope,
    /// What is counted.
    pub meter: Meter,
    /// The shared scope that it is counted in.
    pub into: Scope,
}

/// Where the pairs of one charge are counted, as far as that is not simply in ledgers of their own; usually none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folded {
    folds: Vec<Fold>,
    /// Pairs with a ledger of their own, of which something may have been counted in a shared one before.
    late: Vec<(Scope, Meter)>,
}

impl Folded {
    /// Every pair has its own ledger.
    pub const NONE: &'static Self = &Self { folds: Vec::new(), late: Vec::new() };

    /// `late` are pairs of which something may have been counted in a shared ledger before their own was opened.
    pub fn new(folds: Vec<Fold>, late: Vec<(Scope, Meter)>) -> Self {
        Self { folds, late }
    }

    /// The pairs that share ledgers, in the order in which they were found.
    pub fn pairs(&self) -> &[Fold] {
        &self.folds
    }

    /// Where the pair is counted instead; `None` = in its own ledger.
    pub fn of(&self, scope: &Scope, meter: &Meter) -> Option<&Scope> {
        self.folds.iter().find(|fold| fold.scope == *scope && fold.meter == *meter).map(|fold| &fold.into)
    }

    /// Whether something of the pair may have been counted in a shared ledger before its own was opened.
    pub fn is_late(&self, scope: &Scope, meter: &Meter) -> bool {
        self.late.iter().any(|(late, counted)| late == scope && counted == meter)
    }

    /// The pairs that share ledgers for one of these amounts: what a hold remembers.
    pub fn of_amounts(&self, amounts: &Amounts) -> Self {
        let is_counted = |fold: &&Fold| amounts.iter().any(|(meter, amount)| *meter == fold.meter && *amount > 0);
        self.folds.iter().filter(is_counted).cloned().collect()
    }

    /// The scopes that share a ledger for at least one meter.
    pub fn scopes(&self) -> Scopes {
        self.folds.iter().map(|fold| fold.scope.clone()).collect()
    }

    /// Where an amount of `meter` counts that names `scopes`: in each of them or in what it shares, and in the
    /// org. In each once, also where several scopes share it.
    pub fn charged<'a>(&'a self, scopes: &'a [Scope], meter: &'a Meter) -> impl Iterator<Item = &'a Scope> {
        let own = charged(scopes).filter(move |scope| self.of(scope, meter).is_none());
        let of_meter = move |fold: &&Fold| fold.meter == *meter;
        let shared = self.folds.iter().enumerate().filter(move |(at, fold)| {
            of_meter(fold) && !self.folds[..*at].iter().filter(of_meter).any(|before| before.into == fold.into)
        });
        own.chain(shared.map(|(_, fold)| &fold.into))
    }
}

impl FromIterator<Fold> for Folded {
    fn from_iter<I: IntoIterator<Item = Fold>>(folds: I) -> Self {
        Self { folds: folds.into_iter().collect(), late: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_ledger_counts_there_once_and_not_in_its_own() {
        let scope = |text: &str| Scope::parse("scope", text).unwrap();
        let scopes: Scopes = ["a", "b", "c"].into_iter().map(scope).collect();
        let fold = |name: &str, meter| Fold { scope: scope(name), meter, into: Scope::other() };
        let folds = [fold("a", Meter::spend()), fold("b", Meter::spend()), fold("b", Meter::executions())];
        let folded: Folded = folds.into_iter().collect();
        let counted = |meter: Meter| -> Vec<String> {
            folded.charged(&scopes, &meter).map(|scope| scope.as_str().to_owned()).collect()
        };
        assert_eq!(counted(Meter::spend()), ["c", "", "other"]);
        assert_eq!(counted(Meter::executions()), ["a", "c", "", "other"]);
        assert_eq!(counted(Meter::bytes()), ["a", "b", "c", ""]);
        assert_eq!(folded.scopes().text(), "a,b");
        assert_eq!(Folded::NONE.charged(&scopes, &Meter::spend()).count(), 4);
    }
}
