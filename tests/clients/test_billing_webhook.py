"""Messages of the billing provider: signed ones make the node ask again, others do nothing."""

import base64
import hashlib
import hmac
import http.client
import json
import unittest

from billing import WEBHOOK_SECRET, BilledCase
from case import fresh
from plane import code_name

# As a library of the senders signs it; computed with node:crypto.
SIGNED_AT = 1_761_840_000
ID = "msg_2b3cQuotaTest0001"
SIGNATURE = "v1,DNf4LDT/xLy3GkZRCrufVa2FW2Zmm9T4ulWmk5P2I6A="
BODY = (
    b'{"type":"billing.updated","data":{"object":"billing.updated","customer_id":"org_1","plan_changes":'
    b'[{"action":"activated","subscription":{"plan_id":"team","status":"active","past_due":false,'
    b'"started_at":1761840000000,"canceled_at":null,"expires_at":null,"trial_ends_at":null,'
    b'"current_period_start":1761840000000,"current_period_end":1764432000000},"previous_attributes":null,'
    b'"item_changes":[]}],"tags":[]}}'
)
HEADERS = {"svix-id": ID, "svix-timestamp": str(SIGNED_AT), "svix-signature": SIGNATURE}
WITHIN = 10.0


def signed(body, at, family="svix", secret=WEBHOOK_SECRET):
    """The headers of a message of our own."""
    name = fresh("msg")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, b".".join([name.encode(), str(at).encode(), body]), hashlib.sha256).digest()
    return {
        f"{family}-id": name,
        f"{family}-timestamp": str(at),
        f"{family}-signature": "v1," + base64.b64encode(mac).decode(),
    }


def message(org, kind="billing.updated", **more):
    return json.dumps({"type": kind, "data": {"customer_id": org, **more}}).encode()


def post(node, body, headers, path="/webhooks/autumn"):
    """The status of the answer."""
    connection = http.client.HTTPConnection(node.http, timeout=WITHIN)
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


class Webhook(BilledCase):
    def started(self, at=SIGNED_AT, webhook_secret=WEBHOOK_SECRET):
        """A node that asks nothing in the background: only a message can change what it remembers."""
        self.moving = self.clock(at=at)
        self.running = self.billed(clock=self.moving, webhook_secret=webhook_secret, DENY_REVALIDATE="60s")
        self.gate = self.plane(self.running).gate

    def exhaust(self, org):
        """The node has asked, and remembers the denial."""
        self.standin.grant(org, granted=10, usage=10)
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BALANCE_EXHAUSTED"), denied.message)

    def pay(self, org):
        self.standin.grant(org, granted=20, usage=10)

    def still_denied(self, org):
        asked = len(self.checks(org))
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        self.assertEqual(len(self.checks(org)), asked, "what was remembered still counts, and nobody was asked")

    def test_a_signed_message_unblocks_the_very_next_call_and_once(self):
        """R-BAL-2: the published message, at its time"""
        self.started()
        self.exhaust("org_1")
        self.pay("org_1")
        self.still_denied("org_1")
        self.assertEqual(post(self.running, BODY, HEADERS), 200)
        paid = self.gate.Acquire(org="org_1")
        self.assertEqual((paid.allowed, code_name(paid), list(paid.fail_open)), (True, "ALLOWED", []), paid.message)
        self.assertEqual(len(self.checks("org_1")), 2)
        # Used up again, and a minute later that is known; the message is still young enough.
        self.moving.step(61)
        self.exhaust("org_1")
        self.pay("org_1")
        self.assertEqual(post(self.running, BODY, HEADERS), 200, "a repeat is taken, so that it ends")
        self.still_denied("org_1")

    def test_what_is_not_signed_is_refused_and_changes_nothing(self):
        self.started()
        self.exhaust("org_1")
        self.pay("org_1")
        flipped = bytearray(BODY)
        flipped[-3] ^= 1
        without = [{name: value for name, value in HEADERS.items() if name != missing} for missing in HEADERS]
        for what, body, headers, status in [
            ("a flipped byte", bytes(flipped), HEADERS, 401),
            ("another id", BODY, {**HEADERS, "svix-id": "msg_other"}, 401),
            ("another time", BODY, {**HEADERS, "svix-timestamp": str(SIGNED_AT + 1)}, 401),
            ("another secret", BODY, signed(BODY, SIGNED_AT, secret="whsec_" + "A" * 32), 401),
            ("no scheme", BODY, {**HEADERS, "svix-signature": SIGNATURE.removeprefix("v1,")}, 401),
            ("an empty signature", BODY, {**HEADERS, "svix-signature": "v1,"}, 401),
            ("no headers", BODY, {}, 400),
            *[("a missing header", BODY, headers, 400) for headers in without],
            ("a time that is none", BODY, {**HEADERS, "svix-timestamp": "now"}, 400),
        ]:
            with self.subTest(what):
                self.assertEqual(post(self.running, body, headers), status)
                self.still_denied("org_1")
        self.assertEqual(post(self.running, BODY, HEADERS), 200, "none of these used the message up")
        self.assertTrue(self.gate.Acquire(org="org_1").allowed)

    def test_a_message_of_another_time_is_refused(self):
        for off in [301, -310]:
            with self.subTest(off):
                self.started(at=SIGNED_AT + off)
                self.exhaust("org_1")
                self.pay("org_1")
                self.assertEqual(post(self.running, BODY, HEADERS), 401)
                self.still_denied("org_1")

    def test_five_minutes_either_way_are_forgiven(self):
        for off in [280, -290]:
            with self.subTest(off):
                self.started(at=SIGNED_AT + off)
                self.exhaust("org_1")
                self.pay("org_1")
                self.assertEqual(post(self.running, BODY, HEADERS), 200)
                self.assertTrue(self.gate.Acquire(org="org_1").allowed)

    def test_an_oversized_message_is_refused_although_it_is_signed(self):
        self.started()
        self.exhaust("org_1")
        self.pay("org_1")
        huge = message("org_1", padding="x" * (300 << 10))
        self.assertEqual(post(self.running, huge, signed(huge, SIGNED_AT)), 413)
        self.still_denied("org_1")
        large = message("org_1", padding="x" * (200 << 10))
        self.assertEqual(post(self.running, large, signed(large, SIGNED_AT)), 200)
        self.assertTrue(self.gate.Acquire(org="org_1").allowed)

    def test_a_message_signed_now_counts_for_its_customer_alone(self):
        self.started()
        now = lambda: self.moving.now_ms() // 1000  # noqa: E731
        for org in ["acme", "other"]:
            self.exhaust(org)
            self.pay(org)
        noise = message("acme", kind="invoice.created")
        self.assertEqual(post(self.running, noise, signed(noise, now())), 200, "nothing that is known here")
        self.still_denied("acme")
        broken = b"not a message"
        self.assertEqual(post(self.running, broken, signed(broken, now())), 400)
        paid = message("acme", kind="billing.auto_topup_succeeded")
        self.assertEqual(post(self.running, paid, signed(paid, now(), family="webhook")), 200)
        self.assertTrue(self.gate.Acquire(org="acme").allowed)
        self.still_denied("other")

    def test_an_allowance_is_forgotten_as_well(self):
        self.started()
        self.pay("acme")
        self.assertTrue(self.gate.Acquire(org="acme").allowed)
        self.standin.grant("acme", granted=20, usage=20)
        self.assertTrue(self.gate.Acquire(org="acme").allowed)
        reached = message("acme", kind="balances.limit_reached", limit_type="included")
        self.assertEqual(post(self.running, reached, signed(reached, SIGNED_AT)), 200)
        self.assertFalse(self.gate.Acquire(org="acme").allowed)

    def test_without_a_secret_there_is_no_such_path(self):
        self.started(webhook_secret=None)
        self.exhaust("org_1")
        self.pay("org_1")
        self.assertEqual(post(self.running, BODY, HEADERS), 404)
        self.still_denied("org_1")


if __name__ == "__main__":
    unittest.main()
