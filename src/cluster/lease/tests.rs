use proptest::prelude::*;

use super::*;

const T0: Uptime = Uptime(86_400_000);

fn at(millis: Millis) -> Uptime {
    T0.after(millis)
}

#[test]
fn a_lease_is_valid_for_less_than_it_lasts_from_before_it_was_asked_for() {
    let mut lease = NodeLease::registered(T0);
    assert!(lease.may_answer(at(1_349)));
    assert_eq!(lease.standing(at(1_350)), Standing::Lapsed);
    assert_eq!(lease.stops_at(), Some(at(1_350)));

    assert_eq!(lease.renew(at(399)), None, "not due");
    let renewal = lease.renew(at(400)).unwrap();
    lease.renewed(renewal);
    assert_eq!(lease.stops_at(), Some(at(1_750)), "from when it was sent, whenever the answer came");
}

#[test]
fn three_renewals_fit_into_a_lease_and_each_is_worth_what_its_own_time_says() {
    let mut lease = NodeLease::registered(T0);
    let renewals: Vec<Renewal> = [400, 800, 1_200].map(|now| lease.renew(at(now)).unwrap()).into();
    assert_eq!(lease.next_renewal(), Some(at(1_600)));
    lease.renewed(renewals[2]);
    lease.renewed(renewals[0]);
    assert_eq!(lease.stops_at(), Some(at(2_550)), "an earlier one that is answered later takes nothing away");
}

#[test]
fn a_lease_that_lapsed_is_valid_again_and_one_that_was_refused_never_is() {
    let mut lease = NodeLease::registered(T0);
    let late = lease.renew(at(1_000)).unwrap();
    assert!(!lease.may_answer(at(2_000)));
    lease.renewed(late);
    assert!(lease.may_answer(at(2_000)));

    let later = lease.renew(at(2_000)).unwrap();
    lease.refused();
    lease.renewed(later);
    assert_eq!(lease.standing(at(2_001)), Standing::Lost);
    assert_eq!((lease.stops_at(), lease.next_renewal(), lease.renew(at(9_000))), (None, None, None));
}

#[test]
fn another_node_is_marked_after_its_lease_was_seen_unrenewed_for_its_length() {
    let mut other = WatchedLease::seen(7, T0);
    other.seen_again(7, at(1_499));
    assert_eq!((other.to_mark(at(1_499)), other.to_mark(at(1_500))), (None, Some(7)));
    other.seen_again(8, at(1_500));
    assert_eq!((other.to_mark(at(2_999)), other.to_mark(at(3_000))), (None, Some(8)));
}

/// What may happen between a node and the database.
#[derive(Debug, Clone)]
enum Step {
    /// True time passes.
    Wait(Millis),
    Send,
    /// One of the renewals under way is carried out by the database, or refused by it.
    Arrive(usize),
    /// The answer to one of them is received.
    Answer(usize),
    /// The database's clock jumps ahead: by it, the lease has expired.
    Jump,
    /// Another node reads the lease.
    Look,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..700).prop_map(Step::Wait),
        4 => Just(Step::Send),
        4 => (0_usize..4).prop_map(Step::Arrive),
        4 => (0_usize..4).prop_map(Step::Answer),
        1 => Just(Step::Jump),
        4 => Just(Step::Look),
    ]
}

/// A renewal under way, and what the database made of it.
#[derive(Debug)]
struct UnderWay {
    renewal: Renewal,
    sent_at: Uptime,
    renewed: Option<bool>,
}

/// A database, the node that has the lease and one that watches it, each with a clock of its own.
#[derive(Debug)]
struct World {
    /// True time since the registration was sent, in thousandths of a millisecond.
    now: u64,
    /// Of the node and of the one that watches, in milliseconds per second.
    rates: [u64; 2],
    lease: NodeLease,
    under_way: Vec<UnderWay>,
    /// What the rule of the model says: when the best renewal that was answered was sent, and whether one was refused.
    best: Uptime,
    refused: bool,
    /// The row: when it expires, how often it was renewed, and whether it is marked.
    expires: u64,
    version: i64,
    marked: bool,
    watched: Option<WatchedLease>,
}

impl World {
    fn new(rates: [u64; 2]) -> Self {
        Self {
            now: 0,
            rates,
            lease: NodeLease::registered(T0),
            under_way: Vec::new(),
            best: T0,
            refused: false,
            expires: 1_500_000,
            version: 0,
            marked: false,
            watched: None,
        }
    }

    fn clock(&self, of: usize) -> Uptime {
        at(self.now / 1_000 * self.rates[of] / 1_000)
    }

    fn step(&mut self, step: &Step) {
        let now = self.clock(0);
        match *step {
            Step::Wait(millis) => self.now += millis * 1_000,
            Step::Send => {
                let sent = self.lease.renew(now).map(|renewal| UnderWay { renewal, sent_at: now, renewed: None });
                self.under_way.extend(sent);
            }
            Step::Arrive(which) => {
                let live = !self.marked && self.now < self.expires;
                let Some(renewal) = self.under_way.get_mut(which).filter(|one| one.renewed.is_none()) else { return };
                renewal.renewed = Some(live);
                if live {
                    (self.expires, self.version) = (self.now + 1_500_000, self.version + 1);
                }
            }
            Step::Answer(which) => {
                if self.under_way.get(which).is_none_or(|one| one.renewed.is_none()) {
                    return;
                }
                let answered = self.under_way.remove(which);
                if answered.renewed == Some(true) {
                    self.lease.renewed(answered.renewal);
                    self.best = self.best.max(answered.sent_at);
                } else {
                    self.lease.refused();
                    self.refused = true;
                }
            }
            Step::Jump => self.expires = self.expires.min(self.now),
            Step::Look => self.watch(),
        }
    }

    fn watch(&mut self) {
        let now = self.clock(1);
        let watched = self.watched.get_or_insert_with(|| WatchedLease::seen(self.version, now));
        watched.seen_again(self.version, now);
        self.marked |= watched.to_mark(now) == Some(self.version) && self.now >= self.expires;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The rule that `tests/model` is searched with, and what it is for: while a lease is valid nobody has marked it,
    /// although two clocks run apart by a tenth and the database's jumps.
    #[test]
    fn while_a_lease_is_valid_no_other_node_has_marked_it(
        rates in (900_u64..=1_100).prop_flat_map(|slow| (Just(slow), slow..=(slow * 10 / 9).min(1_111))),
        history in prop::collection::vec(steps(), 1..80),
    ) {
        let mut world = World::new([rates.0, rates.1]);
        for step in &history {
            world.step(step);
            let now = world.clock(0);
            let by_the_rule = !world.refused && now.since(world.best) < 1_350;
            prop_assert_eq!(world.lease.may_answer(now), by_the_rule);
            prop_assert!(!(world.marked && world.lease.may_answer(now)), "marked while it answers: {:?}", world);
            prop_assert_eq!(world.refused, world.lease.next_renewal().is_none());
        }
    }
}
