//! What a command shows to people, before it is known how wide the screen is: sentences, facts and tables, one beneath
//! the other.
//!
//! In a pipe every row of a table is a line with all its fields. On a screen nothing is wider than the screen
//! (`layout`), and a word that says how things are has a colour.

use anstyle::{AnsiColor, Style};

use super::{
    fit::{cut, safe, width, wrapped},
    layout::{GAP, NOTHING, Placed, brief, plan},
    screen::Screen,
};

/// How far what does not fit into the first line of a sentence is moved to the right.
const INDENT: usize = 2;
/// Least columns for the value of a fact beside its name; with less it stands beneath.
const LEAST_VALUE: usize = 12;

/// What a word says of how things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Tone {
    #[default]
    Plain,
    /// Allowed, well: green.
    Good,
    /// Near a limit, limiting, not as it should be: yellow.
    Warn,
    /// Denied, exhausted, lost: red.
    Bad,
    /// Beside the matter.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    fn paint(self, text: &str, color: bool) -> String {
        if !color || self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }

    /// Of a share that is taken, `#########.`: all of it, or four fifths.
    pub(in crate::cli) fn of_bar(bar: &str) -> Self {
        match (bar.matches('#').count(), bar.len()) {
            (_, 0) => Self::Plain,
            (taken, cells) if taken >= cells && taken > 0 => Self::Bad,
            (taken, cells) if taken * 5 >= cells * 4 => Self::Warn,
            _ => Self::Plain,
        }
    }

    /// Of a remark on a limit.
    pub(in crate::cli) fn of_note(note: &str) -> Self {
        let says = |word: &str| note.contains(word);
        if says("exhausted") || says("blocked") {
            Self::Bad
        } else if says("limiting") || says("stale") || says("near") {
            Self::Warn
        } else {
            Self::Plain
        }
    }

    /// Of a word for how something is, as the API and the command have it.
    pub(in crate::cli) fn of_state(state: &str) -> Self {
        let word = state.split([' ', ',', ':']).next().unwrap_or_default();
        match word {
            "allowed" | "active" | "alive" | "ok" | "running" | "continue" | "unfrozen" => Self::Good,
            "warn" | "unknown" | "draining" | "cooldown" | "frozen" | "expired" | "set" => Self::Warn,
            "denied" | "stop" | "dead" | "quarantine" | "limit" | "exhausted" | "nobody" => Self::Bad,
            _ => Self::Plain,
        }
    }
}

/// How a column gets narrower than its widest cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Yield {
    /// It does not: half a number is another number.
    Never,
    /// Its times are written by their distance from now.
    Brief,
    /// Its text goes on in the next line.
    Wrap,
    /// The end of its text is left out, and marked.
    Cut,
}

/// The heading of a column, and what becomes of it where there is little room.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    pub(super) heading: &'static str,
    right: bool,
    pub(super) yields: Yield,
    /// The one with the largest is left out first; 0 = never left out.
    pub(super) spare: u8,
    /// Whether it is shown where no row says anything.
    pub(super) stays: bool,
    /// Whether another column says the same in other words, so that it is not missed.
    repeats: bool,
    tone: fn(&str) -> Tone,
}

impl Column {
    const fn new(heading: &'static str, right: bool, yields: Yield) -> Self {
        Self { heading, right, yields, spare: 0, stays: false, repeats: false, tone: |_| Tone::Plain }
    }

    /// May be left out where there is no room, the one with the largest rank first.
    pub(in crate::cli) const fn spare(mut self, rank: u8) -> Self {
        self.spare = rank;
        self
    }

    /// Says what another column says, in other words: where it has no room, nobody has to know.
    pub(in crate::cli) const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// Text that is cut, and not wrapped.
    pub(in crate::cli) const fn cut(mut self) -> Self {
        self.yields = Yield::Cut;
        self
    }

    /// The colour of a cell, by its text.
    pub(in crate::cli) const fn toned(mut self, tone: fn(&str) -> Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A column of text, which is wrapped where there is no room for it.
pub(in crate::cli) const fn text(heading: &'static str) -> Column {
    Column::new(heading, false, Yield::Wrap)
}

/// A column of numbers, which are always whole.
pub(in crate::cli) const fn number(heading: &'static str) -> Column {
    Column::new(heading, true, Yield::Never)
}

/// A column of times with their distance from now, as `format::when` writes them.
pub(in crate::cli) const fn time(heading: &'static str) -> Column {
    Column::new(heading, false, Yield::Brief)
}

/// The remarks on each row: the column that explains the others is never left out.
pub(in crate::cli) const fn note() -> Column {
    let mut column = text("note").toned(Tone::of_note);
    column.stays = true;
    column
}

#[derive(Debug, Clone)]
enum Block {
    /// A first word with a tone, and the rest.
    Sentence(Tone, String, String),
    /// Lines as they are, whatever fits: to be pasted.
    Verbatim(Vec<String>),
    Facts(Vec<(String, String)>),
    Table(Vec<Column>, Vec<Vec<String>>),
    Blank,
}

/// Blocks, one beneath the other.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct View {
    blocks: Vec<Block>,
}

/// Each line is a sentence.
impl From<String> for View {
    fn from(text: String) -> Self {
        Self { blocks: text.lines().map(sentence).collect() }
    }
}

impl From<&str> for View {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

fn sentence(line: &str) -> Block {
    if line.is_empty() { Block::Blank } else { Block::Sentence(Tone::Plain, String::new(), safe(line)) }
}

impl View {
    /// A sentence that begins with how things are, in its colour.
    pub(in crate::cli) fn verdict(tone: Tone, word: &str, rest: &str) -> Self {
        Self { blocks: vec![Block::Sentence(tone, safe(word), safe(rest))] }
    }

    /// Lines to be pasted: none is broken.
    pub(in crate::cli) fn verbatim(text: &str) -> Self {
        Self { blocks: vec![Block::Verbatim(text.lines().map(safe).collect())] }
    }

    fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// `next` in the line beneath.
    pub(in crate::cli) fn then(mut self, next: impl Into<Self>) -> Self {
        self.blocks.extend(next.into().blocks);
        self
    }

    /// `next` after an empty line.
    pub(in crate::cli) fn apart(mut self, next: impl Into<Self>) -> Self {
        let next = next.into();
        if !self.is_empty() && !next.is_empty() {
            self.blocks.push(Block::Blank);
        }
        self.then(next)
    }

    /// All of them, with an empty line between two.
    pub(in crate::cli) fn all(views: impl IntoIterator<Item = Self>) -> Self {
        views.into_iter().fold(Self::default(), Self::apart)
    }

    /// The text for a screen; every line ends.
    pub(in crate::cli) fn text(&self, screen: &Screen) -> String {
        let mut text = String::new();
        let mut left_out = Vec::new();
        for block in &self.blocks {
            let lines = match block {
                Block::Sentence(tone, word, rest) => sentence_lines(*tone, word, rest, screen),
                Block::Verbatim(lines) => lines.clone(),
                Block::Facts(pairs) => fact_lines(pairs, screen.width),
                Block::Table(columns, rows) => {
                    let (lines, out) = table_lines(columns, rows, screen);
                    left_out.extend(out);
                    lines
                }
                Block::Blank => vec![String::new()],
            };
            for line in lines {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        if let (Some(most), false) = (screen.width, left_out.is_empty()) {
            let hint = format!("(no room for {}; a wider screen or -o json has them)", left_out.join(", "));
            text.push('\n');
            for line in wrapped(&hint, most) {
                text.push_str(&Tone::Faint.paint(&line, screen.color));
                text.push('\n');
            }
        }
        text
    }
}

/// Aligned columns without lines, so that `grep` and `awk` can read them too. An empty cell shows
/// `-`: every row keeps its number of fields.
pub(in crate::cli) fn table<const N: usize>(columns: [Column; N], rows: impl IntoIterator<Item = [String; N]>) -> View {
    let rows = rows.into_iter().map(|row| row.map(|cell| one_line(&cell)).to_vec()).collect();
    View { blocks: vec![Block::Table(columns.to_vec(), rows)] }
}

/// Names and values, one pair a line.
pub(in crate::cli) fn facts<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> View {
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), one_line(&value))).collect();
    View { blocks: if pairs.is_empty() { Vec::new() } else { vec![Block::Facts(pairs)] } }
}

fn one_line(text: &str) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { safe(text) }
}

fn sentence_lines(tone: Tone, word: &str, rest: &str, screen: &Screen) -> Vec<String> {
    let whole = format!("{word}{rest}");
    let mut lines = match screen.width {
        None => vec![whole],
        Some(most) => hanging(&whole, most),
    };
    if let Some(first) = lines.first_mut().filter(|first| first.starts_with(word)) {
        *first = format!("{}{}", tone.paint(word, screen.color), &first[word.len()..]);
    }
    lines
}

/// The first line from the left, what follows it indented.
fn hanging(text: &str, most: usize) -> Vec<String> {
    if width(text) <= most {
        return vec![text.to_owned()];
    }
    let first = wrapped(text, most).swap_remove(0);
    let rest = text.get(first.len()..).unwrap_or_default().trim_start_matches(' ');
    let others = wrapped(rest, most - INDENT).into_iter().map(|line| format!("{:INDENT$}{line}", ""));
    std::iter::once(first).chain(others).collect()
}

fn fact_lines(pairs: &[(String, String)], room: Option<usize>) -> Vec<String> {
    let names = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in pairs {
        let (indent, parts) = match room {
            None => (names + GAP, vec![value.clone()]),
            Some(room) if room >= names + GAP + LEAST_VALUE => (names + GAP, wrapped(value, room - names - GAP)),
            Some(room) => (INDENT, wrapped(value, room - INDENT)),
        };
        let beneath = indent < names + GAP;
        if beneath {
            lines.push(name.clone());
        }
        for (at, part) in parts.into_iter().enumerate() {
            let before = if at == 0 && !beneath { name.as_str() } else { "" };
            lines.push(format!("{}{part}", padded(before, indent, false)));
        }
    }
    lines
}

/// The lines, and the headings of the columns that had no room.
fn table_lines(columns: &[Column], rows: &[Vec<String>], screen: &Screen) -> (Vec<String>, Vec<String>) {
    let plan = plan(columns, rows, screen.headings, screen.width);
    if plan.placed.is_empty() {
        return (lists(columns, rows, screen.width), Vec::new());
    }
    let mut lines = Vec::new();
    if screen.headings {
        let heading = |column: &Placed| {
            let of = &columns[column.index];
            padded(&of.heading.to_uppercase(), column.width, of.right)
        };
        lines.push(plan.placed.iter().map(heading).collect::<Vec<_>>().join(&" ".repeat(GAP)));
    }
    for row in rows {
        lines.extend(row_lines(columns, row, &plan.placed, screen.color));
    }
    let missed = plan.left_out.iter().map(|index| &columns[*index]).filter(|column| !column.repeats);
    (lines, missed.map(|column| column.heading.to_uppercase()).collect())
}

fn row_lines(columns: &[Column], row: &[String], placed: &[Placed], color: bool) -> Vec<String> {
    let cells: Vec<Vec<String>> = placed.iter().map(|column| cell_lines(columns, row, column)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let cell = |(lines, column): (&Vec<String>, &Placed)| {
            let of = &columns[column.index];
            let text = lines.get(at).map_or("", String::as_str);
            let blanks = " ".repeat(column.width.saturating_sub(width(text)));
            let text = (of.tone)(&row[column.index]).paint(text, color);
            if of.right { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
        };
        cells.iter().zip(placed).map(cell).collect::<Vec<_>>().join(&" ".repeat(GAP))
    };
    (0..height).map(line).collect()
}

fn cell_lines(columns: &[Column], row: &[String], column: &Placed) -> Vec<String> {
    let text = &row[column.index];
    let text = if column.brief { brief(text) } else { text };
    match columns[column.index].yields {
        Yield::Cut => vec![cut(text, column.width)],
        Yield::Wrap => wrapped(text, column.width),
        Yield::Never | Yield::Brief => vec![text.to_owned()],
    }
}

/// Each row as a list of its fields.
fn lists(columns: &[Column], rows: &[Vec<String>], room: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let pairs: Vec<_> =
            columns.iter().zip(row).map(|(column, cell)| (column.heading.to_owned(), cell.clone())).collect();
        lines.extend(fact_lines(&pairs, room));
    }
    lines
}

fn padded(text: &str, to: usize, right: bool) -> String {
    let blanks = " ".repeat(to.saturating_sub(width(text)));
    if right { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
