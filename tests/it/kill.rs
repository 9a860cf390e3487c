//! `kill -9` at random moments, over and over, on one data directory.

use std::time::Instant;

use tempfile::TempDir;

use crate::{
    harness::{
        beside_another,
        chance::Chance,
        fsck_is_clean,
        node::{Node, Setup},
        size,
    },
    load::{Load, Plan, Pooled, Summary},
    oracle::Log,
    replay::{Found, Terms, compare},
};

/// After this many kills the directory is looked through as a whole and a new one is begun, so that
/// no org outgrows its memory of request ids.
const KILLS_PER_DIRECTORY: usize = 25;
const ORGS: usize = 24;
/// Older calls of each org that are asked again after every kill; all of them at the end.
const OLDER: usize = 10;

#[derive(Debug, Default)]
struct Total {
    kills: usize,
    in_open: usize,
    promised: usize,
    late: usize,
    pools: Pooled,
    found: Found,
}

impl Total {
    fn add(&mut self, found: Found) {
        self.found.doubts += found.doubts;
        self.found.doubts_there += found.doubts_there;
        self.found.replayed += found.replayed;
        self.found.forgotten += found.forgotten;
        self.found.forgotten_max = self.found.forgotten_max.max(found.forgotten_max);
        self.found.unkeyed += found.unkeyed;
        self.found.unkeyed_there += found.unkeyed_there;
        self.found.used_up = self.found.used_up.max(found.used_up);
        self.found.said = self.found.said.max(found.said);
        self.found.avoided = self.found.avoided.max(found.avoided);
    }

    fn count(&mut self, summary: &Summary) {
        self.kills += 1;
        self.promised += summary.promised;
        self.late += summary.late;
        self.pools.picked += summary.pools.picked;
        self.pools.reported += summary.pools.reported;
        self.pools.configured += summary.pools.configured;
        self.pools.denied += summary.pools.denied;
    }
}

/// `write_behind_ms` and `write_behind_max` of one directory's life.
#[derive(Debug, Clone, Copy)]
struct WriteBehind {
    ms: u32,
    max: u64,
}

async fn kill_over_and_over(kills: usize, modes: &[WriteBehind], chance: &mut Chance) -> Vec<Total> {
    let mut totals: Vec<_> = modes.iter().map(|_| Total::default()).collect();
    let each = KILLS_PER_DIRECTORY.min(kills.div_ceil(modes.len()));
    for (life, begin) in (0..kills).step_by(each).enumerate() {
        let mode = life % modes.len();
        let cycles = each.min(kills - begin);
        one_directory(cycles, modes[mode], chance, &mut totals[mode]).await;
    }
    totals
}

async fn one_directory(kills: usize, mode: WriteBehind, chance: &mut Chance, total: &mut Total) {
    let dir = TempDir::new().unwrap();
    let setup = Setup::at(dir.path())
        .set("RATE__AMOUNT", 1_000_000_000)
        .set("DURABILITY__WRITE_BEHIND_MS", mode.ms)
        .set("DURABILITY__WRITE_BEHIND_MAX", mode.max);
    let mut log = Log::of(ORGS);
    let mut node = setup.start().await;
    let before = total.promised;
    for kill in 1..=kills {
        total.count(&killed_under_load(node, &mut log, chance).await);
        if chance.percent(20) {
            let mut opening = setup.spawn();
            tokio::time::sleep(chance.millis(0, 120)).await;
            opening.kill();
            total.kills += 1;
            total.in_open += 1;
        }
        // On a busy machine the first kill may come before the first commit: there is no store yet.
        if dir.path().join("sled/db").exists() || total.promised > before {
            fsck_is_clean(dir.path());
        }
        node = setup.start().await;
        // Without a write-behind a reply waits, also that of a plain Acquire.
        let forgets = if mode.ms == 0 { 0 } else { mode.max };
        let older = if kill == kills { usize::MAX } else { OLDER };
        total.add(compare(&node, &mut log, Terms { forgets, older }, chance).await);
    }
    node.terminate().await;
    fsck_is_clean(dir.path());
}

/// Answers what was promised before.
async fn killed_under_load(node: Node, log: &mut Log, chance: &mut Chance) -> Summary {
    let load = Load::start(&node, log, chance, Plan::default()).await;
    // The moment of the kill: random on purpose, nothing is waited for.
    tokio::time::sleep(chance.millis(50, 1500)).await;
    node.kill();
    let summary = load.finish(log).await;
    assert!(summary.strange.is_empty(), "{:?}", summary.strange);
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_promised_and_forgets_at_most_what_is_written_behind() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("kill -9");
    let (kills, began) = (size("TOLLGATE_KILL_CYCLES", 50), Instant::now());
    let modes = [WriteBehind { ms: 10, max: 4096 }, WriteBehind { ms: 2_000, max: 40 }];
    let totals = kill_over_and_over(kills, &modes, &mut chance).await;
    for (mode, total) in modes.iter().zip(&totals) {
        println!("kill -9, {mode:?}: {total:?}");
    }
    println!("kill -9: {:?}", began.elapsed());
    let forgotten: u64 = totals.iter().map(|total| total.found.forgotten).sum();
    assert!(forgotten > 0, "no kill hit an unflushed admission: this test sees nothing");
    assert!(totals.iter().map(|total| total.promised).sum::<usize>() > 20 * kills, "hardly anything was promised");
    let late: usize = totals.iter().map(|total| total.late).sum();
    assert!(late > kills / 10, "hardly any hold was committed after it had expired: {late}");
    let picked: usize = totals.iter().map(|total| total.pools.picked).sum();
    assert!(picked > kills, "hardly any account was picked: {picked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_write_behind_a_kill_forgets_nothing() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("kill -9 without write-behind");
    let kills = size("TOLLGATE_KILL_CYCLES", 50).div_ceil(5);
    let totals = kill_over_and_over(kills, &[WriteBehind { ms: 0, max: 4096 }], &mut chance).await;
    println!("kill -9 without write-behind: {totals:?}");
    assert_eq!(totals[0].found.forgotten, 0);
}
