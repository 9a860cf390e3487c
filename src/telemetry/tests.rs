//! What is registered is there from the start, and documented.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    domain::gateways::{Gateways, Rule},
    testing::{Node, node, rate_of},
};

/// The names that the code registers, with the kind of each: a counter is `true`.
fn registered() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = BTreeSet::new();
    let files = fs::read_dir(root.join("telemetry")).unwrap().map(|entry| entry.unwrap().path());
    for file in files.chain([root.join("telemetry.rs")]).filter(|file| !file.ends_with("tests.rs")) {
        let text = fs::read_to_string(&file).unwrap();
        let before = if file.ends_with("process.rs") { "process" } else { "tollgate" };
        for call in text.split(".register(").skip(1) {
            let call = call.trim_start();
            if let Some((name, _)) = call.strip_prefix('"').and_then(|call| call.split_once('"')) {
                let is_convention = name.starts_with("rpc_server_");
                let before = if name == "build" { "tollgate" } else { before };
                names.insert(if is_convention { name.to_owned() } else { format!("{before}_{name}") });
            }
        }
    }
    names
}

/// As the text has them: without what the kind adds.
fn exposed(text: &str) -> BTreeSet<String> {
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    families.filter_map(|family| family.split(' ').next()).map(str::to_owned).collect()
}

/// What begins with the first row of the configuration, or the first message, has begun.
fn begin(node: &Node) {
    let rule = Rule {
        org: String::new(),
        scopes: Default::default(),
        request_id: None,
        cost: Default::default(),
        limit: None,
        is_shadow: false,
    };
    node.metrics.begin_gateways(&Gateways { envoy: [("edge".to_owned(), rule)].into(), ..Gateways::default() });
}

#[tokio::test(start_paused = true)]
async fn every_family_has_series_from_the_start() {
    let node = node(rate_of(10)).await;
    begin(&node);
    let text = node.metrics.render(node.service.readings());
    let (known, there) = (registered(), exposed(&text));
    assert!(known.len() > 60, "{known:?}");
    assert_eq!(known.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "R-OPS-3: without a series");
    assert_eq!(there.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test(start_paused = true)]
async fn every_family_is_documented_by_the_name_that_a_query_has() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let node = node(rate_of(10)).await;
    begin(&node);
    let text = node.metrics.render(node.service.readings());
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let queried = kinds.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    });
    let named = |name: &String| {
        docs.match_indices(name.as_str())
            .any(|(at, _)| !docs[at + name.len()..].starts_with(|c: char| c == '_' || c.is_alphanumeric()))
    };
    let missing: Vec<String> = queried.filter(|name| !named(name)).collect();
    assert_eq!(missing, Vec::<String>::new(), "R-OPS-3");
}
