//! Views on screens of several widths.

use proptest::prelude::*;

use super::*;

fn on(width: usize) -> Screen {
    Screen { width: Some(width), ..Screen::PIPE }
}

fn owned<const N: usize>(row: [&str; N]) -> [String; N] {
    row.map(str::to_owned)
}

fn limits() -> View {
    let columns =
        [text("limit"), text("scope"), number("used"), number("of").spare(2), time("resets").spare(1), note()];
    let resets = "2026-11-22T09:12:10Z (in 42m 10s)";
    let rows = [
        ["rate", "-", "500", "1000", resets, ""],
        ["budget/daily", "workspace/agent-7", "$0.25", "$1.00", resets, "limiting, exhausted, 12 blocked"],
    ];
    table(columns, rows.map(owned))
}

#[test]
fn in_a_pipe_every_row_is_a_line_with_all_its_fields() {
    let rows = [["a", "", "1000"], ["bb", "x\ny", "7"]].map(owned);
    let view = table([text("one"), text("two"), number("n")], rows);
    assert_eq!(view.text(&Screen::PIPE), "ONE  TWO     N\na    -    1000\nbb   x y     7\n");
    let bare = Screen { headings: false, ..Screen::PIPE };
    assert_eq!(view.text(&bare), "a   -    1000\nbb  x y     7\n");
}

#[test]
fn a_screen_shortens_times_then_wraps_text_then_leaves_out_what_can_be_spared_and_never_the_note() {
    let wide = limits().text(&on(130));
    assert!(wide.contains("2026-11-22T09:12:10Z (in 42m 10s)"), "{wide}");
    let at_80 = "\
LIMIT         SCOPE               USED     OF  RESETS      NOTE
rate          -                    500   1000  in 42m 10s  -
budget/daily  workspace/agent-7  $0.25  $1.00  in 42m 10s  limiting, exhausted,
                                                           12 blocked
";
    assert_eq!(limits().text(&on(80)), at_80);
    let at_52 = "\
LIMIT         SCOPE             USED  NOTE
rate          -                  500  -
budget/daily  workspace/       $0.25  limiting,
              agent-7                 exhausted, 12
                                      blocked

(no room for OF, RESETS; a wider screen or -o json
has them)
";
    assert_eq!(limits().text(&on(52)), at_52);
}

#[test]
fn where_no_table_fits_each_row_is_a_list() {
    let shown = limits().text(&on(24));
    assert!(shown.contains("\nlimit   budget/daily\n"), "{shown}");
    assert!(shown.contains("\nnote    limiting,\n        exhausted, 12\n        blocked\n"), "{shown}");
    assert!(shown.lines().all(|line| width(line) <= 24), "{shown}");
}

#[test]
fn a_column_in_which_nothing_stands_goes_first() {
    let columns = [text("org"), text("plan"), text("message")];
    let view = table(columns, [["acme", "", "The backstop is reached."]].map(owned));
    assert_eq!(view.text(&on(32)), "ORG   MESSAGE\nacme  The backstop is reached.\n");
    assert!(view.text(&on(60)).contains("PLAN"));
}

#[test]
fn words_have_colours_where_they_say_how_things_are() {
    let screen = Screen { color: true, ..Screen::PIPE };
    let view = View::verdict(Tone::Bad, "denied ", "  acme  BUDGET_EXCEEDED").apart(limits());
    let shown = view.text(&screen);
    assert!(shown.starts_with("\u{1b}[31mdenied \u{1b}[0m  acme  BUDGET_EXCEEDED\n\n"), "{shown:?}");
    assert!(shown.contains("\u{1b}[31mlimiting, exhausted, 12 blocked\u{1b}[0m"), "{shown:?}");
    assert!(!view.text(&Screen::PIPE).contains('\u{1b}'));
    for (bar, tone) in
        [("", Tone::Plain), ("#######...", Tone::Plain), ("########..", Tone::Warn), ("##########", Tone::Bad)]
    {
        assert_eq!(Tone::of_bar(bar), tone, "{bar}");
    }
}

#[test]
fn what_is_to_be_pasted_is_never_broken_and_a_sentence_goes_on_indented() {
    let command = "tollgate budget set acme --scope workspace/agent-7 'daily=$25'";
    let view = View::from("one two three four five six").then(View::verbatim(command));
    assert_eq!(view.text(&on(20)), format!("one two three four\n  five six\n{command}\n"));
}

#[test]
fn nothing_steers_a_terminal() {
    let view = View::from("a\u{1b}[2J").then(facts([("b", "c\u{1b}\r".to_owned())]));
    assert_eq!(view.text(&Screen::PIPE), "a\\u{1b}[2J\nb  c\\u{1b}\\r\n");
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_screen(
        cells in proptest::collection::vec(proptest::array::uniform5("[a-z0-9/ ,é日-]{0,40}"), 0..4),
        most in 20_usize..120,
        headings: bool,
    ) {
        let columns = [text("org"), text("scope").cut(), number("used").spare(1), time("resets in").spare(2), note()];
        let screen = Screen { headings, ..on(most) };
        let shown = table(columns, cells.clone()).apart(facts([("a fact", cells.concat().concat())])).text(&screen);
        for line in shown.lines() {
            prop_assert!(width(line) <= most, "{:?} in\n{}", line, shown);
        }
        let bare = |text: &str| text.replace([' ', '\n'], "");
        for note in cells.iter().map(|row| bare(&row[4])).filter(|note| note.len() <= 3) {
            prop_assert!(bare(&shown).contains(&note), "the note never falls off: {:?} in\n{}", note, shown);
        }
    }
}
