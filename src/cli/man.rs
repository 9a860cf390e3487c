//! `tollgate man`: the manual, one page for each command, from the same tree as the help.
//!
//! What clap_mangen would set as one paragraph, such as examples, has sections of its own here. The options that every
//! command has are on the page of `tollgate` alone.

use std::{fs, io, path::Path};

use chrono::DateTime;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use serde_json::json;

use super::{
    Exit,
    args::ManArgs,
    examples,
    failure::Failure,
    output::{Output, facts},
    remote::failed,
};
use crate::domain::window::Millis;

const EXITS: [(&str, &str); 4] =
    [("0", "Done, or allowed."), ("1", "An error."), ("2", "A mistake in the command line."), ("3", "Denied.")];

/// Writes every page into the directory, or the first one to stdout.
pub(super) fn run(args: &ManArgs, output: &mut Output<'_>) -> Exit {
    let date = args.date.as_ref().map_or_else(|| today(output.now()), |day| day.0.clone());
    let done = match &args.dir {
        None => page(&tree(), &date).map(|page| output.data_bytes(&page)).map_err(|error| error.to_string()),
        Some(dir) => write(dir, &date).map(|names| {
            let count = names.len().to_string();
            output.object(&json!({"dir": dir.display().to_string(), "pages": names}), || {
                facts([("pages", count), ("in", dir.display().to_string())])
            });
        }),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(why) => failed(&Failure::Local(why), output),
    }
}

fn today(now: Millis) -> String {
    let at = i64::try_from(now).ok().and_then(DateTime::from_timestamp_millis);
    at.map(|at| at.date_naive().to_string()).unwrap_or_default()
}

/// The names of the files, which take the places of those of an earlier version.
fn write(dir: &Path, date: &str) -> Result<Vec<String>, String> {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let named = |(name, command): (String, Command)| {
        let path = dir.join(&name);
        let written = page(&command, date).and_then(|page| fs::write(&path, page));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(name)
    };
    all(&tree()).into_iter().map(named).collect()
}

/// The command line as pages show it: `help` is an option of each.
fn tree() -> Command {
    let mut tree = examples::command().disable_help_subcommand(true);
    tree.build();
    tree
}

/// Each command, after the name of its file.
fn all(command: &Command) -> Vec<(String, Command)> {
    let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let here = (format!("{}.1", title(command)), command.clone());
    [here].into_iter().chain(shown.flat_map(all)).collect()
}

fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, date: &str) -> io::Result<Vec<u8>> {
    let title = title(command).to_owned();
    let is_first = title == "tollgate";
    let shown = if is_first { command.clone() } else { without_global(command.clone()) };
    let (options, inner) = (has_options(&shown), shown.get_subcommands().next().is_some());
    let source = format!("tollgate {}", env!("TOLLGATE_VERSION"));
    let man = Man::new(shown).source(source).manual("tollgate").date(date);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if options {
        man.render_options_section(&mut page)?;
    }
    if inner {
        man.render_subcommands_section(&mut page)?;
    }
    ending(command, is_first).to_writer(&mut page)?;
    // A break beside an empty line does nothing; a formatter that checks its input objects to it.
    Ok(String::from_utf8_lossy(&page).replace(".br\n\n.br\n", ".sp\n").into_bytes())
}

/// The options that every command has are on the page of `tollgate`.
fn without_global(command: Command) -> Command {
    command.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
}

fn has_options(command: &Command) -> bool {
    command.get_arguments().any(|arg| !arg.is_hide_set())
}

fn ending(command: &Command, is_first: bool) -> Roff {
    let mut roff = Roff::new();
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    match help.strip_prefix(examples::HEADING) {
        Some(lines) => {
            roff.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
        None if is_first => {
            roff.control("SH", ["OUTPUT"]);
            // The codes have a section of their own.
            for line in help.lines().filter(|line| !line.is_empty() && !line.starts_with("Exit codes:")) {
                roff.text([roman(line)]);
            }
        }
        None => {}
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXITS {
        roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
    if !is_first {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("tollgate"), roman("(1), for the options that every command has")]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_synopsis_and_its_examples() {
        let pages = all(&tree());
        let leaves = examples::tests::leaves(&examples::command(), "");
        assert!(leaves.len() > 60 && pages.len() > leaves.len(), "{}", pages.len());
        for (names, _) in leaves {
            let file = format!("tollgate-{}.1", names.replace(' ', "-"));
            let found = pages.iter().find(|(name, _)| *name == file);
            let (_, command) = found.unwrap_or_else(|| panic!("{file} is missing"));
            let text = String::from_utf8(page(command, "2026-11-22").unwrap()).unwrap();
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "\"EXIT STATUS\"", "\"SEE ALSO\""]
            {
                assert!(text.contains(&format!("\n.SH {section}\n")), "{file}: {section} in\n{text}");
            }
            let shown = examples::tests::all().filter(|(of, _)| *of == names).count();
            let example = format!("\ntollgate {}", names.replace('-', "\\-"));
            assert!(text.matches(&example).count() >= shown, "{file}: {text}");
            assert!(!text.contains("\\-\\-token\\-file") || names == "context add", "{file}: global options");
        }
    }

    #[test]
    fn the_first_page_has_the_options_of_all_and_every_command() {
        let text = String::from_utf8(page(&tree(), "2026-11-22").unwrap()).unwrap();
        let groups = tree().get_subcommands().filter(|inner| !inner.is_hide_set()).count();
        assert_eq!(text.matches("\n.TP\ntollgate\\-").count(), groups);
        for expected in ["\\-\\-token\\-file", "TOLLGATE_TOKEN_FILE", ".SH OUTPUT", "2026-11-22"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
