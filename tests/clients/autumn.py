"""The stand-in for Autumn, as a process of its own. tests/standin/mod.rs says what it can be told."""

import json
import subprocess
import unittest
import urllib.request

from node import TARGET

STANDIN = TARGET / "debug" / "examples" / "autumn-standin"
WITHIN = 10.0


class Standin:
    """Runs until it is closed, or until the test that started it is gone."""

    def __init__(self):
        if not STANDIN.exists():
            raise unittest.SkipTest(f"{STANDIN} is missing: cargo build --locked --example autumn-standin")
        self._process = subprocess.Popen([str(STANDIN)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.base_url = self._process.stdout.readline().strip()

    def _control(self, what, *body):
        data = json.dumps(body[0]).encode() if body else None
        with urllib.request.urlopen(f"{self.base_url}/control/{what}", data, timeout=WITHIN) as answer:
            return json.load(answer)

    def customers(self, **customers):
        """`org_1={"features": {"executions": {"granted": 10}}}`; `None` removes one."""
        self._control("customers", customers)

    def grant(self, customer, **feature):
        """What a customer has of the feature `executions`."""
        self.customers(**{customer: {"features": {"executions": feature}}})

    def usage(self, customer, feature="executions"):
        return self._control("customers")[customer]["features"][feature]["usage"]

    def faults(self, *faults):
        """One per request, in this order."""
        self._control("faults", list(faults))

    def failing(self, **customers):
        """`org_1={"fault": {"status": 500}, "path": CHECK}`: with every request about it; `None` ends that."""
        self._control("failing", customers)

    def clock(self, ahead_ms=0, date_ahead_ms=0):
        """How far its clock, and the `Date` of its answers, are ahead; `None` sends no `Date`."""
        self._control("clock", {"ahead_ms": ahead_ms, "date_ahead_ms": date_ahead_ms})

    def caching(self, on):
        self._control("cache", on)

    def ledger(self, path=None):
        return [entry for entry in self._control("ledger") if path in (None, entry["path"])]

    def close(self):
        """May be called again."""
        self._process.stdin.close()
        self._process.wait(WITHIN)
        self._process.stdout.close()
