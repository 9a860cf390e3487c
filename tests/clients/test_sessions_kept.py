"""Sessions outlive the node, and what they book is reported to billing once."""

import unittest

import grpc

from billing import TRACK, BilledCase, billed
from case import at_rest, fresh
from node import eventually
from plane import code_name, refusal
from sessions import DAY, MID_MONTH, TEN_MINUTES, WHO, Client, SessionNodeCase, action, state


class Kept(SessionNodeCase):
    """Durability contract: what a session was answered survives a crash."""

    def kept(self, calls):
        """Every session as it is stored: without what is left of it now, and without the time at which one that
        runs expires, which moves by the absence of the node."""
        sessions = {}
        for each in calls.plane.admin.GetOrg(org="acme").sessions:
            if state(each) == "RUNNING":
                each.ends_at_ms = 0
            sessions[each.session_id] = at_rest(each)
        return sessions

    def fill(self, calls):
        calls.use("acme", 40)
        calls.start("acme", "ended")
        calls.end("acme", "ended", incarnation="b1", total_seconds=20)
        calls.start("acme", request_id="start")
        calls.beat("acme", 350, request_id="beat")
        calls.start("acme", "second")
        calls.beat("acme", 30, "second")
        calls.end("acme", "second", incarnation="b1", total_seconds=31, request_id="end")
        calls.start("acme", "third")

    def check(self, calls, before):
        self.assertEqual(self.kept(calls), before)
        status = calls.status("acme")
        self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (391_000, 180_000, 2))
        self.assertTrue(calls.start("acme", request_id="start").replayed)
        again = calls.beat("acme", 350, request_id="beat")
        self.assertEqual((again.replayed, again.booked_ms, again.disputed_ms, again.used_ms), (True, 300_000, 50_000, 391_000))
        beat = calls.beat("acme", 351)
        self.assertEqual((beat.booked_ms, beat.used_ms), (1000, 392_000))
        fields = {"org": "acme", "session_id": "second", "identity": WHO, "incarnation": "b1", "total_seconds": 31}
        self.assertTrue(calls.sessions.EndSession(**fields, request_id="end").replayed)
        self.assertEqual([each.amount for each in calls.plane.admin.GetOrg(org="acme").disputed], [50_000])
        self.assertEqual(refusal(calls.beat, "acme", 400, identity="vm 2").reason, "OTHER_IDENTITY")
        self.assertEqual(refusal(calls.start, "acme").reason, "SESSION_EXISTS")
        self.assertEqual(calls.start("acme", "fourth").first_slice_ms, 28_000)
        self.assertEqual(code_name(calls.start("acme", "fifth")), "QUOTA_EXCEEDED")

    def test_sessions_are_as_they_were_after_sigterm_and_after_sigkill(self):
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started()
                self.fill(calls)
                before = self.kept(calls)
                getattr(node, end)()
                self.check(self.restarted(node), before)
                node.close()

    def test_a_stop_goes_on_over_a_restart(self):
        """R-SES-3, R-LEASE-1: the grace runs down while the node is up"""
        node, calls = self.started()
        calls.use("acme", 420)
        calls.start("acme")
        self.assertEqual(calls.beat("acme", 180).grace_ms, 30_000)
        node.clock.step(10)
        self.assertLessEqual(calls.beat("acme", 181).grace_ms, 20_000)
        node.kill()
        node.clock.step(3600)
        calls = self.restarted(node)
        beat = calls.beat("acme", 182)
        self.assertEqual(action(beat), "STOP")
        self.assertAlmostEqual(beat.grace_ms, 19_000, delta=2_000)

    def test_a_denied_start_is_told_the_same_wait_before_and_after_a_restart(self):
        """R-PIPE-5: retry_after is when it fits, and a slice that runs out unheard is used, not given back"""
        node, calls = self.started(config=TEN_MINUTES + '[sessions]\nfirst_slice = "60s"\n')
        calls.use("acme", 540)
        calls.start("acme")
        wait = calls.start("acme", "b").retry_after_ms
        self.assertGreater(wait, DAY * 1000, "not before the next month")
        self.assertEqual(node.stop(), 0)
        calls = self.restarted(node)
        self.assertAlmostEqual(calls.start("acme", "b").retry_after_ms, wait, delta=30_000)

    def test_heartbeats_and_ends_are_answered_while_the_node_drains(self):
        """R-OPS-4: what runs is settled, nothing new begins"""
        node, calls = self.started(environment={"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "3000"})
        calls.start("acme")
        self.assertTrue(calls.start("acme", "b").allowed)
        node.process.terminate()

        def refused():
            try:
                calls.start("acme", fresh("new"))
            except grpc.RpcError as error:
                return error.code().name == "UNAVAILABLE"
            return False

        eventually(refused, "no new session")
        self.assertEqual(calls.beat("acme", 10).booked_ms, 10_000)
        self.assertEqual(state(calls.end("acme", incarnation="b1", total_seconds=11)), "ENDED")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(self.restarted(node).get("acme").booked_ms, 11_000)

    def test_a_purge_forgets_sessions(self):
        node, calls = self.started()
        calls.start("acme")
        calls.beat("acme", 400)
        calls.plane.admin.PurgeOrg(org="acme", request_id="p")
        for _ in range(2):
            self.assertEqual(refusal(calls.get, "acme").reason, "SESSION_UNKNOWN")
            self.assertEqual(refusal(calls.beat, "acme", 410).reason, "SESSION_UNKNOWN")
            status = calls.status("acme")
            self.assertEqual((status.sessions, status.used_ms, status.reserved_ms), (0, 0, 0))
            self.assertEqual(refusal(calls.plane.admin.GetOrg, org="acme").reason, "ORG_UNKNOWN")
            node.kill()
            calls = self.restarted(node)
        self.assertTrue(calls.start("acme").allowed)


class Unreachable:
    """A provider that nobody ever reaches: what is to be reported waits, and can be looked at."""

    base_url = "http://127.0.0.1:9"


class Exported(SessionNodeCase):
    """R-BAL-7: compute is reported as sessions book it, and nothing of it is lost."""

    FEATURES = '[billing.features]\ncompute = "compute_ms"\ntrial_ended = "trial_ended"\n[orgs."new"]\nplan = "trial"\n'

    def unreachable(self, **bounds):
        environment = billed(self, Unreachable) | {f"TOLLGATE__BOUNDS__{name}": str(value) for name, value in bounds.items()}
        return self.started(config=self.FEATURES, environment=environment)

    def waiting(self, calls, meter, org="acme"):
        exports = calls.plane.admin.ListExports(org=org, page_size=1000).exports
        return sorted(row.amount for row in exports if row.meter == meter)

    def test_what_sessions_book_is_what_is_reported(self):
        node, calls = self.unreachable()
        calls.start("acme", "a")
        calls.start("acme", "b")
        for total in [30, 60, 60, 400]:
            calls.beat("acme", total, "a")
            calls.beat("acme", total, "b")
        calls.beat("acme", 30, "a", incarnation="b2")
        calls.end("acme", "a", incarnation="b2", total_seconds=31)
        node.kill()
        calls = self.restarted(node)
        expected = sorted([30_000, 30_000, 300_000] * 2 + [30_000, 1000])
        self.assertEqual(self.waiting(calls, "compute"), expected)
        self.assertEqual(calls.used("acme"), sum(expected))
        calls.start("acme", "c")
        node.clock.step(121)
        self.assertEqual(calls.used("acme"), sum(expected) + 120_000)
        self.assertEqual(self.waiting(calls, "compute"), sorted([*expected, 120_000]), "and what an expiry booked")

    def test_two_sessions_of_one_name_are_reported_both(self):
        """An ended session may have made room, and its name is free again"""
        node, calls = self.unreachable(sessions_per_org=1)
        for session in ["a", "b", "a"]:
            self.assertTrue(calls.start("acme", session).allowed)
            calls.end("acme", session, incarnation="b1", total_seconds=30)
        self.assertEqual(calls.used("acme"), 90_000)
        self.assertEqual(self.waiting(calls, "compute"), [30_000] * 3)

    def test_the_end_of_a_trial_is_one_row(self):
        """R-SES-7"""
        node, calls = self.unreachable()
        calls.use("new", 5 * 3600 - 180)
        calls.start("new")
        calls.beat("new", 179)
        self.assertEqual(self.waiting(calls, "trial_ended", "new"), [])
        for total in [180, 181, 182]:
            calls.beat("new", total)
        node.kill()
        calls = self.restarted(node)
        calls.beat("new", 190)
        calls.end("new", incarnation="b1", total_seconds=191)
        calls.start("new", "b")
        self.assertEqual(self.waiting(calls, "trial_ended", "new"), [1])


class ExportedTrial(BilledCase):
    def test_the_end_of_a_trial_is_exported_as_one_row(self):
        """R-SES-7, R-BAL-7"""
        features = {"executions": {"granted": 10**6}, "trial_ended": {"granted": 10**6}, "compute_ms": {"granted": 10**12}}
        self.standin.customers(acme={"features": features})
        config = '[billing.features]\ntrial_ended = "trial_ended"\n[orgs."acme"]\nplan = "trial"\n'
        node = self.billed(clock=self.clock(at=MID_MONTH), config=config)
        calls = Client(self.plane(node))
        calls.use("acme", 5 * 3600 - 180)
        calls.start("acme")
        for total in [180, 181, 182]:
            calls.beat("acme", total)

        def told():
            return [entry["body"]["value"] for entry in self.standin.ledger(TRACK) if entry["body"]["feature_id"] == "trial_ended"]

        eventually(lambda: told() and not calls.plane.admin.ListExports(org="acme").exports, "the report", within=20)
        node.stop()
        calls = Client(self.plane(node.start()))
        calls.beat("acme", 190)
        calls.end("acme")
        eventually(lambda: not calls.plane.admin.ListExports(org="acme").exports, "nothing waits", within=20)
        self.assertEqual(told(), [1])


if __name__ == "__main__":
    unittest.main()
