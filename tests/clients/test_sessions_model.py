"""Sessions in any order of calls, time and crashes, against a small model that counts along."""

import os
import random
import unittest
from dataclasses import dataclass

from plane import code_name
from sessions import TEN_MINUTES, Client, SessionNodeCase, action

# scripts/torture tries more. A seed that is given is tried alone.
HISTORIES = int(os.environ.get("TOLLGATE_SESSION_HISTORIES", "1"))
GIVEN_SEED = os.environ.get("TOLLGATE_SEED")

LEASE, CLAMP = 120, 300
ACTS = ["start"] * 4 + ["beat"] * 8 + ["end", "use", "wait", "wait", "crash"]


@dataclass
class Session:
    heard: float
    left: int
    runs: bool = True
    incarnation: str = ""
    total: int = 0
    # Booked for silence at the expiry: the next reports are credited against it, of any incarnation.
    ahead: int = 0
    # For how long the node was away since its last heartbeat: nobody could report.
    away: int = 0
    # It was away for some real moments as well.
    unsure: bool = False


class Model:
    """What must be so, in seconds."""

    def __init__(self, quota, first_slice, most):
        self.quota, self.first_slice, self.most = quota, first_slice, most
        self.sessions, self.now, self.used, self.disputed = {}, 0, 0, 0

    def reserved(self):
        return sum(session.left for session in self.sessions.values())

    def running(self):
        return sum(session.runs for session in self.sessions.values())

    def start(self, name):
        """The code, and the slice."""
        left = self.quota - self.used - self.reserved()
        if self.running() >= self.most:
            return "SESSION_LIMIT_REACHED", 0
        if left <= 0:
            return "QUOTA_EXCEEDED", 0
        self.sessions[name] = Session(self.now, min(left, self.first_slice))
        return "ALLOWED", self.sessions[name].left

    def hear(self, name, incarnation, total, ends):
        """What is booked, and what is disputed."""
        session = self.sessions[name]
        before = session.total if session.incarnation in ("", incarnation) else 0
        session.incarnation, session.total = incarnation, max(before, total)
        grown = session.total - before
        covered = min(grown, session.ahead)
        session.ahead -= covered
        grown -= covered
        booked = min(grown, CLAMP + session.away)
        session.away, session.unsure = 0, False
        self.used, self.disputed = self.used + booked, self.disputed + grown - booked
        if session.runs:
            session.heard, session.left = self.now, max(0, session.left - booked)
        if ends:
            session.runs, session.left = False, 0
        return booked, grown - booked

    def action(self, name):
        session = self.sessions[name]
        percent = (self.used + self.reserved() - session.left) * 100 // self.quota
        if not session.runs or (session.left == 0 and percent >= 100):
            return "STOP"
        return "WARN" if percent >= 80 else "CONTINUE"

    def too_close(self, seconds):
        """An expiry within moments of then: the node's clock runs on while it is asked."""
        due = [session.heard + LEASE - self.now - seconds for session in self.sessions.values() if session.runs]
        return any(abs(left) < 15 for left in due)

    def be_away(self, seconds):
        """R-LEASE-1: no lease runs"""
        self.now += seconds
        for session in self.sessions.values():
            if session.runs:
                session.heard += seconds
            session.away += seconds
            session.unsure = True

    def wait(self, seconds):
        self.now += seconds
        for session in self.sessions.values():
            if session.runs and session.heard + LEASE <= self.now:
                silent = min(session.left, LEASE)
                self.used += silent
                session.ahead += silent
                session.runs, session.left = False, 0


class AnyOrder(SessionNodeCase):
    """R-SES-1, R-SES-2, R-SES-3"""

    def run_one(self, seed):
        chance = random.Random(seed)
        quota, first_slice, most = chance.choice([600, 3000, 100_000]), chance.choice([20, 180, 400]), chance.choice([2, 4, 100])
        config = TEN_MINUTES.replace('"10m"', f'"{quota}s"').replace('max_sessions = "unlimited"', f"max_sessions = {most}")
        config += f'[sessions]\nfirst_slice = "{first_slice}s"\n'
        # Every other node forgets an idle org at once and loads it again.
        environment = {"TOLLGATE__BOUNDS__IDLE_MS": "100"} if seed % 2 else None
        node, calls = self.started(config=config, environment=environment)
        model = Model(quota, first_slice, most)
        for number in range(150):
            act = chance.choice(ACTS)
            at = (seed, number, act)
            if act == "start":
                started = calls.start("acme", f"s{number}")
                self.assertEqual((code_name(started), started.first_slice_ms // 1000), model.start(f"s{number}"), at)
            elif act in ("beat", "end") and model.sessions:
                name = chance.choice(sorted(model.sessions))
                incarnation = chance.choice([model.sessions[name].incarnation or "b"] * 5 + [f"b{number}"])
                base = model.sessions[name].total if incarnation in (model.sessions[name].incarnation, "b") else 0
                total = max(0, base + chance.choice([0, -5, 1, 30, 60, 250, 299, 300, 301, 500]))
                if model.sessions[name].unsure:
                    total = min(total, base + CLAMP)
                booked, disputed = model.hear(name, incarnation, total, act == "end")
                if act == "end":
                    calls.end("acme", name, incarnation=incarnation, total_seconds=total)
                else:
                    beat = calls.beat("acme", total, name, incarnation=incarnation)
                    self.assertEqual((beat.booked_ms, beat.disputed_ms), (booked * 1000, disputed * 1000), at)
                    self.assertEqual(action(beat), model.action(name), at)
            elif act == "use":
                seconds = chance.choice([1, 50, 200])
                calls.use("acme", seconds)
                model.used += seconds
            elif act in ("wait", "crash"):
                seconds = chance.choice([1, 10, 50, 119, 121, 400] if act == "wait" else [0, 30, 1000])
                if model.too_close(seconds if act == "wait" else 0):
                    continue
                if act == "crash":
                    # The mark on disk is to be of now.
                    calls.use("another", 1)
                    getattr(node, chance.choice(["stop", "kill"]))()
                node.clock.step(seconds)
                model.wait(seconds) if act == "wait" else model.be_away(seconds)
                if act == "crash":
                    calls = Client(self.plane(node.start()))
            status = calls.status("acme")
            expected = (model.used * 1000, model.reserved() * 1000, model.running())
            self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), expected, at)
        calls.use("acme", 0)
        disputed = sum(each.amount for each in calls.plane.admin.GetOrg(org="acme").disputed)
        self.assertEqual((disputed, calls.plane.admin.Audit().drifted), (model.disputed * 1000, 0))
        node.close()

    def test_the_numbers_are_those_of_the_model(self):
        seeds = [int(GIVEN_SEED)] if GIVEN_SEED else random.SystemRandom().sample(range(2**32), HISTORIES)
        for seed in seeds:
            with self.subTest(f"TOLLGATE_SEED={seed}"):
                self.run_one(seed)


if __name__ == "__main__":
    unittest.main()
