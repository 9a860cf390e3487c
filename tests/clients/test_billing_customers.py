"""The billing provider fails for one customer, for two, and for all of thirty."""

import unittest

from billing import CHECK, BilledCase
from node import eventually
from plane import code_name, limit, metric

CONFIG = "[rate]\namount = 1000000\n"
HEALTHY = [f"ok-{number}" for number in range(20)]
EXHAUSTED = [f"out-{number}" for number in range(10)]
SECONDS = 30
CALLS_PER_SECOND = 5
STATUS = {"fault": {"status": 503}, "path": CHECK}
LIMITED = {"fault": {"rate_limited": {"retry_after": "1"}}, "path": CHECK}


class Outage(BilledCase):
    """Thirty orgs: each of twenty has enough, each of ten nothing left."""

    def started(self, **settings):
        self.clock_of_node = self.clock(minute=10)
        self.node_of_test = self.billed(clock=self.clock_of_node, config=CONFIG, **settings)
        plane = self.plane(self.node_of_test)
        for org in HEALTHY:
            self.standin.grant(org, granted=10**9)
        for org in EXHAUSTED:
            self.standin.grant(org, granted=1, usage=1)
        for org, answer in self.ask(plane, HEALTHY + EXHAUSTED).items():
            self.assertEqual((answer.allowed, list(answer.fail_open)), (org in HEALTHY, []), org)
        return plane

    @staticmethod
    def ask(plane, orgs):
        results = plane.gate.AcquireBatch(items=[{"org": org} for org in orgs]).results
        return {org: result.decision for org, result in zip(orgs, results)}

    def counted(self, metric_name, **labels):
        return metric(self.node_of_test.http, metric_name, **labels)


class Customers(Outage):
    """R-BAL-10: a failure that is one customer's is no other's."""

    def run_with(self, what, failing, **settings):
        """A second is a batch of all orgs, and calls of those that fail. Counts what came of them."""
        plane = self.started(**settings)
        self.standin.failing(**failing)
        # Nothing is remembered any more: everybody is asked about anew.
        self.clock_of_node.step(61)
        before = len(self.standin.ledger(CHECK))
        counts = dict.fromkeys(["calls", "flagged", "denied", "exhausted", "let through", "stale"], 0)
        for _ in range(SECONDS):
            self.clock_of_node.step(1)
            for org in list(failing)[:2]:
                for _ in range(CALLS_PER_SECOND):
                    self.assertTrue(plane.gate.Acquire(org=org).allowed)
            for org, answer in self.ask(plane, HEALTHY + EXHAUSTED).items():
                if org in EXHAUSTED:
                    counts["exhausted"] += 1
                    counts["let through"] += answer.allowed
                    counts["stale"] += any(each.stale for each in answer.limits)
                elif org not in failing:
                    counts["calls"] += 1
                    counts["flagged"] += bool(answer.fail_open)
                    counts["denied"] += not answer.allowed
        asked = [entry["body"]["customer_id"] for entry in self.standin.ledger(CHECK)[before:]]
        counts["questions"] = len(asked)
        counts["of the failing"] = sum(org in failing for org in asked)
        print(f"{what}: {counts}", flush=True)
        return plane, counts

    def assert_nobody_else_is_concerned(self, counts, failing):
        self.assertEqual((counts["flagged"], counts["denied"]), (0, 0), "who has enough is not flagged")
        self.assertEqual(counts["let through"], 0, "who has nothing left is not let through")
        self.assertEqual(len(self.node_of_test.logged("is left alone")), 0, "the provider is asked all the time")
        self.assertLessEqual(counts["of the failing"], 16 * failing, "and less about who fails")
        self.assertGreaterEqual(self.counted("tollgate_billing_spaced_total"), SECONDS * CALLS_PER_SECOND / 2)
        self.assertEqual(self.counted("tollgate_billing_spaced_orgs"), failing)

    def test_one_of_thirty(self):
        for name, fault, cause in [("429", LIMITED, "provider_rate_limited"), ("503", STATUS, "provider_error")]:
            with self.subTest(name):
                plane, counts = self.run_with(f"one fails with {name}", {"ok-0": fault})
                self.assert_nobody_else_is_concerned(counts, 1)
                own = plane.gate.Acquire(org="ok-0")
                self.assertEqual([(each.gate, each.cause) for each in own.fail_open], [("balance", cause)])
                self.standin.failing(**{"ok-0": None})
                self.clock_of_node.step(11)
                self.assertEqual(list(plane.gate.Acquire(org="ok-0").fail_open), [], "its trouble is over")
                self.assertEqual(self.counted("tollgate_billing_spaced_orgs"), 0)

    def test_two_of_thirty(self):
        _, counts = self.run_with("two fail", {"ok-0": LIMITED, "ok-1": STATUS})
        self.assert_nobody_else_is_concerned(counts, 2)

    def test_six_that_fail_at_the_same_instant_are_not_the_provider(self):
        """More than `breaker_failures`, before anybody else is answered again, and far from all"""
        plane = self.started()
        failing = dict.fromkeys(HEALTHY[:6], STATUS)
        self.standin.failing(**failing)
        self.clock_of_node.step(61)
        self.ask(plane, HEALTHY[6:] + EXHAUSTED)
        for org, answer in self.ask(plane, list(failing)).items():
            self.assertEqual([(each.gate, each.cause) for each in answer.fail_open], [("balance", "provider_error")], org)
        self.standin.grant("late", granted=1, usage=1)
        self.assertFalse(plane.gate.Acquire(org="late").allowed, "who has nothing left is not let through")
        self.assertEqual(len(self.node_of_test.logged("is left alone")), 0)

    def test_all_of_thirty(self):
        """An outage fails open, and the provider is left alone"""
        failing = dict.fromkeys(HEALTHY + EXHAUSTED, STATUS)
        plane, counts = self.run_with("all fail", failing)
        self.assertGreater(len(self.node_of_test.logged("is left alone")), 0)
        self.assertLess(counts["questions"], SECONDS * 4, "of 30 orgs in each second")
        self.assertGreater(counts["let through"], 0, "deny_stale is off")
        self.assertEqual(counts["stale"], 0)
        self.standin.failing(**dict.fromkeys(failing))
        self.clock_of_node.step(16)
        plane.gate.Acquire(org="fresh")
        for org, answer in self.ask(plane, HEALTHY + EXHAUSTED).items():
            self.assertEqual((answer.allowed, list(answer.fail_open)), (org in HEALTHY, []), org)

    def test_all_of_thirty_with_denials_that_stand(self):
        failing = dict.fromkeys(HEALTHY + EXHAUSTED, STATUS)
        _, counts = self.run_with("all fail, deny_stale = 10m", failing, DENY_STALE="10m")
        self.assertEqual(counts["let through"], 0)
        self.assertGreater(counts["stale"], 0)
        self.assertEqual(self.counted("tollgate_billing_stale_denials_total"), counts["stale"])


class DenyStale(Outage):
    """R-BAL-10: a denial that was known stands for a while, if an operator says so."""

    def down(self):
        self.standin.failing(**dict.fromkeys(HEALTHY + EXHAUSTED, STATUS))
        self.clock_of_node.step(61)

    def assert_stale(self, answer):
        self.assertEqual((answer.allowed, code_name(answer)), (False, "BALANCE_EXHAUSTED"))
        self.assertTrue(limit(answer, "balance").stale and limit(answer, "balance").limiting)
        self.assertIn("cannot be asked now (provider_error)", answer.message)

    def test_it_stands_for_its_time_and_not_beyond_a_refresh(self):
        plane = self.started(DENY_STALE="10m")
        fresh = plane.gate.Acquire(org="out-0")
        self.assertFalse(fresh.allowed or limit(fresh, "balance").stale)
        self.assertNotIn("cannot be asked", fresh.message)
        self.down()
        denied = plane.gate.Acquire(org="out-0")
        self.assert_stale(denied)
        self.assertEqual((denied.http_status_hint, list(denied.fail_open)), (402, []))
        status = plane.gate.GetStatus(org="out-1")
        self.assert_stale(status)
        self.assertTrue(plane.gate.Acquire(org="ok-0").allowed, "who had enough is let through")
        refreshed = plane.admin.RefreshBalance(org="out-1")
        self.assertEqual((refreshed.cause, refreshed.allowed), ("provider_error", True))
        self.assertTrue(plane.gate.Acquire(org="out-1").allowed, "it may have been paid for")
        self.clock_of_node.step(590)
        self.assert_stale(plane.gate.Acquire(org="out-2"))
        self.clock_of_node.step(20)
        answer = plane.gate.Acquire(org="out-2")
        self.assertEqual((answer.allowed, len(answer.fail_open)), (True, 1), "the time is over")

    def test_it_is_switched_on_and_off_by_a_reload(self):
        plane = self.started()
        self.down()
        self.assertTrue(plane.gate.Acquire(org="out-0").allowed, "off by default")
        for value, allowed in [("10m", False), ("off", True)]:
            generation = plane.admin.GetNode().config_generation
            self.node_of_test.write_config(CONFIG + f'[billing]\ndeny_stale = "{value}"\n')
            self.node_of_test.reload()
            eventually(lambda: plane.admin.GetNode().config_generation > generation, "the reload")  # noqa: B023
            self.assertEqual(plane.gate.Acquire(org="out-0").allowed, allowed, "in the middle of the outage")

    def test_a_wrong_value_is_named(self):
        for value, allowed in [("soon", "a duration from 1s to 1d"), ("2d", "or \"off\"")]:
            node = self.node(start=False, config=f'[billing]\nprovider = "autumn"\ndeny_stale = "{value}"\n')
            checked = node.run("check-config", node.config_file)
            self.assertEqual(checked.returncode, 1)
            self.assertIn(f'billing.deny_stale "{value}" is not allowed', checked.stdout + checked.stderr)
            self.assertIn(allowed, checked.stdout + checked.stderr)


class Refreshed(BilledCase):
    """`billing refresh` says what the policy makes of the provider's answer."""

    def refresh(self, node, org):
        run = node.run("--addr", f"http://{node.grpc}", "billing", "refresh", org)
        return run.returncode, run.stdout

    def test_an_org_that_is_let_through_is_not_called_denied(self):
        self.standin.customers(**{"unplanned": {}})
        self.standin.grant("broke", granted=1, usage=1)
        for policy, code, word in [("allow", 0, "allowed"), ("deny", 3, "denied")]:
            node = self.billed(ON_NO_ENTITLEMENT=policy, ON_UNKNOWN_CUSTOMER=policy)
            plane = self.plane(node)
            exit_code, said = self.refresh(node, "unplanned")
            self.assertEqual(exit_code, code, said)
            self.assertTrue(said.startswith(word), said)
            self.assertIn("no_entitlement", said)
            self.assertIn(f'billing.on_no_entitlement = "{policy}"', said)
            self.assertEqual(plane.gate.Acquire(org="unplanned").allowed, code == 0, "and so it is")
            answer = plane.admin.RefreshBalance(org="unplanned")
            self.assertEqual((answer.verdict, answer.reason, answer.allowed, answer.decided_by),
                             (2, "no_entitlement", code == 0, "billing.on_no_entitlement"))
            exit_code, said = self.refresh(node, "stranger")
            self.assertEqual(exit_code, 1, "the provider gave no answer")
            self.assertIn(f'billing.on_unknown_customer = "{policy}"', said)
            exit_code, said = self.refresh(node, "broke")
            self.assertEqual((exit_code, "billing." in said), (3, False), said)


if __name__ == "__main__":
    unittest.main()
