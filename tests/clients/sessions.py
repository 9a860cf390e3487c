"""What the tests of sessions have in common: their rpcs with what every call says alike, and nodes in the middle of a month."""

import datetime

from billing import LONG_CONNECTIONS, UPGRADE
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name

WHO = "vm 1"
USED_UP = "Monthly quota exceeded — upgrade to continue."
DAY = 24 * 3600
# In the middle of a month, so that no quota begins anew during a test.
MID_MONTH = datetime.datetime(2025, 10, 10, 12, 10, tzinfo=datetime.timezone.utc).timestamp()
NEXT_MONTH = datetime.datetime(2025, 11, 1, tzinfo=datetime.timezone.utc).timestamp()

TEN_MINUTES = f"""
[billing]
upgrade_url = "{UPGRADE}"
[rate]
amount = 100000
[defaults]
plan = "ten"
[plans.ten]
compute = {{ calendar_month = "10m" }}
max_sessions = "unlimited"
"""


def action(beat):
    return code_name(beat, "action").removeprefix("SESSION_ACTION_")


def state(session):
    """Of a session, or of a heartbeat's answer."""
    return code_name(session, "state").removeprefix("SESSION_STATE_")


class Client:
    """The rpcs of one plane with what every call of a test says alike."""

    def __init__(self, plane):
        self.plane, self.sessions = plane, plane.session

    def start(self, org, session="s", **fields):
        fields = {"identity": WHO, "request_id": fresh(), **fields}
        return self.sessions.StartSession(org=org, session_id=session, **fields)

    def beat(self, org, seconds, session="s", **fields):
        fields = {"identity": WHO, "incarnation": "b1", **fields}
        return self.sessions.Heartbeat(org=org, session_id=session, total_seconds=seconds, **fields)

    def end(self, org, session="s", **fields):
        fields = {"identity": WHO, "request_id": fresh(), **fields}
        return self.sessions.EndSession(org=org, session_id=session, **fields).session

    def get(self, org, session="s"):
        return self.sessions.GetSession(org=org, session_id=session).session

    def status(self, org, scope=""):
        (result,) = self.sessions.BatchStatus(items=[{"org": org, "scope": scope}]).results
        return result.status

    def use(self, org, seconds, scope=""):
        """Compute of the org that no session has used."""
        usage = [{"meter": "compute", "amount": round(seconds * 1000)}]
        self.plane.gate.Record(org=org, scope=scope, usage=usage, request_id=fresh())

    def used(self, org):
        return self.status(org).used_ms


class SharedSessionCase(SharedNodeCase):
    """Time is moved, but never out of the month."""

    CONFIG = TEN_MINUTES
    CLOCK = {"at": MID_MONTH}
    ENVIRONMENT = LONG_CONNECTIONS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.calls = Client(cls.client)

    def step(self, seconds):
        self.shared.clock.step(seconds)

    def assertDenied(self, answer, code, hint):
        self.assertEqual((answer.allowed, code_name(answer), answer.http_status_hint), (False, code, hint), answer.message)
        self.assertEqual((answer.first_slice_ms, answer.expires_at_ms), (0, 0), "nothing was granted")


class SessionNodeCase(NodeCase):
    """Tests that bring their own nodes, and restart them or move time far."""

    def started(self, config=TEN_MINUTES, at=MID_MONTH, environment=None):
        node = self.node(config=config, clock=self.clock(at=at), environment={**LONG_CONNECTIONS, **(environment or {})})
        return node, Client(self.plane(node))

    def restarted(self, node):
        return Client(self.plane(node.start()))

    def reloaded(self, node, calls, config):
        generation = calls.plane.admin.GetNode().config_generation + 1
        node.write_config(config)
        node.reload()
        eventually(lambda: calls.plane.admin.GetNode().config_generation == generation, "the reload")
