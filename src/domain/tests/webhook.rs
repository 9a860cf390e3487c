//! What a webhook has of a log: each event that is wanted, in order, over restarts; and what it misses has a name.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{properties::cases, *};
use crate::{
    bounds::{WEBHOOK_GRACE_MS, WEBHOOK_LEASE_MS},
    domain::{
        command::{NoteDelivered, TakeUndelivered},
        events::{EventKind, EventKinds, Undelivered},
        reply::UndeliveredPage,
    },
};

const MAX: usize = 3;

fn only(kinds: &[EventKind]) -> EventKinds {
    kinds.iter().copied().collect()
}

impl OrgBench {
    fn delivering(mut self, kinds: EventKinds) -> Self {
        self.state.deliver(kinds);
        self
    }

    /// The node begins again, with the same webhook.
    fn restart_delivering(&mut self, kinds: EventKinds) -> &mut Self {
        self.restart();
        self.state.deliver(kinds);
        self
    }

    fn take(&mut self) -> UndeliveredPage {
        self.ask(TakeUndelivered { max: MAX }).unwrap()
    }

    fn delivered(&mut self, page: &UndeliveredPage, number: u64) -> bool {
        self.ask(NoteDelivered { taken: page.taken, number }).unwrap()
    }

    /// Two events of operators.
    fn two(&mut self, id: &str) -> &mut Self {
        self.freeze(&format!("f{id}")).unwrap();
        self.unfreeze(&format!("u{id}")).unwrap();
        self
    }

    fn timer(&self) -> Option<Millis> {
        self.disk
            .rows()
            .rows
            .iter()
            .find_map(|row| if let Row::Timer(timer) = row { Some(timer.wake_at) } else { None })
    }
}

fn numbers(page: &UndeliveredPage) -> Vec<u64> {
    page.undelivered.iter().map(Undelivered::number).collect()
}

#[test]
fn what_happened_before_somebody_received_is_not_delivered_and_all_behind_it_is_in_order() {
    let all = EventKinds::all();
    let mut org = OrgBench::new();
    org.two("a").flush();
    assert!(numbers(&org.take()).is_empty());
    org.state.deliver(all);
    assert!(numbers(&org.take()).is_empty() && !org.state.has_undelivered());
    org.two("b").two("c").flush();
    assert!(org.state.has_undelivered());
    let page = org.take();
    assert_eq!(numbers(&page), [3, 4, 5]);
    assert!(!org.state.has_undelivered(), "somebody has it in hand");
    assert!(org.delivered(&page, 4), "more waits");
    assert!(org.state.has_undelivered());
    // The number was not committed, so the same come again.
    org.crash();
    org.state.deliver(all);
    assert_eq!(numbers(&org.take()), [3, 4, 5]);
    let page = org.take();
    org.delivered(&page, 4);
    org.restart_delivering(all);
    let page = org.take();
    assert_eq!(numbers(&page), [5, 6]);
    assert!(!org.delivered(&page, 6));
    assert!(numbers(&org.restart_delivering(all).take()).is_empty());
}

#[test]
fn kinds_that_are_not_wanted_are_passed_over_and_leave_no_gap() {
    let kinds = only(&[EventKind::Exhausted]);
    let mut org = OrgBench::with([executions_limit(DAILY, 1)]).delivering(kinds);
    org.bounds.operator_events_per_org = 2;
    for id in ["a", "b", "c"] {
        org.two(id).flush();
    }
    assert!(!org.state.has_undelivered());
    org.acquire(ask());
    org.flush();
    let page = org.take();
    assert!(
        matches!(&page.undelivered[..], [Undelivered::Event(row)] if row.what.kind() == EventKind::Exhausted),
        "{page:?}"
    );
    org.delivered(&page, page.undelivered[0].number());
    // Nobody receives for a while: it goes on where it was.
    org.state.deliver(EventKinds::NONE);
    org.two("d").flush();
    assert!(!org.state.has_undelivered() && numbers(&org.take()).is_empty());
    org.state.deliver(EventKinds::all());
    assert_eq!(numbers(&org.take()).len(), 2);
}

#[test]
fn what_is_not_kept_any_more_is_named_and_then_passed() {
    let all = EventKinds::all();
    let mut org = OrgBench::new().delivering(all);
    org.bounds.operator_events_per_org = 2;
    for id in ["a", "b", "c"] {
        org.two(id).flush();
    }
    org.restart_delivering(all);
    let page = org.take();
    assert_eq!(page.undelivered[0], Undelivered::Missing { from: 1, to: 4, at: T0 });
    assert_eq!(numbers(&page), [4, 5, 6]);
    assert!(org.delivered(&page, 4), "the receiver has the gap alone");
    assert_eq!(numbers(&org.take()), [5, 6]);
}

#[test]
fn a_log_that_begins_again_is_not_taken_for_the_one_that_was_handed_out() {
    let all = EventKinds::all();
    let mut org = OrgBench::new().delivering(all);
    org.two("a").flush();
    let page = org.take();
    org.ask(Purge).unwrap();
    org.flush();
    org.state.deliver(all);
    org.two("b").two("c").flush();
    assert!(!org.delivered(&page, 2));
    assert_eq!(numbers(&org.take()), [1, 2, 3]);
}

#[test]
fn a_timer_finds_what_a_crash_has_interrupted_and_asks_no_more_often_than_it_has_to() {
    let all = EventKinds::all();
    let mut org = OrgBench::new().delivering(all);
    org.two("a").flush();
    assert_eq!(org.timer(), Some(T0 + WEBHOOK_GRACE_MS));
    org.crash();
    org.state.deliver(all);
    org.at(T0 + WEBHOOK_GRACE_MS).sweep();
    assert!(org.state.has_undelivered(), "the commit of the sweep says so");
    assert_eq!(org.timer(), Some(org.now + WEBHOOK_GRACE_MS));
    for pause in [2, 4, 8, 16, 32, 64, 120, 120] {
        let wake = org.timer().unwrap();
        org.at(wake).sweep();
        assert_eq!(org.timer(), Some(org.now + pause * WEBHOOK_GRACE_MS), "less and less often");
    }
    let page = org.take();
    org.delivered(&page, 2);
    org.flush();
    org.after(WEBHOOK_LEASE_MS).sweep();
    assert!(!org.state.has_undelivered());
    assert!(org.timer() > Some(org.now + WEBHOOK_LEASE_MS), "nothing waits");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Operate,
    Exhaust,
    Flush,
    Crash,
    Restart,
    Sweep(u8),
    /// So many of what is handed out are delivered, and then noted or not.
    Deliver(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Operate),
        2 => Just(Step::Exhaust),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => (0..30_u8).prop_map(Step::Sweep),
        4 => (0..=MAX, any::<bool>()).prop_map(|(count, noted)| Step::Deliver(count, noted)),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 5000,
        ..ProptestConfig::default()
    })]

    /// Whatever happens: events are delivered in the order of their numbers, never one that is not on disk, and in the end each
    /// that is wanted was, or is named as missing.
    #[test]
    fn every_event_is_delivered_or_named(steps in steps(), of_operators in any::<bool>(), room in 1..6_u32) {
        let kinds = if of_operators { only(&[EventKind::Operator]) } else { EventKinds::all() };
        let mut org = OrgBench::with([executions_limit(HOURLY, 2)]).delivering(kinds);
        org.bounds.operator_events_per_org = room;
        let (mut frozen, mut next_id) = (false, 0);
        // What is on disk under each number, whoever wrote it, and what was delivered.
        let mut stored: BTreeMap<u64, Row> = BTreeMap::new();
        let mut delivered: BTreeMap<u64, Row> = BTreeMap::new();
        let mut named: Vec<(u64, u64)> = Vec::new();
        let note = |org: &OrgBench, stored: &mut BTreeMap<u64, Row>| {
            for row in org.disk.rows().rows {
                if let Row::Event(event) = &row {
                    stored.insert(event.number, row.clone());
                }
            }
        };
        let mut last = 0;
        let end = [Step::Flush].into_iter().chain((0..200).map(|_| Step::Deliver(MAX, true)));
        for step in steps.iter().copied().chain(end) {
            next_id += 1;
            match step {
                Step::Operate => {
                    let done = if frozen { org.unfreeze(&format!("o{next_id}")) } else { org.freeze(&format!("o{next_id}")) };
                    prop_assert!(done.is_ok());
                    frozen = !frozen;
                }
                Step::Exhaust => drop(org.acquire(ask())),
                Step::Flush => drop(org.flush()),
                Step::Crash => {
                    org.crash();
                    org.state.deliver(kinds);
                    frozen = org.inspect().is_some_and(|org| org.frozen.is_some());
                    last = 0;
                }
                Step::Restart => {
                    org.restart_delivering(kinds);
                    last = 0;
                }
                Step::Sweep(hours) => {
                    org.after(u64::from(hours) * HOUR_MS).sweep();
                }
                Step::Deliver(count, noted) => {
                    let page = org.take();
                    // It is answered when everything before it is on disk.
                    org.flush();
                    note(&org, &mut stored);
                    let mut number = None;
                    for undelivered in page.undelivered.iter().take(count) {
                        prop_assert!(undelivered.number() > last, "{} behind {last}", undelivered.number());
                        match undelivered {
                            Undelivered::Event(row) => {
                                prop_assert!(kinds.has(row.what.kind()));
                                let is = Row::Event(row.clone());
                                let before = delivered.insert(row.number, is.clone());
                                prop_assert!(before.is_none_or(|before| before == is), "another event under {}", row.number);
                            }
                            Undelivered::Missing { from, to, .. } => named.push((*from, *to)),
                        }
                        number = Some(undelivered.number());
                    }
                    if let Some(number) = number.filter(|_| noted) {
                        org.delivered(&page, number);
                        last = number;
                    }
                }
            }
            note(&org, &mut stored);
            // An org that is forgotten begins another log.
            if org.disk.is_empty() {
                (stored, delivered, last) = Default::default();
            }
        }
        for (number, row) in &stored {
            let Row::Event(event) = row else { continue };
            let is_named = named.iter().any(|(from, to)| (from..=to).contains(&number));
            prop_assert!(
                delivered.contains_key(number) || is_named || !kinds.has(event.what.kind()),
                "{number} of {:?} was neither delivered nor named in {named:?}", stored.keys().max()
            );
        }
    }
}
