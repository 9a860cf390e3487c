//! R-PIPE-6: ids of durable calls are known for a day, within a bound of bytes; what is not known any more is said.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{properties::cases, *};
use crate::{
    bounds::SECOND_MS,
    domain::{kept_ids::Filling, rows::RowKind},
};

/// What calls of one commit may take beyond the bound.
const SLACK: u64 = 6_000;

/// A ULID of this time; `number` is its part of chance.
fn ulid(made_at: Millis, number: u64) -> String {
    let digits: Vec<char> = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().collect();
    let digit = |value: u64, at: u32| digits[usize::try_from(value >> (5 * at) & 31).unwrap()];
    let of = |value: u64, len: u32| (0..len).rev().map(move |at| (value, at)).map(|(value, at)| digit(value, at));
    of(made_at, 10).chain("0000".chars()).chain(of(number, 12)).collect()
}

fn bounded(bytes: u32) -> OrgBench {
    let mut org = OrgBench::new();
    org.bounds.request_id_bytes_per_org = bytes;
    org
}

impl OrgBench {
    /// A call of its own: its reply waits for the disk.
    fn record_once(&mut self, id: &str) -> Result<bool, OrgError> {
        let answer = self.record("", spend(1), id);
        self.flush();
        answer
    }

    fn record_many(&mut self, of: &str, count: u64) {
        for number in 0..count {
            assert_eq!(self.record_once(&format!("{of}{number}")), Ok(false));
        }
    }
}

#[test]
fn an_id_is_known_for_a_day_whatever_came_after_it() {
    let mut org = OrgBench::new();
    org.bounds.request_ids_per_org = 1;
    org.record_many("a", 500);
    org.after(62 * SECOND_MS).record_many("b", 500);
    for hours in [1, 12, 23] {
        org.at(T0 + hours * HOUR_MS).sweep();
        org.restart();
        assert_eq!(org.record_once("a0"), Ok(true), "after {hours} h");
        assert_eq!(org.record_once("b499"), Ok(true), "after {hours} h");
    }
    assert_eq!((org.snapshot().remembered, org.snapshot().kept.forgotten), (1_000, 0));
    org.at(T0 + DAY_MS + HOUR_MS);
    while org.disk.head().wake_at.is_some_and(|at| at <= org.now) {
        org.sweep();
    }
    assert_eq!(org.disk.count(|row| row.kind().is_read_by_name()), 0, "purged in batches");
    assert_eq!(org.record_once("a0"), Ok(false), "a day is over");
}

#[test]
fn an_org_is_loaded_without_its_ids() {
    let mut org = OrgBench::new();
    org.record_many("a", 500);
    let after = org.at(T0 + 5 * MINUTE_MS).restart().disk.rows().rows.len();
    org.sweep();
    assert!(after > 500, "what shows that there is no gap is kept for a minute at least");
    org.at(T0 + HOUR_MS).sweep();
    org.restart();
    assert!(org.disk.rows().rows.len() < 10, "{:?}", org.disk.rows());
    assert_eq!(org.record_once("a7"), Ok(true));
}

#[test]
fn past_the_bound_the_oldest_ids_go_first_and_are_counted() {
    let mut org = bounded(65_536);
    org.record_many("a", 700);
    org.at(T0 + 2 * MINUTE_MS).record_many("b", 700);
    let kept = org.snapshot().kept;
    assert!(kept.bytes <= 65_536 + SLACK && kept.forgotten > 0, "{kept:?}");
    assert_eq!(kept.forgotten_to, T0);
    assert_eq!(org.record_once("b0"), Ok(true), "the younger ones are known");
    assert_eq!(org.record_once("a0"), Ok(false), "it was forgotten, and says nothing of its time");
    assert_eq!(org.state.take_news().forgotten_request_ids, kept.forgotten);
}

#[test]
fn while_rows_are_read_none_of_them_goes_and_afterwards_they_do() {
    let mut org = bounded(65_536);
    org.record_many("a", 700);
    let ids = |org: &OrgBench| org.disk.count(|row| row.kind() == RowKind::RequestId);
    let before = ids(&org);
    org.state.hold(true);
    org.at(T0 + 2 * MINUTE_MS).record_many("b", 40);
    assert_eq!(ids(&org), before + 40, "the bound is passed meanwhile");
    org.at(T0 + DAY_MS + HOUR_MS).sweep();
    assert_eq!(ids(&org), before + 40, "and so is the day");
    assert_eq!(org.snapshot().kept.forgotten, 0);
    org.state.hold(false);
    while org.disk.head().wake_at.is_some_and(|at| at <= org.now) {
        org.sweep();
    }
    assert_eq!(ids(&org), 0, "those of a day ago are gone");
}

#[test]
fn an_id_that_may_be_forgotten_is_refused_where_it_says_its_time() {
    let mut org = bounded(65_536);
    let early = ulid(T0, 1);
    assert_eq!(org.record_once(&early), Ok(false));
    org.record_many("a", 700);
    org.at(T0 + 2 * MINUTE_MS).record_many("b", 700);
    let refused = Err(OrgError::RequestIdTooOld { made_at: T0, known_from: T0 + 1 });
    assert_eq!(org.record_once(&early), refused, "R-PIPE-6: not charged twice");
    assert_eq!(org.restart().record_once(&early), refused);
    assert_eq!(org.used("rate"), 0);
    assert_eq!(org.record_once(&ulid(T0 + 1, 2)), Ok(false), "nothing of its time was forgotten");
    org.at(T0 + DAY_MS + 2);
    let known_from = T0 + 3;
    let refused = Err(OrgError::RequestIdTooOld { made_at: T0 + 2, known_from });
    assert_eq!(org.record_once(&ulid(T0 + 2, 3)), refused, "nor is anything known of a day ago");
    let plain = Acquire { idempotency: Some(key(&early)), ..ask() };
    assert!(org.acquire(plain).allowed, "a plain call is remembered for minutes");
}

#[test]
fn a_flood_of_young_ids_is_refused_when_the_bound_is_reached() {
    let mut org = bounded(65_536);
    let mut recorded = 0;
    let refused = loop {
        match org.record_once(&format!("a{recorded}")) {
            Ok(false) => recorded += 1,
            other => break other,
        }
    };
    assert_eq!(refused, Err(OrgError::KeptIdsFull { most: 65_536 }));
    assert_eq!(org.record_once("a0"), Ok(true));
    assert!(org.run() == Code::Allowed && recorded > 500);
    org.after(MINUTE_MS);
    assert_eq!(org.record_once("b"), Ok(false));
}

#[test]
fn a_warning_comes_before_ids_are_forgotten_and_only_where_they_will_be() {
    let mut org = bounded(65_536);
    org.record_many("a", 450);
    assert_eq!(org.at(T0 + MINUTE_MS).state.take_news().request_ids_filling, None);
    org.record_many("b", 450);
    let filling = org.state.take_news().request_ids_filling;
    assert!(matches!(filling, Some(Filling { most: 65_536, age: 60_000..=80_000, .. })), "{filling:?}");
    assert_eq!(org.state.take_news().forgotten_request_ids, 0, "before");
    org.record_many("c", 10);
    assert_eq!(org.state.take_news().request_ids_filling, None, "once");
    let mut slow = bounded(65_536);
    for hour in 0..30 {
        slow.at(T0 + hour * HOUR_MS).record_many(&format!("{hour}/"), 37);
        slow.sweep();
        assert_eq!(slow.state.take_news().request_ids_filling, None, "a day fits");
    }
    assert_eq!(slow.snapshot().kept.forgotten, 0);
}

#[test]
fn how_a_reservation_ended_is_known_for_a_day() {
    let mut org = OrgBench::new();
    let (one, other) = (org.reserve(spend(1)), org.reserve(spend(1)));
    org.commit(one, spend(1), "c").unwrap();
    org.release(other, "r").unwrap();
    org.at(T0 + DAY_MS - 1).restart();
    let settled = |how| Err(OrgError::ReservationSettled(how));
    assert_eq!(org.release(one, "again"), settled(Settlement::Committed));
    assert_eq!(org.commit(other, spend(1), "again"), settled(Settlement::Released));
    org.at(T0 + DAY_MS).restart();
    assert_eq!(org.release(one, "late"), Err(OrgError::ReservationNotFound));
}

#[test]
fn a_purged_org_knows_nothing_of_what_was_before() {
    let mut org = OrgBench::new();
    org.record_many("a", 300);
    org.ask(Purge).unwrap();
    assert_eq!(org.state.take_news().request_ids_filling, None, "of nothing nothing is forgotten");
    assert_eq!(org.record("", spend(1), "a0"), Ok(false));
    assert_eq!(org.record("", spend(1), "a0"), Ok(true), "it is on its way, whatever was written before");
    org.restart();
    assert_eq!(org.record_once("a0"), Ok(true));
    assert_eq!(org.disk.count(|row| matches!(row, Row::RequestId(_))), 1);
}

#[derive(Debug, Clone)]
enum Op {
    /// An id, by its number: used again or not, with its time in it or not, by a clock that may be ahead.
    Record {
        number: u64,
        timed: bool,
        ahead: Millis,
    },
    Many(u64),
    Pass(Millis),
    Flush,
    Restart,
    Crash,
    Sweep(bool),
}

fn ops() -> impl Strategy<Value = Op> {
    let lengths = vec![1, SECOND_MS, 20 * SECOND_MS, MINUTE_MS, 11 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS];
    prop_oneof![
        6 => (0..30_u64, any::<bool>(), prop::sample::select(vec![0, 0, 1, 5 * MINUTE_MS, 2 * HOUR_MS]))
            .prop_map(|(number, timed, ahead)| Op::Record { number, timed, ahead }),
        3 => (1..160_u64).prop_map(Op::Many),
        4 => prop::sample::select(lengths).prop_map(Op::Pass),
        1 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
        1 => any::<bool>().prop_map(Op::Sweep),
    ]
}

/// Every id that was carried out, each time.
#[derive(Debug, Clone, Default)]
struct Naive {
    carried_out: Vec<(String, Millis)>,
    /// Times of ids, by their numbers.
    made_at: Vec<(u64, Millis)>,
    many: u64,
}

impl Naive {
    /// Each number with each lead of its maker's clock is another id.
    fn id(&mut self, number: u64, timed: bool, ahead: Millis, now: Millis) -> String {
        let number = number + 100 * ahead;
        if !timed {
            return format!("id{number}");
        }
        let known = self.made_at.iter().find(|(of, _)| *of == number).map(|(_, at)| *at);
        let made_at = known.unwrap_or(now + ahead);
        if known.is_none() {
            self.made_at.push((number, made_at));
        }
        ulid(made_at, number)
    }

    /// What was answered must be what can be answered.
    fn check(&mut self, org: &mut OrgBench, id: &str, ahead: Option<Millis>, answer: Result<bool, OrgError>) {
        let (now, kept) = (org.now, org.snapshot().kept);
        let before: Vec<Millis> = self.carried_out.iter().filter(|(of, _)| of == id).map(|(_, at)| *at).collect();
        match answer {
            Ok(true) => assert!(before.iter().any(|at| at + DAY_MS > now), "{id} was not carried out before"),
            Ok(false) => {
                assert!(before.is_empty() || ahead != Some(0), "{id} says its time and was carried out again");
                let gone = |at: &Millis| at + DAY_MS <= now || *at <= kept.forgotten_to;
                assert!(before.iter().all(gone), "{id} of {before:?} was carried out again at {now}: {kept:?}");
                self.carried_out.push((id.to_owned(), now));
            }
            Err(OrgError::RequestIdTooOld { made_at, known_from }) => {
                assert!(ahead.is_some() && made_at < known_from && known_from <= now, "{id} {made_at} {known_from}");
            }
            Err(OrgError::KeptIdsFull { most }) => assert!(kept.bytes >= most, "{kept:?}"),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases() / 10,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_id_is_carried_out_twice_that_is_known_or_says_its_time(
        history in prop::collection::vec(ops(), 1..40),
        bytes in 20_000..40_000_u32,
    ) {
        let mut org = bounded(bytes);
        let (mut naive, mut durable) = (Naive::default(), Naive::default());
        for op in history {
            match op {
                Op::Record { number, timed, ahead } => {
                    let id = naive.id(number, timed, ahead, org.now);
                    let answer = org.record("", spend(1), &id);
                    naive.check(&mut org, &id, timed.then_some(ahead), answer);
                }
                Op::Many(count) => {
                    for _ in 0..count {
                        naive.many += 1;
                        let id = format!("many{}", naive.many);
                        let answer = org.record_once(&id);
                        naive.check(&mut org, &id, None, answer);
                    }
                    durable = naive.clone();
                }
                Op::Pass(length) => org.now += length,
                Op::Flush => {
                    org.flush();
                    durable = naive.clone();
                }
                Op::Restart => {
                    org.restart();
                    durable = naive.clone();
                }
                Op::Crash => {
                    org.crash();
                    naive = Naive { made_at: naive.made_at, ..durable.clone() };
                }
                Op::Sweep(may_purge) => {
                    org.may_purge = may_purge;
                    org.sweep();
                    org.may_purge = true;
                    durable = naive.clone();
                }
            }
            let kept = org.inspect().map(|snapshot| snapshot.kept).unwrap_or_default();
            prop_assert!(kept.bytes <= u64::from(bytes) + SLACK, "{:?}", kept);
        }
    }
}
