//! When what is asked fits again: slices leave their windows, windows end, holds expire.

use super::Book;
use crate::domain::{
    ids::{Meter, Scope},
    limit::Limit,
    window::{Millis, Window},
};

impl Book {
    /// Earliest instant at which `asked` more fits `limit` of `scope` if nothing else happens: slices
    /// leave, windows end, holds expire. `None` = never.
    pub(in crate::domain) fn fits_at(
        &mut self,
        scope: &Scope,
        limit: &Limit,
        asked: u64,
        now: Millis,
    ) -> Option<Millis> {
        let amount = limit.amount?;
        let usable = if asked == 0 { amount.checked_sub(1)? } else { amount.saturating_sub(limit.buffer) };
        let free = u128::from(usable.checked_sub(asked)?);
        let (used, reserved) = self.usage(scope, limit, now);
        let mut taken = u128::from(used) + u128::from(reserved);
        if taken <= free {
            return Some(now);
        }
        let mut leaving = self.leaving(scope, limit, used, now).peekable();
        let mut expiring = self.expiring(scope, &limit.meter).peekable();
        loop {
            let hold_first = match (leaving.peek(), expiring.peek()) {
                (Some((leaves_at, _)), Some((expires_at, _))) => expires_at < leaves_at,
                (leaves, _) => leaves.is_none(),
            };
            let (at, amount) = if hold_first { expiring.next()? } else { leaving.next()? };
            taken = taken.saturating_sub(u128::from(amount));
            if taken <= free {
                return Some(at);
            }
        }
    }

    /// When what is used now, and what expiring holds will book, stops counting, piece by piece.
    fn leaving(
        &self,
        scope: &Scope,
        limit: &Limit,
        used: u64,
        now: Millis,
    ) -> Box<dyn Iterator<Item = (Millis, u64)> + '_> {
        let booked: Box<dyn Iterator<Item = (Millis, u64)> + '_> = match limit.window {
            window @ Window::Rolling { .. } => {
                let ledger = self.ledgers.get(&(scope.clone(), limit.meter.clone()));
                Box::new(ledger.into_iter().flat_map(move |ledger| ledger.leaving(window, now)))
            }
            Window::Aligned { .. }
            | Window::Anchored { .. }
            | Window::Calendar(_)
            | Window::Provider
            | Window::Concurrent => Box::new(self.window_end(scope, limit, now).map(|end| (end, used)).into_iter()),
        };
        let mut to_book = self.to_book(scope, limit, now).peekable();
        if to_book.peek().is_none() {
            return booked;
        }
        let mut leaving: Vec<_> = booked.chain(to_book).collect();
        leaving.sort_unstable_by_key(|(at, _)| *at);
        Box::new(leaving.into_iter())
    }

    /// What expiring holds will book, and when that will stop counting.
    fn to_book(&self, scope: &Scope, limit: &Limit, now: Millis) -> impl Iterator<Item = (Millis, u64)> {
        self.prepaid.iter().filter_map(move |(id, paid)| {
            let row = self.reservations.get(id).filter(|row| row.scope.counts_in(scope))?;
            row.amounts.iter().find(|(meter, _)| *meter == limit.meter)?;
            let (at, slice) = (row.expires_at, limit.window.slice());
            let leaves = limit.window.slice_leaves_at(at / slice * slice);
            let running = self.window_end(scope, limit, now).filter(|end| at < *end);
            let ends = running.or_else(|| limit.window.end(limit.window.start(at)));
            Some((leaves.or(ends)?, *paid))
        })
    }

    /// When what is held is given back, hold by hold.
    fn expiring(&self, scope: &Scope, meter: &Meter) -> impl Iterator<Item = (Millis, u64)> {
        self.expiries.iter().filter_map(move |(at, id)| {
            let row = self.reservations.get(id).filter(|row| row.scope.counts_in(scope))?;
            let (_, held) = row.amounts.iter().find(|(held, _)| held == meter)?;
            Some((*at, held.saturating_sub(self.prepaid.get(id).copied().unwrap_or(0))))
        })
    }

    /// End of the running window; `None` for a rolling one.
    pub(in crate::domain) fn window_end(&self, scope: &Scope, limit: &Limit, now: Millis) -> Option<Millis> {
        let start = match limit.window {
            Window::Anchored { .. } => self.counter(scope, &limit.meter, limit.window, now).start,
            Window::Aligned { .. }
            | Window::Rolling { .. }
            | Window::Calendar(_)
            | Window::Provider
            | Window::Concurrent => limit.window.start(now),
        };
        limit.window.end(start)
    }
}
