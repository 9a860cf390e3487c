"""Request ids: charged once, answered alike, refused under another body."""

import unittest

from case import NodeCase, SharedNodeCase, fresh
from plane import code_name, limit, refusal

SPEND = [{"meter": "spend", "amount": 5}]


class RequestIds(SharedNodeCase):
    CLOCK = {"minute": 10}
    CONFIG = """
        [orgs."one"]
        rate = { amount = 1 }
    """

    def test_the_same_id_charges_once_and_answers_the_same(self):
        """R-PIPE-6"""
        org = fresh("twice")
        first = self.gate.Acquire(org=org, request_id="r1", reserve=SPEND)
        again = self.gate.Acquire(org=org, request_id="r1", reserve=SPEND)
        self.assertEqual((first.replayed, again.replayed, again.allowed), (False, True, True))
        self.assertEqual(
            (first.decision_id, first.reservation_id, first.reservation_expires_at_ms),
            (again.decision_id, again.reservation_id, again.reservation_expires_at_ms),
        )
        kept = self.admin.GetOrg(org=org)
        self.assertEqual((kept.rate.count, len(kept.reservations), kept.admitted_total), (1, 1, 1))

    def test_another_body_under_the_same_id_is_refused(self):
        """R-PIPE-6"""
        org = fresh("reused")
        self.gate.Acquire(org=org, request_id="r1")
        for body in [{"scope": "s"}, {"cost": SPEND}, {"operation": "OPERATION_EXECUTE_WITH_PAUSE"}, {"mode": "MODE_SHADOW"}]:
            refused = refusal(self.gate.Acquire, org=org, request_id="r1", **body)
            self.assertEqual((refused.code.name, refused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"), body)
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1)

    def test_a_retry_that_means_the_same_is_the_same_call(self):
        """R-PIPE-6: not the label, not explain, no default written out, no order of amounts"""
        org, amounts = fresh("same"), [{"meter": "spend", "amount": 5}, {"meter": "bytes", "amount": 7}]
        plain = self.gate.Acquire(org=org, request_id="plain", plane="blue")
        for body in [
            {"plane": "green"},
            {"explain": True},
            {"cost": [{"meter": "executions", "amount": 1}]},
            {"operation": "OPERATION_EXECUTE", "mode": "MODE_NORMAL", "reservation_ttl_ms": 300_000},
        ]:
            again = self.gate.Acquire(org=org, request_id="plain", **body)
            self.assertEqual((again.replayed, again.decision_id), (True, plain.decision_id), body)
        held = self.gate.Acquire(org=org, request_id="held", reserve=amounts)
        again = self.gate.Acquire(org=org, request_id="held", reserve=amounts[::-1])
        self.assertEqual((again.replayed, again.reservation_id), (True, held.reservation_id))
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 2)

    def test_an_id_is_unique_per_org_and_rpc(self):
        """R-PIPE-6"""
        one, other = fresh("org"), fresh("org")
        self.assertFalse(self.gate.Acquire(org=one, request_id="same").replayed)
        self.assertFalse(self.gate.Acquire(org=other, request_id="same").replayed)
        self.assertFalse(self.gate.Record(org=one, usage=SPEND, request_id="same").replayed)
        self.assertFalse(self.gate.Resume(org=one, execution_id="e", request_id="same").replayed)
        self.assertFalse(self.admin.Freeze(org=one, request_id="same").replayed)

    def test_an_admitted_id_is_replayed_past_the_limit_and_a_denial_is_evaluated_afresh(self):
        """R-PIPE-6: only admitted outcomes are remembered"""
        self.assertTrue(self.gate.Acquire(org="one", request_id="in").allowed)
        denied = self.gate.Acquire(org="one", request_id="out")
        self.assertEqual((denied.allowed, denied.replayed), (False, False))
        replayed = self.gate.Acquire(org="one", request_id="in")
        self.assertEqual((replayed.allowed, replayed.replayed, code_name(replayed)), (True, True, "ALLOWED"))
        self.assertEqual(replayed.http_status_hint, 200)
        again = self.gate.Acquire(org="one", request_id="out")
        self.assertEqual((again.allowed, again.replayed), (False, False))
        self.assertEqual(limit(again, "rate").blocked, 2)

    def test_ids_hold_over_batch_and_stream(self):
        """R-PIPE-6"""
        org = fresh("batch")
        item = {"org": org, "request_id": "r1"}
        batch = [each.decision for each in self.gate.AcquireBatch(items=[item, item, item]).results]
        self.assertEqual([each.replayed for each in batch], [False, True, True])
        stream = [each.decision for each in self.gate.AcquireStream([{"tag": 1, "acquire": item}])]
        self.assertTrue(stream[0].replayed)
        self.assertEqual({each.decision_id for each in batch + stream}, {self.gate.Acquire(**item).decision_id})
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1)
        reused = self.gate.AcquireBatch(items=[{**item, "scope": "s"}]).results[0].error
        self.assertEqual((reused.reason, reused.grpc_code), ("REQUEST_ID_REUSED", 6))

    def test_every_mutating_rpc_is_charged_once(self):
        """R-PIPE-6"""
        org = fresh("all")
        hold = lambda: self.gate.Acquire(org=org, reserve=SPEND).reservation_id  # noqa: E731
        calls = [
            (self.gate.Commit, {"reservation_id": hold(), "actual": SPEND}),
            (self.gate.Release, {"reservation_id": hold()}),
            (self.gate.Extend, {"reservation_id": hold(), "ttl_ms": 5000}),
            (self.gate.Resume, {"execution_id": "e"}),
            (self.gate.Record, {"usage": SPEND}),
            (self.gate.ReportCumulative, {"source": "s", "incarnation": "1", "meter": "spend", "total": 5}),
            (self.admin.Freeze, {"reason": "why"}),
            (self.admin.Unfreeze, {}),
        ]
        for call, body in calls:
            first, again = (call(org=org, request_id="x", **body) for _ in range(2))
            self.assertEqual((first.replayed, again.replayed), (False, True), body)
            again.replayed = False
            for answer in (first, again):
                # As they are now, also in a replay.
                for now in {"limits", "remaining_ms"} & set(answer.DESCRIPTOR.fields_by_name):
                    answer.ClearField(now)
            self.assertEqual(first, again, "the same outcome")
        spent = self.budget.GetBudget(org=org).budget.periods["hourly"].spend
        self.assertEqual(spent, 15, "Commit, Record and ReportCumulative, 5 each, once")

    def test_a_settled_reservation_is_not_settled_again(self):
        """R-PIPE-6"""
        org = fresh("settled")
        reservation = self.gate.Acquire(org=org, reserve=SPEND).reservation_id
        self.gate.Commit(org=org, reservation_id=reservation, request_id="c", actual=SPEND)
        for call, body in [(self.gate.Commit, {}), (self.gate.Release, {}), (self.gate.Extend, {"ttl_ms": 1000})]:
            refused = refusal(call, org=org, reservation_id=reservation, request_id=fresh(), **body)
            self.assertEqual((refused.code.name, refused.reason), ("FAILED_PRECONDITION", "RESERVATION_SETTLED"))
        unknown = refusal(self.gate.Commit, org=org, reservation_id="0" * 32, request_id=fresh())
        self.assertEqual((unknown.code.name, unknown.reason), ("NOT_FOUND", "RESERVATION_UNKNOWN"))

class RequestIdsOfAnotherVersion(NodeCase):
    def test_a_retry_after_an_upgrade_is_replayed(self):
        """R-PIPE-6: a fingerprint of the first version cannot be compared, so the id alone decides"""
        node = self.node()
        gate = self.plane(node).gate
        first = gate.Acquire(org="acme", request_id="a", reserve=SPEND)
        gate.Record(org="acme", request_id="b", usage=SPEND)
        node.stop()
        fingerprints = []

        def as_it_was(row):
            for entry in (row.get("value") or {}).get("entries", []):
                fingerprints.append(entry["idempotency"]["fingerprint"])
                entry["idempotency"]["fingerprint"] = 0x123456789ABCDEF0 + len(fingerprints)

        gate = self.plane(self.restored(node, as_it_was)).gate
        self.assertEqual(len(fingerprints), 2, "as many ids as there were calls")
        again = gate.Acquire(org="acme", request_id="a", reserve=SPEND)
        self.assertEqual((again.replayed, again.reservation_id), (True, first.reservation_id))
        self.assertTrue(gate.Record(org="acme", request_id="b", usage=SPEND).replayed)


if __name__ == "__main__":
    unittest.main()
