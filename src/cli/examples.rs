//! Examples at the end of the help of every command: what to type, and what for. Each is a command line that parses.

use clap::{Command, CommandFactory};

use super::args::Cli;

/// The names of a command, and lines for it. What a shell would change is quoted.
const EXAMPLES: [(&str, &[&str]); 73] = [
    // A node and its files.
    (
        "serve",
        &[
            "tollgate serve    # every key has a default",
            "tollgate serve --config tollgate.toml --data-dir /var/lib/tollgate",
        ],
    ),
    ("check-config", &["tollgate check-config tollgate.toml    # every mistake at once"]),
    ("config-schema", &["tollgate config-schema > tollgate.schema.json    # `#:schema` names it"]),
    ("fsck", &["tollgate fsck --data-dir /var/lib/tollgate", "tollgate fsck --data-dir /var/lib/tollgate --compact"]),
    ("export", &["tollgate export --data-dir /var/lib/tollgate backup.jsonl"]),
    ("import", &["tollgate import --data-dir ./restored backup.jsonl"]),
    ("cert dev", &["tollgate cert dev ./tls --host gate.internal --client spiffe://prod/plane"]),
    (
        "token create",
        &[
            "tollgate token create --name p1 --role plane --orgs 'acme-*' --expires 90d",
            "tollgate token create --name ops --role admin --orgs '*' --expires never",
        ],
    ),
    ("token list", &["tollgate token list --config tollgate.toml"]),
    ("token revoke", &["tollgate token revoke p1"]),
    ("token import", &["tollgate token import tollgate-tokens.toml --config tollgate.toml"]),
    (
        "context add",
        &[
            "tollgate context add prod --addr https://gate.internal:7070 --token-file t",
            "tollgate context add test --addr 127.0.0.1:7070 --timeout 2s",
        ],
    ),
    ("context list", &["tollgate context list"]),
    ("context use", &["tollgate context use prod", "tollgate context use default    # none"]),
    ("context show", &["tollgate context show prod"]),
    ("context remove", &["tollgate context remove prod"]),
    (
        "completions",
        &[
            "tollgate completions bash > /usr/share/bash-completion/completions/tollgate",
            "tollgate completions fish > ~/.config/fish/completions/tollgate.fish",
        ],
    ),
    ("man", &["tollgate man /usr/local/share/man/man1", "tollgate man > tollgate.1    # the first page alone"]),
    // May it run, and what follows.
    (
        "acquire",
        &[
            "tollgate acquire acme    # exit 3 where it is denied",
            "tollgate acquire acme --scope workspace/a --reserve 'spend=$0.05' --ttl 10m",
            "tollgate acquire acme --check-only --explain    # nothing is charged",
        ],
    ),
    (
        "status",
        &[
            "tollgate status acme globex --scope workspace/a",
            "tollgate status acme --watch=5s    # until Ctrl-C",
            "tollgate status --near 80    # of all orgs, the fullest limit first",
        ],
    ),
    (
        "top",
        &[
            "tollgate top    # keys: c d u o sort, q quits",
            "tollgate top --once --by denied    # one table, for a pipe",
        ],
    ),
    ("why", &["tollgate why acme    # exit 3 where calls are denied", "tollgate why acme --at 2h"]),
    ("explain", &["tollgate explain acme 0123456789abcdef0123456789abcdef", "tollgate explain acme --at 2h"]),
    ("denials", &["tollgate denials acme --since 1d", "tollgate denials acme --by-day"]),
    ("commit", &["tollgate commit acme 0123456789abcdef0123456789abcdef --actual 'spend=$0.03'"]),
    ("release", &["tollgate release acme 0123456789abcdef0123456789abcdef"]),
    ("extend", &["tollgate extend acme 0123456789abcdef0123456789abcdef --ttl 10m"]),
    (
        "record",
        &[
            "tollgate record acme --usage 'spend=$1.50' --scope workspace/a",
            "tollgate record acme --usage bytes=5000000    # of no execution",
        ],
    ),
    ("complete", &["tollgate complete acme 0123456789abcdef0123456789abcdef"]),
    (
        "refund",
        &[
            "tollgate refund acme --decision 0123456789abcdef0123456789abcdef --reason r",
            "tollgate refund acme --amount 'spend=$5' --at 2h --reason 'failed run'",
            "tollgate refund acme --amount executions=3 --scope workspace/a --reason r",
        ],
    ),
    ("resume", &["tollgate resume acme 0123456789abcdef0123456789abcdef"]),
    // Orgs and their limits.
    (
        "org list",
        &[
            "tollgate org list --most-denied --limit 20",
            "tollgate org list --match 'acme*' --plan free --state frozen",
            "tollgate org list --names-only --no-headers    # one line an org, for scripts",
        ],
    ),
    ("org changes", &["tollgate org changes acme --since 7d"]),
    (
        "events",
        &[
            "tollgate events acme --since 1d",
            "tollgate events acme --follow --after 42    # until Ctrl-C",
            "tollgate events --follow --kind exhausted    # of every org",
            "tollgate events --node    # its store and its clock",
        ],
    ),
    ("org show", &["tollgate org show acme"]),
    (
        "org override set",
        &[
            "tollgate org override set acme 'daily=$50' --for 1d --reason 'a launch'",
            "tollgate org override set acme rate=5000 --until 2027-01-31",
            "tollgate org override set acme quota/executions=shadow    # never denies",
        ],
    ),
    ("org override clear", &["tollgate org override clear acme daily"]),
    ("org override list", &["tollgate org override list acme --ended"]),
    (
        "org grant",
        &[
            "tollgate org grant acme daily '$5' --for 1h --reason 'ticket 4711'",
            "tollgate org grant acme quota/executions 100 --scope workspace/a --this-window",
            "tollgate org grant acme daily '$50' --until-spent    # on any day",
        ],
    ),
    ("org reset", &["tollgate org reset acme daily --reason 'billed by mistake'    # used becomes 0"]),
    ("org revoke-grant", &["tollgate org revoke-grant acme 3    # `org override list` shows the number"]),
    ("org set-plan", &["tollgate org set-plan acme pro --for 30d", "tollgate org set-plan acme --clear"]),
    ("org exempt", &["tollgate org exempt acme --for 2h    # from the rate backstop"]),
    (
        "usage",
        &[
            "tollgate usage acme --from 2026-10-01 --to 2026-10-31",
            "tollgate usage --all --by month --from 2026-01 --to 2026-12 -o csv",
        ],
    ),
    ("plan", &["tollgate plan --limit 'daily=$25'    # whom it would have denied"]),
    ("org rename", &["tollgate org rename acme acme-corp --reason 'ticket 4711'"]),
    ("org delete", &["tollgate org delete acme --reason 'they have left' --yes"]),
    ("org freeze", &["tollgate org freeze acme --reason 'unpaid bill'"]),
    ("org unfreeze", &["tollgate org unfreeze acme"]),
    ("budget get", &["tollgate budget get acme", "tollgate budget get acme --scope workspace/a"]),
    (
        "budget set",
        &[
            "tollgate budget set acme 'daily=$25' 'monthly=$300'",
            "tollgate budget set acme 'daily=$25' --dry-run    # old and new, and no change",
            "tollgate budget set acme daily=none    # the limit of the configuration again",
            "tollgate budget set acme --replace 'daily=$25'    # and no other period",
        ],
    ),
    ("session start", &["tollgate session start acme vm-1 --identity 'user 7'"]),
    ("session heartbeat", &["tollgate session heartbeat acme vm-1 --identity u7 --incarnation b1 --total 60"]),
    ("session end", &["tollgate session end acme vm-1 --identity 'user 7'"]),
    ("session show", &["tollgate session show acme vm-1"]),
    ("session list", &["tollgate session list acme --ended"]),
    ("session status", &["tollgate session status acme globex"]),
    (
        "reservation list",
        &["tollgate reservation list acme --state expired", "tollgate reservation list acme --older-than 5m"],
    ),
    (
        "pool configure",
        &[
            "tollgate pool configure acme relay --accounts-file accounts.txt",
            "tollgate pool configure acme keys --accounts-file - --profile llm",
        ],
    ),
    ("pool show", &["tollgate pool show acme relay --watch"]),
    ("pool pick", &["tollgate pool pick acme relay", "tollgate pool pick acme relay --scope workspace/a"]),
    ("pool report", &["tollgate pool report acme relay --account-file account.txt --status 429"]),
    ("pool clear", &["tollgate pool clear acme relay --account-file account.txt"]),
    ("billing refresh", &["tollgate billing refresh acme"]),
    ("billing exports", &["tollgate billing exports acme --set-aside"]),
    ("billing replay", &["tollgate billing replay acme"]),
    // The node.
    ("audit", &["tollgate audit acme", "tollgate audit    # all orgs"]),
    ("snapshot", &["tollgate snapshot backup.jsonl    # of a running node, or of its cluster"]),
    ("node", &["tollgate node", "tollgate node -o json"]),
    ("cluster", &["tollgate cluster --watch", "tollgate cluster --org acme"]),
    ("drain", &["tollgate drain n1", "tollgate drain n1 --undo"]),
    ("reload", &["tollgate reload"]),
    ("whoami", &["tollgate whoami", "tollgate whoami -o json"]),
];

/// The command line with its examples.
pub(super) fn command() -> Command {
    let command = Cli::command();
    EXAMPLES.iter().fold(command, |command, (names, lines)| {
        let names: Vec<&str> = names.split(' ').collect();
        with(command, &names, &shown(lines))
    })
}

/// What stands before the examples of a command.
pub(super) const HEADING: &str = "Examples:";

fn shown(lines: &[&str]) -> String {
    format!("{HEADING}\n  {}", lines.join("\n  "))
}

fn with(command: Command, names: &[&str], text: &str) -> Command {
    match names {
        [] => command.after_long_help(text.to_owned()),
        [name, inner @ ..] => command.mut_subcommand(name, |command| with(command, inner, text)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words of a line, as a shell has them.
    pub(in crate::cli) fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for character in line.split(" #").next().unwrap_or_default().split(" > ").next().unwrap_or_default().chars() {
            match character {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                other => words.last_mut().unwrap().push(other),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    pub(in crate::cli) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        EXAMPLES.iter().flat_map(|(names, lines)| lines.iter().map(|line| (*names, *line)))
    }

    /// Every command that has no commands of its own.
    pub(in crate::cli) fn leaves(command: &Command, before: &str) -> Vec<(String, Command)> {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
        let named = inner.flat_map(|inner| {
            let name = format!("{before} {}", inner.get_name()).trim_start().to_owned();
            let beneath = leaves(inner, &name);
            if beneath.is_empty() { vec![(name, inner.clone())] } else { beneath }
        });
        named.collect()
    }

    #[test]
    fn the_help_of_every_command_has_examples() {
        let known: BTreeSet<&str> = EXAMPLES.iter().map(|(names, _)| *names).collect();
        let leaves = leaves(&command(), "");
        let all: BTreeSet<&str> = leaves.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(all, known);
        for (name, mut leaf) in leaves {
            let help = leaf.render_long_help().to_string();
            assert!(help.contains("\nExamples:\n  tollgate "), "{name}: {help}");
        }
    }

    #[test]
    fn every_example_parses_as_the_command_it_stands_at_and_fits_into_a_line() {
        for (names, line) in all() {
            assert!(line.len() <= 78, "{line}");
            let words = words(line);
            assert!(words.join(" ").starts_with(&format!("tollgate {names}")), "{names}: {line}");
            let parsed = command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}
