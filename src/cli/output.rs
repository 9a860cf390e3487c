//! What a command prints, and where: data to stdout, everything else to stderr.
//!
//! As JSON a command prints one object to stdout, the response message, and on stderr one object per
//! line for each error. What it prints there for people, such as how to continue a list, stands in the
//! response as a field.
//!
//! What people read is a [`View`], which is laid out for the screen when it is written.
//!
//! A closed pipe (`| head`) is not an error of the command; any other failure to write its data is
//! one, because a script must not take half an answer for the whole. Control characters that a server
//! sent are escaped before they reach a terminal.

mod fit;
mod layout;
mod screen;
mod view;

use std::{
    fmt,
    io::{ErrorKind, Write},
};

use clap::ValueEnum;
pub(super) use prost::Name;

use super::{Exit, failure::Failure};
use crate::{
    domain::window::Millis,
    wire::json::{ErrorJson, Json, JsonError},
};

pub(super) use fit::safe;
pub(super) use screen::{COMPLETE, ColorChoice, Screen, Surroundings};
pub(super) use view::{Tone, View, facts, note, number, table, text, time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns for people
    Table,
    /// The response message as canonical proto3 JSON, errors as one JSON object a line
    Json,
    /// Comma-separated values with a header, for spreadsheets: of `usage` alone
    Csv,
}

/// A reading of the wall clock.
pub(super) type Clock = fn() -> Millis;

/// The two streams of a command and how to use them.
pub(super) struct Output<'w> {
    out: &'w mut dyn Write,
    err: &'w mut dyn Write,
    format: Format,
    screen: Screen,
    clock: Clock,
    dry_run: bool,
    /// Why stdout no longer takes data.
    broken: Option<std::io::Error>,
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.format).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl<'w> Output<'w> {
    /// What is shown relative to the wall clock is relative to what `clock` says when it is shown: a node has answered by then, so
    /// that a day from its answer is not a day and an hour.
    pub(super) fn new(
        out: &'w mut dyn Write,
        err: &'w mut dyn Write,
        format: Format,
        screen: Screen,
        clock: Clock,
    ) -> Self {
        Self { out, err, format, screen, clock, dry_run: false, broken: None }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The wall clock's time.
    pub(super) fn now(&self) -> Millis {
        (self.clock)()
    }

    pub(super) fn screen(&self) -> Screen {
        self.screen
    }

    /// Whether stdout takes no more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Writes everything out now.
    pub(super) fn flush(&mut self) {
        if self.broken.is_none() {
            self.broken = self.out.flush().err();
        }
    }

    /// Writes a response: as JSON, or as what `view` makes of it at the given time.
    pub(super) fn answer<M: Name, V: Into<View>>(
        &mut self,
        message: &M,
        view: impl FnOnce(&M, Millis) -> V,
    ) -> Result<(), JsonError> {
        match self.format {
            Format::Table | Format::Csv => self.show(&view(message, self.now()).into()),
            Format::Json => {
                let json = serde_json::to_string_pretty(&Json::of(message)?).map_err(JsonError::from)?;
                self.data(&escaped(&json));
            }
        }
        Ok(())
    }

    /// Writes what this command knows by itself: as JSON, or as a view.
    pub(super) fn object(&mut self, json: &serde_json::Value, view: impl FnOnce() -> View) {
        match self.format {
            Format::Table | Format::Csv => self.show(&view()),
            Format::Json => self.data(&escaped(&format!("{json:#}"))),
        }
    }

    /// What follows is what would be done: a reader of a table sees it too.
    pub(super) fn dry(&mut self, dry_run: bool) {
        self.dry_run = dry_run;
    }

    /// Writes a view to stdout.
    pub(super) fn show(&mut self, view: &View) {
        let mut text = view.text(&self.screen);
        if self.dry_run {
            text.push_str("\nnothing was changed: --dry-run\n");
        }
        self.data_bytes(text.as_bytes());
    }

    /// One message as JSON on one line, for a list that is written as it comes.
    pub(super) fn json<M: Name>(&self, message: &M) -> Result<String, JsonError> {
        Ok(escaped(&serde_json::to_string(&Json::of(message)?).map_err(JsonError::from)?))
    }

    /// The same of a table that goes on: without its headings.
    pub(super) fn show_more(&mut self, view: &View) {
        let text = view.text(&Screen { headings: false, ..self.screen });
        self.data_bytes(text.as_bytes());
    }

    /// Writes text to stdout and ends its last line.
    pub(super) fn data(&mut self, text: &str) {
        self.data_bytes(line(text).as_bytes());
    }

    /// Writes bytes to stdout as they are.
    pub(super) fn data_bytes(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.broken = self.out.write_all(bytes).err();
        }
    }

    /// Writes to stderr what another output has made.
    pub(super) fn pass_on(&mut self, bytes: &[u8]) {
        let _ = self.err.write_all(bytes);
    }

    /// Writes a question to stderr, whose answer is typed behind it.
    pub(super) fn ask(&mut self, question: &str) {
        let _ = self.err.write_all(line(question).trim_end_matches('\n').as_bytes()).and_then(|()| self.err.flush());
    }

    /// Writes text to stderr. Nothing can be done where even that fails.
    pub(super) fn note(&mut self, text: &str) {
        let _ = self.err.write_all(line(text).as_bytes());
    }

    /// Writes to stderr, for the reader of a table, what the JSON has as a field.
    pub(super) fn remark(&mut self, text: &str) {
        if self.format == Format::Table {
            self.note(text);
        }
    }

    /// Writes an error to stderr.
    pub(super) fn error(&mut self, failure: &Failure) {
        let json = serde_json::to_string(&ErrorJson::from(&failure.status()));
        match (self.format, json) {
            (Format::Json, Ok(object)) => self.note(&escaped(&object)),
            _ => self.note(&format!("error: {failure}")),
        }
    }

    /// Flushes; an answer that could not be written turns `exit` into an error.
    pub(super) fn finish(&mut self, exit: Exit) -> Exit {
        let failure = self.broken.take().or_else(|| self.out.flush().err());
        match failure {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.error(&Failure::Local(format!("the answer could not be written to stdout: {error}")));
                Exit::Error
            }
            _ => exit,
        }
    }
}

/// `text` as whole lines, without control characters, which a terminal would obey.
fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for character in text.trim_end_matches('\n').chars() {
        if character.is_control() && character != '\n' {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe.push('\n');
    safe
}

/// JSON without the control characters that it allows inside strings, as `\u007f`.
fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() && character != '\n' {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    fn finish_with(kind: ErrorKind, exit: Exit) -> (Exit, String) {
        let mut err = Vec::new();
        let mut out = Failing(kind);
        let mut output = Output::new(&mut out, &mut err, Format::Table, Screen::PIPE, || 0);
        output.data("a");
        output.data("b");
        let exit = output.finish(exit);
        (exit, String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_closed_pipe_is_silent_and_keeps_the_exit_code() {
        assert_eq!(finish_with(ErrorKind::BrokenPipe, Exit::Denied), (Exit::Denied, String::new()));
    }

    #[test]
    fn an_answer_that_could_not_be_written_is_an_error() {
        let (exit, err) = finish_with(ErrorKind::StorageFull, Exit::Done);
        assert_eq!(exit, Exit::Error);
        assert!(err.starts_with("error: the answer could not be written to stdout"), "{err}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(line("a\u{1b}[2Jb\nc\r"), "a\\u{1b}[2Jb\nc\\r\n");
    }

    #[test]
    fn control_characters_are_escaped_so_that_json_stays_json() {
        let text = serde_json::to_string(&["a\u{7f}\u{85}\u{9b}\u{1b}é"]).unwrap();
        let safe = escaped(&text);
        assert_eq!(safe, "[\"a\\u007f\\u0085\\u009b\\u001bé\"]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), ["a\u{7f}\u{85}\u{9b}\u{1b}é"]);
    }
}
