"""Budgets of a system that knew one limit and one sum a month are taken over with `tollgate import`."""

import json
import os
import unittest

from case import NodeCase, fresh
from plane import code_name

DOLLAR = 1_000_000
OLDER = [
    {"org": "acme", "scope": "workspace/a", "budget_limit": 100 * DOLLAR, "monthly_spend": 40 * DOLLAR},
    {"org": "acme", "budget_limit_cents": 5_000, "monthly_spend_cents": 5_000},
    {"org": "umbrella", "monthly_spend": 7 * DOLLAR},
]


class Takeover(NodeCase):
    def setUp(self):
        self.node_ = self.node(start=False)

    def take_over(self, lines):
        file = os.path.join(os.path.dirname(self.node_.config_file), "older.jsonl")
        with open(file, "w", encoding="utf-8") as into:
            into.writelines(json.dumps(line) + "\n" for line in lines)
        return self.node_.run("import", "--data-dir", self.node_.data_dir, file)

    def periods(self, plane, org, scope=""):
        periods = plane.budget.GetBudget(org=org, scope=scope).budget.periods
        return {name: (each.limit if each.HasField("limit") else None, each.spend) for name, each in periods.items()}

    def test_a_month_is_filled_once_and_enforced(self):
        done = self.take_over(OLDER)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3", done.stdout + done.stderr)
        again = self.take_over(OLDER)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.node_.start()
        plane = self.plane(self.node_)
        # What was spent lies in the month, and in no shorter period.
        filled = self.periods(plane, "acme", "workspace/a")
        self.assertEqual(filled["monthly"], (100 * DOLLAR, 40 * DOLLAR))
        self.assertEqual({filled[period] for period in ("hourly", "daily", "weekly")}, {(None, 0)})
        self.assertEqual(self.periods(plane, "umbrella")["monthly"], (None, 7 * DOLLAR))
        # The org used its whole budget up: it is denied from the first call on.
        denied = plane.gate.Acquire(org="acme", cost=[{"meter": "spend", "amount": 1}], request_id=fresh())
        self.assertFalse(denied.allowed)
        self.assertEqual(code_name(denied, "code"), "BUDGET_EXCEEDED")
        self.assertEqual([limit.name for limit in denied.limits if limit.limiting], ["budget/monthly"])
        audit = plane.admin.Audit(page_size=100)
        self.assertEqual((audit.orgs, audit.drifted), (2, 0))

    def test_a_total_that_has_grown_adds_what_it_grew_by(self):
        self.assertEqual(self.take_over(OLDER[:1]).returncode, 0)
        self.assertEqual(self.take_over([{**OLDER[0], "monthly_spend": 41 * DOLLAR}]).returncode, 0)
        self.node_.start()
        self.assertEqual(self.periods(self.plane(self.node_), "acme", "workspace/a")["monthly"], (100 * DOLLAR, 41 * DOLLAR))

    def test_a_line_that_is_wrong_is_named_and_nothing_is_imported(self):
        refused = self.take_over([OLDER[0], {**OLDER[1], "monthly_spend_cents": -1}])
        self.assertEqual(refused.returncode, 1)
        for word in ("line 2", "monthly_spend_cents", '"-1"', "from 0 to", "nothing was imported"):
            self.assertIn(word, refused.stderr)
        self.assertEqual(self.take_over(OLDER[:1]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
