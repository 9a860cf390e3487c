"""Pools outlive the node: what was given out is charged, what was learnt is known, before the first pick."""

import datetime
import random
import threading
import unittest
from collections import Counter

import grpc

from case import at_rest
from node import eventually
from pools import POOL_UP, Client, PoolNodeCase, account, masked, names, outcome, route, state, told


class Restarted(PoolNodeCase):
    def up(self, node, starts=1):
        """The line that introduces the only pool, of the last of so many starts with one."""
        return eventually(lambda: told(node, POOL_UP)[starts - 1:], "a line about the pool")[-1]

    def assertBefore(self, line, at_ms):
        logged = datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()
        self.assertLessEqual(logged, at_ms / 1000 + 0.001, "it is told before the first pick")

    def test_an_account_whose_buffer_was_raised_above_what_is_left_is_never_picked(self):
        """R-POOL-5"""
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started("[pools]\nsafety_buffer = 0\n")
                follows, own = names(2)
                calls.configure("acme", {"account": follows, "daily_limit": 10})
                self.assertEqual(calls.picked("acme", 4), [follows] * 4)
                calls.configure("acme", {"account": follows, "daily_limit": 10}, account(own, 30))
                getattr(node, end)()
                calls = self.restarted(node, "[pools]\nsafety_buffer = 7\n")
                line = self.up(node)
                self.assertEqual((line["org"], line["pool"], line["active"]), ("acme", "p", "1/2"))
                self.assertIn(masked(follows), line["stopped"])
                self.assertIn("4 of 10 less 7", line["stopped"])
                self.assertNotIn(masked(own), line["stopped"])
                self.assertEqual(calls.picked("acme", 31), [own] * 30 + [""])
                status = calls.account("acme", follows)
                self.assertEqual((status.used, status.remaining, state(status)), (4, -1, "LIMIT_REACHED"))
                self.assertBefore(line, calls.account("acme", own).last_used_at_ms)
                node.close()

    def test_what_is_exhausted_is_stopped_before_the_first_pick(self):
        """R-POOL-5"""
        node, calls = self.started()
        one, two = names(2)
        calls.configure("acme", account(one, 2), account(two, 1))
        calls.picked("acme", 2)
        calls.report("acme", two, 429, "quota")
        calls.picked("acme", 1)
        self.assertExhausted(calls.pick("acme"))
        node.kill()
        calls = self.restarted(node)
        line = self.up(node)
        self.assertEqual((line["active"], line["used"], line["remaining"]), ("0/2", 3, 0))
        for said in [f"{masked(one)}: 2 of 2 less 0 used, exhausted by limit", f"{masked(two)}: 1 of 1 less 0 used, exhausted by upstream"]:
            self.assertIn(said, line["stopped"])
        self.assertExhausted(calls.pick("acme"))

    def test_windows_that_ended_meanwhile_roll_before_the_first_pick(self):
        """R-POOL-5: in real time, since a restart asks the uptime of the machine, which no test can move"""
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started()
                one, two = names(2)
                calls.configure("acme", account(one, 2, window="anchored/2s"), account(two, 1, window="anchored/2s"))
                calls.picked("acme", 3)
                calls.report("acme", two, 429, "quota")
                ends = max(each.window_ends_at_ms for each in calls.get("acme").accounts)
                getattr(node, end)()
                eventually(lambda: node.clock.now_ms() > ends + 100, "the windows have ended")  # noqa: B023
                calls = self.restarted(node)
                line = self.up(node)
                self.assertEqual((line["active"], line["stopped"], line["used"], line["remaining"]), ("2/2", "", 0, 3))
                self.assertEqual(calls.summary("acme").quota_errors, 0)
                picked = calls.pick("acme")
                self.assertTrue(picked.allowed)
                self.assertBefore(line, calls.account("acme", picked.account).last_used_at_ms)
                node.close()

    def pool(self, calls):
        """Without the time at which a route is used again: it moves by the absence of the node."""
        pool = calls.get("acme")
        for each in pool.accounts:
            each.route_until_ms = 0
        return at_rest(pool)

    def test_what_was_learnt_is_known_after_sigterm_and_after_sigkill(self):
        """R-POOL-4, durability contract"""
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started()
                said, refused, failed = names(3)
                calls.configure("acme", *(account(name, 10) for name in [said, refused, failed]))
                calls.picked("acme", 3)
                calls.report("acme", said, 200, "over quota", request_id="said", bytes_up=5)
                calls.report("acme", refused, 403, request_id="refused", bytes_down=6)
                calls.report("acme", failed, 500)
                before = self.pool(calls)
                getattr(node, end)()
                calls = self.restarted(node)
                self.assertEqual(self.pool(calls), before)
                self.assertEqual([(state(each), route(each)) for each in before.accounts],
                                 [("QUOTA_EXHAUSTED", "OK"), ("ACTIVE", "QUARANTINE"), ("ACTIVE", "COOLDOWN")])
                again = calls.report("acme", said, 200, "over quota", request_id="said", bytes_up=5)
                self.assertEqual((again.replayed, again.known, outcome(again)), (True, True, "QUOTA_EXHAUSTED"))
                self.assertEqual(self.pool(calls), before)
                picked = calls.pick("acme")
                self.assertEqual((picked.account, picked.last_resort), (failed, True))
                node.close()

    def test_a_pool_is_gone_and_an_org_is_purged_for_good(self):
        node, calls = self.started()
        one, _ = names(2)
        for org in ["emptied", "purged"]:
            calls.configure(org, account(one, 1))
            calls.pick(org)
        calls.configure("emptied")
        calls.plane.admin.PurgeOrg(org="purged", request_id="p")
        node.kill()
        calls = self.restarted(node)
        self.assertEqual(told(node, POOL_UP), [])
        self.assertEqual(calls.configure("purged", account(one, 1)).pool.version, 1)
        self.assertEqual(calls.picked("purged", 2), [one, ""], "forgotten with what was counted")
        calls.configure("emptied", account(one, 1))
        self.assertEqual(calls.picked("emptied", 1), [""], "an account that had left keeps what was counted")


class Killed(PoolNodeCase):
    THREADS = 6
    ROUNDS = 3

    def test_every_acknowledged_pick_is_charged_once_whenever_the_node_dies(self):
        """R-POOL-2, durability contract: on disk before the reply"""
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        node, calls = self.started()
        accounts = names(5)
        calls.configure("acme", *(account(name, 100_000 * size) for size, name in enumerate(accounts, 1)))
        # By request id: what was asked, and what was answered.
        asked, given, told_of = {f"first/{number}" for number in range(5)}, {}, Counter()
        self.replay(calls, asked, given, seed)
        self.assertEqual(len(set(given.values())), 5, "the window of every account runs")
        for round_number in range(self.ROUNDS):
            enough = len(given) + chance.randrange(60, 200)
            threads = []
            for number in range(self.THREADS):
                args = (self.plane(node), f"{round_number}/{number}", chance.randrange(2**32), accounts, asked, given, told_of)
                threads.append(threading.Thread(target=self.caller, args=args))
            for thread in threads:
                thread.start()
            eventually(lambda: len(given) >= enough, f"{enough} picks, seed {seed}", within=30)
            node.kill()
            for thread in threads:
                thread.join(30)
            calls = self.restarted(node)
            used = calls.used("acme")
            acknowledged = Counter(given.values())
            for name in accounts:
                self.assertGreaterEqual(used[masked(name)], acknowledged[name], f"seed {seed}")
                self.assertGreaterEqual(calls.account("acme", name).failed, told_of[name], f"seed {seed}")
                if told_of[name]:
                    self.assertNotEqual(route(calls.account("acme", name)), "OK", f"seed {seed}")
            self.replay(calls, asked, given, seed)
            acknowledged = Counter(given.values())
            self.assertEqual(calls.used("acme"), {masked(name): acknowledged[name] for name in accounts}, f"seed {seed}")
            self.assertEqual(calls.summary("acme").total_calls, len(asked), f"seed {seed}")
        self.assertEqual(calls.plane.admin.Audit(page_size=100).drifted, 0)

    def caller(self, plane, name, seed, accounts, asked, given, told_of):
        """Picks and reports until the node is gone."""
        calls, chance, number = Client(plane), random.Random(seed), 0
        try:
            while True:
                number += 1
                request = f"{name}/{number}"
                asked.add(request)
                given[request] = calls.pick("acme", request_id=request).account
                if chance.random() < 0.3:
                    of = chance.choice(accounts[:3])
                    calls.report("acme", of, chance.choice([403, 500]), request_id=f"{request}/report")
                    with self.counting:
                        told_of[of] += 1
        except grpc.RpcError:
            return

    def setUp(self):
        self.counting = threading.Lock()

    def replay(self, calls, asked, given, seed):
        """Every pick that was asked, once more: the acknowledged ones are known."""
        for request in sorted(asked):
            answer = calls.pick("acme", request_id=request)
            self.assertTrue(answer.allowed, f"seed {seed}")
            if request in given:
                self.assertEqual((answer.replayed, answer.account), (True, given[request]), f"{request}, seed {seed}")
            given[request] = answer.account


if __name__ == "__main__":
    unittest.main()
