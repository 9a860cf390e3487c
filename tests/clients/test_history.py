"""The judges of histories: each finds the fault that is planted, and nothing where there is none. Without a node."""

import dataclasses
import itertools
import random
import unittest

import history
from history import ALLOWED, DENIED, DONE, REFUSED, Call

_ids = itertools.count()


def call(begin, end=None, node="n1", outcome=ALLOWED, rpc="Acquire", org="acme", request_id=None, **fields):
    request_id = request_id or f"r{next(_ids)}"
    return Call(org, rpc, request_id, begin, begin + 0.5 if end is None else end, outcome, node, **fields)


def record(begin, amount, scope=None, outcome=DONE, **fields):
    request_id = fields.pop("request_id", None) or f"e{next(_ids)}"
    return call(begin, rpc="Record", outcome=outcome, request_id=request_id,
                amounts={(scope or request_id, "spend"): amount}, **fields)


def ledger_of(calls):
    """What an honest server has after these."""
    kept = {}
    for (org, _, _), (amounts, is_sure) in history.acknowledged(calls).items():
        for (scope, meter), amount in amounts.items():
            if is_sure:
                kept[org, scope, meter] = kept.get((org, scope, meter), 0) + amount
    return kept


class Limits(unittest.TestCase):
    def setUp(self):
        self.calls = [call(t) for t in range(10)] + [call(11, outcome=DENIED)]

    def test_a_window_that_was_filled_exactly_is_well(self):
        self.assertEqual(history.over_admitted(self.calls, {"acme": 10}), [])
        self.assertEqual(history.not_exhausted(self.calls, {"acme": 10}), [])

    def test_one_too_many_is_found(self):
        wrong = history.over_admitted([*self.calls, call(10)], {"acme": 10})
        self.assertEqual(wrong, ["acme admitted 11 in the window 0, at most 10 are allowed"])
        self.assertEqual(history.over_admitted([*self.calls, call(10)], {"acme": 10}, spare=1), [])
        self.assertEqual(history.over_admitted([*self.calls, call(10)], {"acme": 10}, spare={"other": 1}), wrong)
        self.assertEqual(history.most_over([*self.calls, call(10)], {"acme": 10}), 1)

    def test_a_denial_while_there_was_room_is_found(self):
        wrong = history.not_exhausted(self.calls[1:], {"acme": 10})
        self.assertEqual(wrong, ["acme was denied and had admitted 9 of 10, 0 are unknown"])
        lost = call(3, outcome=REFUSED, error="UNAVAILABLE")
        self.assertEqual(history.not_exhausted([*self.calls[1:], lost], {"acme": 10}), [], "it may have been admitted")

    def test_windows_flags_and_retries_are_told_apart(self):
        again = dataclasses.replace(self.calls[0], begin=20, end=21, replayed=True)
        twice = dataclasses.replace(self.calls[1], begin=22, end=23, node="n2")
        self.assertEqual(history.over_admitted([*self.calls, again, twice], {"acme": 10}), [], "the same two requests")
        self.assertEqual(history.over_admitted([*self.calls, call(9, flagged=True)], {"acme": 10}), [])
        self.assertEqual(history.over_admitted([*self.calls, call(9, window=1)], {"acme": 10}), [])


class Ledger(unittest.TestCase):
    def setUp(self):
        self.calls = [record(t, t + 1) for t in range(20)]
        self.calls += [record(30 + t, 5, scope="shared") for t in range(4)]
        self.ledger = ledger_of(self.calls)

    def place(self, at):
        return ("acme", self.calls[at].request_id, "spend")

    def test_what_was_acknowledged_is_there_once(self):
        self.assertEqual(history.misrecorded(self.calls, self.ledger), [])

    def test_a_lost_entry_is_found(self):
        del self.ledger[self.place(7)]
        (wrong,) = history.misrecorded(self.calls, self.ledger)
        self.assertIn("8 acknowledged, 0 in the ledger: lost", wrong)

    def test_a_doubled_entry_is_found(self):
        self.ledger[self.place(7)] *= 2
        (wrong,) = history.misrecorded(self.calls, self.ledger)
        self.assertIn("8 acknowledged, 16 in the ledger: recorded twice", wrong)

    def test_a_lost_and_a_doubled_entry_of_one_scope_are_found(self):
        for kept in (15, 25):
            wrong = history.misrecorded(self.calls, self.ledger | {("acme", "shared", "spend"): kept})
            self.assertEqual(len(wrong), 1, wrong)

    def test_an_entry_that_nobody_sent_is_found(self):
        self.ledger["acme", "e-none", "spend"] = 1
        self.assertEqual(len(history.misrecorded(self.calls, self.ledger)), 1)

    def test_what_is_in_doubt_is_there_whole_or_not_at_all(self):
        lost = record(50, 8, scope="doubt", outcome=REFUSED, error="UNAVAILABLE")
        calls = [*self.calls, lost]
        for kept, well in ((0, True), (8, True), (7, False), (16, False)):
            with self.subTest(kept=kept):
                wrong = history.misrecorded(calls, self.ledger | {("acme", "doubt", "spend"): kept})
                self.assertEqual(wrong == [], well, wrong)
        retried = dataclasses.replace(lost, begin=51, end=52, outcome=DONE, error="")
        self.assertEqual(len(history.misrecorded([*calls, retried], self.ledger)), 1, "acknowledged in the end: lost")

    def test_what_was_refused_for_good_adds_nothing(self):
        refused = record(50, 8, scope="refused", outcome=REFUSED, error="INVALID_ARGUMENT")
        self.assertEqual(history.misrecorded([*self.calls, refused], self.ledger), [])
        self.assertEqual(len(history.misrecorded([*self.calls, refused], self.ledger | {("acme", "refused", "spend"): 8})), 1)


class Owners(unittest.TestCase):
    def test_a_takeover_is_one_change(self):
        calls = [call(0), call(1), call(2, 9, outcome=REFUSED, error="UNAVAILABLE"), call(5, node="n2"), call(6, node="n2")]
        self.assertEqual(history.owner_changes(calls, allowed=1), [])
        self.assertEqual(len(history.owner_changes(calls)), 1, "nobody took over")

    def test_two_owners_at_once_are_found(self):
        calls = [call(t, node=("n1", "n2")[t % 2]) for t in range(6)]
        (wrong,) = history.owner_changes(calls, allowed=1)
        self.assertIn("{'n1': 3, 'n2': 3}", wrong)
        self.assertEqual(history.owner_changes(calls, allowed=5), [])
        self.assertEqual(len(history.owner_changes(calls, allowed=4)), 1)

    def test_an_old_owner_that_goes_on_is_found(self):
        calls = [call(0), call(5, node="n2"), call(6, node="n2"), call(7, 7.1)]
        self.assertEqual(len(history.owner_changes(calls, allowed=1)), 1)

    def test_answers_that_overlap_can_be_in_an_order(self):
        stopped = call(1, 9)  # It decided at 1, was stopped, and answered at 9.
        calls = [call(0), stopped, call(4, node="n2"), call(8, node="n2")]
        self.assertEqual(history.owner_changes(calls, allowed=1), [])

    def test_replays_flags_and_errors_decide_nothing(self):
        later = [call(5, replayed=True), call(6, flagged=True), call(7, outcome=REFUSED, error="UNAVAILABLE"), call(8, node="")]
        self.assertEqual(history.owner_changes([call(0, node="n2"), call(2, node="n2"), *later]), [])

    def test_orgs_are_judged_apart(self):
        calls = [call(0), call(1, node="n2", org="beta"), call(2), call(3, node="n2", org="beta")]
        self.assertEqual(history.owner_changes(calls), [])

    def test_a_node_that_owns_in_passing_costs_no_detour(self):
        # n3 may own it between n1 and n2; whoever takes the earliest end first needs one change more.
        calls = [call(0, 1), call(2, 4, node="n2"), call(2, 6, node="n3"), call(5, 7, node="n2")]
        self.assertEqual(history.Deciders(calls).fewest_changes(5), 2)

    def test_the_fewest_changes_are_those_of_every_order(self):
        """Against all instants and all owners of small histories."""
        chance = random.Random(7)
        for _ in range(300):
            calls = []
            for _ in range(chance.randint(1, 6)):
                begin = chance.randint(0, 8)
                calls.append(call(begin, begin + chance.randint(0, 3), node=chance.choice(["n1", "n2", "n3"])))
            self.assertEqual(history.Deciders(calls).fewest_changes(10), naive_changes(calls), [str(each) for each in calls])

    def test_a_node_that_is_gone_answers_nothing(self):
        calls = [call(0, 6), call(7, node="n2")]
        self.assertEqual(history.decided_while_gone(calls, "n1", since=5), [])
        self.assertEqual(len(history.decided_while_gone([*calls, call(5.5, 5.8)], "n1", since=5)), 1)
        self.assertEqual(history.decided_while_gone([*calls, call(5.5, 9)], "n1", since=5, until=8), [])


def naive_changes(calls):
    """Every order of decisions that the intervals allow, by trying for each subset who decided last."""
    everyone = frozenset(range(len(calls)))
    best = {(frozenset(), None): -1}
    for size in range(len(calls)):
        following = {}
        for (done, node), changes in best.items():
            for each in everyone - done:
                # It may be next unless another one, which is still to be decided, ended before it began.
                if any(calls[other].end < calls[each].begin for other in everyone - done - {each}):
                    continue
                key = (done | {each}, calls[each].node)
                cost = changes + (calls[each].node != node)
                following[key] = min(following.get(key, 99), cost)
        best = following
        assert all(len(done) == size + 1 for done, _ in best)
    return min(best.values())


class Errors(unittest.TestCase):
    def test_only_errors_that_are_retried_are_well(self):
        gone = call(0, outcome=REFUSED, error="UNAVAILABLE", reason="ORG_MOVED", request_id="a")
        back = call(1, request_id="a")
        self.assertEqual(history.unexpected_errors([gone, back]), [])
        self.assertEqual(history.unanswered([gone, back]), [])
        self.assertEqual(len(history.unanswered([gone])), 1)
        bad = call(0, outcome=REFUSED, error="INTERNAL")
        self.assertEqual(history.unexpected_errors([bad, bad]), ["2 × Acquire: INTERNAL"])

    def test_a_resume_is_never_refused(self):
        refused = call(0, rpc="Resume", outcome=REFUSED, error="UNAVAILABLE")
        self.assertEqual(len(history.resumes_refused([refused, call(1, rpc="Resume", outcome=DONE)])), 1)

    def test_an_account_that_was_picked_too_often_is_found(self):
        picks = [call(t, rpc="Pick", account="a") for t in range(3)]
        self.assertEqual(history.over_picked(picks, {("acme", "a"): 3}), [])
        self.assertEqual(len(history.over_picked(picks, {("acme", "a"): 2})), 1)

    def test_a_pause_lasts_until_the_first_answer(self):
        calls = [call(0), call(1, outcome=REFUSED, error="UNAVAILABLE"), call(2, 3), call(1, 4, org="beta"), call(5)]
        self.assertEqual(history.pauses(calls, 0.6, {"acme", "beta"}), {"acme": 2.4, "beta": 3.4})
        self.assertEqual(history.summary({}), "nobody asked")
        self.assertEqual(history.summary({"a": 1.0, "b": 2.0}), "p50 1.50 s, max 2.00 s, of 2 orgs")


if __name__ == "__main__":
    unittest.main()
