"""What the tests of pools have in common: their rpcs with what every call says alike, and what is looked for in the log."""

from billing import LONG_CONNECTIONS
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name
from sessions import DAY, MID_MONTH

DAY_MS = DAY * 1000
MANY_CALLS = '[rate]\namount = 1000000\n'
# Of the longest window that a test waits for.
MINUTE = "anchored/1m"
QUOTA_TEXTS = [
    "quota", "daily limit", "rate limit", "too many times", "service invoked", "bandwidth", "bandbreitenkontingent",
    "datenübertragungsrate", "transfer rate", "limit exceeded",
]
ACCOUNT_EXHAUSTED = "an upstream account is exhausted"
ACCOUNT_USABLE = "an upstream account is usable again"
POOL_EXHAUSTED = "all upstream accounts of a pool are exhausted"
POOL_USABLE = "a pool has a usable account again"
POOL_UP = "a pool is up"


def masked(account):
    return "***" if len(account) <= 8 else f"{account[:4]}…{account[-4:]}"


def names(count):
    """Accounts that are told apart when they are masked."""
    return [f"acct-secret-{number:04}" for number in range(count)]


def account(name, daily_limit, safety_buffer=0, **fields):
    return {"account": name, "daily_limit": daily_limit, "safety_buffer": safety_buffer, **fields}


def state(status):
    return code_name(status, "state").removeprefix("ACCOUNT_STATE_")


def route(status):
    return code_name(status, "route").removeprefix("ROUTE_HEALTH_")


def outcome(answer):
    return code_name(answer, "outcome").removeprefix("UPSTREAM_OUTCOME_")


def told(node, message, **wanted):
    """The lines of the log that say so, as dictionaries."""
    lines = [node.fields(line) for line in node.logged(message)]
    return [line for line in lines if line.get("message") == message and wanted.items() <= line.items()]


class Client:
    """The rpcs of one plane with what every call of a test says alike."""

    def __init__(self, plane):
        self.plane, self.pools = plane, plane.pool

    def configure(self, org, *accounts, pool="p", **fields):
        return self.pools.ConfigurePool(org=org, pool=pool, accounts=accounts, **{"request_id": fresh(), **fields})

    def pick(self, org, pool="p", **fields):
        return self.pools.Pick(org=org, pool=pool, **fields)

    def picked(self, org, count, pool="p"):
        """The accounts of so many picks; empty where one was refused."""
        return [self.pick(org, pool).account for _ in range(count)]

    def report(self, org, name, status=200, error_text="", pool="p", **fields):
        return self.pools.ReportOutcome(org=org, pool=pool, account=name, status=status, error_text=error_text, **fields)

    def clear(self, org, name, pool="p", **fields):
        return self.pools.ClearAccount(org=org, pool=pool, account=name, **{"request_id": fresh(), **fields})

    def get(self, org, pool="p"):
        return self.pools.GetPool(org=org, pool=pool).pool

    def summary(self, org, pool="p"):
        return self.get(org, pool).summary

    def account(self, org, name, pool="p"):
        (found,) = [each for each in self.get(org, pool).accounts if each.account == masked(name)]
        return found

    def used(self, org, pool="p"):
        """Calls of every account, by its masked name."""
        return {each.account: each.used for each in self.get(org, pool).accounts}


class Exhaustion:
    """What every refused pick of an exhausted pool says."""

    def assertExhausted(self, answer):
        said = (answer.allowed, code_name(answer), answer.http_status_hint, answer.account, answer.remaining)
        self.assertEqual(said, (False, "ACCOUNTS_EXHAUSTED", 503, "", 0), answer)


class SharedPoolCase(Exhaustion, SharedNodeCase):
    """Time is moved, and begins in the middle of a month and of a day."""

    CONFIG = MANY_CALLS
    CLOCK = {"at": MID_MONTH}
    ENVIRONMENT = LONG_CONNECTIONS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.calls = Client(cls.client)

    def step(self, seconds):
        self.shared.clock.step(seconds)


class PoolNodeCase(Exhaustion, NodeCase):
    """Tests that bring their own nodes."""

    def started(self, config="", at=MID_MONTH, environment=None):
        clock = self.clock(at=at)
        node = self.node(config=MANY_CALLS + config, clock=clock, environment={**LONG_CONNECTIONS, **(environment or {})})
        return node, Client(self.plane(node))

    def restarted(self, node, config=None):
        if config is not None:
            node.write_config(MANY_CALLS + config)
        return Client(self.plane(node.start()))

    def reloaded(self, node, calls, config):
        generation = calls.plane.admin.GetNode().config_generation + 1
        node.write_config(MANY_CALLS + config)
        node.reload()
        eventually(lambda: calls.plane.admin.GetNode().config_generation == generation, "the reload")
