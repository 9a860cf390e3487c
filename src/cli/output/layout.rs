//! Which columns of a table a screen has room for, and how wide each of them is.
//!
//! Where all of them fit as they are, nothing is done. Where they do not, columns become narrower in this order: times
//! are written by their distance alone; columns in which no row says anything go; text is wrapped or cut; columns that
//! the view can do without go, the least needed first. Where even that is too wide, each row is written as a list.

use super::{
    fit::width,
    view::{Column, Yield},
};

/// Blanks between columns.
pub(super) const GAP: usize = 2;
/// What an empty cell shows.
pub(super) const NOTHING: &str = "-";
/// No text is wrapped or cut to less, if it has more.
const LEAST_TEXT: usize = 10;

/// One column as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its place in the view.
    pub(super) index: usize,
    pub(super) width: usize,
    /// Whether its cells are in their short form.
    pub(super) brief: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Empty where each row is a list.
    pub(super) placed: Vec<Placed>,
    /// Columns that say something and have no room.
    pub(super) left_out: Vec<usize>,
}

/// A column while it is measured.
struct Measured {
    index: usize,
    /// The width of its widest cell, and of its heading.
    natural: usize,
    brief: bool,
    /// Whether no row says anything.
    silent: bool,
}

/// Lays out a table in `room` columns; `None` = whatever it takes.
pub(super) fn plan(columns: &[Column], rows: &[Vec<String>], headings: bool, room: Option<usize>) -> Plan {
    let mut measured: Vec<Measured> = (0..columns.len()).map(|index| measure(columns, rows, headings, index)).collect();
    let Some(room) = room else {
        return Plan {
            placed: measured.iter().map(|column| placed(column, column.natural)).collect(),
            left_out: vec![],
        };
    };
    shorten_times(&mut measured, columns, rows, headings, room);
    if total(measured.iter().map(|column| column.natural)) > room {
        measured.retain(|column| !column.silent || columns[column.index].stays);
    }
    let mut left_out = Vec::new();
    while total(measured.iter().map(|column| floor(column, columns))) > room {
        let rank = |at: &usize| columns[measured[*at].index].spare;
        let least = (0..measured.len()).filter(|at| rank(at) > 0).max_by_key(rank);
        let Some(least) = least else {
            return Plan { placed: Vec::new(), left_out: Vec::new() };
        };
        left_out.push(measured.remove(least).index);
    }
    left_out.sort_unstable();
    Plan { placed: widened(&measured, columns, room), left_out }
}

fn measure(columns: &[Column], rows: &[Vec<String>], headings: bool, index: usize) -> Measured {
    let cells = rows.iter().map(|row| width(&row[index])).max().unwrap_or(0);
    let heading = if headings { width(columns[index].heading) } else { 0 };
    let silent = rows.iter().all(|row| row[index] == NOTHING);
    Measured { index, natural: cells.max(heading), brief: false, silent }
}

/// Times become short from the right to the left, until all fits.
fn shorten_times(measured: &mut [Measured], columns: &[Column], rows: &[Vec<String>], headings: bool, room: usize) {
    for at in (0..measured.len()).rev() {
        if total(measured.iter().map(|column| column.natural)) <= room {
            return;
        }
        let column = &columns[measured[at].index];
        if column.yields != Yield::Brief {
            continue;
        }
        let cells = rows.iter().map(|row| width(brief(&row[at]))).max().unwrap_or(0);
        let heading = if headings { width(column.heading) } else { 0 };
        measured[at].natural = cells.max(heading);
        measured[at].brief = true;
    }
}

/// `in 42m 10s` of `2026-11-22T09:12:10Z (in 42m 10s)`; what has no such end stays as it is.
pub(super) fn brief(time: &str) -> &str {
    let inner = time.strip_suffix(')').and_then(|time| time.split_once(" (")).map(|(_, distance)| distance);
    inner.unwrap_or(time)
}

/// The least that a column is written in.
fn floor(column: &Measured, columns: &[Column]) -> usize {
    let of = &columns[column.index];
    match of.yields {
        Yield::Never | Yield::Brief => column.natural,
        Yield::Wrap | Yield::Cut => column.natural.min(LEAST_TEXT.max(width(of.heading))),
    }
}

/// Gives what room is left to the narrowest of the columns that want more, again and again.
fn widened(measured: &[Measured], columns: &[Column], room: usize) -> Vec<Placed> {
    let mut widths: Vec<usize> = measured.iter().map(|column| floor(column, columns)).collect();
    let mut spare = room.saturating_sub(total(widths.iter().copied()));
    while spare > 0 {
        let wanting = (0..widths.len()).filter(|at| widths[*at] < measured[*at].natural);
        let Some(narrowest) = wanting.min_by_key(|at| widths[*at]) else { break };
        widths[narrowest] += 1;
        spare -= 1;
    }
    measured.iter().zip(widths).map(|(column, width)| placed(column, width)).collect()
}

fn placed(column: &Measured, width: usize) -> Placed {
    Placed { index: column.index, width, brief: column.brief }
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    let (sum, count) = widths.fold((0, 0_usize), |(sum, count), width| (sum + width, count + 1));
    sum + GAP * count.saturating_sub(1)
}
