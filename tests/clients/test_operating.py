"""What an operator is shown: mistakes that were accepted in silence, and what there is to wait for."""

import unittest

from case import NodeCase, SharedNodeCase, fresh

SPEND = [{"meter": "spend", "amount": 1_950_000}]


class Slips(SharedNodeCase):
    def checked(self, text):
        self.shared.write_config(text)
        check = self.shared.run("check-config", self.shared.config_file)
        return check.returncode, check.stdout + check.stderr

    def test_a_section_for_every_org_is_refused_with_the_key_to_use(self):
        """R-OPS-4"""
        for name in ['"*"', "default"]:
            code, said = self.checked(f"[orgs.{name}]\nrate = {{ amount = 5 }}\n")
            self.assertNotEqual(code, 0, said)
            self.assertIn('defaults.plan = "NAME"', said)

    def test_a_plan_that_no_org_has_is_warned_of(self):
        """R-OPS-4"""
        code, said = self.checked('[plans.used]\n[plans.unused]\n[orgs.acme]\nplan = "used"\n')
        self.assertEqual(code, 0, said)
        self.assertIn("plans.unused is the plan of no org", said)
        self.assertNotIn("plans.used", said)


class Variables(NodeCase):
    def test_a_variable_that_sets_nothing_is_warned_of(self):
        """R-OPS-4"""
        node = self.node(environment={"TOLLGATE_RATE_AMOUNT": "1", "TOLLGATE_PORT": "tcp://10.0.0.1:7070"})
        plane = self.plane(node)
        self.assertEqual([plane.gate.Acquire(org="acme").allowed for _ in range(2)], [True, True])
        (line,) = node.logged("sets nothing")
        self.assertIn("TOLLGATE_RATE_AMOUNT", line)
        self.assertIn("did you mean TOLLGATE__RATE__AMOUNT?", line)


class Rolling(SharedNodeCase):
    CLOCK = {"minute": 10}

    def test_a_rolling_budget_with_something_left_waits_for_nothing(self):
        """R-BUD-4"""
        org = fresh("rolling")
        self.budget.UpdateBudget(org=org, request_id=fresh(), periods={"daily": {"limit": 2_000_000}})
        self.gate.Record(org=org, usage=SPEND, request_id=fresh())
        run = lambda *verb: self.shared.run(*verb, "--addr", self.shared.grpc).stdout  # noqa: E731
        (row,) = [line for line in run("status", org).splitlines() if "budget/daily" in line]
        self.assertIn("$0.05", row)
        for nonsense in ["now", "1s", "0s"]:
            self.assertNotIn(nonsense, row.split())
        denied = run("acquire", org, "--reserve", "spend=1000000u").splitlines()[0]
        self.assertIn("$0.05 left of $2.00 (budget/daily, fits again in ", denied)


if __name__ == "__main__":
    unittest.main()
