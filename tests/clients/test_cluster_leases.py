"""Sessions, holds and budgets of orgs whose owner changes: what is alive stays alive, whoever owns it, for however long
nobody did, and whatever the clocks of the nodes say."""

import random
import threading
import time
import unittest

import grpc

import history
from cluster import WRITE_BEHIND_MAX, size
from cluster_case import PLENTY, ClusterCase, orgs, seldom
from crowd import RETRIED, fresh
from history import ALLOWED, DENIED
from node import eventually
from plane import code_name
from sessions import WHO, action, state

ROUNDS = size("ROUNDS", 1)
PLANES = size("PLANES", 16)
# For so many seconds nobody owns a shard; a lease is shorter than that.
AWAY = size("AWAY", 12)
# Between two readings of what is left of a lease there is more than the lease: calls, and what a node that was killed
# had not said of its clock.
SLACK = 1.5
SKEW = 30.0


def sessions(heartbeat):
    """Sessions that expire four times as long after their last heartbeat."""
    return f"""
[sessions]
heartbeat = "{round(heartbeat * 1000)}ms"
grace = "{round(heartbeat * 1000)}ms"
first_slice = "1h"
clamp = "1h"
[defaults]
plan = "many"
[plans.many]
compute = {{ calendar_month = "unlimited" }}
max_sessions = "unlimited"
"""


class Held:
    """An org with a session and a hold."""

    def __init__(self, cluster, org, seconds):
        """`seconds`: how long the hold lasts."""
        self.cluster, self.org, self.seconds, self.ran = cluster, org, seconds, 0

    def ask(self, service, rpc, **fields):
        """Of any node, and again where no decision was made."""
        fields = {"org": self.org, "request_id": fresh("r"), **fields}
        if rpc.startswith(("Get", "List")):
            del fields["request_id"]
        until = time.monotonic() + 60.0
        while True:
            plane = self.cluster.client(random.choice(self.cluster.running()))
            try:
                # Of a node that has just been killed no answer comes: another one is asked.
                return getattr(getattr(plane, service), rpc)(timeout=2.0, **fields)
            except grpc.RpcError as error:
                if error.code() not in RETRIED or time.monotonic() >= until:
                    raise
                time.sleep(0.05)

    def begin(self):
        started = self.ask("session", "StartSession", session_id="s", identity=WHO)
        assert started.allowed, started
        self.beat(0)
        held = self.ask("gate", "Acquire", reserve=[{"meter": "spend", "amount": 7}],
                        reservation_ttl_ms=round(self.seconds * 1000))
        self.reservation = held.reservation_id
        return self

    def beat(self, seconds=1):
        """The session has run for so many seconds more."""
        self.ran += seconds
        return self.ask("session", "Heartbeat", session_id="s", identity=WHO, incarnation="b1", total_seconds=self.ran)

    def session(self):
        return self.ask("session", "GetSession", session_id="s").session

    def hold(self):
        held = self.ask("gate", "ListReservations").reservations
        return next((each for each in held if each.reservation_id == self.reservation), None)

    def extend(self):
        return self.ask("gate", "Extend", reservation_id=self.reservation, ttl_ms=round(self.seconds * 1000))

    def left(self):
        """Seconds that session and hold still last; -1 of one that has ended."""
        session, hold = self.session(), self.hold()
        is_open = hold is not None and code_name(hold, "state").endswith("OPEN")
        return (session.remaining_ms / 1000 if state(session) == "RUNNING" else -1.0,
                hold.remaining_ms / 1000 if is_open else -1.0)


class LeaseCase(ClusterCase):
    def begun(self, cluster, seconds, count=8):
        return [Held(cluster, org, seconds).begin() for org in orgs(count)]

    def assertAlive(self, held, before, seen, away=0.0, slack=SLACK):
        """Nothing has lost more than the time for which its shard had an owner: since `seen`, less the time `away`."""
        for each, (session, hold) in zip(held, before):
            now = each.left()
            passed = time.monotonic() - seen - away
            self.assertGreater(min(now), 0, f"{each.org} has lost what was alive: {now} s are left of {(session, hold)}")
            self.assertGreater(now[0], session - passed - slack, f"the session of {each.org}")
            self.assertGreater(now[1], hold - passed - slack, f"the hold of {each.org}")

    def assertSettles(self, held):
        """Sessions go on with all that they have run, and holds are settled."""
        for each in held:
            beat = each.beat(5)
            self.assertEqual((action(beat), state(beat)), ("CONTINUE", "RUNNING"))
            self.assertEqual((beat.booked_ms, beat.disputed_ms), (5000, 0), each.org)
            each.ask("gate", "Commit", reservation_id=each.reservation, actual=[{"meter": "spend", "amount": 5}])
            self.assertEqual(each.cluster.ledger([each.org])[each.org, "", "spend"], 5)


class Ownerless(LeaseCase):
    """R-LEASE-1: nobody owns a shard for longer than a lease"""

    LEASE = 0.75 * AWAY

    def outlived(self, cluster, away, back):
        held = self.begun(cluster, self.LEASE)
        seen, before = time.monotonic(), [each.left() for each in held]
        away()
        gone = time.monotonic()
        eventually(lambda: time.monotonic() > gone + AWAY, "nobody owns anything", within=AWAY + 10)
        ended = time.monotonic()
        back()
        cluster.wait_until_owned()
        self.assertAlive(held, before, seen, ended - gone)
        self.say(f"{AWAY} s without an owner, leases of {self.LEASE:.0f} s")
        self.assertSettles(held[1:])
        # The clocks go on: what nobody renews ends.
        eventually(lambda: max(held[0].left()) < 0, "a lease ends with its time", within=self.LEASE + 20)

    def leases(self, **options):
        return self.cluster(config=sessions(self.LEASE / 4), **options)

    def test_all_nodes_are_killed(self):
        cluster = self.leases()
        self.outlived(cluster, lambda: [cluster.kill(name) for name in list(cluster.nodes)],
                      lambda: cluster.start(*cluster.nodes, wait=False))

    @seldom
    def test_all_nodes_are_killed_and_others_take_their_place(self):
        cluster = self.leases(nodes=2, spare=2)
        self.outlived(cluster, lambda: [cluster.kill(name) for name in ("n1", "n2")],
                      lambda: cluster.start("n3", "n4", wait=False))

    @seldom
    def test_all_nodes_are_terminated(self):
        cluster = self.leases()
        self.outlived(cluster, lambda: [cluster.terminate(name) for name in list(cluster.nodes)],
                      lambda: cluster.start(*cluster.nodes, wait=False))

    @seldom
    def test_the_database_is_away(self):
        cluster = self.leases()
        primary = cluster.cells[0].primary
        self.outlived(cluster, primary.stop, primary.start)
        self.assertEqual(cluster.running(), list(cluster.nodes), "no node has ended")


class Moving(LeaseCase):
    """R-LEASE-1, R-SES-3: shards change owners under sessions that send heartbeats"""

    LEASE = 6.0

    def test_sessions_and_holds_outlive_restarts_and_kills(self):
        cluster = self.cluster(config=sessions(self.LEASE / 4))
        held = self.begun(cluster, self.LEASE, count=size("SESSIONS", 12))
        over, wrong, beats = threading.Event(), [], [0] * len(held)

        def live(number):
            each = held[number]
            try:
                while not over.is_set():
                    beat = each.beat()
                    if (action(beat), state(beat), beat.disputed_ms) != ("CONTINUE", "RUNNING", 0):
                        wrong.append(f"{each.org}: {beat}")
                    each.extend()
                    beats[number] += 1
                    over.wait(0.3)
            except BaseException as error:  # Shown below.
                wrong.append(f"{each.org}: {error}")

        threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in range(len(held))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(ROUNDS):
                for name in cluster.nodes:
                    cluster.restart(name)
                    cluster.wait_until_owned()
                for name in cluster.nodes:
                    cluster.kill(name)
                    cluster.wait_until_owned()
                    cluster.start(name)
        finally:
            over.set()
            for thread in threads:
                thread.join(90.0)
        self.say(f"{sum(beats)} heartbeats of {len(held)} sessions, leases of {self.LEASE:.0f} s")
        self.assertWell(wrong, "a session goes on")
        self.assertTrue(all(beats))
        for each in held:
            self.assertEqual(each.session().booked_ms, each.ran * 1000, "every second is recorded once")
        self.assertSettles(held)


class Skewed(LeaseCase):
    """I1, I5, R-LEASE-1, R-CLOCK-1: the clocks of the nodes are half a minute apart"""

    # Longer than what happens between two heartbeats, shorter than what the clocks differ by.
    LEASE = 20.0
    CLOCKS = {"n1": SKEW, "n2": -SKEW}
    LIMIT = 40
    WINDOW = 10

    def skewed(self, config=None):
        cluster = self.cluster(config=config or sessions(self.LEASE / 4), clocks=self.CLOCKS)
        times = {name: cluster.admin(name).GetNode().now_ms for name in cluster.nodes}
        self.assertAlmostEqual(times["n1"] - times["n2"], 2 * SKEW * 1000, delta=5000, msg=f"{times}")
        return cluster

    def moves(self, cluster, planned=True, killed=True):
        """Every node hands its shards over, and loses them, so that they go from each clock to each other one."""
        ends = [(end, what) for end, what, wanted in ((cluster.terminate, "terminated", planned), (cluster.kill, "killed", killed))
                if wanted]
        for _ in range(ROUNDS):
            for name in ("n1", "n2", "n3"):
                for end, what in ends:
                    end(name)
                    cluster.wait_until_owned()
                    yield f"{name} is {what}"
                    cluster.start(name)
                    yield f"{name} is back"

    def test_no_lease_ends_early(self):
        cluster = self.skewed()
        held = self.begun(cluster, self.LEASE)
        seen, before = time.monotonic(), [each.left() for each in held]
        for what in self.moves(cluster):
            with self.subTest(what):
                self.assertAlive(held, before, seen)
            for each in held:
                self.assertEqual(state(each.beat()), "RUNNING")
                each.extend()
            seen, before = time.monotonic(), [each.left() for each in held]
        self.assertSettles(held)

    @seldom
    def test_budgets_never_go_back(self):
        cluster = self.skewed()
        held = [Held(cluster, org, self.LEASE) for org in orgs(8)]
        spent, version = dict.fromkeys(held, 0), 0
        for what in self.moves(cluster):
            version += 1
            for each in held:
                set_now = each.ask("budget", "UpdateBudget", periods={"daily": {"limit": PLENTY + version}}).budget
                self.assertEqual(set_now.version, version, f"{what}: one more with every change")
                each.ask("gate", "Record", usage=[{"meter": "spend", "amount": 10}])
                spent[each] += 10
                for name in cluster.running():
                    budget = cluster.client(name).budget.GetBudget(org=each.org).budget
                    self.assertEqual(budget.version, version, f"{what}: as {name} says")
                    self.assertEqual({period.spend for period in budget.periods.values()}, {spent[each]}, f"{what}: as {name} says")
                    self.assertEqual(budget.periods["daily"].remaining, PLENTY + version - spent[each])

    def windows(self, spare, **moves):
        """Of the rate backstop: they are short, so that they begin and end while the owner changes."""
        few = orgs(6, "few")
        rate = "".join(f'[orgs."{org}"]\nrate = {{ amount = {self.LIMIT}, window = {{ aligned = "{self.WINDOW}s" }} }}\n'
                       for org in few)
        cluster = self.skewed(rate)
        before = cluster.epochs()
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()], count=PLANES)

        def step(caller, number):
            caller.acquire(random.choice(few))
            time.sleep(0.01)

        crowd.run(step)
        begun, moved = time.monotonic(), []
        while time.monotonic() - begun < self.WINDOW:
            moved += self.moves(cluster, **moves)
        crowd.end()
        calls, limits, changes = crowd.history.calls, dict.fromkeys(few, self.LIMIT), cluster.changes(before)
        self.assertWell(history.over_admitted(calls, limits, {org: spare * count for org, count in changes.items()}),
                        f"no window admits more than its limit and {spare} for each takeover")
        self.assertWell(history.owner_changes(calls, changes), "one node at a time decides for an org")
        self.assertWell(history.unanswered(calls), "every request is answered in the end")
        windows = {(call.org, call.window) for call in calls if call.outcome == ALLOWED and not call.flagged}
        self.assertGreater(len(windows), len(few), "windows have ended")
        self.assertIn(DENIED, {call.outcome for call in calls}, "windows are used up")
        self.say(f"{len(calls)} calls in {len(windows)} windows over {len(moved)} moves, "
                 f"{history.most_over(calls, limits)} over a limit at most")

    def test_windows_admit_their_limit_where_shards_are_handed_over(self):
        self.windows(0, killed=False)

    @seldom
    def test_windows_admit_no_more_than_what_takeovers_may_forget(self):
        self.windows(WRITE_BEHIND_MAX, planned=False)


if __name__ == "__main__":
    unittest.main()
