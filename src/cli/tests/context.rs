//! Named contexts: how a node is reached, kept in a file of the user.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::{Exit, Ran, Surroundings, in_surroundings, node::Node};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, args: &[&str]) -> Ran {
        let config_home = Some(self.0.path().to_owned());
        in_surroundings(&Surroundings { config_home, ..Surroundings::default() }, args)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tollgate/contexts.toml")
    }
}

#[test]
fn a_context_reaches_its_node_and_has_paths_and_no_secrets() {
    let (home, node) = (Home::new(), Node::start());
    let address = node.address.to_string();
    let token = home.0.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let token = token.to_str().unwrap();
    let added = home.run(&["context", "add", "prod", "--addr", &address, "--token-file", token, "--timeout", "2s"]);
    let expected =
        format!("context     prod (in use)\naddr        http://{address}\ntoken file  {token}\ntimeout     2s\n");
    assert_eq!((added.exit, added.out, added.err), (Exit::Done, expected, String::new()));
    let text = fs::read_to_string(home.file()).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(home.run(&["acquire", "vault"]).exit, Exit::Done, "with the token of the context");
    let elsewhere = home.run(&["acquire", "vault", "--addr", &address]);
    assert!(elsewhere.err.contains("UNAUTHENTICATED"), "a token stays with its context: {}", elsewhere.err);
    assert_eq!(home.run(&["acquire", "vault", "--context", "prod", "--addr", &address]).exit, Exit::Done);
    assert_eq!(home.run(&["acquire", "silent", "--timeout", "50ms"]).err.lines().count(), 2, "a flag comes first");
}

#[test]
fn contexts_are_listed_chosen_shown_and_removed() {
    let home = Home::new();
    for (name, port) in [("prod", "7070"), ("test", "7071")] {
        let addr = format!("gate.{name}:{port}");
        assert_eq!(home.run(&["context", "add", name, "--addr", &addr]).exit, Exit::Done);
    }
    let list = "\
CONTEXT  USED    ADDR                   TOKEN FILE
prod     in use  http://gate.prod:7070  -
test     -       http://gate.test:7071  -
";
    assert_eq!(home.run(&["context", "list"]).out, list);
    assert_eq!(home.run(&["context", "use", "test"]).out, "in use  prod → test\n");
    assert_eq!(home.run(&["context", "show"]).out, "context  test (in use)\naddr     http://gate.test:7071\n");
    assert_eq!(home.run(&["context", "show", "prod", "-o", "json"]).json()["context"]["addr"], "http://gate.prod:7070");
    assert_eq!(home.run(&["context", "remove", "test"]).out, "removed  test  (it was in use: none is now)\n");
    assert_eq!(home.run(&["context", "use", "default"]).out, "in use  default → default\n");
    assert!(home.run(&["context", "show"]).out.contains("http://127.0.0.1:7070"));
    let unreachable = home.run(&["node", "--context", "prod", "--timeout", "2s"]);
    assert!(unreachable.err.contains("http://gate.prod:7070"), "{}", unreachable.err);
}

#[test]
fn a_mistake_names_what_there_is_and_changes_nothing() {
    let home = Home::new();
    home.run(&["context", "add", "prod", "--addr", "gate:7070"]);
    let before = fs::read(home.file()).unwrap();
    for (args, exit, hint) in [
        (["context", "use", "nope"].as_slice(), Exit::Usage, "is not allowed: prod"),
        (&["context", "add", "prod", "--addr", "other:1"], Exit::Usage, "--replace"),
        (&["context", "add", "more"], Exit::Usage, "--addr with HOST:PORT"),
        (&["context", "add", "Prod", "--addr", "a:1"], Exit::Usage, "lower-case letters"),
        (&["context", "add", "default", "--addr", "a:1"], Exit::Usage, "another name"),
        (&["context", "remove", "nope"], Exit::Usage, "is not allowed: prod"),
        (&["status", "acme", "--context", "nope"], Exit::Usage, "is not allowed: prod"),
    ] {
        let ran = home.run(args);
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{args:?}");
        assert!(ran.err.contains(hint), "{args:?}: {}", ran.err);
        assert_eq!(fs::read(home.file()).unwrap(), before, "{args:?}");
    }
    assert_eq!(home.run(&["context", "add", "prod", "--addr", "other:1", "--replace"]).exit, Exit::Done);
    fs::write(home.file(), "contexts = 5\n").unwrap();
    let broken = home.run(&["status", "acme"]);
    assert_eq!(broken.exit, Exit::Error);
    assert!(broken.err.contains("contexts.toml: "), "a file that cannot be read is no default: {}", broken.err);
}
