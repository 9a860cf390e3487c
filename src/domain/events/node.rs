//! What happened to a node and to no org: kept in its memory, bounded, under numbers that begin at
//! 1 with its start.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::EventKind;
use crate::{bounds::NODE_EVENTS, domain::command::ListEvents, domain::window::Millis};

/// What of a node may be in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its store does not answer, or is lost.
    Store,
    /// Its disk does not answer.
    Disk,
    /// Its wall clock is not believed.
    Clock,
}

impl Part {
    const fn kind(self, is_well: bool) -> EventKind {
        match (self, is_well) {
            (Self::Store | Self::Disk, false) => EventKind::StoreTrouble,
            (Self::Store | Self::Disk, true) => EventKind::StoreRecovered,
            (Self::Clock, false) => EventKind::ClockTrouble,
            (Self::Clock, true) => EventKind::ClockSteady,
        }
    }
}

/// One event of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// One more than that of the event before it.
    pub number: u64,
    /// Service time.
    pub at: Millis,
    /// What it is an event of.
    pub kind: EventKind,
    /// For people.
    pub message: Arc<str>,
    /// Of the end of a spell: when it began.
    pub since: Option<Millis>,
}

/// Some events of a node, as [`super::EventPage`] has those of an org.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeEventPage {
    /// In the order of their numbers.
    pub rows: Vec<NodeEvent>,
    /// The number of the oldest event that is kept; 0 = none is.
    pub oldest: u64,
    /// That of the newest one; 0 = none is.
    pub newest: u64,
}

/// The log of a node.
#[derive(Debug, Default)]
pub struct NodeLog {
    rows: VecDeque<NodeEvent>,
    newest: u64,
    /// What is in trouble, and since when.
    spells: BTreeMap<Part, Millis>,
}

impl NodeLog {
    /// A part is in trouble, with the reason, or well; each spell is announced once, and its end.
    /// Answers whether anything was added.
    pub fn is(&mut self, part: Part, trouble: Option<&str>, now: Millis) -> bool {
        let (since, message) = match trouble {
            Some(_) if self.spells.contains_key(&part) => return false,
            Some(why) => {
                self.spells.insert(part, now);
                (None, Arc::from(why))
            }
            None => match self.spells.remove(&part) {
                Some(since) => (Some(since), Arc::from(part.well())),
                None => return false,
            },
        };
        if self.rows.len() >= NODE_EVENTS {
            self.rows.pop_front();
        }
        self.newest += 1;
        let kind = part.kind(trouble.is_none());
        self.rows.push_back(NodeEvent { number: self.newest, at: now, kind, message, since });
        true
    }

    /// What is asked for.
    pub fn page(&self, list: &ListEvents) -> NodeEventPage {
        let ListEvents { kinds, after, since, until, max, durable: _ } = list;
        let is_wanted = |row: &&NodeEvent| {
            let of_kind = kinds.is_empty() || kinds.contains(&row.kind);
            let in_time = since.is_none_or(|since| since <= row.at) && until.is_none_or(|until| row.at < until);
            row.number > *after && of_kind && in_time
        };
        let rows = self.rows.iter().filter(is_wanted).take(*max).cloned().collect();
        let oldest = self.rows.front().map_or(0, |row| row.number);
        NodeEventPage { rows, oldest, newest: self.newest }
    }
}

impl Part {
    const fn well(self) -> &'static str {
        match self {
            Self::Store => "the store answers again",
            Self::Disk => "the disk answers again",
            Self::Clock => "the clock is steady again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> ListEvents {
        ListEvents { kinds: vec![], after: 0, since: None, until: None, max: 1000, durable: false }
    }

    #[test]
    fn each_spell_is_announced_once_and_so_is_its_end() {
        let mut log = NodeLog::default();
        assert!(!log.is(Part::Store, None, 1), "it was well");
        assert!(log.is(Part::Store, Some("no room"), 2));
        assert!(!log.is(Part::Store, Some("still no room"), 3));
        assert!(log.is(Part::Clock, Some("ahead"), 4));
        assert!(log.is(Part::Store, None, 5));
        let page = log.page(&all());
        let seen: Vec<_> = page.rows.iter().map(|row| (row.number, row.at, row.kind, row.since)).collect();
        assert_eq!(
            seen,
            [
                (1, 2, EventKind::StoreTrouble, None),
                (2, 4, EventKind::ClockTrouble, None),
                (3, 5, EventKind::StoreRecovered, Some(2)),
            ],
            "R-EXPL-3"
        );
        assert_eq!(log.page(&ListEvents { after: 2, ..all() }).rows.len(), 1);
        assert_eq!(log.page(&ListEvents { kinds: vec![EventKind::ClockTrouble], ..all() }).rows.len(), 1);
    }

    #[test]
    fn the_oldest_give_way_and_numbers_go_on() {
        let mut log = NodeLog::default();
        for at in 0..NODE_EVENTS as u64 {
            log.is(Part::Store, Some("away"), 2 * at);
            log.is(Part::Store, None, 2 * at + 1);
        }
        let page = log.page(&all());
        let most = NODE_EVENTS as u64;
        assert_eq!((page.rows.len() as u64, page.oldest, page.newest), (most, most + 1, 2 * most));
    }
}
