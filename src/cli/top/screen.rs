//! One frame of `top`: a line of what it is, a line of what was read or why nothing was, the rows,
//! and the keys.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line as Text, Span},
    widgets::{Cell, Row, Table},
};

use super::board::{Board, Line, ROWS};
use crate::{
    cli::{
        args::TopOrder,
        output::{View, number, safe, table, text},
        remote::{
            format::{iso, relative},
            names::called,
            org_list::{fullest, states},
        },
    },
    domain::window::Millis,
};

/// Keys, what they sort by, and what that is called.
pub(in crate::cli) const ORDERS: [(char, TopOrder, &str); 4] = [
    ('c', TopOrder::Calls, "calls"),
    ('d', TopOrder::Denied, "denied"),
    ('u', TopOrder::Used, "used"),
    ('o', TopOrder::FailOpen, "fail-open"),
];

/// A frame needs as much.
const LEAST: (u16, u16) = (40, 6);
const HEADINGS: [&str; 8] = ["ORG", "STATE", "ALLOW/S", "DENY/S", "OPEN/S", "DENIED", "USED", "LIMIT"];
const NUMBERS: std::ops::RangeInclusive<usize> = 2..=6;

/// Where and how.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Look<'a> {
    /// The node that is asked.
    pub(in crate::cli) address: &'a str,
    pub(in crate::cli) now: Millis,
    pub(in crate::cli) color: bool,
    /// Rows above the first that is shown.
    pub(in crate::cli) above: usize,
}

pub(in crate::cli) fn draw(frame: &mut Frame<'_>, board: &Board, look: Look<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let most = usize::from(area.width);
        let text: String = format!("top needs {} x {}, q quits", LEAST.0, LEAST.1).chars().take(most).collect();
        return frame.render_widget(Text::from(text), first_line(area));
    }
    let parts = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
    let [head, said, rows, keys] = Layout::vertical(parts).areas(area);
    let at = iso(i64::try_from(look.now).unwrap_or(i64::MAX));
    frame.render_widget(Text::from(format!("tollgate top  {}  {at}", look.address)), head);
    frame.render_widget(Text::styled(state(board, look.now), state_style(board, look.color)), said);
    frame.render_widget(rows_table(board, look), rows);
    frame.render_widget(key_line(board, look.color), keys);
}

fn first_line(area: Rect) -> Rect {
    Rect { height: area.height.min(1), ..area }
}

fn order_name(order: TopOrder) -> &'static str {
    ORDERS.iter().find(|(_, of, _)| *of == order).map_or("", |(_, _, name)| name)
}

/// What was read, or since when nothing is and why.
pub(in crate::cli) fn state(board: &Board, now: Millis) -> String {
    let ago = |at: Millis| relative(now, i64::try_from(at).unwrap_or(i64::MAX));
    if let Some(away) = &board.away {
        return format!("NO ANSWER, first {}: {}", ago(away.since), safe(&away.why));
    }
    if board.answered_at.is_none() {
        return "asking the node".to_owned();
    }
    let (read, failed) = board.read;
    let first = if read > i64::from(ROWS) {
        format!(", of which the first {ROWS} by {}", order_name(board.order))
    } else {
        String::new()
    };
    let failed = if failed > 0 { format!(", {failed} could not be read") } else { String::new() };
    format!("{read} orgs{first}{failed}")
}

fn state_style(board: &Board, color: bool) -> Style {
    let troubled = board.away.is_some() || board.read.1 > 0;
    if troubled && color { Style::new().fg(Color::Red) } else { Style::new() }
}

fn rows_table<'a>(board: &Board, look: Look<'_>) -> Table<'a> {
    let order = match board.order {
        TopOrder::Calls => 2,
        TopOrder::Denied => 3,
        TopOrder::FailOpen => 4,
        TopOrder::Used => 6,
    };
    let heading = |(at, name): (usize, &'static str)| {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let style = if at == order { style.add_modifier(Modifier::REVERSED) } else { style };
        Cell::from(aligned(at, name)).style(style)
    };
    let header = Row::new(HEADINGS.into_iter().enumerate().map(heading));
    let rows = board.lines.iter().skip(look.above).map(|line| {
        let cells = cells(line).into_iter().enumerate().map(|(at, text)| Cell::from(aligned(at, &text)));
        Row::new(cells).style(row_style(board, line, look.color))
    });
    let widths = [
        Constraint::Min(10),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(14),
    ];
    Table::new(rows, widths).header(header).column_spacing(1)
}

fn aligned<'a>(column: usize, text: &str) -> Text<'a> {
    let text = Text::from(text.to_owned());
    if NUMBERS.contains(&column) { text.right_aligned() } else { text }
}

/// What is not of now is dimmed.
fn row_style(board: &Board, line: &Line, color: bool) -> Style {
    if board.away.is_some() {
        return Style::new().add_modifier(Modifier::DIM);
    }
    let denies = line.rates.is_some_and(|rates| rates.denied > 0.0);
    let opens = line.rates.is_some_and(|rates| rates.failed_open > 0.0);
    match (color, denies, opens) {
        (true, true, _) => Style::new().fg(Color::Red),
        (true, false, true) => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn cells(line: &Line) -> [String; 8] {
    let row = &line.row;
    let rate = |of: fn(super::board::Rates) -> f64| line.rates.map_or("-".to_owned(), |rates| shown(of(rates)));
    let (used, limit, _) = fullest(row);
    [
        safe(&called(&row.name, &row.org)),
        states(row),
        rate(|rates| rates.allowed),
        rate(|rates| rates.denied),
        rate(|rates| rates.failed_open),
        row.denied_today.to_string(),
        used.replace(' ', ""),
        safe(&limit),
    ]
}

/// `0`, `0.5`, `12`, `1234`.
fn shown(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

fn key_line<'a>(board: &Board, color: bool) -> Text<'a> {
    let mut spans = vec![Span::from("sort: ")];
    for (key, order, name) in ORDERS {
        let style = if board.order == order { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!("{key} {name}"), style));
        spans.push(Span::from("  "));
    }
    spans.push(Span::from("arrows scroll  q quits"));
    let line = Text::from(spans);
    if color { line.style(Style::new().fg(Color::Cyan)) } else { line }
}

/// The same as a table for a pipe.
pub(in crate::cli) fn as_table(board: &Board, most: usize) -> View {
    let columns = [
        text("org"),
        text("state"),
        number("allow/s"),
        number("deny/s"),
        number("open/s"),
        number("denied today"),
        number("used"),
        text("limit"),
    ];
    table(columns, board.lines.iter().take(most).map(cells))
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{
        domain::limit::LimitTexts,
        wire::{
            admin::v1::{ListOrgsResponse, OrgState, OrgSummary},
            v1::Limit,
        },
    };

    fn board(count: usize) -> Board {
        let mut board = Board::new(TopOrder::Calls);
        for at in [1_000, 3_000] {
            let orgs = (0..count).map(|number| OrgSummary {
                org: format!("org-{number:03}"),
                allowed_today: i64::try_from(at).unwrap() * i64::try_from(count - number).unwrap(),
                denied_today: 4,
                states: vec![OrgState::Denied.into()],
                used_percent: 93,
                fullest: Some(Limit { texts: LimitTexts::new("budget/daily", "spend", ""), ..Limit::default() }),
                ..OrgSummary::default()
            });
            let answer = ListOrgsResponse { orgs: orgs.collect(), orgs_read: 7, ..ListOrgsResponse::default() };
            board.take(answer, at);
        }
        board
    }

    fn frame(board: &Board, (width, height): (u16, u16), above: usize) -> Vec<String> {
        let look = Look { address: "http://127.0.0.1:7070", now: 5_000, color: true, above };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cell = |x, y| buffer[(x, y)].symbol().to_owned();
        (0..height).map(|y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_frame_of_80_by_24_has_everything_whole() {
        let lines = frame(&board(40), (80, 24), 0);
        assert_eq!(lines[0], "tollgate top  http://127.0.0.1:7070  1970-01-01T00:00:05Z");
        assert_eq!(lines[1], "7 orgs");
        let words: Vec<_> = lines[2].split_whitespace().collect();
        assert_eq!(words, HEADINGS);
        let first: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(first, ["org-000", "denied", "40000", "0", "0", "4", "93%", "budget/daily"]);
        assert!(lines[22].starts_with("org-019"), "{lines:?}");
        assert_eq!(lines[23], "sort: c calls  d denied  u used  o fail-open  arrows scroll  q quits");
        assert!(frame(&board(40), (80, 24), 5)[3].starts_with("org-005"));
    }

    #[test]
    fn every_size_is_drawn_and_one_that_is_too_small_says_so() {
        for size in [(1, 1), (39, 24), (40, 6), (200, 60), (80, 5)] {
            let lines = frame(&board(3), size, 0);
            assert_eq!(lines.len(), usize::from(size.1));
            assert_eq!(
                lines[0].starts_with("top needs 40 x 6"),
                size == (39, 24) || size == (80, 5),
                "{size:?} {lines:?}"
            );
        }
    }

    #[test]
    fn a_node_that_does_not_answer_is_named_with_its_time_and_the_rows_stay() {
        let mut board = board(3);
        board.miss("no node answers\u{1b}[2J".into(), 4_000);
        let lines = frame(&board, (80, 24), 0);
        assert_eq!(lines[1], "NO ANSWER, first 1s ago: no node answers\\u{1b}[2J");
        assert!(lines[3].starts_with("org-000"), "{lines:?}");
    }
}
