"""R-CTRL-2: what orgs have used, by day and by month, while hours become days and days become months; under the real
binary, whose clock a test moves."""

import csv
import io
import json
import unittest

from case import NodeCase
from node import eventually

DAY = 24 * 3600
# 2026-06-20 10:00 UTC.
START = 1_781_949_600
HEADER = ["org", "scope", "plane", "meter", "from", "to", "amount", "unit", "value", "value_unit"]


class Usage(NodeCase):
    def started(self):
        clock = self.clock(monotonic=False, at=START)
        node = self.node(clock=clock)
        return clock, node, self.plane(node)

    def usage(self, node, *arguments, code=0):
        ran = node.run("--addr", f"http://{node.grpc}", "usage", *arguments)
        self.assertEqual(ran.returncode, code, ran.stderr)
        return ran.stdout

    def rows(self, node, *arguments):
        lines = list(csv.reader(io.StringIO(self.usage(node, *arguments, "-o", "csv"))))
        self.assertEqual(lines[0], HEADER)
        return lines[1:]

    def record(self, plane, org, scope, meter, amount, request_id, **more):
        usage = [{"meter": meter, "amount": amount}]
        plane.gate.Record(org=org, scope=scope, usage=usage, request_id=request_id, **more)

    def filled(self):
        """Usage of two orgs on three days, some of it late."""
        clock, node, plane = self.started()
        self.record(plane, "acme", "workspace/a", "spend", 2_500_000, "a")
        self.record(plane, "acme", "", "compute", 5_400_000, "b")
        clock.sleep(DAY)
        self.record(plane, "acme", "workspace/a", "spend", 1, "c")
        late = {"occurred_at_ms": (START - 3600) * 1000}
        self.record(plane, "acme", "workspace/a", "spend", 500_000, "d", **late)
        clock.sleep(DAY)
        self.record(plane, "bob", "", "bytes", 7, "e")
        return clock, node, plane

    JUNE = ("--from", "2026-06", "--to", "2026-06")
    DAYS = [
        ["acme", "", "", "spend", "2026-06-20", "2026-06-20", "3000000", "micro_usd", "3.000000", "usd"],
        ["acme", "", "", "spend", "2026-06-21", "2026-06-21", "1", "micro_usd", "0.000001", "usd"],
        ["acme", "", "", "compute", "2026-06-20", "2026-06-20", "5400000", "ms", "1.500000", "hours"],
        ["acme", "workspace/a", "", "spend", "2026-06-20", "2026-06-20", "3000000", "micro_usd", "3.000000", "usd"],
        ["acme", "workspace/a", "", "spend", "2026-06-21", "2026-06-21", "1", "micro_usd", "0.000001", "usd"],
        ["bob", "", "", "bytes", "2026-06-22", "2026-06-22", "7", "bytes", "7", "bytes"],
    ]

    def test_a_year_of_days_and_years_of_months_are_what_was_used(self):
        clock, node, plane = self.filled()
        self.assertEqual(self.rows(node, "--all", *self.JUNE), [row for row in self.by_org()])
        clock.sleep(40 * DAY)
        hours = lambda: plane.admin.GetOrg(org="acme").ledgers
        eventually(lambda: not hours(), "the hours have become days", within=30)
        self.assertEqual(self.rows(node, "--all", *self.JUNE), self.by_org())
        self.assertEqual(self.rows(node, "acme", *self.JUNE, "--scope", "workspace/a"), self.DAYS[3:5])
        self.assertEqual(self.rows(node, "acme", "--from", "2026-06-21", "--to", "2026-06-21", "--scope", ""), self.DAYS[1:2])
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(self.rows(node, "--all", *self.JUNE), self.by_org())
        clock.sleep(420 * DAY)
        of_months = [
            ["acme", "", "", "spend", "2026-06-01", "2026-06-30", "3000001", "micro_usd", "3.000001", "usd"],
            ["acme", "", "", "compute", "2026-06-01", "2026-06-30", "5400000", "ms", "1.500000", "hours"],
            ["acme", "workspace/a", "", "spend", "2026-06-01", "2026-06-30", "3000001", "micro_usd", "3.000001", "usd"],
            ["bob", "", "", "bytes", "2026-06-01", "2026-06-30", "7", "bytes", "7", "bytes"],
        ]
        of_months.sort(key=lambda row: (len(row[0]), row[0]))
        eventually(lambda: self.rows(node, "--all", *self.JUNE) == of_months, "the days have become months", within=30)
        self.assertEqual(self.rows(node, "--all", *self.JUNE, "--by", "month"), of_months)
        self.assertEqual(node.stop(), 0)
        checked = node.run("fsck", "--data-dir", node.data_dir)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        kinds = {row.get("kind") for row in self.exported(node)}
        self.assertIn("usage_month", kinds)
        self.assertNotIn("usage_day", kinds)

    def by_org(self):
        """Orgs with short names are listed first."""
        return sorted(self.DAYS, key=lambda row: (len(row[0]), row[0]))

    def test_days_outlive_an_export_and_an_import_and_a_purge_removes_them(self):
        clock, node, plane = self.filled()
        clock.sleep(40 * DAY)
        eventually(lambda: not plane.admin.GetOrg(org="acme").ledgers, "the hours have become days", within=30)
        self.assertEqual(node.stop(), 0)
        other = self.restored(node, lambda row: None, clock=clock)
        self.assertEqual(self.rows(other, "--all", *self.JUNE), self.by_org())
        ran = other.run("--addr", f"http://{other.grpc}", "org", "purge", "acme", "--yes")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.rows(other, "--all", *self.JUNE), self.DAYS[5:])
        gone = other.run("--addr", f"http://{other.grpc}", "usage", "acme")
        self.assertEqual((gone.returncode, gone.stdout), (1, ""), gone.stderr)

    def test_a_list_of_all_orgs_comes_in_pages_that_have_every_row_once(self):
        _, node, plane = self.started()
        for org in range(300):
            self.record(plane, f"org{org:03}", "workspace/a", "spend", org + 1, "r")
        seen, token = [], ""
        while True:
            page = plane.admin.Usage(page_size=7, page_token=token)
            self.assertLessEqual(len(page.rows), 7)
            seen.extend((row.org, row.scope, row.amount) for row in page.rows)
            token = page.next_page_token
            if not token:
                break
        expected = [(f"org{org:03}", scope, org + 1) for org in range(300) for scope in ("", "workspace/a")]
        self.assertEqual(seen, expected)
        printed = json.loads(self.usage(node, "--all", "-o", "json"))
        self.assertEqual([row["org"] for row in printed["rows"]], [row[0] for row in expected])

    def test_what_went_through_which_plane(self):
        clock, node, plane = self.started()
        spent = lambda amount: [{"meter": "spend", "amount": amount}]
        for name, amount in (("eu-1", 1_000_000), ("us-1", 2_000_000), ("eu-1", 500_000), ("", 250_000)):
            self.assertTrue(plane.gate.Acquire(org="acme", plane=name, cost=spent(amount)).allowed)
        held = plane.gate.Acquire(org="acme", plane="us-1", cost=spent(0), reserve=spent(9)).reservation_id
        node.kill()
        plane = self.plane(node.start())
        plane.gate.Commit(org="acme", reservation_id=held, actual=spent(3_000_000), request_id="c")
        self.record(plane, "acme", "", "spend", 750_000, "r")
        expected = [["", "1000000"], ["eu-1", "1500000"], ["us-1", "5000000"]]
        shares = lambda: [[row[2], row[6]] for row in self.rows(node, "acme", *self.JUNE, "--by-plane", "--meter", "spend")]
        self.assertEqual(shares(), expected)
        for days, ledgers in ((40, "hours have become days"), (420, "days have become months")):
            clock.sleep(days * DAY)
            eventually(lambda: not plane.admin.GetOrg(org="acme").ledgers, ledgers, within=30)
            self.assertEqual(shares(), expected, ledgers)

    def test_the_name_of_an_upstream_account_is_nowhere(self):
        _, node, plane = self.started()
        secret = "sk-secret-0123456789"
        accounts = [{"account": f"{secret}-{at}", "daily_limit": 100, "safety_buffer": 0} for at in range(5)]
        plane.pool.ConfigurePool(org="acme", pool="p", accounts=accounts, request_id="p")
        for at in range(5):
            self.assertTrue(plane.pool.Pick(org="acme", pool="p", request_id=f"pick{at}").allowed)
        seen, token = [], ""
        while True:
            page = plane.admin.Usage(org="acme", page_size=1, page_token=token)
            self.assertNotIn(secret, str(page))
            seen.extend(row.scope for row in page.rows)
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(len([scope for scope in seen if scope.startswith("account/sk-s")]), 5, seen)
        self.assertNotIn(secret, self.usage(node, "acme"))


if __name__ == "__main__":
    unittest.main()
