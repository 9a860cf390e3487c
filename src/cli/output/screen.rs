//! Where a command prints to: how wide it is, whether colours say something there, whether columns have headings.
//!
//! A pipe has no width: what reads it gets every column whole. `COLUMNS` holds wherever it is set, so that `watch`, which
//! gives a pipe and says how wide its screen is, gets what fits.

use std::{
    env,
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::ValueEnum;
use terminal_size::terminal_size_of;

/// The variable by which the script of a shell asks for completions.
pub(in crate::cli) const COMPLETE: &str = "TOLLGATE_COMPLETE";

/// No layout is made for less.
const LEAST_WIDTH: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also in a pipe, and although NO_COLOR is set
    Always,
    /// Nowhere
    Never,
}

/// What the process finds around it.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Surroundings {
    /// Whether stdout is a terminal.
    pub(in crate::cli) terminal: bool,
    /// Whether stdin is one: somebody can answer a question.
    pub(in crate::cli) answers: bool,
    /// Its columns and lines; `None` where it does not say.
    pub(in crate::cli) size: Option<(usize, usize)>,
    /// `COLUMNS`, where it is set.
    pub(in crate::cli) columns: Option<String>,
    /// Where a user's settings are, by the convention of XDG; `None` where nobody says.
    pub(in crate::cli) config_home: Option<PathBuf>,
    /// Whether `NO_COLOR` is set to anything, or the terminal has no colours.
    pub(in crate::cli) no_color: bool,
    /// The shell that asks how a command line may go on, in place of running it.
    pub(in crate::cli) completes: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    pub(in crate::cli) fn of_process() -> Self {
        let stdout = io::stdout();
        let size = terminal_size_of(&stdout).map(|(width, height)| (width.0.into(), height.0.into()));
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let plain = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let path = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config_home = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
        Self {
            config_home,
            answers: io::stdin().is_terminal(),
            terminal: stdout.is_terminal(),
            size,
            columns: env::var("COLUMNS").ok(),
            no_color: set("NO_COLOR") || plain,
            completes: env::var(COMPLETE).ok().filter(|shell| !shell.is_empty()),
        }
    }
}

/// How a view is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Screen {
    /// Columns; `None` = as many as a line needs.
    pub(in crate::cli) width: Option<usize>,
    /// Lines; `None` where nothing limits them.
    pub(in crate::cli) height: Option<usize>,
    /// Whether words have colours.
    pub(in crate::cli) color: bool,
    /// Whether the columns of a table have headings.
    pub(in crate::cli) headings: bool,
    /// Whether what was written can be written over.
    pub(in crate::cli) terminal: bool,
    /// Whether somebody can answer a question.
    pub(in crate::cli) answers: bool,
}

impl Screen {
    /// A pipe: whole lines, no colours.
    pub(in crate::cli) const PIPE: Self =
        Self { width: None, height: None, color: false, headings: true, terminal: false, answers: false };

    pub(in crate::cli) fn new(around: &Surroundings, color: ColorChoice, headings: bool) -> Self {
        let Surroundings { terminal, size, columns, no_color, .. } = around;
        let size = size.filter(|_| *terminal);
        let given: Option<usize> = columns.as_deref().and_then(|columns| columns.trim().parse().ok());
        let width = match given {
            Some(0) => None,
            Some(columns) => Some(columns),
            None => size.map(|(width, _)| width).filter(|width| *width > 0),
        };
        let color = match color {
            ColorChoice::Auto => *terminal && !no_color,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let height = size.map(|(_, height)| height).filter(|height| *height > 0);
        Self {
            width: width.map(|width| width.max(LEAST_WIDTH)),
            height,
            color,
            headings,
            terminal: *terminal,
            answers: around.answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Surroundings {
        Surroundings { terminal: true, size: Some((80, 24)), ..Surroundings::default() }
    }

    fn width(around: &Surroundings) -> Option<usize> {
        Screen::new(around, ColorChoice::Auto, true).width
    }

    #[test]
    fn a_terminal_has_its_width_a_pipe_has_none_and_columns_holds_in_both() {
        let columns = |columns: &str| Some(columns.to_owned());
        assert_eq!(width(&terminal()), Some(80));
        assert_eq!(width(&Surroundings { columns: columns("120"), ..terminal() }), Some(120));
        assert_eq!(width(&Surroundings { columns: columns("0"), ..terminal() }), None);
        assert_eq!(width(&Surroundings { columns: columns("wide"), ..terminal() }), Some(80));
        assert_eq!(width(&Surroundings { columns: columns("5"), ..terminal() }), Some(20));
        assert_eq!(width(&Surroundings::default()), None);
        assert_eq!(width(&Surroundings { size: Some((80, 24)), ..Surroundings::default() }), None);
        assert_eq!(width(&Surroundings { columns: columns("80"), ..Surroundings::default() }), Some(80));
    }

    #[test]
    fn colours_are_for_terminals_and_for_those_who_insist() {
        let plain = Surroundings { no_color: true, ..terminal() };
        let pipe = Surroundings::default();
        let color = |around: &Surroundings, choice| Screen::new(around, choice, true).color;
        assert_eq!([&terminal(), &plain, &pipe].map(|around| color(around, ColorChoice::Auto)), [true, false, false]);
        assert_eq!([&terminal(), &plain, &pipe].map(|around| color(around, ColorChoice::Always)), [true; 3]);
        assert_eq!([&terminal(), &plain, &pipe].map(|around| color(around, ColorChoice::Never)), [false; 3]);
    }
}
