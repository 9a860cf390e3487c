"""What operators do: freeze, list, inspect, forget, reload."""

import unittest

from case import NodeCase, SharedNodeCase, at_rest, fresh
from node import eventually
from plane import code_name, limit, refusal


class Operators(SharedNodeCase):
    CLOCK = {"minute": 10}

    def test_a_frozen_org_is_denied_until_it_is_unfrozen(self):
        """R-PIPE-1"""
        org = fresh("frozen")
        hold = self.gate.Acquire(org=org, reserve=[{"meter": "spend", "amount": 5}]).reservation_id
        self.assertFalse(self.admin.Freeze(org=org, request_id="f", reason="unpaid since March").was_frozen)
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "FROZEN", 403))
        self.assertIn("unpaid since March", denied.message)
        self.assertEqual(denied.retry_after_ms, 0, "nobody knows when")
        status = self.gate.GetStatus(org=org)
        self.assertEqual((status.frozen, status.allowed, code_name(status)), (True, False, "FROZEN"))
        resumed = self.gate.Resume(org=org, execution_id="running")
        self.assertEqual((resumed.continuations, resumed.counted), (1, True), "R-BAL-8: resume is never gated")
        self.gate.Commit(org=org, reservation_id=hold, request_id="c", actual=[{"meter": "spend", "amount": 4}])
        kept = self.admin.GetOrg(org=org)
        self.assertEqual((kept.frozen, kept.freeze_reason, kept.rate.count), (True, "unpaid since March", 1))
        self.assertTrue(self.admin.Unfreeze(org=org, request_id="u").was_frozen)
        self.assertTrue(self.gate.Acquire(org=org).allowed)
        self.assertFalse(self.admin.Unfreeze(org=org, request_id="u2").was_frozen)

    def test_resume_goes_on_past_the_limit(self):
        """R-BAL-8"""
        org = fresh("over")
        for _ in range(1000):
            self.gate.Acquire(org=org)
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        self.assertEqual(self.gate.Resume(org=org, execution_id="e").continuations, 1)
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1000, "a continuation is no call")

    def test_orgs_are_listed_a_page_at_a_time(self):
        made = {f"page/{number:03}" for number in range(25)}
        for org in made:
            self.admin.Freeze(org=org, request_id="f")
        seen, token, pages = [], "", 0
        while True:
            page = self.admin.ListOrgs(page_size=4, page_token=token)
            self.assertLessEqual(len(page.orgs), 4)
            seen += [each.org for each in page.orgs]
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
            self.assertLess(pages, 1000, "the list has no end")
        self.assertEqual(len(seen), len(set(seen)), "no org twice")
        self.assertTrue(made <= set(seen), made - set(seen))
        whole = [each.org for each in self.admin.ListOrgs(page_size=1000).orgs]
        self.assertEqual(seen, whole, "the same order whatever the page")

    def test_a_purged_org_is_forgotten_entirely(self):
        org = fresh("purged")
        self.gate.Acquire(org=org, request_id="r", reserve=[{"meter": "spend", "amount": 5}])
        self.gate.Record(org=org, usage=[{"meter": "spend", "amount": 5}], request_id="r")
        self.admin.Freeze(org=org, request_id="f")
        purged = self.admin.PurgeOrg(org=org, request_id="p", reason="they have left")
        self.assertTrue(purged.existed)
        receipt = purged.receipt
        said = (receipt.org, receipt.request_id, receipt.reason, receipt.rows["head"], receipt.rows["reservation"])
        self.assertEqual(said, (org, "p", "they have left", 1, 1))
        self.assertEqual((receipt.rows["request_id"], receipt.exports_kept), (3, 0), "Acquire, Record and Freeze")
        self.assertTrue(receipt.caller)
        (line,) = [line for line in self.shared.logged("deletion receipt") if f'"{org}"' in line]
        for part in ("they have left", "request_id 3", "head 1"):
            self.assertIn(part, line)
        self.assertEqual(refusal(self.admin.GetOrg, org=org).reason, "ORG_UNKNOWN")
        again = self.admin.PurgeOrg(org=org, request_id="p")
        self.assertEqual((again.existed, again.HasField("receipt")), (False, False))
        self.assertNotIn(org, {each.org for each in self.admin.ListOrgs(page_size=1000).orgs})
        anew = self.gate.Acquire(org=org, request_id="r", reserve=[{"meter": "spend", "amount": 5}])
        self.assertEqual((anew.allowed, anew.replayed, limit(anew, "rate").used), (True, False, 1))

    def test_the_node_tells_what_it_is(self):
        node = self.admin.GetNode()
        self.assertEqual((node.health, node.clock, node.store), ("serving", "steady", "sled"))
        self.assertEqual(node.bounds["batch_items"], 1000)
        self.assertAlmostEqual(node.now_ms, self.shared.clock.now_ms(), delta=2000)
        self.assertTrue(node.node and node.version)


class Reload(NodeCase):
    RAISED = '[rate]\namount = 4\n'

    def test_a_raised_limit_holds_from_the_next_call_and_a_broken_file_keeps_the_old(self):
        """R-PIPE-11, R-OPS-4"""
        node = self.node(config="[rate]\namount = 2\n", clock=self.clock(minute=10))
        plane = self.plane(node)
        call = lambda: plane.gate.Acquire(org="acme")  # noqa: E731
        self.assertEqual([call().allowed for _ in range(3)], [True, True, False])
        node.write_config(self.RAISED)
        node.reload()
        eventually(lambda: plane.admin.GetNode().config_generation == 1, "the reload")
        raised = call()
        self.assertEqual((raised.allowed, limit(raised, "rate").amount, limit(raised, "rate").used), (True, 4, 3))
        for broken in ["[rate]\namount = 0\n", "[rate\n", "[rate]\namout = 9\n"]:
            known = len(node.logged("was not reloaded"))
            node.write_config(broken)
            node.reload()
            eventually(lambda: len(node.logged("was not reloaded")) > known, f"a line about {broken!r}")  # noqa: B023
        self.assertEqual(plane.admin.GetNode().config_generation, 1)
        self.assertEqual([call().allowed for _ in range(2)], [True, False], "4 is still the amount")
        node.write_config("[rate]\namount = 3\n")
        node.reload()
        eventually(lambda: plane.admin.GetNode().config_generation == 2, "the second reload")
        lowered = call()
        self.assertEqual((lowered.allowed, limit(lowered, "rate").remaining), (False, -1))


class Restart(NodeCase):
    CONFIG = '[rate]\namount = 5\n[orgs."acme"]\nspend = { hourly = "100u" }\n'

    def fill(self, plane):
        spend = [{"meter": "spend", "amount": 10}]
        hold = plane.gate.Acquire(org="acme", request_id="r1", reserve=spend)
        plane.gate.Acquire(org="acme", cost=spend)
        plane.gate.Record(org="acme", usage=spend, request_id="u1")
        plane.gate.ReportCumulative(
            org="acme", source="s", incarnation="1", meter="spend", total=30, request_id="c1")
        plane.gate.Resume(org="acme", execution_id="e", request_id="e1")
        plane.admin.Freeze(org="other", request_id="f1", reason="why")
        return hold

    def kept(self, plane):
        org = plane.admin.GetOrg(org="acme")
        for volatile in ["sequence", "journal_from_sequence", "timers", "request_ids_known_from_ms"]:
            org.ClearField(volatile)
        for each in org.limits:
            # "Now" where it fits now.
            each.ClearField("resets_at_ms")
        return at_rest(org)

    def test_everything_is_as_it_was_after_sigterm(self):
        """Durability contract: SIGTERM forgets nothing"""
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        plane = self.plane(node)
        hold = self.fill(plane)
        before = self.kept(plane)
        self.assertEqual(node.stop(), 0)
        plane = self.plane(node.start())
        self.assertEqual(before, self.kept(plane))
        again = plane.gate.Acquire(org="acme", request_id="r1", reserve=[{"meter": "spend", "amount": 10}])
        self.assertEqual((again.replayed, again.decision_id), (True, hold.decision_id))
        self.assertTrue(plane.gate.ReportCumulative(
            org="acme", source="s", incarnation="1", meter="spend", total=30, request_id="c1").replayed)
        grown = plane.gate.ReportCumulative(
            org="acme", source="s", incarnation="1", meter="spend", total=35, request_id="c2")
        self.assertEqual((grown.increment, grown.reset_detected), (5, False))
        self.assertEqual(plane.gate.Resume(org="acme", execution_id="e").continuations, 2)
        self.assertEqual(code_name(plane.gate.Acquire(org="other")), "FROZEN")
        plane.gate.Commit(org="acme", reservation_id=hold.reservation_id, request_id="k1", actual=[])
        self.assertEqual([plane.gate.Acquire(org="acme").allowed for _ in range(4)], [True, True, True, False])

    def test_what_was_promised_durable_survives_sigkill(self):
        """Durability contract; R-PIPE-6: a durable id is charged once, also after a crash"""
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        plane = self.plane(node)
        hold = self.fill(plane)
        node.kill()
        plane = self.plane(node.start())
        org = plane.admin.GetOrg(org="acme")
        self.assertEqual([each.reservation_id for each in org.reservations], [hold.reservation_id])
        self.assertEqual(org.baselines[0].total, 30)
        self.assertTrue(plane.gate.Acquire(
            org="acme", request_id="r1", reserve=[{"meter": "spend", "amount": 10}]).replayed)
        self.assertTrue(plane.gate.Record(
            org="acme", usage=[{"meter": "spend", "amount": 10}], request_id="u1").replayed)
        self.assertEqual(code_name(plane.gate.Acquire(org="other")), "FROZEN")
        # What was written behind is there or not, but only whole: 10 each of Acquire, Record, and 30 reported.
        self.assertIn(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, (40, 50))

    def test_with_write_behind_off_sigkill_forgets_nothing(self):
        """Durability contract: write_behind_ms = 0"""
        node = self.node(clock=self.clock(minute=10), config="[durability]\nwrite_behind_ms = 0\n" + self.CONFIG)
        plane = self.plane(node)
        ids = [plane.gate.Acquire(org="acme", request_id=str(number)).decision_id for number in range(4)]
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(plane.admin.GetOrg(org="acme").rate.count, 4)
        again = [plane.gate.Acquire(org="acme", request_id=str(number)) for number in range(4)]
        self.assertEqual([each.decision_id for each in again], ids)
        self.assertTrue(all(each.replayed for each in again))


if __name__ == "__main__":
    unittest.main()
