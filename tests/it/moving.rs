//! Export and import: the way from one data directory to another.

use std::fs;

use tempfile::TempDir;

use crate::{
    harness::{beside_another, chance::Chance, fsck_is_clean, node::Setup, offline, said},
    load::{Load, Plan},
    oracle::Log,
    replay::{Plains, Terms, compare, kept_by},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_imported_elsewhere_serves_the_same_counts_and_request_ids() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("export and import");
    let home = TempDir::new().unwrap();
    let (old, new, file) = (home.path().join("old"), home.path().join("new"), home.path().join("export.jsonl"));
    let setup = Setup::at(&old).set("RATE__AMOUNT", 1_000_000_000);
    let mut log = Log::of(24);
    let node = setup.start().await;
    let plan = Plan { calls: Some(100), ..Plan::default() };
    let summary = Load::start(&node, &mut log, &mut chance, plan).await.finish(&mut log).await;
    assert_eq!(summary.in_doubt, 0, "{summary:?}");
    node.terminate().await;

    let file_text = file.to_str().unwrap();
    let exported = offline("export", &old, &[file_text]);
    assert!(exported.status.success(), "{}", said(&exported));
    let imported = offline("import", &new, &[file_text]);
    assert!(imported.status.success(), "{}", said(&imported));
    fsck_is_clean(&new);
    let again = offline("export", &new, &[]);
    assert!(again.status.success(), "{}", said(&again));

    let node = setup.moved_to(&new).start().await;
    let found = compare(&node, &mut log, Terms { forgets: 0, older: usize::MAX }, &mut chance).await;
    println!("export and import: {} bytes, {found:?}", fs::metadata(&file).unwrap().len());
    node.terminate().await;

    let refused = offline("import", &old, &[file_text]);
    assert!(!refused.status.success(), "an import over what is there: {}", said(&refused));
    let refused = offline("import", &new, &[file_text]);
    assert!(!refused.status.success(), "a second import: {}", said(&refused));
    fsck_is_clean(&old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_export_is_not_imported() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("cut export");
    let home = TempDir::new().unwrap();
    let (old, file) = (home.path().join("old"), home.path().join("export.jsonl"));
    let setup = Setup::at(&old).set("RATE__AMOUNT", 1_000_000_000);
    let mut log = Log::of(4);
    let node = setup.start().await;
    let plan = Plan { calls: Some(20), ..Plan::default() };
    Load::start(&node, &mut log, &mut chance, plan).await.finish(&mut log).await;
    node.terminate().await;
    let exported = offline("export", &old, &[file.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", said(&exported));
    let whole = fs::read(&file).unwrap();
    for number in 0..5 {
        let cut = chance.below(whole.len() - 1);
        fs::write(&file, &whole[..cut]).unwrap();
        let target = home.path().join(format!("new-{number}"));
        let imported = offline("import", &target, &[file.to_str().unwrap()]);
        assert!(!imported.status.success(), "cut at {cut} of {}: {}", whole.len(), said(&imported));
        // Nothing half-imported may serve as if it were whole.
        if let Ok(node) = setup.moved_to(&target).try_start().await {
            let seen = kept_by(&node, &Log::of(4), Plains::Counted).await;
            assert!(!node.is_serving().await || seen.is_ok(), "cut at {cut}: half an import is served: {seen:?}");
        }
    }
}
