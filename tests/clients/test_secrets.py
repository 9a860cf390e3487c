"""Secrets that are replaced while a node runs: the next call has the new one, and nothing shows it."""

import json
import os

import unittest

from billing import CHECK, TRACK, WEBHOOK_SECRET, BilledCase, tracks
from case import fresh
from node import eventually
from test_billing_webhook import BODY, HEADERS, SIGNED_AT, message, post, signed

OLD, NEW = "am_sk_test_clients", "am_sk_test_rotated"
OTHER_SECRET = "whsec_b3RoZXJzZWNyZXRvZnRoZXNhbWVsZW5ndGg="


def keys(standin, path):
    return [entry["headers"]["authorization"] for entry in standin.ledger(path)]


class Rotation(BilledCase):
    """R-OPS-15"""

    def started(self, clock=None, **options):
        node = self.billed(clock=clock, **options)
        self.gate = self.plane(node).gate
        self.key_file = node.environment["TOLLGATE__BILLING__AUTUMN__SECRET_KEY_FILE"]
        return node

    def written(self, path, text):
        with open(path + ".new", "w", encoding="ascii") as file:
            os.chmod(path + ".new", 0o600)
            file.write(text + "\n")
        os.replace(path + ".new", path)

    def reload(self, node, *flags):
        return node.run("reload", "--addr", node.grpc, *flags)

    def executed(self, org):
        """An execution that completes: a question to the provider, and a report."""
        self.standin.grant(org, granted=10)
        allowed = self.gate.Acquire(org=org)
        self.assertTrue(allowed.allowed, allowed.message)
        self.gate.Record(org=org, decision_id=allowed.decision_id, request_id=fresh())
        eventually(lambda: tracks(self.standin, org), "the report")

    def test_the_next_call_to_the_provider_has_the_new_key(self):
        node = self.started()
        self.executed("before")
        self.assertEqual({*keys(self.standin, CHECK), *keys(self.standin, TRACK)}, {f"Bearer {OLD}"})
        self.written(self.key_file, NEW)
        done = self.reload(node)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        (row,) = [line for line in done.stdout.splitlines() if "secret_key_file" in line]
        self.assertEqual(row.split(), ["billing.autumn.secret_key_file", "(secret)", "(secret)", "in", "force"])
        asked, reported = len(self.standin.ledger(CHECK)), len(self.standin.ledger(TRACK))
        self.executed("after")
        new = keys(self.standin, CHECK)[asked:] + keys(self.standin, TRACK)[reported:]
        self.assertGreaterEqual(len(new), 2)
        self.assertEqual(set(new), {f"Bearer {NEW}"})
        for shown in [done.stdout, *node.log]:
            self.assertNotIn(NEW, shown)
            self.assertNotIn(OLD, shown)
        self.assertIn("nothing", self.reload(node).stdout, "the same again is no change")

    def test_a_file_that_holds_no_key_changes_nothing(self):
        node = self.started()
        for bad in ["", "am_pk_live_x", "two words"]:
            with self.subTest(bad):
                self.written(self.key_file, bad)
                refused = self.reload(node)
                self.assertEqual(refused.returncode, 1)
                self.assertIn("billing.autumn.secret_key_file", refused.stderr)
        self.executed("acme")
        self.assertEqual({*keys(self.standin, CHECK), *keys(self.standin, TRACK)}, {f"Bearer {OLD}"})
        node.kill()
        self.written(self.key_file, NEW)
        self.gate = self.plane(node.start()).gate
        self.executed("restarted")
        self.assertEqual(keys(self.standin, CHECK)[-1], f"Bearer {NEW}")

    def test_messages_are_known_by_the_secret_of_the_last_reload(self):
        node = self.started(clock=self.clock(at=SIGNED_AT), webhook_secret=WEBHOOK_SECRET)
        self.assertEqual(post(node, BODY, HEADERS), 200)
        self.written(node.environment["TOLLGATE__BILLING__AUTUMN__WEBHOOK_SECRET_FILE"], OTHER_SECRET)
        self.assertEqual(self.reload(node).returncode, 0)
        again = message("acme")
        self.assertEqual(post(node, again, signed(again, SIGNED_AT)), 401, "signed with the secret of before")
        # With the one before in the second line either is good.
        self.written(node.environment["TOLLGATE__BILLING__AUTUMN__WEBHOOK_SECRET_FILE"], f"{OTHER_SECRET}\n{WEBHOOK_SECRET}")
        self.assertEqual(self.reload(node).returncode, 0)
        self.assertEqual(post(node, again, signed(again, SIGNED_AT)), 200)

    def test_an_address_for_messages_is_there_with_its_secret_and_gone_without(self):
        node = self.started(clock=self.clock(at=SIGNED_AT))
        path = os.path.join(os.path.dirname(self.key_file), "webhook-2")
        self.written(path, WEBHOOK_SECRET)
        self.assertEqual(post(node, BODY, HEADERS), 404)
        node.write_config(f"[billing.autumn]\nwebhook_secret_file = {json.dumps(path)}\n")
        added = json.loads(self.reload(node, "-o", "json").stdout)
        (change,) = added["changes"]
        self.assertEqual((change["key"], change["secret"], change["needsRestart"]),
                         ("billing.autumn.webhook_secret_file", True, False))
        self.assertNotIn("from", change)
        self.assertEqual(post(node, BODY, HEADERS), 200)
        node.write_config("[billing.autumn]\n")
        self.assertEqual(self.reload(node).returncode, 0)
        self.assertEqual(post(node, BODY, HEADERS), 404)


if __name__ == "__main__":
    unittest.main()
