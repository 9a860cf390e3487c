//! When what is asked fits again: slices leave their windows, windows end, holds expire. What a window has over its
//! limit is worked off by the next ones, one after the other, where it is carried on.

use super::{Book, Standing};
use crate::domain::{
    ids::{Meter, Scope},
    lease::Now,
    limit::Limit,
    window::Millis,
};

impl Book {
    /// Earliest instant at which `asked` more fits `limit` of `scope` if nothing else happens: slices
    /// leave, windows end, holds expire. `None` = never. By the wall clock, which service time waits for
    /// where it is behind.
    pub(in crate::domain) fn fits_at(
        &mut self,
        scope: &Scope,
        limit: &Limit,
        asked: u64,
        clocks: &Now,
    ) -> Option<Millis> {
        let now = clocks.service;
        let amount = limit.amount?;
        let usable = if asked == 0 { amount.checked_sub(1)? } else { amount.saturating_sub(limit.buffer) };
        let free = u128::from(usable.checked_sub(asked)?);
        let Standing { used, reserved, ends_at, .. } = self.standing(scope, limit, now);
        let mut taken = u128::from(used) + u128::from(reserved);
        if taken <= free {
            return Some(now);
        }
        if limit.carries {
            return self.worked_off_at(scope, limit, free, (used, reserved), clocks);
        }
        let mut leaving = self.leaving(scope, limit, (used, ends_at), clocks).peekable();
        let mut expiring = self.expiring(scope, limit.meter(), clocks).peekable();
        loop {
            let hold_first = match (leaving.peek(), expiring.peek()) {
                (Some((leaves_at, _)), Some(expiry)) => expiry.at < *leaves_at,
                (leaves, _) => leaves.is_none(),
            };
            let (at, amount) = if hold_first {
                let Expiry { at, given_back, .. } = expiring.next()?;
                (at, given_back)
            } else {
                leaving.next()?
            };
            taken = taken.saturating_sub(u128::from(amount));
            if taken <= free {
                return Some(at);
            }
        }
    }

    /// When usage and holds are down to `free`, where every window that ends takes the amount of the limit off what was
    /// used.
    fn worked_off_at(
        &self,
        scope: &Scope,
        limit: &Limit,
        free: u128,
        (used, reserved): (u64, u64),
        clocks: &Now,
    ) -> Option<Millis> {
        let (window, amount) = (limit.window(), u128::from(limit.amount.filter(|amount| *amount > 0)?));
        let (mut used, mut reserved, mut from) = (u128::from(used), u128::from(reserved), clocks.service);
        let mut expiring = self.expiring(scope, limit.meter(), clocks).peekable();
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

    /// When what is used now, and what expiring holds will book, stops counting, piece by piece.
    fn leaving(
        &self,
        scope: &Scope,
        limit: &Limit,
        (used, ends_at): (u64, Option<Millis>),
        clocks: &Now,
    ) -> Box<dyn Iterator<Item = (Millis, u64)> + '_> {
        let (clocks, now) = (*clocks, clocks.service);
        let window = limit.window();
        let booked: Box<dyn Iterator<Item = (Millis, u64)> + '_> = if window.trailing().is_some() {
            let tally = self.tally(scope, limit.meter());
            Box::new(tally.into_iter().flat_map(move |tally| tally.ledger.leaving(window, now)))
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
            let row = self.reservations.get(id).filter(|row| row.scopes.counts_in(scope))?;
            row.amounts.iter().find(|(meter, _)| meter == limit.meter())?;
            // Booked in the window that runs by then.
            let (at, slice) = (clocks.shown(row.expires_at).max(clocks.service), window.slice());
            let leaves = window.slice_leaves_at(at / slice * slice);
            let running = ends_at.filter(|end| at < *end);
            let ends = running.or_else(|| window.end(window.start(at)));
            Some((leaves.or(ends)?, *paid))
        })
    }

    /// When what is held is given back or booked, hold by hold.
    fn expiring(&self, scope: &Scope, meter: &Meter, clocks: &Now) -> impl Iterator<Item = Expiry> {
        self.expiries.iter().filter_map(move |(at, id)| {
            let row = self.reservations.get(id).filter(|row| row.scopes.counts_in(scope))?;
            let (_, held) = row.amounts.iter().find(|(held, _)| held == meter)?;
            let booked = self.prepaid.get(id).copied().unwrap_or(0).min(*held);
            Some(Expiry { at: clocks.shown(*at), given_back: held - booked, booked })
        })
    }
}

/// What becomes of a hold when its time is over.
#[derive(Debug)]
struct Expiry {
    at: Millis,
    given_back: u64,
    booked: u64,
}
