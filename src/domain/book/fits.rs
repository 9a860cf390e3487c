//! When what is asked fits again: slices leave their windows, windows end, holds expire. What a window has over its
//! limit is worked off by the next ones, one after the other, where it is carried on.

use std::iter::Peekable;

use super::{Book, Standing};
use crate::domain::{
    ids::{Meter, Scope},
    lease::Now,
    ledger::Ledger,
    limit::Limit,
    rows::ReservationRow,
    spending::Spending,
    window::Millis,
};

/// An amount, and when the window that it is used in ends.
type Used = (u64, Option<Millis>);

impl Book {
    /// Earliest instant at which `asked` more fits `limit` of `scope` if nothing else happens: slices
    /// leave, windows end, holds expire. `None` = never. By the wall clock, which service time waits for
    /// where it is behind. `others` may have a part in what it is judged by.
    pub(in crate::domain) fn fits_at(
        &mut self,
        scope: &Scope,
        others: Option<&Scope>,
        limit: &Limit,
        asked: u64,
        clocks: &Now,
    ) -> Option<Millis> {
        let now = clocks.service;
        let amount = limit.amount?;
        let usable = |more: u64| {
            let amount = amount.saturating_add(more);
            if asked == 0 { amount.checked_sub(1) } else { Some(amount.saturating_sub(limit.buffer)) }
        };
        let Standing { used, reserved, mut spending, .. } = self.standing_among(scope, others, limit, now);
        // What is held may give back all that is granted.
        usable(spending.granted)?.checked_sub(asked)?;
        let mut taken = u128::from(used) + u128::from(reserved);
        let fits = |taken: u128, with: Spending| {
            let free = usable(with.more()).and_then(|usable| usable.checked_sub(asked));
            free.is_some_and(|free| taken <= u128::from(free))
        };
        if fits(taken, spending) {
            return Some(now);
        }
        let sources = others.map_or((scope, None), |others| self.sources(scope, others, limit, now));
        let used_in = self.used_of(sources, limit, now);
        let mut expiring = self.expiring(sources, (scope, others), limit.meter(), clocks).peekable();
        if limit.carries {
            let free = u128::from(usable(0)?.checked_sub(asked)?);
            return Self::worked_off_at(expiring, limit, free, (used, reserved), clocks);
        }
        let mut leaving = self.leaving_of(sources, limit, used_in, clocks).peekable();
        loop {
            let hold_first = match (leaving.peek(), expiring.peek()) {
                (Some((leaves_at, _)), Some(expiry)) => expiry.at < *leaves_at,
                (leaves, _) => leaves.is_none(),
            };
            let (at, amount) = if hold_first {
                let Expiry { at, given_back, .. } = expiring.next()?;
                spending = spending.released(given_back);
                (at, given_back)
            } else {
                let (at, used) = leaving.next()?;
                spending = spending.left_behind(used);
                (at, used)
            };
            taken = taken.saturating_sub(u128::from(amount));
            if fits(taken, spending) {
                return Some(at);
            }
        }
    }

    /// When usage and holds are down to `free`, where every window that ends takes the amount of the limit off what was
    /// used.
    fn worked_off_at(
        mut expiring: Peekable<impl Iterator<Item = Expiry>>,
        limit: &Limit,
        free: u128,
        (used, reserved): (u64, u64),
        clocks: &Now,
    ) -> Option<Millis> {
        let (window, amount) = (limit.window(), u128::from(limit.amount.filter(|amount| *amount > 0)?));
        let (mut used, mut reserved, mut from) = (u128::from(used), u128::from(reserved), clocks.service);
        loop {
            let next = expiring.peek().map(|expiry| expiry.at);
            if let Some(room) = free.checked_sub(reserved) {
                let windows = used.saturating_sub(room).div_ceil(amount);
                let fits_at = u64::try_from(windows).ok().and_then(|windows| window.end_after(from, windows));
                if next.is_none_or(|next| fits_at.is_some_and(|at| at <= next)) {
                    return fits_at;
                }
            }
            let Expiry { at, given_back, booked } = expiring.next()?;
            let ended = u128::from(window.number(at).saturating_sub(window.number(from)));
            used = used.saturating_sub(amount.saturating_mul(ended)) + u128::from(booked);
            reserved = reserved.saturating_sub(u128::from(given_back) + u128::from(booked));
            from = at.max(from);
            if used + reserved <= free {
                return Some(from);
            }
        }
    }

    /// What is used in the ledgers that the limit is judged by, and when the window of each ends.
    fn used_of(&mut self, (one, other): (&Scope, Option<&Scope>), limit: &Limit, now: Millis) -> (Used, Option<Used>) {
        let mut used = |scope| {
            let Standing { used, ends_at, .. } = self.standing(scope, limit, now);
            (used, ends_at)
        };
        (used(one), other.map(used))
    }

    /// When what is used there now stops counting, piece by piece.
    fn leaving_of(
        &self,
        (one, other): (&Scope, Option<&Scope>),
        limit: &Limit,
        (of_one, of_other): (Used, Option<Used>),
        clocks: &Now,
    ) -> Box<dyn Iterator<Item = (Millis, u64)> + '_> {
        let (Some(other), Some(of_other)) = (other, of_other) else { return self.leaving(one, limit, of_one, clocks) };
        let both = self.leaving(one, limit, of_one, clocks).chain(self.leaving(other, limit, of_other, clocks));
        let mut leaving: Vec<_> = both.collect();
        leaving.sort_unstable_by_key(|(at, _)| *at);
        Box::new(leaving.into_iter())
    }

    /// When what is used now, and what expiring holds will book, stops counting, piece by piece.
    fn leaving(
        &self,
        scope: &Scope,
        limit: &Limit,
        (used, ends_at): Used,
        clocks: &Now,
    ) -> Box<dyn Iterator<Item = (Millis, u64)> + '_> {
        let (clocks, now) = (*clocks, clocks.service);
        let window = limit.window();
        let booked: Box<dyn Iterator<Item = (Millis, u64)> + '_> = if window.trailing().is_some() {
            let tally = self.tally(scope, limit.meter());
            Box::new(tally.map(|tally| counted_leaving(&tally.ledger, limit, now)).into_iter().flatten())
        } else {
            Box::new(ends_at.map(|end| (end, used)).into_iter())
        };
        let mut to_book = self.to_book(scope, limit, ends_at, clocks).peekable();
        if to_book.peek().is_none() {
            return booked;
        }
        let mut leaving: Vec<_> = booked.chain(to_book).collect();
        leaving.sort_unstable_by_key(|(at, _)| *at);
        Box::new(leaving.into_iter())
    }

    /// What expiring holds will book, and when that will stop counting.
    fn to_book(
        &self,
        scope: &Scope,
        limit: &Limit,
        ends_at: Option<Millis>,
        clocks: Now,
    ) -> impl Iterator<Item = (Millis, u64)> {
        let window = limit.window();
        self.prepaid.iter().filter_map(move |(id, paid)| {
            let row = self.reservations.get(id).filter(|row| row.is_held_in(scope, limit.meter()))?;
            row.amount(limit.meter())?;
            // Booked in the window that runs by then.
            let (at, slice) = (clocks.shown(row.expires_at).max(clocks.service), window.slice());
            let leaves = window.slice_leaves_at(at / slice * slice);
            let running = ends_at.filter(|end| at < *end);
            let ends = running.or_else(|| window.end(window.start(at)));
            Some((leaves.or(ends)?, *paid))
        })
    }

    /// When what is held is given back or booked, hold by hold: in the ledgers that a limit is judged by, and what its
    /// scope holds in that of the others.
    fn expiring(
        &self,
        (one, other): (&Scope, Option<&Scope>),
        (scope, others): (&Scope, Option<&Scope>),
        meter: &Meter,
        clocks: &Now,
    ) -> impl Iterator<Item = Expiry> {
        self.expiries.iter().filter_map(move |(at, id)| {
            let counts = |row: &&ReservationRow| {
                row.is_held_in(one, meter)
                    || other.is_some_and(|other| row.is_held_in(other, meter))
                    || others.is_some_and(|others| row.folded.of(scope, meter) == Some(others))
            };
            let held = self.reservations.get(id).filter(counts)?.amount(meter)?;
            let booked = self.prepaid.get(id).copied().unwrap_or(0).min(held);
            Some(Expiry { at: clocks.shown(*at), given_back: held - booked, booked })
        })
    }
}

/// When what counts of a ledger against a limit that slides stops counting, slice by slice.
pub(super) fn counted_leaving<'l>(
    ledger: &'l Ledger,
    limit: &Limit,
    now: Millis,
) -> impl Iterator<Item = (Millis, u64)> + use<'l> {
    let window = limit.window();
    let from = limit.slices_from(window.start(now));
    let from = from.and_then(|(first, skipped)| Some((window.slice_leaves_at(first)?, skipped)));
    ledger.leaving(window, now).filter_map(move |(at, amount)| counted(at, amount, from))
}

/// A slice with what of it counts: not where it leaves before the first slice that does.
fn counted(at: Millis, amount: u64, from: Option<(Millis, u64)>) -> Option<(Millis, u64)> {
    match from {
        Some((first, _)) if at < first => None,
        Some((first, skipped)) if at == first => Some((at, amount.saturating_sub(skipped))),
        _ => Some((at, amount)),
    }
}

/// What becomes of a hold when its time is over.
#[derive(Debug)]
struct Expiry {
    at: Millis,
    given_back: u64,
    booked: u64,
}
