"""Nodes that ask the stand-in for the billing provider."""

import os
import shutil
import tempfile

from autumn import Standin
from case import NodeCase, SharedNodeCase

CHECK, TRACK, CUSTOMER = "/v1/balances.check", "/v1/balances.track", "/v1/customers.get"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UPGRADE = "https://tollgate.test/upgrade"
# The wall clock of such a node may be moved by a minute or an hour under open connections.
LONG_CONNECTIONS = {"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "86400000"}


def billed(case, standin, webhook_secret=None, **settings):
    """The environment of a node that asks `standin`. `case` cleans up: a test, or a class of tests."""
    cleanup = case.addClassCleanup if isinstance(case, type) else case.addCleanup
    folder = tempfile.mkdtemp(prefix="tollgate-secrets-")
    cleanup(shutil.rmtree, folder, ignore_errors=True)

    def secret(name, text):
        path = os.path.join(folder, name)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
        return path

    chosen = {
        "PROVIDER": "autumn",
        "UPGRADE_URL": UPGRADE,
        "AUTUMN__BASE_URL": standin.base_url,
        "AUTUMN__SECRET_KEY_FILE": secret("key", "am_sk_test_clients"),
        **settings,
    }
    if webhook_secret:
        chosen["AUTUMN__WEBHOOK_SECRET_FILE"] = secret("webhook", webhook_secret)
    return LONG_CONNECTIONS | {f"TOLLGATE__BILLING__{key}": value for key, value in chosen.items()}


class BilledCase(NodeCase):
    """Tests that bring their own nodes; each has a stand-in of its own."""

    def setUp(self):
        self.standin = Standin()
        self.addCleanup(self.standin.close)

    def billed(self, clock=None, config="", webhook_secret=None, **settings):
        environment = billed(self, self.standin, webhook_secret, **settings)
        return self.node(clock=clock, config=config, environment=environment)

    def checks(self, org):
        return checks(self.standin, org)


class SharedBilledCase(SharedNodeCase):
    """Tests that share one node and one stand-in, and stay apart by the names of their orgs."""

    SETTINGS = {}

    @classmethod
    def setUpClass(cls):
        cls.standin = Standin()
        cls.addClassCleanup(cls.standin.close)
        cls.ENVIRONMENT = billed(cls, cls.standin, **cls.SETTINGS)
        super().setUpClass()

    def checks(self, org):
        return checks(self.standin, org)

    def tracks(self, org):
        return tracks(self.standin, org)


def checks(standin, org):
    """Every question about the org's balance, in order."""
    return [entry for entry in standin.ledger(CHECK) if entry["body"]["customer_id"] == org]


def tracks(standin, org):
    """Every report of the org's usage, in order."""
    return [entry for entry in standin.ledger(TRACK) if entry["body"]["customer_id"] == org]


def fault_for(path, fault):
    return {"fault": fault, "path": path}
