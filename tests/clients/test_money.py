"""Money on the command line and in a configuration has its unit: a shell makes `5` of an unquoted `$15`."""

import subprocess
import unittest

from case import SharedNodeCase, fresh
from node import BINARY, STOP_WITHIN

WHAT_TO_WRITE = ["'$25'", "25usd", "25000000u"]
DOLLAR = 1_000_000


class Money(SharedNodeCase):
    CLOCK = {"minute": 10}

    def set(self, org, *limits):
        return self.shared.run("budget", "set", org, *limits, "--addr", self.shared.grpc)

    def limits(self, org):
        periods = self.budget.GetBudget(org=org).budget.periods
        return {name: each.limit for name, each in periods.items() if each.HasField("limit")}

    def test_what_a_shell_leaves_of_an_unquoted_amount_is_refused(self):
        """R-BUD-6"""
        org = fresh("shell")
        for typed in ["daily=$15", "monthly=$50", "weekly=$100", "hourly=25", "hourly=0"]:
            with self.subTest(typed):
                command = f'"{BINARY}" --addr {self.shared.grpc} budget set {org} {typed}'
                ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=STOP_WITHIN, check=False)
                self.assertEqual(ran.returncode, 2, ran.stdout + ran.stderr)
                for part in [*WHAT_TO_WRITE, "block", "none"]:
                    self.assertIn(part, ran.stderr)
        self.assertEqual(self.limits(org), {})
        self.assertTrue(self.gate.Acquire(org=org).allowed, "nothing blocks it")

    def test_every_way_to_write_an_amount_means_the_same(self):
        """R-BUD-6"""
        for written in ["$25", "25usd", "25.00usd", "25000000u"]:
            org = fresh("unit")
            self.assertEqual(self.set(org, f"daily={written}").returncode, 0)
            self.assertEqual(self.limits(org), {"daily": 25 * DOLLAR})
            self.assertEqual(self.set(org, "daily=block").returncode, 0)
            self.assertEqual(self.limits(org), {"daily": 0})
            self.assertFalse(self.gate.Acquire(org=org).allowed)

    def test_a_change_shows_what_each_limit_was_and_is(self):
        """R-BUD-6"""
        org = fresh("change")
        first = self.set(org, "daily=$10", "weekly=$70").stdout
        self.assertIn("no limit → $10.00", first)
        second = self.set(org, "daily=$15", "weekly=none", "monthly=block").stdout
        for part in ["$10.00 → $15.00", "$70.00 → no limit", "no limit → $0.00", "set, blocks all"]:
            self.assertIn(part, second)
        same = self.set(org, "daily=$15").stdout
        self.assertNotIn("→", same)
        changed = self.budget.UpdateBudget(org=org, request_id="c", periods={"daily": {"limit": 20 * DOLLAR}})
        daily = changed.budget.periods["daily"]
        self.assertEqual((daily.previous_limit, daily.limit), (15 * DOLLAR, 20 * DOLLAR))
        again = self.budget.UpdateBudget(org=org, request_id="c", periods={"daily": {"limit": 20 * DOLLAR}})
        self.assertTrue(again.replayed)
        for budget in [again.budget, self.budget.GetBudget(org=org).budget]:
            self.assertFalse(any(each.HasField("previous_limit") for each in budget.periods.values()))
        replaced = self.budget.ReplaceBudget(org=org, request_id="d", limits={"weekly": 1}).budget.periods
        self.assertEqual((replaced["daily"].previous_limit, replaced["daily"].HasField("limit")), (20 * DOLLAR, False))

    def test_what_is_charged_or_reserved_has_its_unit_too(self):
        org = fresh("reserve")
        for verb in [("acquire", org), ("pool", "pick", org, "p")]:
            for flag in ["--cost", "--reserve"]:
                refused = self.shared.run(*verb, flag, "spend=5", "--addr", self.shared.grpc)
                self.assertEqual(refused.returncode, 2, refused.stdout)
                for part in WHAT_TO_WRITE:
                    self.assertIn(part, refused.stderr)
        done = self.shared.run("acquire", org, "--reserve", "spend=0.05usd", "--addr", self.shared.grpc)
        self.assertEqual(done.returncode, 0, done.stderr)
        (ledger,) = [each for each in self.admin.GetOrg(org=org).ledgers if each.meter == "spend"]
        self.assertEqual(ledger.reserved, 50_000)


class Configured(SharedNodeCase):
    CONFIG = """
        [orgs.acme]
        spend = { daily = "25usd", weekly = "$70.50", monthly = "90000000u" }
        [orgs.shut]
        spend = { daily = "block" }
    """

    def test_a_configured_amount_has_its_unit(self):
        """R-BUD-6"""
        periods = self.budget.GetBudget(org="acme").budget.periods
        self.assertEqual([periods[name].limit for name in ["daily", "weekly", "monthly"]], [25 * DOLLAR, 70_500_000, 90 * DOLLAR])
        self.assertFalse(self.gate.Acquire(org="shut").allowed)

    def test_an_amount_without_a_unit_is_a_mistake(self):
        node = self.shared
        for amount in ["25", "0", '"25"', "{ amount = 25 }", '{ amount = "$25", buffer = 1 }']:
            with self.subTest(amount):
                node.write_config(f"[plans.free]\nspend = {{ daily = {amount} }}\n")
                check = node.run("check-config", node.config_file)
                self.assertNotEqual(check.returncode, 0, check.stdout)
                self.assertIn('"$25", "25usd" or "25000000u" (micro-USD)', check.stdout + check.stderr)


if __name__ == "__main__":
    unittest.main()
