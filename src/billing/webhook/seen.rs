//! Which messages were taken already: senders repeat what they got no answer to.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::window::Millis;

/// A signature is good for five minutes either way; after that the time refuses a repeat.
const LIFE_MS: Millis = 600_000;
/// With more messages than this within ten minutes the oldest are forgotten. A repeat of one of
/// those only asks the provider once more.
const IDS: usize = 10_000;

/// Ids of messages, each for ten minutes. Only what was signed gets in.
#[derive(Debug, Default)]
pub struct Seen {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashSet<Arc<str>>,
    /// The same, in the order of their arrival.
    order: VecDeque<(Millis, Arc<str>)>,
}

impl Seen {
    /// Keeps `id`; false where it was there already.
    pub(super) fn first(&self, id: &str, now: Millis) -> bool {
        // No step below can panic half-way, so what a poisoned lock guards is whole.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |(since, _): &(Millis, Arc<str>)| now.saturating_sub(*since) > LIFE_MS;
        while inner.order.front().is_some_and(over) || inner.order.len() >= IDS {
            if let Some((_, oldest)) = inner.order.pop_front() {
                inner.ids.remove(&oldest);
            }
        }
        let id: Arc<str> = id.into();
        let first = inner.ids.insert(id.clone());
        if first {
            inner.order.push_back((now, id));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_for_ten_minutes() {
        let seen = Seen::default();
        assert!(seen.first("a", 1_000));
        assert!(!seen.first("a", 1_000 + LIFE_MS));
        assert!(seen.first("a", 1_001 + LIFE_MS));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let seen = Seen::default();
        for id in 0..IDS + 5 {
            assert!(seen.first(&id.to_string(), 0));
        }
        assert!(!seen.first(&(IDS + 4).to_string(), 0));
        assert!(seen.first("0", 0));
        let inner = seen.inner.lock().unwrap();
        assert!(inner.ids.len() <= IDS && inner.order.len() == inner.ids.len());
    }
}
