//! The house rules, as a test: who may import whom, how long things may be, what may not be
//! written, and that what the documents promise exists. Every rule is a function from a file to its
//! breaches, and `every_rule_can_fail` feeds each one a file that breaks it.

#[path = "tidy/catalogue.rs"]
mod catalogue;
#[path = "tidy/language.rs"]
mod language;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/source.rs"]
mod source;

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::LazyLock};

use promises::{missing, rules, targets, verbs};
use source::{Source, blank, files, head, item_end};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;

/// Who may import whom inside this crate; the longest matching module decides, and a module may
/// always import itself. A module that is not listed here is a breach: it needs a place first.
const MODULES: [(&str, &[&str]); 36] = [
    // The rules themselves.
    ("bounds", &[]),
    ("file", &[]),
    ("causes", &[]),
    // What is shared by answers; alone, because the client has the messages without the domain.
    ("limit_texts", &[]),
    ("domain", &["bounds", "limit_texts"]),
    ("ports", &["domain"]),
    // Wraps what the domain and the ports refuse with.
    ("error", &["auth", "bounds", "domain", "ports"]),
    // How long calls wait for a processor: what reads connections asks it, and what decides.
    ("turns", &[]),
    // The inside.
    ("actors", &["bounds", "cluster", "domain", "error", "ports", "turns"]),
    ("service", &["actors", "auth", "bounds", "cluster", "domain", "error", "peer", "ports", "telemetry", "turns"]),
    // Adapters.
    ("clock", &["domain", "ports"]),
    ("store", &["bounds", "clock", "domain", "ports"]),
    // Its rooms: what is stored knows no engine, a dump knows the port, and bytes stay in one family.
    ("store::kinds", &["bounds", "domain"]),
    ("store::dump", &["domain", "ports", "store::kinds"]),
    (
        "store::kv",
        &["bounds", "clock", "domain", "ports", "store::dump", "store::gaps", "store::kinds", "store::reply"],
    ),
    (
        "store::postgres",
        &["bounds", "causes", "domain", "ports", "store::dump", "store::gaps", "store::kinds", "store::reply"],
    ),
    ("billing", &["domain", "https", "ports", "webhook"]),
    ("https", &[]),
    ("webhook", &["causes", "domain", "https", "ports", "wire"]),
    // How nodes that share a store spread the orgs among them: its lease and placement are pure.
    ("cluster", &["bounds", "domain", "ports"]),
    ("config", &["auth", "bounds", "domain"]),
    // Metrics are labelled with the domain's own names for codes, gates and causes, and take over what
    // the billing check counts.
    ("telemetry", &["actors", "bounds", "domain", "ports", "turns"]),
    // Fronts.
    ("wire", &["auth", "bounds", "domain", "error", "limit_texts"]),
    ("rpc", &["auth", "cluster", "domain", "error", "peer", "service", "turns", "wire"]),
    // The door of both listeners: it does not know what is served behind it.
    ("net", &["bounds", "file", "turns"]),
    // Who calls, whichever front asks.
    ("auth", &["bounds", "causes", "clock", "domain", "file", "https", "net", "ports"]),
    ("front", &["auth", "bounds", "domain", "error", "net", "rpc", "service", "turns", "wire"]),
    // How a call reaches the node that owns its org: what forwards knows no rpc by its types, what serves does.
    ("peer", &["auth", "bounds", "causes", "domain", "error", "net", "ports", "wire"]),
    ("peer::server", &["auth", "domain", "error", "net", "peer", "rpc", "service", "turns", "wire"]),
    ("http", &["auth", "billing", "domain", "front", "net", "rpc", "service", "webhook", "wire"]),
    // What planes in Rust call a node with: it is compiled without everything above but the messages.
    ("client", &["causes", "wire"]),
    // The command.
    // The wall clock is what "in 5 minutes" is counted from on the reader's screen.
    ("cli", &["auth", "bounds", "clock", "domain", "rpc", "wire"]),
    ("cli::local", &["app", "auth", "bounds", "cli", "config", "store", "telemetry"]),
    ("cli::remote", &["bounds", "cli", "domain", "rpc", "wire"]),
    // The composition root sees both sides of every port.
    (
        "app",
        &[
            "actors",
            "auth",
            "billing",
            "bounds",
            "clock",
            "cluster",
            "config",
            "domain",
            "front",
            "http",
            "net",
            "peer",
            "ports",
            "service",
            "store",
            "telemetry",
            "turns",
            "webhook",
        ],
    ),
    ("", &["cli"]),
];

/// Dependencies that only some modules may name.
const CRATES: [(&str, &[&str]); 36] = [
    ("ractor", &["actors"]),
    ("moka", &["actors", "auth"]),
    ("sled", &["store::kv"]),
    ("bincode", &["store::kv"]),
    ("crc32fast", &["store::kv"]),
    ("tokio_postgres", &["store::postgres"]),
    ("tonic", &["wire", "client", "front", "http", "net", "peer", "cli"]),
    ("hyper", &["net", "front", "http"]),
    ("hyper_util", &["net"]),
    ("nix", &["app", "cli", "clock", "net", "telemetry"]),
    ("tonic_prost", &["front"]),
    ("tonic_types", &["wire", "client", "front", "cli"]),
    ("tonic_health", &["front", "cli"]),
    ("tonic_reflection", &["front"]),
    ("tonic_web", &["front"]),
    ("tower_http", &["front"]),
    ("tower", &["front"]),
    ("prost", &["wire", "rpc", "front", "peer", "cli::connect", "cli::output"]),
    ("prost_reflect", &["wire"]),
    ("axum", &["http"]),
    ("reqwest", &["auth::fetch", "billing", "https", "webhook"]),
    ("ring", &["auth::jwks"]),
    ("rustls", &["auth::fetch", "https", "net", "store::postgres"]),
    ("tokio_rustls", &["net", "store::postgres"]),
    ("x509_parser", &["net"]),
    ("rcgen", &["cli::cert"]),
    ("hmac", &["webhook"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli::top"]),
    ("prometheus_client", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("prost_types", &["rpc"]),
    ("percent_encoding", &["front"]),
    ("toml", &["auth", "cli::context", "config"]),
];

/// The dependencies that the pure core may name: calendar arithmetic, without a clock, a hash that means the same
/// for ever, and lists without a heap.
const PURE: [&str; 4] = ["chrono", "chrono_tz", "sha2", "smallvec"];

/// Every file under `src/`, read once for all rules.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let root = Path::new(ROOT);
    let rust = files(root, "src").into_iter().filter(|path| path.ends_with(".rs"));
    let read = |path: String| Source::new(&path, &fs::read_to_string(root.join(&path)).expect("a readable file"));
    let sources: Vec<Source> = rust.map(read).collect();
    let tests: Vec<Vec<String>> = sources.iter().flat_map(Source::test_modules).collect();
    let of_tests = |source: &Source| tests.iter().any(|test| source.modules.starts_with(test));
    sources.into_iter().map(|source| if of_tests(&source) { source.into_test() } else { source }).collect()
});

static DEPENDENCIES: LazyLock<BTreeSet<String>> = LazyLock::new(dependencies);

fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).expect("Cargo.toml");
    let section =
        manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).expect("dependencies");
    let names = section.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    names.filter_map(|line| line.split([' ', '=']).next()).map(|name| name.replace('-', "_")).collect()
}

/// The longest of `among` that `path` (`grpc::gate`) lies in.
fn home<'a>(path: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let holds = |module: &&str| module.is_empty() || path == *module || path.starts_with(&format!("{module}::"));
    among.filter(holds).max_by_key(|module| module.len())
}

fn imports(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let own = source.modules.join("::");
    let known = MODULES.iter().map(|(module, _)| *module).filter(|module| module.is_empty() == own.is_empty());
    let Some(place) = home(&own, known) else {
        return vec![format!("{}: the module has no row in the import table", source.path)];
    };
    let may = MODULES.iter().find(|(module, _)| *module == place).map_or(&[][..], |(_, may)| may);
    let breach = |path: &String| {
        let inside = path.strip_prefix("crate::").or_else(|| path.strip_prefix("tollgate::"))?;
        let fits = |module: &str| inside == module || inside.starts_with(&format!("{module}::"));
        let allowed =
            fits(place) || head(inside) == head(place) && !place.contains("::") || may.iter().any(|m| fits(m));
        (!allowed).then(|| format!("{}: {place} may not import {path}", source.path))
    };
    source.paths().iter().filter_map(breach).collect()
}

fn crates(source: &Source) -> Vec<String> {
    let own = source.modules.join("::");
    let breach = |path: &String| {
        let name = head(path);
        let kept = CRATES.iter().find(|(kept, _)| *kept == name);
        let out_of_place = kept.is_some_and(|(_, homes)| home(&own, homes.iter().copied()).is_none());
        let impure = head(&own) == "domain" && DEPENDENCIES.contains(name) && !PURE.contains(&name);
        (out_of_place || impure).then(|| format!("{}: {own} may not name {path}", source.path))
    };
    source.paths().iter().filter_map(breach).collect()
}

/// Only clock.rs reads the machine's clocks, and that of the client, which is compiled without it. The runtime's own, which tests can pause, is another.
fn clocks(source: &Source) -> Vec<String> {
    let paths = source.paths();
    let imports_std = paths.iter().any(|path| path == "std::time::Instant");
    let reads = |path: &&String| {
        path.ends_with("SystemTime::now")
            || path.as_str() == "std::time::Instant::now"
            || (imports_std && path.as_str() == "Instant::now")
    };
    let named = source.code.contains("SystemTime::now") || imports_std && source.code.contains("Instant::now");
    let is_clock = ["src/clock.rs", "src/client/clock.rs"].contains(&source.path.as_str());
    if is_clock || !(named || paths.iter().any(|path| reads(&path))) {
        return Vec::new();
    }
    vec![format!("{}: reads a clock; only src/clock.rs does, time is an argument", source.path)]
}

fn opening(source: &Source) -> Vec<String> {
    if source.is_test() || source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}: does not begin with a //! that says why it exists", source.path)]
}

fn names(source: &Source) -> Vec<String> {
    let bad = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];
    let breach = |name: &&String| bad.contains(&name.as_str());
    let named = source.modules.iter().filter(breach);
    named.map(|name| format!("{}: the name {name} says nothing", source.path)).collect()
}

fn length(source: &Source) -> Vec<String> {
    // Tests come last in a file, so what stands before them is its length without them.
    let lines = source.code.trim_end().lines().count();
    if lines <= FILE_LINES {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines without tests, at most {FILE_LINES}", source.path)]
}

/// Tests are tables and stories, and may be long.
fn functions(source: &Source) -> Vec<String> {
    let mut long = Vec::new();
    let code = &source.code;
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let lines = code[at..at + item_end(&code[at..])].lines().count();
        if lines > FUNCTION_LINES {
            long.push(format!("{}: {name} has {lines} lines, at most {FUNCTION_LINES}", source.path));
        }
    }
    long
}

/// Tests wait for what happens, never for time to pass.
fn sleeps(source: &Source) -> Vec<String> {
    let lines = source.test_code.lines().enumerate().filter(|(_, line)| line.contains("sleep("));
    lines.map(|(at, _)| format!("{}:{}: a test sleeps", source.path, at + 1)).collect()
}

/// What stays out of every file. Written in halves, so that this file passes its own rule.
fn words(path: &str, text: &str) -> Vec<String> {
    let banned: [String; 8] = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["db", "g!("].concat(),
        ["#[ig", "nore"].concat(),
        ["iss", "ue #"].concat(),
        ["as requ", "ested"].concat(),
        ["/wo", "rk/"].concat(),
    ];
    let mut breaches = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in banned.iter().filter(|word| holds_word(line, word)) {
            breaches.push(format!("{path}:{}: {word}", at + 1));
        }
    }
    breaches
}

fn holds_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(inside);
        let after = line[at + word.len()..].chars().next().is_some_and(inside);
        !(before && word.starts_with(inside) || after && word.ends_with(inside))
    })
}

/// FNV-1a, 64 bits: enough to notice an edit.
fn fingerprint(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Every golden file and its fingerprint, as tests/golden.sums has them.
fn golden() -> String {
    let root = Path::new(ROOT);
    let line = |path: String| format!("{}  {path}\n", fingerprint(&fs::read(root.join(&path)).expect("a golden file")));
    files(root, "tests/golden").into_iter().map(line).collect()
}

/// Documents for people, which say what to run and where things are.
const GUIDES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/operations.md",
    "docs/architecture.md",
    "docs/benchmarks.md",
    "docs/http.md",
    "docs/python.md",
];

/// Every text of the project below `places`, as path and content. What is not UTF-8 is no text.
fn texts<'a>(places: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    let root = Path::new(ROOT);
    let paths = places.into_iter().flat_map(|place| files(root, place));
    let text = |path: String| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text));
    paths.filter_map(text).collect()
}

/// The paths of all files in Rust.
fn rust_files() -> Vec<String> {
    let places = ["src", "tests", "benches", "examples", "build.rs"].into_iter();
    places.flat_map(|place| files(Path::new(ROOT), place)).filter(|path| path.ends_with(".rs")).collect()
}

fn all_texts() -> Vec<(String, String)> {
    let places = ["src", "tests", "proto", "docs", "scripts", "benches", "examples", "deploy", ".ci", ".github"];
    let alone = ["Cargo.toml", "Makefile", "build.rs", "clippy.toml", "deny.toml", "tollgate.example.toml"];
    texts(places.into_iter().chain(alone).chain(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]))
}

/// The files whose code, apart from tests, holds one of the words.
fn naming(sources: &[Source], words: &[&String]) -> Vec<String> {
    let named = |source: &&Source| words.iter().any(|word| source.code.lines().any(|line| holds_word(line, word)));
    sources.iter().filter(named).map(|source| source.path.clone()).collect()
}

fn assert_none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

fn check(rule: fn(&Source) -> Vec<String>) {
    assert!(SOURCES.len() > 40, "the files were not found");
    assert_none(SOURCES.iter().flat_map(rule).collect());
}

#[test]
fn modules_import_only_what_the_table_allows() {
    check(imports);
}

#[test]
fn each_dependency_is_named_only_where_it_belongs() {
    check(crates);
}

#[test]
fn only_the_clock_module_reads_a_clock() {
    check(clocks);
}

#[test]
fn every_file_says_why_it_exists() {
    check(opening);
}

#[test]
fn module_names_say_something() {
    check(names);
}

#[test]
fn files_are_short() {
    check(length);
}

#[test]
fn functions_are_short() {
    check(functions);
}

#[test]
fn unit_tests_do_not_sleep() {
    check(sleeps);
}

#[test]
fn nothing_is_left_over_in_any_file() {
    assert_none(all_texts().iter().flat_map(|(path, text)| words(path, text)).collect());
}

#[test]
fn every_cited_requirement_is_in_the_catalogue() {
    let [(_, catalogue)] = &texts([catalogue::PATH])[..] else { panic!("{} is missing", catalogue::PATH) };
    let known: BTreeSet<String> = catalogue::defined(catalogue).into_iter().collect();
    assert!(known.contains("R-PIPE-1") && known.contains("I1"), "the catalogue was not understood: {known:?}");
    // This file and its parts cite what does not exist.
    let citing = all_texts().into_iter().filter(|(path, _)| !path.starts_with("tests/tidy"));
    let unresolved = citing.flat_map(|(path, text)| catalogue::unresolved(&path, &text, &known));
    assert_none(catalogue::repeated(catalogue).into_iter().chain(unresolved).collect());
}

#[test]
fn documents_are_in_plain_english() {
    let documents = texts(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "proto"]);
    assert!(documents.len() > 15, "the documents were not found");
    let all = documents.into_iter().chain(texts(["tollgate.example.toml"]));
    assert_none(all.flat_map(|(path, text)| language::dialect(&path, &text)).collect());
}

#[test]
fn comments_and_messages_are_in_plain_english() {
    // This file and its parts quote what is replaced.
    let code = texts(["src", "benches", "examples", "tests"]).into_iter();
    let code = code.filter(|(path, _)| path.ends_with(".rs") && !path.starts_with("tests/tidy"));
    assert_none(code.flat_map(|(path, text)| language::dialect_in_code(&path, &text)).collect());
}

#[test]
fn every_command_in_the_guides_exists() {
    let help = Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("--help").output().expect("the binary runs");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let known: BTreeSet<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(known.contains("serve"), "the help was not understood: {known:?}");
    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile")).expect("a Makefile");
    let known_targets = rules(&makefile);
    for (path, text) in texts(GUIDES) {
        let named = verbs(&text);
        assert!(path != "README.md" || named.contains("serve"), "{path} does not say how to run a node: {named:?}");
        let unknown: Vec<&String> = named.iter().filter(|verb| !known.contains(verb.as_str())).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}; the command has {known:?}");
        let made = targets(&text);
        let unknown: Vec<&String> = made.difference(&known_targets).collect();
        assert!(unknown.is_empty(), "{path} makes {unknown:?}; the Makefile has no such target");
    }
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let documents = texts(GUIDES.into_iter().chain(["CHANGELOG.md", "docs/requirements.md", "docs/adr"]));
    let sources = rust_files();
    assert_none(documents.iter().flat_map(|(path, text)| missing(Path::new(ROOT), &sources, path, text)).collect());
}

/// To add a kind of row touches its line, its owner and the repair of a clock in the domain, its line and its file
/// in the store.
#[test]
fn a_stored_kind_is_named_in_five_files() {
    const FILES: usize = 5;
    let sources = &*SOURCES;
    for (kind, byte) in [("Budget", "0x1e"), ("TrialEnded", "0x20")] {
        let (line, stored) = (format!("{kind} = {byte}"), format!("{kind}V2"));
        let paths = ["Row", "RowKey", "RowKind"].map(|of| format!("{of}::{kind}"));
        let row = format!("{kind}({kind}Row)");
        let words = [&line, &stored, &row, &paths[0], &paths[1], &paths[2]];
        let places = naming(sources, &words);
        println!("{kind} is stored by {} files: {places:?}", places.len());
        assert_eq!(places.len(), FILES, "{kind} is stored by {places:?}");
    }
}

/// What one more rpc, kind of window or gate touches, by an example of each: it may shrink, and not grow.
#[test]
fn a_change_names_few_files() {
    let counts: [(&str, &[&str], usize); 3] = [
        ("a durable rpc (EndSession)", &["EndSession", "end_session", "EndedSession", "SessionEnded"], 9),
        ("a kind of window (Anchored)", &["Anchored"], 6),
        ("a gate (Concurrency)", &["Concurrency", "concurrency"], 4),
    ];
    for (what, words, most) in counts {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let words: Vec<&String> = words.iter().collect();
        let is_inside = |path: &String| !path.starts_with("src/cli") && !path.ends_with("samples.rs");
        let places: Vec<String> = naming(&SOURCES, &words).into_iter().filter(is_inside).collect();
        println!("{what} is named in {} files: {places:?}", places.len());
        assert!(places.len() <= most, "{what} is named in {} files, at most {most}: {places:?}", places.len());
    }
}

#[test]
fn golden_files_are_as_they_were_written() {
    let expected = fs::read_to_string(Path::new(ROOT).join("tests/golden.sums")).expect("tests/golden.sums");
    let found = golden();
    let (expected, found): (BTreeSet<&str>, BTreeSet<&str>) = (expected.lines().collect(), found.lines().collect());
    let changed: Vec<_> = expected.difference(&found).collect();
    assert!(changed.is_empty(), "golden bytes are never edited, they are what old data looks like: {changed:#?}");
    let new: Vec<_> = found.difference(&expected).collect();
    assert!(new.is_empty(), "new golden files belong into tests/golden.sums: {new:#?}");
}

#[test]
fn every_rule_can_fail() {
    let breaches = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str| rule(&Source::new(path, text)).len();
    let lines = |count: usize| "    call();\n".repeat(count);
    for (path, text, expected) in [
        ("src/domain/x.rs", "use crate::{bounds::DAY_MS, store::{keys, codec}};", 2),
        ("src/service/x.rs", "fn f() { crate::front::serve() }", 1),
        ("src/front/x.rs", "use super::super::store::sled;", 1),
        ("src/cli/local.rs", "use crate::{app, front::server};", 1),
        ("src/store/kinds/x.rs", "use super::super::kv::keys;\nuse crate::ports::OrgStore;", 2),
        ("src/store/kinds/x.rs", "pub(in crate::store) fn f() { crate::store::dump::g() }", 1),
        ("src/store/dump/x.rs", "use crate::store::{kinds, kv::sled};", 1),
        ("src/store/kv/x.rs", "use crate::store::{kinds, dump, broken};", 1),
        ("src/cli/remote/x.rs", "use super::{connect, super::app};\nuse crate::config;", 1),
        ("src/novel/x.rs", "struct X;", 1),
        ("src/front/x.rs", "use crate::service; // crate::store\n#[cfg(test)]\nmod tests { use crate::store; }", 0),
    ] {
        assert_eq!(breaches(imports, path, text), expected, "{path}: {text}");
    }
    for (path, text, expected) in [
        ("src/domain/x.rs", "use serde::Serialize;", 1),
        ("src/domain/x.rs", "#[derive(serde::Serialize)] struct X;", 1),
        ("src/domain/x.rs", "use chrono::Datelike;", 0),
        ("src/service/x.rs", "fn f(a: ractor::ActorRef<()>) {}", 1),
        ("src/app.rs", "use crate::store::{sled::{self, Options}};\nfn f() { sled::open() }", 0),
        ("src/app.rs", "fn f() { sled::open() }", 1),
        ("src/app.rs", "fn f() { ::sled::open() }", 1),
    ] {
        assert_eq!(breaches(crates, path, text), expected, "{path}: {text}");
    }
    for (text, expected) in [
        ("use std::time::Instant;\nfn f() { Instant::now(); }", 1),
        ("fn f() { std::time::SystemTime::now(); }", 1),
        ("use tokio::time::Instant;\nfn f() { Instant::now(); }", 0),
    ] {
        assert_eq!(breaches(clocks, "src/x.rs", text), expected, "{text}");
    }
    assert_eq!(breaches(opening, "src/x.rs", "use std::fmt;"), 1);
    assert_eq!(breaches(names, "src/domain/utils.rs", "//! Why.\n"), 1);
    assert_eq!(breaches(length, "src/x.rs", &lines(FILE_LINES + 1)), 1);
    assert_eq!(breaches(length, "src/x.rs", &lines(FILE_LINES)), 0);
    assert_eq!(breaches(functions, "src/x.rs", &format!("fn f() {{\n{}}}\n", lines(FUNCTION_LINES - 2))), 0);
    assert_eq!(breaches(functions, "src/x.rs", &format!("fn f() {{\n{}}}\n", lines(FUNCTION_LINES - 1))), 1);
    assert_eq!(breaches(sleeps, "src/x.rs", "#[cfg(test)]\nmod tests { fn f() { sleep(TIME) } }"), 1);
    assert_eq!(breaches(sleeps, "src/x.rs", "fn f() { sleep(TIME) }"), 0);
    let left_over =
        ["// TO", "DO", "\n// XX", "X\nlet a = db", "g!(b);\n#[ig", "nore]\n// XX", "XL, TO", "DOS\n"].concat();
    assert_eq!(words("x", &left_over).len(), 4, "{left_over}");
    let named = verbs(
        "Run `tollgate serve` or\n```sh\nx | ./target/release/tollgate why acme # tollgate\n$ cargo run -q -- top\n```\ntollgate is",
    );
    assert_eq!(named.iter().collect::<Vec<_>>(), ["serve", "top", "why"]);
    let catalogue =
        "# R\n- **R-A-1** It must.\n- **bold** R-A-2\n| I1 | It holds. |\n| other | R-A-3 |\n- **R-A-1** Again.\n";
    assert_eq!(catalogue::defined(catalogue), ["R-A-1", "I1", "R-A-1"]);
    assert_eq!(catalogue::repeated(catalogue).len(), 1);
    let known = catalogue::defined(catalogue).into_iter().collect();
    let citing = "/// R-A-1, I1: I12n, R-A-x, XR-A-9\n\"R-A-2: {I2}\"";
    assert_eq!(catalogue::unresolved("x", citing, &known).len(), 2, "R-A-2 and I2");
    assert_eq!(
        language::dialect("x", "It cannot. Forget it.\nCan\n// not; it looks at\n# it, and was told.\n").len(),
        3
    );
    let code = "//! It can\n//! not.\nfn look() { at(\"it was\\n\\\n told\") }\n";
    let code = format!("{code}/// Look\nfn at() {{ \"at\" }} // policy of\nthen();\n");
    let found = language::dialect_in_code("x", &code);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("x:1: \"can not\"") && found[1].starts_with("x:3: \"was told\""), "{found:?}");
    let guide = "```sh\nmake a && make b # first\n```\nmake d, `make e`, `cmake f`";
    assert_eq!(targets(guide).iter().collect::<Vec<_>>(), ["a", "b", "e"]);
    assert_eq!(rules(".PHONY: a\na: b\n\tc: d\nb:\n# e: f\n").iter().collect::<Vec<_>>(), ["a", "b"]);
    let guide = "[a](tidy.rs), [b](gone.md), [c](https://a.b/c), `main.rs`, `src/gone.rs`, `gone.rs`, `src/*.rs`";
    let sources = rust_files();
    assert_eq!(missing(Path::new(ROOT), &sources, "tests/x.md", guide).len(), 3, "gone.md, src/gone.rs and gone.rs");
    let guide = "[a](README.md#run-it) [b](README.md#what-a-reply-promises) [c](README.md#gone)";
    assert_eq!(missing(Path::new(ROOT), &sources, "x.md", guide).len(), 1, "#gone");
    let declares = Source::new("src/a/mod.rs", "#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nmod c { mod d; }\n");
    assert_eq!(declares.test_modules(), [["a", "b"]]);
    assert_ne!(fingerprint(b"a"), fingerprint(b"b"));
}

#[test]
fn literals_and_comments_are_not_code() {
    let code = blank("let a = \"x // y\"; // tail\nlet b = r#\"q\"r\"#; let c = '\"'; let d: &'a str = \"\\\"\"; end");
    assert_eq!(code.split_whitespace().collect::<String>(), "leta=;letb=;letc=;letd:&'astr=;end");
}
