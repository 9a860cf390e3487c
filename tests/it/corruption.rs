//! Damaged files: everything promised is there, or the node says that it is not. It never starts
//! afresh by itself, nor at the start after that.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tonic::Code;

use crate::{
    harness::{
        beside_another,
        chance::Chance,
        client::{plain, reason},
        copy_directory,
        node::{Node, Setup},
        poll, size,
    },
    load::{Load, Plan},
    oracle::Log,
    replay::{Broken, Plains, Terms, compare, kept_by},
};

/// The backstop's amount while a damaged directory is examined: what the emergency cap allows.
const CAP: u64 = 3;
const PAGE: usize = 4096;
const SAID_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    BitFlip,
    ZeroedPage,
    TruncatedTail,
    SnapshotBitFlip,
    EngineGone,
    GarbageSidecar,
    UnfinishedSnapshot,
}

const DAMAGES: [Damage; 7] = [
    Damage::BitFlip,
    Damage::ZeroedPage,
    Damage::TruncatedTail,
    Damage::SnapshotBitFlip,
    Damage::EngineGone,
    Damage::GarbageSidecar,
    Damage::UnfinishedSnapshot,
];

impl Damage {
    /// Damage that must change nothing.
    fn is_harmless(self) -> bool {
        matches!(self, Self::UnfinishedSnapshot)
    }

    /// Damages a copy; says what was done.
    fn inflict(self, dir: &Path, chance: &mut Chance) -> String {
        let db = dir.join("sled/db");
        match self {
            Self::BitFlip => flip_a_bit(&db, chance),
            Self::ZeroedPage => {
                let mut bytes = fs::read(&db).unwrap();
                let begin = chance.below(written(&bytes));
                let end = (begin + PAGE).min(bytes.len());
                bytes[begin..end].fill(0);
                fs::write(db, bytes).unwrap();
                format!("zeroed from {begin}")
            }
            Self::TruncatedTail => {
                let bytes = fs::read(&db).unwrap();
                let end = written(&bytes).saturating_sub(chance.between(1, 65_536) as usize);
                fs::write(db, &bytes[..end]).unwrap();
                format!("cut at {end} of {}", written(&bytes))
            }
            Self::SnapshotBitFlip => match snapshots(dir).first() {
                Some(snapshot) => flip_a_bit(snapshot, chance),
                None => "no snapshot".into(),
            },
            Self::EngineGone => {
                fs::remove_dir_all(dir.join("sled")).unwrap();
                "removed sled/".into()
            }
            Self::GarbageSidecar => {
                let garbage: Vec<u8> = (0..chance.between(0, 40)).map(|_| chance.next() as u8).collect();
                fs::write(dir.join("committed"), &garbage).unwrap();
                format!("{} bytes", garbage.len())
            }
            Self::UnfinishedSnapshot => {
                let bytes = vec![7; chance.below(2000)];
                fs::write(dir.join("sled/snap.00000000FFFFFFFF.generating"), &bytes).unwrap();
                format!("{} bytes", bytes.len())
            }
        }
    }
}

fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn flip_a_bit(path: &Path, chance: &mut Chance) -> String {
    let mut bytes = fs::read(path).unwrap();
    let (at, bit) = (chance.below(written(&bytes)), chance.below(8));
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    format!("bit {bit} of byte {at}")
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("sled")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

/// How a damaged directory showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Intact,
    /// Up, NOT_SERVING, with the reason.
    Refused,
    /// The process ended with an error.
    Ended,
    /// Up and serving, but the damaged orgs are refused by name.
    OrgsRefused,
    /// Up and serving something else than was promised.
    Silent,
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_harmless_or_said_and_never_a_fresh_start() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("corruption");
    let trials = size("TOLLGATE_CORRUPTION_TRIALS", 5);
    let began = Instant::now();
    for closed in [true, false] {
        let (dir, log) = filled(closed, &mut chance).await;
        let mut outcomes: BTreeMap<(Damage, Outcome), usize> = BTreeMap::new();
        for damage in DAMAGES {
            for _ in 0..trials {
                let outcome = trial(dir.path(), &log, damage, &mut chance).await;
                *outcomes.entry((damage, outcome)).or_default() += 1;
            }
        }
        println!("corruption, {}: {outcomes:?}", if closed { "closed" } else { "killed" });
        let noticed = outcomes.iter().any(|((_, outcome), _)| *outcome != Outcome::Intact);
        assert!(noticed, "no damage was ever noticed: this test sees nothing");
    }
    println!("corruption: {:?}", began.elapsed());
}

/// A directory full of promises, none in doubt.
async fn filled(closed: bool, chance: &mut Chance) -> (TempDir, Log) {
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path()).set("RATE__AMOUNT", 1_000_000_000).set("DURABILITY__WRITE_BEHIND_MS", 0);
    let mut log = Log::of(24);
    for calls in [300, 100] {
        let node = setup.start().await;
        compare(&node, &mut log, Terms { forgets: 0, older: 0 }, chance).await;
        let plan = Plan { calls: Some(calls), ..Plan::default() };
        let summary = Load::start(&node, &mut log, chance, plan).await.finish(&mut log).await;
        assert_eq!(summary.in_doubt, 0, "{summary:?}");
        let uncounted = log.orgs.values().flat_map(|org| &org.plains).filter(|plain| !plain.acknowledged).count();
        if uncounted > 0 {
            // The disk was slow and some were let through: what became of them is asked now.
            compare(&node, &mut log, Terms { forgets: 0, older: 0 }, chance).await;
        }
        if closed {
            node.terminate().await;
        } else {
            node.kill();
        }
    }
    (dir, log)
}

async fn trial(dir: &Path, log: &Log, damage: Damage, chance: &mut Chance) -> Outcome {
    let copied = TempDir::new().unwrap();
    copy_directory(dir, copied.path());
    let done = damage.inflict(copied.path(), chance);
    let what = format!("{damage:?}, {done}");
    let setup = Setup::at(copied.path()).set("RATE__AMOUNT", CAP);
    let outcome = look(&setup, log, &what).await;
    if damage.is_harmless() {
        assert_eq!(outcome, Outcome::Intact, "{what}");
    }
    assert_ne!(outcome, Outcome::Silent, "{what}: R-OPS-6: lost in silence");
    if matches!(damage, Damage::EngineGone | Damage::GarbageSidecar) {
        assert_ne!(outcome, Outcome::Intact, "{what}");
    }
    if outcome != Outcome::Intact {
        let again = look(&setup, log, &format!("{what}, at the second start")).await;
        // What was read once need not be read again, but refused once is refused until somebody acts.
        assert!(outcome == Outcome::OrgsRefused || again != Outcome::Intact, "{what}: then {again:?}");
    }
    outcome
}

async fn look(setup: &Setup, log: &Log, what: &str) -> Outcome {
    let node = match setup.try_start().await {
        Ok(node) => node,
        Err(ended) => {
            let text = ended.log.join("\n");
            assert!(ended.status.code() == Some(1) && !text.is_empty(), "{what}: {}: {text}", ended.status);
            return Outcome::Ended;
        }
    };
    let (code, body) = node.get("/readyz").await.unwrap();
    if code == 200 {
        return look_at_orgs(&node, log, what).await;
    }
    assert!(code == 503 && !node.is_serving().await, "{what}: {code}");
    assert!(body.starts_with("store ") && body.len() > 40, "{what}: the reason is missing: {body}");
    only_under_the_cap(&node, what).await;
    Outcome::Refused
}

/// Where nothing can be read a plain Acquire is let through only so often, and says so. It is of an org that
/// nobody has asked for: those with pools may have been read before the store failed, and their counts deny.
async fn only_under_the_cap(node: &Node, what: &str) {
    let mut gate = node.gate().await;
    for number in 1..=2 * CAP {
        let answer = gate.acquire(plain("nobody", "")).await.unwrap().into_inner();
        assert_eq!(answer.allowed, number <= CAP, "{what}: call {number}: {answer:?}");
        assert!(!answer.allowed || answer.fail_open[0].cause == "store_fault", "{what}: {answer:?}");
    }
}

async fn look_at_orgs(node: &Node, log: &Log, what: &str) -> Outcome {
    match kept_by(node, log, Plains::Counted).await {
        Ok(()) => Outcome::Intact,
        Err(Broken::Lost(org)) => {
            println!("SILENT LOSS, {what}: {org}");
            Outcome::Silent
        }
        Err(Broken::Refused(orgs)) => {
            for (org, status) in &orgs {
                assert_eq!(
                    (status.code(), reason(status).as_str()),
                    (Code::Unavailable, "STORE_UNAVAILABLE"),
                    "{what}"
                );
                let named = || async {
                    let text = node.process.log().join("\n");
                    (text.contains(&format!("{org}: ")) || text.contains("the store has failed")).then_some(())
                };
                poll(format!("{what}: the log says why {org} is refused"), SAID_WITHIN, named).await;
            }
            Outcome::OrgsRefused
        }
    }
}

/// A second node on the same directory would be two owners of every org.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let _beside = beside_another().await;
    let dir = TempDir::new().unwrap();
    let node = Setup::at(dir.path()).start().await;
    let mut gate = node.gate().await;
    let began = Instant::now();
    let Err(ended) = Setup::at(dir.path()).try_start().await else { panic!("two nodes on one directory") };
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(ended.status.code() == Some(1) && ended.log.join("\n").contains("another process"), "{ended:?}");
    assert!(gate.acquire(plain("org", "")).await.unwrap().into_inner().allowed);
    node.terminate().await;
}
