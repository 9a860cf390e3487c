//! `tollgate top`: the busiest orgs, those of which most is denied, those with the fullest limit
//! and those whose gates fail open, drawn again and again. One node is asked; it reads the orgs of
//! all nodes. The terminal is as it was afterwards, however this ends.

pub(in crate::cli) mod board;
pub(in crate::cli) mod screen;

use std::{
    future::{Future, pending},
    io,
    pin::{Pin, pin},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Exit,
    args::{GlobalArgs, TopArgs, TopOrder},
    connect::Connection,
    failure::Failure,
    output::{Format, Output},
    remote, watch,
};
use crate::{
    clock,
    domain::input::InputError,
    wire::admin::v1::{ListOrgsRequest, ListOrgsResponse},
};

use board::{Board, ROWS};
use screen::{Look, ORDERS};

/// Keys that wait to be read; more wait in the terminal.
const KEYS: usize = 16;
/// How long the reader of keys waits before it asks whether it is still wanted.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// The clock of a frame moves on also while there is no answer.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);
/// Rows that a page key moves by.
const PAGE: usize = 10;

pub(super) async fn run(global: &GlobalArgs, args: &TopArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if args.once {
        return once(global, args, output).await;
    }
    if !output.screen().terminal || output.format() != Format::Table {
        let allowed = "a terminal and a table; `top --once` prints one table, or JSON, for a pipe";
        return Err(Failure::Usage(InputError::new("stdout of top", "no screen", allowed)));
    }
    let started = ratatui::try_init();
    let ended = match started {
        Ok(mut terminal) => {
            let ended = follow(&mut terminal, global, args, output.screen().color).await;
            ratatui::restore();
            ended
        }
        Err(error) => {
            // It may be in raw mode, or on the other screen, already.
            ratatui::restore();
            Err(error)
        }
    };
    ended.map_err(|error| Failure::Local(format!("top cannot draw on this terminal: {error}")))?;
    Ok(Exit::Done)
}

/// Two answers, because rates are the difference of two.
async fn once(global: &GlobalArgs, args: &TopArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut board = Board::new(args.by);
    board.take(asked(global, board.request()).await?, clock::wall());
    sleep(args.every).await;
    let answer = asked(global, board.request()).await?;
    let failures = answer.failures.clone();
    board.take(answer, clock::wall());
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let rows = board.lines.iter().take(most).map(|line| line.row.clone());
    let shown = ListOrgsResponse { orgs: rows.collect(), orgs_read: board.read.0, failures, ..Default::default() };
    output.answer(&shown, |_: &ListOrgsResponse, _| screen::as_table(&board, most))?;
    Ok(remote::org_list::report_failures(&shown, output))
}

/// One round: the first orgs of all, in the order that is asked for.
async fn asked(global: &GlobalArgs, request: ListOrgsRequest) -> Result<ListOrgsResponse, Failure> {
    let connection = Connection::open(global).await?;
    remote::org_list::collect(&connection, request, ROWS).await
}

type Round<'a> = Pin<Box<dyn Future<Output = Result<ListOrgsResponse, Failure>> + 'a>>;

fn round<'a>(global: &'a GlobalArgs, board: &Board) -> Option<Round<'a>> {
    Some(Box::pin(asked(global, board.request())))
}

/// Draws until somebody ends it.
async fn follow(
    terminal: &mut DefaultTerminal,
    global: &GlobalArgs,
    args: &TopArgs,
    color: bool,
) -> Result<(), io::Error> {
    let (keys, mut pressed) = mpsc::channel(KEYS);
    let reader = thread::spawn(move || read_keys(&keys));
    let address = global.address().to_string();
    let mut view = Viewed { board: Board::new(args.by), above: 0 };
    let mut stop = pin!(watch::stopped());
    let mut asking = round(global, &view.board);
    let mut next = Instant::now();
    let ended = loop {
        let look = Look { address: &address, now: clock::wall(), color, above: view.above };
        if let Err(error) = terminal.draw(|frame| screen::draw(frame, &view.board, look)) {
            break Err(error);
        }
        tokio::select! {
            () = &mut stop => break Ok(()),
            event = pressed.recv() => match event.map(|event| view.event(&event)) {
                Some(Told::Nothing) => {}
                Some(Told::Ask) => asking = round(global, &view.board),
                // Without a terminal there is nobody to draw for.
                Some(Told::Quit) | None => break Ok(()),
            },
            answer = answered(&mut asking) => {
                view.take(answer);
                (asking, next) = (None, Instant::now() + args.every);
            }
            () = sleep_until(next), if asking.is_none() => asking = round(global, &view.board),
            () = sleep(REDRAWN_EVERY) => {}
        }
    };
    // What is typed from now on is for the shell.
    drop(pressed);
    let _ = reader.join();
    ended
}

/// The answer to what is asked; never, where nothing is.
async fn answered(asking: &mut Option<Round<'_>>) -> Result<ListOrgsResponse, Failure> {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

/// Hands on what is pressed, until nobody wants it.
fn read_keys(keys: &mpsc::Sender<Event>) {
    while !keys.is_closed() {
        match event::poll(KEYS_EVERY) {
            Ok(false) => {}
            Ok(true) => {
                let Ok(event) = event::read() else { return };
                if keys.blocking_send(event).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// What somebody sees of it.
struct Viewed {
    board: Board,
    /// Rows above the first that is shown.
    above: usize,
}

/// What follows from a key.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// The node is asked at once: in another order other orgs are the first.
    Ask,
    Quit,
}

impl Viewed {
    fn take(&mut self, answer: Result<ListOrgsResponse, Failure>) {
        match answer {
            Ok(answer) => self.board.take(answer, clock::wall()),
            Err(failure) => self.board.miss(failure.message(), clock::wall()),
        }
        self.scroll(0, false);
    }

    fn event(&mut self, event: &Event) -> Told {
        let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event
        else {
            return Told::Nothing;
        };
        let is_interrupt = *code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
        match code {
            _ if is_interrupt => return Told::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Told::Quit,
            KeyCode::Up => self.scroll(1, false),
            KeyCode::Down => self.scroll(1, true),
            KeyCode::PageUp => self.scroll(PAGE, false),
            KeyCode::PageDown => self.scroll(PAGE, true),
            KeyCode::Home => self.above = 0,
            KeyCode::Char(key) => return self.sort(*key),
            _ => {}
        }
        Told::Nothing
    }

    fn sort(&mut self, key: char) -> Told {
        let known: Option<TopOrder> = ORDERS.iter().find(|(of, ..)| *of == key).map(|(_, order, _)| *order);
        let Some(order) = known.filter(|order| *order != self.board.order) else { return Told::Nothing };
        self.board.sort_by(order);
        self.above = 0;
        Told::Ask
    }

    /// The last row stays on the screen.
    fn scroll(&mut self, by: usize, down: bool) {
        let last = self.board.lines.len().saturating_sub(1);
        self.above = if down { self.above.saturating_add(by) } else { self.above.saturating_sub(by) }.min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::admin::v1::OrgSummary;

    fn press(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_sort_scroll_and_quit() {
        let mut view = Viewed { board: Board::new(TopOrder::Calls), above: 0 };
        let orgs = (0..3).map(|number| OrgSummary { org: format!("o{number}"), ..OrgSummary::default() });
        view.take(Ok(ListOrgsResponse { orgs: orgs.collect(), ..ListOrgsResponse::default() }));
        for (code, above) in [(KeyCode::Down, 1), (KeyCode::PageDown, 2), (KeyCode::Up, 1), (KeyCode::PageUp, 0)] {
            assert_eq!((view.event(&press(code)), view.above), (Told::Nothing, above), "{code:?}");
        }
        assert_eq!(view.event(&press(KeyCode::Char('c'))), Told::Nothing, "it is sorted so");
        assert_eq!(view.event(&press(KeyCode::Char('u'))), Told::Ask);
        assert_eq!(view.board.order, TopOrder::Used);
        assert_eq!(view.event(&press(KeyCode::Char('x'))), Told::Nothing);
        assert_eq!(view.event(&Event::Resize(10, 10)), Told::Nothing);
        let interrupt = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        for quit in [press(KeyCode::Char('q')), press(KeyCode::Esc), interrupt] {
            assert_eq!(view.event(&quit), Told::Quit);
        }
    }

    #[test]
    fn a_round_without_an_answer_leaves_the_rows() {
        let mut view = Viewed { board: Board::new(TopOrder::Calls), above: 0 };
        view.take(Err(Failure::Incomplete("it is cut")));
        assert!(view.board.away.is_some());
    }
}
