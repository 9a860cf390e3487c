//! The power goes: what the disk holds at that instant is all that is left.
//!
//! The node runs on a file system inside an image. It is stopped in mid-flight, the image is copied
//! as it is (what the kernel had not written yet is not in it), and another node starts on the copy.
//! This is what a kernel panic or a stopped machine leaves behind; it is not a disk that lies about
//! its cache. The same with acknowledgements before the sync has to lose some, or this test is blind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    harness::{
        beside_another,
        chance::Chance,
        disks::{Kernel, Mounted, run},
        fsck_is_clean,
        node::Setup,
        size,
    },
    load::{Load, Plan},
    oracle::Log,
    replay::{Broken, Plains, Terms, compare, kept_by},
};

const IMAGE_BYTES: u64 = 192 << 20;
const WRITE_BEHIND_MAX: u64 = 4096;
/// What was handed to the disk before the stop may still be on its way.
const QUIESCE: Duration = Duration::from_millis(400);
/// Two copies that agree are the image as it was.
const COPIES_MAX: usize = 20;

struct Laboratory {
    images: TempDir,
    /// The kernel writes nothing back by itself meanwhile.
    _writeback: Kernel,
}

impl Laboratory {
    fn open() -> Result<Self, String> {
        let images = TempDir::new_in("/dev/shm").map_err(|error| format!("/dev/shm: {error}"))?;
        let this = Self { _writeback: Kernel::set("vm/dirty_writeback_centisecs", "0")?, images };
        drop(Mounted::image(&this.new_image("try")?)?);
        Ok(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.images.path().join(name)
    }

    fn new_image(&self, name: &str) -> Result<PathBuf, String> {
        let image = self.path(name);
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        // Everything of the file system itself is laid out now, not by a thread of the kernel later.
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &image.to_string_lossy()])?;
        Ok(image)
    }

    /// The image as the disk holds it now.
    fn copy(&self, image: &Path, name: &str) -> PathBuf {
        let copy = self.path(name);
        let (from, to) = (image.to_string_lossy(), copy.to_string_lossy());
        for _ in 0..COPIES_MAX {
            run("cp", &["--sparse=always", &from, &to]).unwrap();
            let same = Command::new("cmp").args(["-s", &from, &to]).status().unwrap().success();
            if same {
                return copy;
            }
        }
        panic!("the image did not come to rest");
    }
}

fn setup(data: PathBuf) -> Setup {
    Setup::at(data).set("RATE__AMOUNT", 1_000_000_000).set("DURABILITY__WRITE_BEHIND_MAX", WRITE_BEHIND_MAX)
}

/// A directory that has a store: on a busy machine the power may go before the first commit.
async fn begin(image: &Path) {
    let mounted = Mounted::image(image).unwrap();
    setup(mounted.path().join("data")).start().await.terminate().await;
}

/// Runs under load on `image` until the power goes; answers what is left and the promises made.
async fn cut(
    lab: &Laboratory,
    image: &Path,
    left: &str,
    setup: impl Fn(PathBuf) -> Setup,
    log: &mut Log,
    chance: &mut Chance,
) -> (PathBuf, usize) {
    let mounted = Mounted::image(image).unwrap();
    let setup = setup(mounted.path().join("data"));
    let mut node = setup.start().await;
    let load = Load::start(&node, log, chance, Plan::default()).await;
    tokio::time::sleep(chance.millis(200, 900)).await;
    node.process.freeze().await;
    // The image has to come to rest; nothing can be asked when it has.
    tokio::time::sleep(QUIESCE).await;
    let copy = lab.copy(image, left);
    node.process.kill();
    let summary = load.finish(log).await;
    assert!(summary.strange.is_empty(), "{:?}", summary.strange);
    (copy, summary.promised)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_promised() {
    let _beside = beside_another().await;
    let lab = match Laboratory::open() {
        Ok(lab) => lab,
        Err(reason) => return println!("skipped, power cuts need root and loop mounts: {reason}"),
    };
    let mut chance = Chance::new("power cut");
    let began = Instant::now();
    promised_is_kept(&lab, &mut chance).await;
    the_control_loses(&lab, &mut chance).await;
    println!("power cuts: {:?}", began.elapsed());
}

async fn promised_is_kept(lab: &Laboratory, chance: &mut Chance) {
    let cuts = size("TOLLGATE_POWER_CUTS", 10);
    let mut log = Log::of(24);
    let mut image = lab.new_image("0").unwrap();
    begin(&image).await;
    let (mut promised, mut forgotten, mut doubts) = (0, 0, (0, 0));
    for number in 1..=cuts {
        let (left, more) = cut(lab, &image, &number.to_string(), setup, &mut log, chance).await;
        promised += more;
        fs::remove_file(&image).unwrap();
        let mounted = Mounted::image(&left).unwrap();
        let data = mounted.path().join("data");
        fsck_is_clean(&data);
        let node = setup(data).start().await;
        // The control is judged by this: here it has to find nothing.
        kept_by(&node, &log, Plains::MayBeForgotten).await.unwrap();
        let terms = Terms { forgets: WRITE_BEHIND_MAX, older: if number == cuts { usize::MAX } else { 10 } };
        let found = compare(&node, &mut log, terms, chance).await;
        forgotten += found.forgotten;
        doubts = (doubts.0 + found.doubts_there, doubts.1 + found.doubts);
        node.terminate().await;
        image = left;
    }
    println!("power cuts: {cuts}, promised {promised}, lost 0; in doubt {doubts:?}; plain forgotten {forgotten}");
}

/// Acknowledging before the sync: some of these cuts lose what was promised.
async fn the_control_loses(lab: &Laboratory, chance: &mut Chance) {
    let cuts = size("TOLLGATE_POWER_CUT_CONTROLS", 6);
    let without_sync = |data| setup(data).with("--without-sync");
    let (mut unopened, mut refused, mut lossy, mut whole) = (0, 0, 0, 0);
    let mut number = 0;
    // A busy machine promises so little that a cut may find nothing to lose: some more of them, then.
    while number < cuts || (lossy + refused + unopened == 0 && number < 5 * cuts) {
        number += 1;
        let image = lab.new_image(&format!("control-{number}")).unwrap();
        begin(&image).await;
        let mut log = Log::of(24);
        let (left, _) = cut(lab, &image, &format!("left-{number}"), without_sync, &mut log, chance).await;
        let mounted = Mounted::image(&left).unwrap();
        match setup(mounted.path().join("data")).try_start().await {
            Ok(node) if node.is_serving().await => match kept_by(&node, &log, Plains::MayBeForgotten).await {
                Ok(()) => whole += 1,
                Err(Broken::Lost(_)) => lossy += 1,
                Err(Broken::Refused(_)) => refused += 1,
            },
            _ => unopened += 1,
        }
        drop(mounted);
        fs::remove_file(&image).unwrap();
        fs::remove_file(&left).unwrap();
    }
    println!(
        "power cuts without a sync: {number}, lost some {lossy}, refused orgs {refused}, did not open {unopened}, whole {whole}"
    );
    assert!(lossy + refused + unopened > 0, "nothing was lost without a sync: this test sees nothing");
}
