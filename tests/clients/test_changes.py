"""What operators change is kept: who, what, from which value to which, why and when."""

import json
import time

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import refusal

SECRET = "sk-live-0123456789-9f3c"


def said(event):
    return [(change.field, change.old, change.new) for change in event.changes]


class Changes(SharedNodeCase):
    """R-CTRL-3"""

    def setUp(self):
        self.org = fresh("changes")

    def events(self, **ask):
        return list(self.admin.ListAudit(org=self.org, **ask).events)

    def test_a_change_says_who_what_and_why_and_a_retry_is_no_other_change(self):
        ask = {"org": self.org, "request_id": "b", "periods": {"daily": {"limit": 5_000_000}}}
        self.budget.UpdateBudget(**ask, reason="a launch until Friday")
        self.assertTrue(self.budget.UpdateBudget(**ask, reason="for another reason").replayed)
        self.budget.UpdateBudget(org=self.org, request_id="c", periods={"daily": {"clear": True}})
        one, other = self.events()
        self.assertEqual((one.number, other.number, one.kind, one.caller), (1, 2, "operator", "127.0.0.1"))
        self.assertEqual((one.command, one.reason, other.reason), ("UpdateBudget", "a launch until Friday", ""))
        self.assertEqual(said(one), [("daily spend", "as configured", "$5.00")])
        self.assertEqual(said(other), [("daily spend", "$5.00", "as configured")])
        self.assertAlmostEqual(one.at_ms, time.time() * 1000, delta=60_000)
        self.assertIn("127.0.0.1 called UpdateBudget", one.message)

    def test_a_page_goes_on_behind_a_number_and_times_choose(self):
        for number in range(3):
            self.admin.Freeze(org=self.org, request_id=f"f{number}", reason="fraud")
            self.admin.Unfreeze(org=self.org, request_id=f"u{number}", reason="it was none")
        page = self.admin.ListEvents(org=self.org, page_size=4)
        self.assertEqual([event.number for event in page.events], [1, 2, 3, 4])
        self.assertEqual((page.next_after_number, page.oldest_number, page.newest_number), (4, 1, 6))
        rest = self.admin.ListEvents(org=self.org, page_size=4, after_number=page.next_after_number)
        self.assertEqual(([event.number for event in rest.events], rest.next_after_number), ([5, 6], 0))
        self.assertEqual(said(rest.events[1]), [("frozen", "yes: fraud", "no")])
        ahead = int(time.time() * 1000) + 3_600_000
        self.assertEqual([len(self.events(since_ms=ahead)), len(self.events(until_ms=ahead))], [0, 6])

    def test_an_account_is_masked_wherever_it_is_named(self):
        accounts = [{"account": SECRET, "daily_limit": 10}]
        self.client.pool.ConfigurePool(org=self.org, pool="relay", request_id="p", accounts=accounts, reason="one more key")
        (event,) = self.events()
        self.assertEqual(said(event)[1], ("pool relay, account sk-l…9f3c", "", "at most 10"))
        self.assertNotIn(SECRET, str(event))
        self.assertEqual(self.shared.logged(SECRET), [])

    def test_what_is_asked_wrongly_is_refused_and_an_org_without_records_is_not_known(self):
        self.assertEqual(refusal(self.admin.ListEvents, org=self.org).reason, "ORG_UNKNOWN")
        self.assertIn("operator", refusal(self.admin.ListEvents, org=self.org, kinds=["weather"]).message)
        long = refusal(self.admin.Unfreeze, org=self.org, request_id="u", reason="x" * 257)
        self.assertIn("reason", long.message)

    def test_a_purge_takes_the_log_with_the_rest_and_the_node_says_so(self):
        self.admin.Freeze(org=self.org, request_id="f")
        self.admin.PurgeOrg(org=self.org, request_id="p", reason="they have left")
        self.assertEqual(refusal(self.admin.ListAudit, org=self.org).reason, "ORG_UNKNOWN")
        (line,) = [line for line in self.shared.logged("PurgeOrg") if self.org in line]
        self.assertIn("they have left", line)


class Restart(NodeCase):
    def test_a_change_is_kept_over_a_kill_and_is_a_line_of_fields_in_the_log(self):
        """R-CTRL-3, R-OPS-3"""
        node = self.node(config='[log]\nformat = "json"\n')
        plane = self.plane(node)
        plane.budget.UpdateBudget(org="acme", request_id="b", periods={"daily": {"limit": 0}}, reason="paid late")
        (line,) = [json.loads(line) for line in node.logged("UpdateBudget")]
        fields = line["fields"]
        expected = ("acme", "127.0.0.1", "UpdateBudget", "daily spend: as configured -> $0.00", "paid late")
        self.assertEqual(tuple(fields[name] for name in ("org", "caller", "command", "changes", "reason")), expected)
        node.kill()
        plane = self.plane(node.start())
        (event,) = plane.admin.ListAudit(org="acme").events
        self.assertEqual((event.number, said(event)), (1, [("daily spend", "as configured", "$0.00")]))
        plane.admin.Freeze(org="acme", request_id="f")
        eventually(lambda: [e.number for e in plane.admin.ListAudit(org="acme").events] == [1, 2], "the next number")
