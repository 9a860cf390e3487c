"""Usage reaches the billing provider: what completed, once; and what an operator does where it does not."""

import json
import unittest

from billing import TRACK, SharedBilledCase, fault_for
from case import fresh
from node import eventually
from plane import code_name

DELIVERED_WITHIN = 20.0


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def told(entry):
    """What one report says, without its time and its key."""
    return {key: value for key, value in entry["body"].items() if key in ("feature_id", "value")}


class UsageCase(SharedBilledCase):
    def customer(self, prefix, **features):
        """An org with much left of `executions`, and of any other feature that is named."""
        org = fresh(prefix)
        all_of_them = {"executions": {"granted": 1_000}, **features}
        self.standin.customers(**{org: {"features": all_of_them}})
        return org

    def waiting(self, org, **more):
        return list(self.admin.ListExports(org=org, **more).exports)

    def delivered(self, org, count):
        """All reports of the org, once `count` are answered and nothing waits."""
        def done():
            entries = self.tracks(org)
            return len(entries) >= count and all(entry["status"] for entry in entries) and not self.waiting(org)

        eventually(done, f"{count} reports of {org}", within=DELIVERED_WITHIN)
        entries = self.tracks(org)
        self.assertEqual(len(entries), count, [entry["body"] for entry in entries])
        return entries

    def run_one(self, org, **fields):
        """An execution that is admitted and completes."""
        decision = self.gate.Acquire(org=org, **fields).decision_id
        self.gate.Record(org=org, request_id=fresh("end"), decision_id=decision, usage=spend(1))


class Completed(UsageCase):
    """R-BAL-7: by default an execution is reported when it has completed."""

    SETTINGS = {"FEATURES__SPEND": "usd"}

    def test_a_commit_completes_an_execution(self):
        org = self.customer("commit")
        hold = self.gate.Acquire(org=org, reserve=[{"meter": "bytes", "amount": 5}])
        self.assertTrue(self.gate.GetStatus(org=org).allowed)
        self.assertEqual((self.tracks(org), self.waiting(org)), ([], []), "it has not completed yet")
        self.gate.Commit(org=org, reservation_id=hold.reservation_id, request_id="c", actual=[{"meter": "bytes", "amount": 4}])
        (entry,) = self.delivered(org, 1)
        self.assertEqual(told(entry), {"feature_id": "executions", "value": 1}, "bytes are nobody's feature")
        self.assertEqual(self.standin.usage(org), 1)

    def test_a_record_that_names_the_decision_completes_an_execution_and_exports_its_spend(self):
        org = self.customer("record", usd={"granted": 10**9})
        decision = self.gate.Acquire(org=org, cost=[{"meter": "executions", "amount": 3}]).decision_id
        for _ in range(2):
            self.gate.Record(org=org, decision_id=decision, usage=spend(500), request_id="same")
        entries = self.delivered(org, 2)
        expected = [("executions", 3), ("usd", 500)]
        self.assertEqual(sorted((entry["body"]["feature_id"], entry["body"]["value"]) for entry in entries), expected)
        self.assertEqual((self.standin.usage(org), self.standin.usage(org, "usd")), (3, 500))

    def test_the_decision_alone_completes_an_execution(self):
        """R-CTRL-2"""
        for by_hand in (False, True):
            with self.subTest(by_hand=by_hand):
                org = self.customer("ended")
                decision = self.gate.Acquire(org=org, cost=[{"meter": "executions", "amount": 2}]).decision_id
                for note in ("", "  (replayed)"):
                    if by_hand:
                        ran = self.shared.run("complete", org, decision, "--request-id", "end", "--addr", self.shared.grpc)
                        self.assertEqual((ran.returncode, ran.stdout), (0, f"completed  {org}  {decision}{note}\n"), ran.stderr)
                    else:
                        self.gate.Record(org=org, decision_id=decision, request_id="end")
                (entry,) = self.delivered(org, 1)
                self.assertEqual(told(entry), {"feature_id": "executions", "value": 2})
                self.assertEqual(self.standin.usage(org), 2)
                self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_an_end_that_is_told_twice_is_one_execution(self):
        """Its usage may come in parts, with and without the scope that asked"""
        for scopes in [("", "", ""), ("ws", "ws", "ws"), ("ws", "ws", ""), ("ws", "", ""), ("", "ws", "ws")]:
            with self.subTest(scopes):
                org = self.customer("parts", usd={"granted": 10**9})
                asked, *ends = scopes
                decision = self.gate.Acquire(org=org, scope=asked).decision_id
                for count, scope in enumerate(ends, 1):
                    self.gate.Record(org=org, scope=scope, decision_id=decision, usage=spend(5), request_id=fresh("part"))
                    eventually(lambda: self.standin.usage(org, "usd") == 5 * count and not self.waiting(org), "delivered")
                self.assertEqual(self.standin.usage(org), 1)

    def test_usage_without_a_decision_is_exported_and_is_no_execution(self):
        """R-OPS-5"""
        org = self.customer("stray", usd={"granted": 10**9})
        self.gate.Record(org=org, usage=spend(7), request_id="r")
        (entry,) = self.delivered(org, 1)
        self.assertEqual(told(entry), {"feature_id": "usd", "value": 7})

    def test_what_was_denied_or_given_back_is_not_reported(self):
        org = self.customer("released")
        hold = self.gate.Acquire(org=org, reserve=[{"meter": "bytes", "amount": 5}])
        self.gate.Release(org=org, reservation_id=hold.reservation_id, request_id="r")
        self.assertTrue(self.gate.Acquire(org=org).allowed, "and never completes")
        self.admin.Freeze(org=org, request_id="f")
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied)), (False, "FROZEN"))
        self.gate.Record(org=org, decision_id=denied.decision_id, usage=[{"meter": "bytes", "amount": 1}], request_id="d")
        self.admin.Unfreeze(org=org, request_id="u")
        broke = fresh("broke")
        self.standin.grant(broke, granted=1, usage=1)
        refused = self.gate.Acquire(org=broke)
        self.assertEqual(code_name(refused), "BALANCE_EXHAUSTED")
        self.gate.Record(org=broke, decision_id=refused.decision_id, usage=[{"meter": "bytes", "amount": 1}], request_id="d")
        last = self.gate.Acquire(org=org).decision_id
        self.gate.Record(org=org, decision_id=last, usage=[{"meter": "bytes", "amount": 1}], request_id="last")
        self.delivered(org, 1)
        self.assertEqual((self.standin.usage(org), self.waiting(broke), self.tracks(broke)), (1, [], []))

    def test_a_retry_has_the_same_key_and_is_booked_once(self):
        org = self.customer("retried", usd={"granted": 10**9})
        self.standin.faults(fault_for(TRACK, {"status": 500}))
        self.gate.Record(org=org, usage=spend(7), request_id="r")
        (row,) = eventually(lambda: [row for row in self.waiting(org) if row.attempts], "the first attempt failed")
        self.assertEqual((row.meter, row.amount, row.attempts, row.last_error), ("spend", 7, 1, "provider_error"))
        first, second = self.delivered(org, 2)
        self.assertEqual((first["status"], second["status"]), (500, 200))
        keys = {entry["headers"]["idempotency-key"] for entry in (first, second)}
        self.assertEqual(keys, {row.key})
        self.assertEqual(self.standin.usage(org, "usd"), 7)

    def test_a_report_whose_answer_was_lost_is_booked_once(self):
        """409 is delivered"""
        org = self.customer("lost", usd={"granted": 10**9})
        self.standin.faults(fault_for(TRACK, "lost_answer"))
        self.gate.Record(org=org, usage=spend(7), request_id="r")
        eventually(lambda: not self.waiting(org) and len(self.tracks(org)) == 2, "it is delivered", within=DELIVERED_WITHIN)
        first, second = self.tracks(org)
        self.assertEqual(first["headers"]["idempotency-key"], second["headers"]["idempotency-key"])
        self.assertEqual((first["status"], second["status"]), (None, 409))
        self.assertEqual(self.standin.usage(org, "usd"), 7)

    def test_usage_beyond_the_balance_is_booked(self):
        org = fresh("over")
        self.standin.grant(org, granted=1)
        self.run_one(org, cost=[{"meter": "executions", "amount": 1}])
        (entry, _) = self.delivered(org, 2)
        self.assertEqual({entry["body"]["overage_behavior"] for entry in self.tracks(org)}, {"overflow"})
        self.assertEqual(len(entry["headers"]["idempotency-key"]), 32)


class Admitted(UsageCase):
    """Reported with the admission, as an operator may wish; what does not fit is dropped."""

    SETTINGS = {"EXPORT": "admitted", "OVERAGE_BEHAVIOR": "cap"}

    def test_an_admission_is_reported_with_it_and_once(self):
        org = self.customer("admitted")
        for _ in range(2):
            decision = self.gate.Acquire(org=org, request_id="same").decision_id
        (entry,) = self.delivered(org, 1)
        self.assertEqual(told(entry), {"feature_id": "executions", "value": 1})
        self.assertEqual(entry["body"]["overage_behavior"], "cap")
        self.gate.Record(org=org, decision_id=decision, usage=spend(1), request_id="end")
        self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY")
        self.gate.Acquire(org=org)
        self.delivered(org, 2)
        self.assertEqual(self.standin.usage(org), 2, "its end reported nothing more")

    def test_a_denial_is_not_reported(self):
        org = fresh("denied")
        self.standin.grant(org, granted=1, usage=1)
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        other = self.customer("other")
        self.gate.Acquire(org=other)
        self.delivered(other, 1)
        self.assertEqual((self.tracks(org), self.waiting(org)), ([], []))


class CommandLine(UsageCase):
    """`tollgate billing`, against a node and its provider."""

    def cli(self, *arguments):
        return self.shared.run("--addr", f"http://{self.shared.grpc}", "billing", *arguments)

    def assert_exits(self, run, code):
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)

    def test_refresh_says_allowed_denied_or_unknown(self):
        paid, broke = self.customer("paid"), fresh("broke")
        self.standin.grant(broke, granted=5, usage=5)
        for org, code, said in [(paid, 0, "allowed"), (broke, 3, "denied"), (fresh("stranger"), 1, "unknown")]:
            with self.subTest(said):
                run = self.cli("refresh", org)
                self.assert_exits(run, code)
                self.assertTrue(run.stdout.startswith(said), run.stdout)
        self.assertIn("unknown_customer", run.stderr)
        self.assert_exits(self.cli("refresh", "../.."), 2)

    def test_a_refresh_unblocks(self):
        org = fresh("unblocked")
        self.standin.grant(org, granted=5, usage=5)
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        self.standin.grant(org, granted=9, usage=5)
        run = self.cli("refresh", org)
        self.assert_exits(run, 0)
        self.assertIn("4 left of 9", run.stdout)
        self.assertTrue(self.gate.Acquire(org=org).allowed)

    def test_what_was_set_aside_is_listed_and_replayed(self):
        org = self.customer("rejected")
        self.assert_exits(self.cli("exports", org), 0)
        self.assertIn("nothing", self.replayed(org))
        refused = {"answer": {"status": 400, "body": json.dumps({"code": "invalid_inputs", "message": "no"})}}
        self.standin.faults(fault_for(TRACK, refused))
        self.run_one(org)
        (row,) = eventually(lambda: self.waiting(org, set_aside=True), "it was set aside")
        self.assertEqual(row.set_aside, "rejected")
        run = self.cli("--output", "json", "exports", org, "--set-aside")
        self.assert_exits(run, 0)
        (printed,) = json.loads(run.stdout)["exports"]
        self.assertEqual((printed["key"], printed["setAside"], printed["amount"]), (row.key, "rejected", "1"))
        self.assertIn("rejected", self.cli("exports", org).stdout)
        self.assertIn("no such row", self.replayed(org, "--key", "0" * 32))
        self.assertIn("1 row", self.replayed(org, "--key", row.key))
        first, second = self.delivered(org, 2)
        self.assertEqual((first["status"], second["status"]), (400, 200))
        self.assertEqual(first["headers"]["idempotency-key"], second["headers"]["idempotency-key"])
        self.assertEqual(self.standin.usage(org), 1)
        self.assert_exits(self.cli("replay", org, "--key", "short"), 2)

    def replayed(self, org, *more):
        run = self.cli("replay", org, *more)
        self.assert_exits(run, 0)
        return run.stdout

    def test_a_node_that_is_not_there_is_an_error(self):
        for arguments in [("refresh", "acme"), ("exports", "acme"), ("replay", "acme")]:
            run = self.shared.run("--addr", "http://127.0.0.1:1", "--timeout", "2s", "billing", *arguments)
            self.assert_exits(run, 1)


if __name__ == "__main__":
    unittest.main()
