//! What documents promise their readers: verbs of the command, make targets, files and links that exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Code in a text: every line inside a fence, and what stands between backquotes outside of one.
fn code(markdown: &str) -> Vec<&str> {
    let (mut code, mut fenced) = (Vec::new(), false);
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    code
}

/// The commands in a text, as words.
fn commands(markdown: &str) -> impl Iterator<Item = Vec<&str>> {
    let commands = code(markdown).into_iter().flat_map(|code| code.split(['|', ';', '&', '(', '#']));
    commands.map(|command| command.split_whitespace().collect())
}

/// The verbs that a text tells its reader to run: what follows `tollgate` or `cargo run --` in code.
pub(crate) fn verbs(markdown: &str) -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    for words in commands(markdown) {
        let through_cargo = words.windows(2).any(|pair| pair == ["cargo", "run"]);
        let is_binary =
            |word: &&str| *word == "tollgate" || word.ends_with("/tollgate") || through_cargo && *word == "--";
        let called = words.iter().position(is_binary);
        let verb = called.and_then(|at| words.get(at + 1));
        let is_verb = |verb: &&&str| verb.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !verb.starts_with('-');
        verbs.extend(verb.filter(is_verb).map(|verb| (*verb).to_owned()));
    }
    verbs
}

/// The targets that a text tells its reader to make.
pub(crate) fn targets(markdown: &str) -> BTreeSet<String> {
    let made = commands(markdown).filter(|words| words.first() == Some(&"make"));
    made.filter_map(|words| words.get(1).map(|target| (*target).to_owned())).collect()
}

/// The targets of a Makefile: names before a colon at the start of a line.
pub(crate) fn rules(makefile: &str) -> BTreeSet<String> {
    let names = makefile.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name));
    names.filter(|name| !name.is_empty() && !name.starts_with(['\t', '#', '.', ' '])).map(str::to_owned).collect()
}

/// Files of the project that a text names in code or links to and that do not exist, and links to headings
/// that their file does not have. `sources` are all files in Rust: they are named by the end of their path.
pub(crate) fn missing(root: &Path, sources: &[String], path: &str, markdown: &str) -> Vec<String> {
    let here = root.join(path);
    let here = here.parent().unwrap_or(root);
    let mut breaches = Vec::new();
    for link in markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { root.join(path) } else { here.join(file) };
        if !link.contains("://") && !leads_to(&target, heading) {
            breaches.push(format!("{path}: links to {link}, which does not exist"));
        }
    }
    let places = ["src/", "tests/", "proto/", "docs/", "scripts/", "benches/", ".ci/", ".github/"];
    for word in code(markdown).into_iter().flat_map(str::split_whitespace) {
        let is_source = word.ends_with(".rs") && !word.contains(['{', '*', '…', '<']);
        if is_source && !sources.iter().any(|source| source == word || source.ends_with(&format!("/{word}"))) {
            breaches.push(format!("{path}: names {word}, which does not exist"));
            continue;
        }
        let named = places.iter().any(|place| word.starts_with(place)) && !word.contains(['*', '…', '<']);
        if named && !root.join(word.trim_end_matches([',', '.'])).exists() {
            breaches.push(format!("{path}: names {word}, which does not exist"));
        }
    }
    breaches
}

/// Whether there is such a file, with a heading that has this anchor where one is named.
fn leads_to(file: &Path, anchor: &str) -> bool {
    let headings = || fs::read_to_string(file).unwrap_or_default();
    file.exists() && (anchor.is_empty() || headings().lines().any(|line| anchor_of(line).as_deref() == Some(anchor)))
}

/// The anchor that forges give a heading: lower case, `-` for a space, letters and digits otherwise.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?.to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}
