use super::*;
use crate::{
    domain::rows::Row,
    ports::OrgStore,
    store::{
        conformance::{commit, head_with_journal, stored, write},
        samples::{T0, entries, rows},
        sled::{OpenError, tests::start_at},
    },
};

async fn exported() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", 7, rows())).await.unwrap();
    let entries = (0..40).flat_map(|_| entries()).collect();
    let large = Row::Journal(crate::domain::rows::JournalRow { seq: 1, at: T0, entries });
    commit(&*store, write("large", 1, vec![head_with_journal(1), large])).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let mut out = Vec::new();
    let rows = export(dir.path(), &mut out).unwrap().rows;
    assert_eq!(rows, out.iter().filter(|byte| **byte == b'\n').count() as u64 - 1);
    out
}

#[tokio::test]
async fn an_import_gives_the_same_store_byte_for_byte() {
    let first = exported().await;
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("restored");
    import(&copy, &mut first.as_slice()).unwrap();
    let mut second = Vec::new();
    export(&copy, &mut second).unwrap();
    assert_eq!(String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
    let store = start_at(&copy);
    assert_eq!(stored(&*store, "acme").await.len(), rows().len());
    assert_eq!(stored(&*store, "large").await.len(), 2);
}

#[tokio::test]
async fn every_kind_of_row_is_in_an_export_and_readable_by_people() {
    let text = String::from_utf8(exported().await).unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Meta | Kind::LongJournalPart)) {
        assert!(text.contains(&format!("{{\"kind\":\"{}\"", kind.name())), "{}", kind.name());
    }
    for part in [
        "{\"format\":\"tollgate-export\",\"version\":1,\"group\":2,\"mark\":{\"service\":",
        "\"window\":{\"calendar\":\"month\"}",
        "\"id\":\"0123456789abcdef0123456789abcdef\"",
        "\"amounts\":[{\"meter\":\"executions\",\"amount\":1},{\"meter\":\"spend\",\"amount\":50000}]",
        "\"outcome\":{\"admitted\":{\"decision\":\"ffffffffffffffffffffffffffffffff\"",
        "\"frozen\":\"abuse, see \\\"ticket\\\"\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[tokio::test]
async fn a_directory_that_holds_anything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("committed"), b"x").unwrap();
    let error = import(dir.path(), &mut exported().await.as_slice()).unwrap_err();
    assert!(error.0.contains("it holds committed"), "{error}");
}

#[tokio::test]
async fn a_bad_line_is_named_and_no_node_starts_on_half_of_it() {
    let good = String::from_utf8(exported().await).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let replaced = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let org_with_space = lines[2].replace("\"org\":\"large\"", "\"org\":\"la rge\"");
    for (text, named) in [
        (String::new(), "line 1: the export is empty"),
        (
            replaced(0, "{\"format\":\"other\",\"version\":1,\"group\":0,\"mark\":null}"),
            "line 1: this is \"other version 1\"",
        ),
        (replaced(2, "{\"kind\":"), "line 3: "),
        (replaced(2, &org_with_space), "line 3: org \"la rge\" is not allowed"),
        (replaced(2, lines[1]), "line 3: \"acme: Head\" is not behind the row before it"),
        (replaced(1, &lines[1].replace("\"seq\":7", "\"seq\":7,\"sqe\":7")), "line 2: "),
        (good.trim_end().to_owned(), "the export is cut short"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("restored");
        let error = import(&target, &mut text.as_bytes()).unwrap_err();
        assert!(error.0.contains(named), "{error} should say {named}");
        if target.join("sled").exists() {
            let refused = open(&target, &SledOptions::default()).unwrap_err();
            assert!(matches!(&refused, OpenError::Quarantined { note } if note.contains("import again")), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_row_that_can_not_be_read_stops_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let store = start_at(dir.path());
    commit(&*store, write("acme", 7, rows())).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let opened = open_as_it_is(dir.path()).unwrap();
    let mut changes = Changes::default();
    changes.put(vec![Kind::Head.byte(), 1, b'x'], vec![1, 2, 3]);
    opened.engine.apply(changes).unwrap();
    drop(opened);
    let error = export(dir.path(), &mut Vec::new()).unwrap_err();
    assert!(error.0.contains("\"x: Head\" is not readable"), "{error}");
}
