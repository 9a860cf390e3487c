"""The rate backstop, through the whole binary, at a time that the test chooses."""

import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, limit, refusal

HOUR_MS = 3_600_000


def counts(answers):
    allowed = [answer for answer in answers if answer.allowed]
    return len(allowed), len(answers) - len(allowed)


class Backstop(SharedNodeCase):
    CLOCK = {"minute": 10}
    CONFIG = """
        [orgs."hundred"]
        rate = { amount = 100 }
        [orgs."hundred-batch"]
        rate = { amount = 100 }
        [orgs."hundred-stream"]
        rate = { amount = 100 }
        [orgs."hundred-calls"]
        rate = { amount = 100 }
        [orgs."five"]
        rate = { amount = 5 }
        [orgs."ten"]
        rate = { amount = 10 }
    """

    def test_the_1000th_call_of_an_hour_runs_and_the_1001st_does_not(self):
        """R-RATE-1, R-RATE-7, R-PIPE-5"""
        for count in range(1, 1001):
            answer = self.gate.Acquire(org="thousand")
            self.assertTrue(answer.allowed, f"call {count}: {answer.message}")
        self.assertEqual((limit(answer, "rate").used, limit(answer, "rate").remaining), (1000, 0))
        before = self.shared.clock.now_ms()
        denied = self.gate.Acquire(org="thousand")
        after = self.shared.clock.now_ms()
        end = self.shared.clock.hour_end_ms()
        self.assertFalse(denied.allowed)
        self.assertEqual((code_name(denied), denied.http_status_hint), ("RATE_LIMITED", 429))
        self.assertGreaterEqual(denied.retry_after_ms, end - after - 50)
        self.assertLessEqual(denied.retry_after_ms, end - before + 50)
        self.assertIn("abuse", denied.message)
        rate = limit(denied, "rate")
        self.assertEqual(denied.limits[0].name, "rate", "the backstop comes first")
        self.assertEqual((rate.amount, rate.used, rate.remaining, rate.blocked), (1000, 1000, 0, 1))
        self.assertEqual((rate.window, rate.resets_at_ms), ("aligned/1h", end))
        self.assertTrue(rate.limiting and rate.exhausted)
        kept = self.admin.GetOrg(org="thousand").rate
        self.assertEqual((kept.count, kept.blocked, kept.window_length_ms), (1000, 1, HOUR_MS))
        self.assertEqual(kept.window_id, end // HOUR_MS - 1)
        other = self.gate.Acquire(org="another")
        self.assertTrue(other.allowed, "R-RATE-4: orgs are counted apart")
        self.assertEqual(limit(other, "rate").used, 1)

    def test_two_planes_share_one_count(self):
        """R-RATE-1"""
        second = self.plane(self.shared)
        answers = []
        for _ in range(3):
            answers += [self.gate.Acquire(org="five"), second.gate.Acquire(org="five")]
        self.assertEqual([answer.allowed for answer in answers], [True] * 5 + [False])
        self.assertEqual([limit(answer, "rate").used for answer in answers], [1, 2, 3, 4, 5, 5])

    def test_64_concurrent_callers_admit_exactly_the_limit(self):
        """R-PIPE-4: no check-then-act, no overshoot"""
        planes = [self.plane(self.shared) for _ in range(8)]
        ready = threading.Barrier(64)

        def caller(number):
            ready.wait(30)
            return [planes[number % 8].gate.Acquire(org="hundred") for _ in range(4)]

        with ThreadPoolExecutor(64) as callers:
            answers = [answer for each in callers.map(caller, range(64)) for answer in each]
        self.assertEqual(counts(answers), (100, 156))
        self.assertEqual({code_name(answer) for answer in answers if not answer.allowed}, {"RATE_LIMITED"})
        rate = self.admin.GetOrg(org="hundred").rate
        self.assertEqual((rate.count, rate.blocked), (100, 156))

    def test_concurrent_batches_admit_exactly_the_limit(self):
        """R-PIPE-4"""
        def batch(_):
            answer = self.gate.AcquireBatch(items=[{"org": "hundred-batch"}] * 16)
            return [result.decision for result in answer.results]

        with ThreadPoolExecutor(16) as callers:
            answers = [answer for each in callers.map(batch, range(16)) for answer in each]
        self.assertEqual(counts(answers), (100, 156))

    def test_concurrent_streams_admit_exactly_the_limit(self):
        """R-PIPE-4"""
        def stream(number):
            items = [{"tag": number * 1000 + tag, "acquire": {"org": "hundred-stream"}} for tag in range(32)]
            answers = list(self.gate.AcquireStream(items))
            self.assertEqual({answer.tag for answer in answers}, {item["tag"] for item in items})
            return [answer.decision for answer in answers]

        with ThreadPoolExecutor(8) as callers:
            answers = [answer for each in callers.map(stream, range(8)) for answer in each]
        self.assertEqual(counts(answers), (100, 156))

    def test_unary_batch_and_stream_draw_on_one_count(self):
        """R-RATE-1"""
        org = "ten"
        answers = [self.gate.Acquire(org=org) for _ in range(4)]
        answers += [each.decision for each in self.gate.AcquireBatch(items=[{"org": org}] * 4).results]
        answers += [each.decision for each in self.gate.AcquireStream([{"acquire": {"org": org}}] * 4)]
        self.assertEqual(counts(answers), (10, 2))

    def test_a_call_counts_once_whatever_it_costs_and_a_peek_does_not_count(self):
        """R-RATE-1, R-PIPE-7"""
        org = fresh("cost")
        self.gate.Acquire(org=org, cost=[{"meter": "executions", "amount": 500}, {"meter": "bytes", "amount": 9}])
        peek = self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY")
        self.assertEqual((peek.allowed, peek.decision_id), (True, ""))
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1)
        self.assertTrue(self.gate.GetStatus(org=org).allowed)
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1)

    def test_a_peek_at_an_org_that_was_never_seen_leaves_nothing(self):
        """R-PIPE-7"""
        org = fresh("peeked")
        self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY")
        self.gate.GetStatus(org=org)
        self.assertEqual(refusal(self.admin.GetOrg, org=org).reason, "ORG_UNKNOWN")

    def test_shadow_reports_the_true_code_and_always_allows(self):
        """R-PIPE-7"""
        org = "hundred-calls"
        for _ in range(100):
            self.assertTrue(self.gate.Acquire(org=org).allowed)
        shadow = self.gate.Acquire(org=org, mode="MODE_SHADOW")
        self.assertEqual((shadow.allowed, code_name(shadow), shadow.http_status_hint), (True, "RATE_LIMITED", 200))

    def test_hostile_org_ids_are_refused_or_kept_apart(self):
        """§0: refused otherwise, never normalised"""
        for org in ["", "x" * 129, "../..", "a/../b", "a\0b", "a\nb", "a//b", "é", ".a", "a/.", " a", "a "]:
            refused = refusal(self.gate.Acquire, org=org)
            self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", ["org"]), repr(org))
        apart = ["h", "h:b", "h/b", "h-b", "H", "h.b", "h.", "h" * 128, "h" * 127]
        for count, org in enumerate(apart, 1):
            for _ in range(count):
                self.gate.Acquire(org=org)
        for count, org in enumerate(apart, 1):
            self.assertEqual(self.admin.GetOrg(org=org).rate.count, count, org)

    def test_a_scope_that_looks_like_the_end_of_an_org_is_kept_apart(self):
        """§0: store keys are length-prefixed"""
        spend = [{"meter": "spend", "amount": 1}]
        self.gate.Record(org="p/q", scope="r", usage=spend, request_id="1")
        self.gate.Record(org="p", scope="q/r", usage=spend * 1, request_id="1")
        self.gate.Record(org="p", scope="q/r", usage=spend, request_id="2")
        spends = [
            self.budget.GetBudget(org=org, scope=scope).budget.periods["hourly"].spend
            for org, scope in [("p/q", "r"), ("p", "q/r"), ("p/q/r", ""), ("p", ""), ("p", "q")]
        ]
        self.assertEqual(spends, [1, 2, 0, 2, 0])


class NewHour(NodeCase):
    def test_the_next_clock_hour_unblocks_also_after_a_restart(self):
        """R-RATE-1, R-RATE-4; an hour passes on the wall and on the monotonic clock"""
        clock = self.clock(minute=10)
        environment = {"TOLLGATE__RATE__AMOUNT": "3", "TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "86400000"}
        node = self.node(clock=clock, environment=environment)
        gate = self.plane(node).gate
        self.assertEqual([gate.Acquire(org="acme").allowed for _ in range(4)], [True, True, True, False])
        denied = gate.Acquire(org="acme")
        clock.step(denied.retry_after_ms / 1000 - 30)
        self.assertFalse(gate.Acquire(org="acme").allowed, "the window still has half a minute")
        clock.step(31)
        fresh_window = gate.Acquire(org="acme")
        self.assertTrue(fresh_window.allowed, fresh_window.message)
        self.assertEqual((limit(fresh_window, "rate").used, limit(fresh_window, "rate").blocked), (1, 0))
        self.assertEqual([gate.Acquire(org="acme").allowed for _ in range(3)], [True, True, False])
        self.assertEqual(node.stop(), 0)
        clock.step(HOUR_MS / 1000)
        again = self.plane(node.start()).gate.Acquire(org="acme")
        self.assertEqual((again.allowed, limit(again, "rate").used), (True, 1))

    def test_the_record_is_removed_after_two_idle_windows_and_not_before(self):
        """R-RATE-2; the timer also fires after a restart"""
        clock = self.clock(minute=10)
        node = self.node(clock=clock, environment={"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "86400000"})
        plane = self.plane(node)
        plane.gate.Acquire(org="acme")
        kept = plane.admin.GetOrg(org="acme")
        due = clock.hour_end_ms() + 2 * HOUR_MS
        self.assertEqual(kept.timers.rate_purge_at_ms, due)
        # While the node runs: a restart asks the machine's uptime, which no test can move.
        clock.step((due - clock.now_ms()) / 1000 - 60)
        eventually(lambda: plane.admin.GetNode().now_ms > due - 61_000, "the hours have passed")
        # The clock's mark is on disk with the next commit; without it the restart rightly doubts the hours.
        plane.admin.Freeze(org="other", request_id="f")
        self.assertEqual(node.stop(), 0)
        plane = self.plane(node.start())
        self.assertEqual(plane.admin.GetNode().clock, "steady")
        self.assertTrue(plane.admin.GetOrg(org="acme").HasField("rate"), "a minute is left")
        clock.step(61)
        eventually(lambda: not plane.admin.GetOrg(org="acme").HasField("rate"), "the record is removed", within=20)


if __name__ == "__main__":
    unittest.main()
