"""Callers of a cluster, each with a connection of its own, that retry what is to be retried and write everything down."""

import itertools
import os
import random
import threading
import time

import grpc

from history import ALLOWED, DENIED, DONE, REFUSED, Call, History
from plane import Plane, Refusal

# How long an attempt may take: a takeover, on a slow machine.
ATTEMPT = 10.0
# How long a request is tried for, over all attempts.
PATIENCE = 60.0
PAUSE = 0.05
# A node that comes back is found soon, however long it was away.
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
# After these a caller tries again under the same request id.
RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
           grpc.StatusCode.UNKNOWN}
_run = f"{os.getpid():x}-{int(time.time()):x}"
_numbers = itertools.count(1)


def fresh(prefix):
    """A name that no other test uses, in any run on the same database."""
    return f"{prefix}-{_run}-{next(_numbers)}"


class Caller:
    """One plane. Its methods return the answer, or None where none came in time."""

    def __init__(self, plane, history, attempt=ATTEMPT, patience=PATIENCE):
        self.plane, self.history = plane, history
        self.attempt, self.patience = attempt, patience

    def acquire(self, org, **fields):
        def judged(answer):
            quotas = [limit for limit in answer.limits if limit.name.startswith("quota/")] or answer.limits[:1]
            window = quotas[0].resets_at_ms if quotas else 0
            return {"outcome": ALLOWED if answer.allowed else DENIED, "flagged": bool(answer.fail_open),
                    "window": window, "node": answer.node}

        return self._until_answered(self.plane.gate, "Acquire", judged, {}, org=org, **fields)

    def record(self, org, amount, scope=None, meter="spend", **fields):
        """An entry of its own scope, so that the ledger shows whether it is there, and how often."""
        request_id = fields.pop("request_id", None) or fresh("e")
        scope = scope or f"e/{request_id}"
        return self._until_answered(
            self.plane.gate, "Record", lambda answer: {"outcome": DONE}, {(scope, meter): amount}, org=org, scope=scope,
            request_id=request_id, usage=[{"meter": meter, "amount": amount}], **fields)

    def resume(self, org, execution_id):
        return self._until_answered(self.plane.gate, "Resume", lambda answer: {"outcome": DONE, "flagged": not answer.counted},
                                    {}, org=org, execution_id=execution_id)

    def pick(self, org, pool):
        def judged(answer):
            return {"outcome": ALLOWED if answer.allowed else DENIED, "account": answer.account, "node": answer.node}

        return self._until_answered(self.plane.pool, "Pick", judged, {}, org=org, pool=pool)

    def start_session(self, org, session, identity="vm"):
        def judged(answer):
            return {"outcome": ALLOWED if answer.allowed else DENIED, "flagged": bool(answer.fail_open), "node": answer.node}

        return self._until_answered(self.plane.session, "StartSession", judged, {}, org=org, session_id=session,
                                    identity=identity)

    def end_session(self, org, session, seconds, identity="vm"):
        return self._until_answered(self.plane.session, "EndSession", lambda answer: {"outcome": DONE}, {}, org=org,
                                    session_id=session, identity=identity, incarnation="b1", total_seconds=seconds)

    def _until_answered(self, service, rpc, judged, amounts, org, **fields):
        fields.setdefault("request_id", fresh("r"))
        until = time.monotonic() + self.patience
        while True:
            answer, code = self._try(service, rpc, judged, amounts, org, fields)
            if answer is not None or code not in RETRIED or time.monotonic() >= until:
                return answer
            time.sleep(PAUSE * random.uniform(0.5, 1.5))

    def _try(self, service, rpc, judged, amounts, org, fields):
        def call(**said):
            return self.history.add(Call(org, rpc, fields["request_id"], begin, History.now(), amounts=amounts, **said))

        begin = History.now()
        try:
            answer = getattr(service, rpc)(timeout=self.attempt, org=org, **fields)
        except grpc.RpcError as error:
            refusal = Refusal(error)
            call(outcome=REFUSED, error=refusal.code.name, reason=refusal.reason or refusal.message or "")
            return None, refusal.code
        call(replayed=getattr(answer, "replayed", False), **judged(answer))
        return answer, None


class Crowd:
    """Many callers that do something over and over, each in a thread, until they are through or told to end.

    A caller whose code fails ends the test with that error, when it is joined."""

    def __init__(self, addresses, history, count, **patience):
        """Callers take the addresses in turn."""
        self.history = history
        planes = [Plane(addresses[number % len(addresses)], options=RECONNECT) for number in range(count)]
        self.callers = [Caller(plane, history, **patience) for plane in planes]
        self._over = threading.Event()
        self._errors = []
        self._threads = []

    def run(self, step, times=None):
        """`step(caller, number)` again and again, in every caller, `times` or until `end`; an answer of False ends it."""
        def work(caller):
            try:
                for number in itertools.count() if times is None else range(times):
                    if self._over.is_set() or step(caller, number) is False:
                        return
            except BaseException as error:  # Shown by `join`.
                self._errors.append(error)
                self._over.set()

        self._threads = [threading.Thread(target=work, args=(caller,), daemon=True) for caller in self.callers]
        for thread in self._threads:
            thread.start()
        return self

    def join(self, within=180.0):
        until = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                self._over.set()
                raise AssertionError(f"callers are not through within {within} s")
        if self._errors:
            raise self._errors[0]

    def end(self, within=180.0):
        """What is under way is finished, with its retries."""
        self._over.set()
        self.join(within)

    def close(self):
        """May be called again."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        for caller in self.callers:
            caller.plane.close()
