"""Ids of sessions: used again once their session has ended, and what is late from the old one changes nothing."""

import unittest

from case import NodeCase, fresh
from plane import refusal
from sessions import TEN_MINUTES, Client, action, state


class Again(NodeCase):
    """R-SES-8"""

    def test_an_ended_session_gives_its_id_to_the_next(self):
        node = self.node(config=TEN_MINUTES)
        calls = Client(self.plane(node))
        first = calls.start("acme", request_id="first")
        calls.beat("acme", 20, incarnation="boot 1")
        running = refusal(calls.start, "acme")
        self.assertEqual((running.code.name, running.reason), ("ALREADY_EXISTS", "SESSION_EXISTS"))
        calls.end("acme", incarnation="boot 1", total_seconds=30, request_id="end")
        second = calls.start("acme", request_id="second")
        self.assertTrue(second.allowed and not second.replayed)
        self.assertNotEqual(second.decision_id, first.decision_id)
        for ended in [None, node.kill]:
            if ended:
                ended()
                calls = Client(self.plane(node.start()))
            late = calls.start("acme", request_id="first")
            self.assertEqual((late.replayed, late.decision_id), (True, first.decision_id))
            beat = refusal(calls.beat, "acme", 90, incarnation="boot 1")
            self.assertEqual((beat.code.name, beat.reason), ("NOT_FOUND", "SESSION_UNKNOWN"))
            for request_id in ["end", fresh()]:
                end = refusal(calls.end, "acme", incarnation="boot 1", total_seconds=30, request_id=request_id)
                self.assertEqual(end.reason, "SESSION_UNKNOWN")
            self.assertEqual(state(calls.get("acme")), "RUNNING")
        self.assertEqual(calls.used("acme"), 30_000)
        self.assertEqual(action(calls.beat("acme", 5, incarnation="boot 2")), "CONTINUE")
        self.assertEqual(calls.end("acme", incarnation="boot 2", total_seconds=10).booked_ms, 10_000)
        self.assertEqual((calls.used("acme"), calls.plane.admin.Audit(org="acme").drifted), (40_000, 0))

    def test_the_first_incarnation_stays_refused_however_often_the_id_is_used_again(self):
        node = self.node(config=TEN_MINUTES)
        calls = Client(self.plane(node))
        for life in range(20):
            calls.start("acme")
            calls.beat("acme", 1, incarnation=f"boot {life}")
            calls.end("acme", incarnation=f"boot {life}", total_seconds=1, request_id=fresh())
        calls.start("acme")
        self.assertEqual(action(calls.beat("acme", 1, incarnation="boot 20")), "CONTINUE")
        for restart in [False, True]:
            if restart:
                node.kill()
                calls = Client(self.plane(node.start()))
            for life in [0, 1, 11, 12, 19]:
                beat = refusal(calls.beat, "acme", 200, incarnation=f"boot {life}")
                self.assertEqual((beat.code.name, beat.reason), ("NOT_FOUND", "SESSION_UNKNOWN"), life)
        self.assertEqual(calls.get("acme").booked_ms, 1_000)
        self.assertEqual(calls.used("acme"), 21_000)


if __name__ == "__main__":
    unittest.main()
