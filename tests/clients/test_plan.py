"""R-EXPL-4: whom a limit would have denied that is not in force; under the real binary, whose clock a test moves."""

import json
import unittest

from case import NodeCase

HOUR = 3600
# 2026-06-20 10:00 UTC.
START = 1_781_949_600
CONFIG = '[plans.pro]\n[orgs.bob]\nplan = "pro"\n'


class Plan(NodeCase):
    def test_a_limit_that_is_tried_denies_what_it_would_have_and_changes_nothing(self):
        clock = self.clock(monotonic=False, at=START)
        node = self.node(clock=clock, config=CONFIG)
        plane = self.plane(node)

        def spend(org, dollars, request_id):
            usage = [{"meter": "spend", "amount": dollars * 1_000_000}]
            plane.gate.Record(org=org, scope="workspace/a", usage=usage, request_id=request_id)

        spend("acme", 20, "a")
        spend("bob", 5, "b")
        clock.sleep(2 * HOUR)
        spend("acme", 10, "c")
        clock.sleep(HOUR)
        spend("acme", 7, "d")

        def kept():
            org = plane.admin.GetOrg(org="acme")
            hours = [(ledger.scope, hour.start_ms, hour.total) for ledger in org.ledgers for hour in ledger.hours]
            return hours, org.sequence

        before = kept()

        def tried(*arguments):
            ran = node.run("--addr", f"http://{node.grpc}", "plan", *arguments, "-o", "json")
            self.assertEqual(ran.returncode, 0, ran.stderr)
            return json.loads(ran.stdout)

        answer = tried("--limit", "daily=$25", "--limit", "hourly=15usd")
        self.assertEqual(answer["orgs"], "2")
        first, second = (START + 2 * HOUR) * 1000, START * 1000
        rows = [(row["org"], row["period"], int(row["firstMs"]), int(row["hours"]), int(row["denied"])) for row in answer["rows"]]
        # Of the second $10 five fit, and of $7 none; of the first $20 five do not within an hour.
        expected = [("acme", "daily", first, 2, 12_000_000), ("acme", "hourly", second, 2, 7_000_000)]
        self.assertEqual(rows, expected)
        self.assertEqual(tried("--limit", "daily=$4", "--plan", "pro")["rows"][0]["org"], "bob")
        self.assertEqual(tried("--limit", "daily=$4", "--org", "acme", "--scope", "workspace/b")["rows"], [])
        self.assertEqual(kept(), before)


if __name__ == "__main__":
    unittest.main()
