//! Every view on a terminal of 80 columns.

use unicode_width::UnicodeWidthStr;

use super::{
    super::{examples, run_at},
    Exit, NOW, Ran, Surroundings, in_surroundings,
    node::Node,
    tollgate,
};

/// The commands that ask no node: of what they print nothing is a view.
const LOCAL: [&str; 18] = [
    "serve",
    "check-config",
    "fsck",
    "export",
    "import",
    "cert dev",
    "token create",
    "token list",
    "token revoke",
    "token import",
    "completions",
    "config-schema",
    "man",
    "context add",
    "context list",
    "context use",
    "context show",
    "context remove",
];

/// The examples of every command that asks a node, for orgs of which the node says different things.
fn questions() -> Vec<Vec<String>> {
    let dir = std::env::temp_dir();
    let account = dir.join(format!("tollgate-screen-{}", std::process::id()));
    std::fs::write(&account, "sk-secret-0123456789-9f3c\n").unwrap();
    let file = account.to_str().unwrap().to_owned();
    let backup = format!("{file}-backup.jsonl");
    let examples = examples::tests::all().filter(|(names, _)| !LOCAL.contains(names));
    let lines =
        examples.flat_map(|(_, line)| ["acme", "full", "endless"].map(|org| line.replace(" acme", &format!(" {org}"))));
    let given = |word: String| match word.as_str() {
        "accounts.txt" | "account.txt" | "-" => file.clone(),
        "backup.jsonl" => backup.clone(),
        _ => word,
    };
    let once = |word: &String| !word.starts_with("--watch");
    lines.map(|line| examples::tests::words(&line).into_iter().skip(1).filter(once).map(given).collect()).collect()
}

#[test]
fn every_view_fits_a_terminal_of_80_columns() {
    let node = Node::start();
    let questions = questions();
    assert!(questions.len() > 100, "{}", questions.len());
    for words in questions {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = node.ask_on_screen(&words);
        assert_ne!(ran.exit, Exit::Usage, "{words:?}: {}", ran.err);
        for line in plain(&ran.out).lines() {
            assert!(line.width() <= 80, "{words:?}: {line:?} is wider than 80 columns in\n{}", ran.out);
        }
        let piped = node.ask(&words).out;
        if piped.contains("  NOTE\n") {
            assert!(plain(&ran.out).contains("  NOTE\n"), "{words:?}: the note fell off in\n{}", ran.out);
        }
    }
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, after)| after))
}

#[test]
fn a_denial_on_a_screen_is_red_and_whole_at_80_columns() {
    let node = Node::start();
    let shown = node.ask_on_screen(&["acquire", "full"]).out;
    assert!(shown.starts_with("\u{1b}[31mdenied \u{1b}[0m  full  RATE_LIMITED"), "{shown:?}");
    assert!(plain(&shown).contains("  NOTE\n") && !plain(&shown).contains("RESETS AT  "), "{shown}");
    let allowed = node.ask_on_screen(&["acquire", "acme"]).out;
    assert!(allowed.starts_with("\u{1b}[32mallowed\u{1b}[0m  acme"), "{allowed:?}");
    let full = node.ask_on_screen(&["status", "full"]).out;
    assert!(full.contains("\u{1b}[31m##########\u{1b}[0m"), "{full:?}");
}

#[test]
fn a_pipe_has_no_colours_and_whole_lines_unless_it_is_asked_for_more() {
    let node = Node::start();
    let address = node.address.to_string();
    let ask =
        |around: Surroundings, args: &[&str]| in_surroundings(&around, &[args, &["--addr", &address]].concat()).out;
    let piped = ask(Surroundings::default(), &["acquire", "full"]);
    assert!(!piped.contains('\u{1b}') && piped.lines().any(|line| line.len() > 80), "{piped}");
    assert!(ask(Surroundings::default(), &["acquire", "full", "--color", "always"]).contains("\u{1b}[31m"));
    let columns = Surroundings { columns: Some("80".into()), ..Surroundings::default() };
    assert!(ask(columns, &["acquire", "full"]).lines().all(|line| line.len() <= 80), "as under watch(1)");
    let screen = Surroundings { terminal: true, size: Some((80, 24)), no_color: true, ..Surroundings::default() };
    assert!(!ask(screen.clone(), &["acquire", "full"]).contains('\u{1b}'));
    assert!(!ask(screen, &["acquire", "full", "-o", "json"]).contains('\u{1b}'));
}

#[test]
fn tables_for_scripts_have_no_headings() {
    let ran = Node::start().ask(&["org", "list", "--limit", "2", "--no-headers"]);
    assert_eq!(ran.lines().len(), 2, "{}", ran.out);
    assert!(ran.lines()[0].starts_with("org-0000"), "{}", ran.out);
}

#[test]
fn only_what_changes_nothing_is_asked_again_and_again() {
    for args in [
        ["org", "purge", "acme", "--watch"].as_slice(),
        &["acquire", "acme", "--watch"],
        &["budget", "set", "acme", "daily=none", "--watch=5"],
        &["check-config", "t.toml", "--watch"],
    ] {
        let ran = tollgate(args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(ran.err.contains("a command that asks a node and changes nothing"), "{args:?}: {}", ran.err);
    }
    for every in ["0", "100ms", "2h", "soon", "-1"] {
        let ran = tollgate(&["status", "acme", &format!("--watch={every}")]);
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.err.contains("200ms to 1h"), "{}", ran.err);
    }
}

/// Takes what is written until enough of it is there, and then is a pipe that nobody reads.
struct Reader(Vec<u8>, usize);

impl std::io::Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.windows(8).filter(|part| *part == b"COMMITS ").count() >= self.1 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn watched(around: &Surroundings, args: &[&str]) -> Ran {
    let node = Node::start();
    let address = node.address.to_string();
    let (mut out, mut err) = (Reader(Vec::new(), 2), Vec::new());
    let args = [&["tollgate"], args, &["--addr", &address]].concat();
    let exit = run_at(args, &mut out, &mut err, around, || NOW);
    Ran { exit, out: String::from_utf8(out.0).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[test]
fn a_watch_in_a_pipe_prints_one_answer_after_the_other_until_nobody_reads() {
    let ran = watched(&Surroundings::default(), &["org", "list", "--names-only", "--limit", "5000", "--watch=200ms"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out.matches("org-0000").count(), 2, "{}", ran.out);
    assert!(ran.out.contains("\n\nORG "), "{}", ran.out);
}

#[test]
fn a_watch_on_a_terminal_writes_each_answer_over_the_one_before() {
    let screen = Surroundings { terminal: true, size: Some((80, 24)), ..Surroundings::default() };
    let ran = watched(&screen, &["org", "list", "--names-only", "--limit", "5000", "--watch=200ms"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert!(ran.out.starts_with("\u{1b}[2J\u{1b}[Hevery 200ms, Ctrl-C ends it  20"), "{:?}", &ran.out[..80]);
    let frames: Vec<_> = ran.out.split("\u{1b}[H").skip(1).collect();
    assert_eq!(frames.len(), 2);
    for frame in frames {
        assert_eq!(frame.lines().count(), 24, "23 lines, and what removes the rest: {frame:?}");
        assert!(frame.contains("(2481 more lines)"), "{frame:?}");
    }
}
