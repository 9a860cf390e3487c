"""What callers saw of a cluster, and whether one honest tollgate could have answered like that.

Every attempt of every caller is written down with its begin and end on the monotonic clock, and judged afterwards by
rules that share nothing with the server. Each judge returns sentences, one for each thing that is wrong; none is
well. `test_history.py` plants every fault that they look for.

    over_admitted    I1, I5   no window admits more than its limit, but for what takeovers may forget
    not_exhausted    I1       a window that was asked for more than its limit admits all of it
    misrecorded      I3       each acknowledged entry is in the ledger once, none twice, none that nobody sent
    owner_changes    I6       one node at a time decides for an org
    decided_while_gone        a node that was killed decides nothing afterwards
    unexpected_errors, unanswered, resumes_refused     I7, I17
"""

import bisect
import collections
import dataclasses
import heapq
import itertools
import statistics
import threading
import time
import typing

ALLOWED, DENIED, DONE, REFUSED = "allowed", "denied", "done", "refused"
# Errors that say nothing of whether the call was carried out.
IN_DOUBT = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL"}


@dataclasses.dataclass
class Call:
    """One attempt. Those of the same request have the same id."""

    org: str
    rpc: str
    request_id: str
    begin: float
    end: float
    outcome: str
    # Who decided; empty where the answer does not say.
    node: str = ""
    # The name of the gRPC status, and the reason in its details, of one that was refused.
    error: str = ""
    reason: str = ""
    # Let through without a full evaluation.
    flagged: bool = False
    replayed: bool = False
    # What tells windows apart, such as their end.
    window: int = 0
    # What it adds to the ledger, by (scope, meter).
    amounts: dict = dataclasses.field(default_factory=dict)
    # The account of a pick.
    account: str = ""
    plane: str = ""

    @property
    def request(self):
        return self.org, self.rpc, self.request_id

    @property
    def answered(self):
        return self.outcome != REFUSED

    def __str__(self):
        said = f"{self.error} {self.reason}".strip() if self.outcome == REFUSED else self.outcome
        return f"{self.rpc} {self.request_id} of {self.org} by {self.node or '?'}: {said}, {self.begin:.4f} to {self.end:.4f}"


class History:
    """What all callers write to, at once."""

    def __init__(self):
        self.calls = []
        self._lock = threading.Lock()

    def add(self, call):
        with self._lock:
            self.calls.append(call)
        return call

    def of(self, *rpcs):
        with self._lock:
            return [call for call in self.calls if call.rpc in rpcs]

    def since(self, instant):
        """Those that began then or later."""
        found = []
        with self._lock:
            # They are added when they end, give or take what a thread waits for its turn.
            for call in reversed(self.calls):
                if call.end < instant - 5.0:
                    break
                if call.begin >= instant:
                    found.append(call)
        return found[::-1]

    @staticmethod
    def now():
        return time.monotonic()


def _requests(calls):
    """The attempts of each request, in order."""
    of = collections.defaultdict(list)
    for call in sorted(calls, key=lambda call: call.begin):
        of[call.request].append(call)
    return of


class Admissions(typing.NamedTuple):
    """Of one org in one window: requests that were admitted, and those of which nobody knows."""

    admitted: int
    unknown: int


def admissions(calls):
    """By (org, window). A request counts once, however often it was sent, and not where it was let through flagged."""
    known, unknown = collections.Counter(), collections.Counter()
    for attempts in _requests(calls).values():
        allowed = [call for call in attempts if call.outcome == ALLOWED]
        if any(not call.flagged for call in allowed):
            first = next(call for call in allowed if not call.flagged)
            known[first.org, first.window] += 1
        elif not allowed and all(not call.answered for call in attempts):
            if any(call.error in IN_DOUBT for call in attempts):
                unknown[attempts[0].org] += 1
    return {key: Admissions(count, unknown[key[0]]) for key, count in known.items()}


def over_admitted(calls, limits, spare=0):
    """Windows that admitted more than `limits[org]`, and `spare` on top: a number, or a mapping from org to one."""
    wrong = []
    for (org, window), found in sorted(admissions(calls).items()):
        most = limits[org] + (spare if isinstance(spare, int) else spare.get(org, 0))
        if found.admitted > most:
            wrong.append(f"{org} admitted {found.admitted} in the window {window}, at most {most} are allowed")
    return wrong


def most_over(calls, limits):
    """The largest number that a window admitted beyond its limit; 0 where none did."""
    return max([0, *(found.admitted - limits[org] for (org, _), found in admissions(calls).items())])


def not_exhausted(calls, limits):
    """Orgs that were denied although their window had room. Those of a single window only."""
    wrong = []
    denied = {call.org for call in calls if call.outcome == DENIED}
    found = {org: each for (org, _), each in admissions(calls).items()}
    for org in sorted(denied):
        admitted, unknown = found.get(org, Admissions(0, 0))
        if admitted + unknown < limits[org]:
            wrong.append(f"{org} was denied and had admitted {admitted} of {limits[org]}, {unknown} are unknown")
    return wrong


def acknowledged(calls):
    """By request: what it adds, and whether it was acknowledged or may have been carried out."""
    entries = {}
    for request, attempts in _requests(calls).items():
        is_sure = any(call.outcome in (DONE, ALLOWED) for call in attempts)
        if is_sure or any(call.error in IN_DOUBT for call in attempts):
            entries[request] = attempts[0].amounts, is_sure
    return entries


def misrecorded(calls, ledger):
    """Where `ledger`, a mapping from (org, scope, meter) to an amount, is not what was acknowledged. What may have
    been carried out is there whole or not at all; so where each entry has a scope of its own, each is judged alone."""
    sure, maybe = collections.Counter(), collections.defaultdict(list)
    for (org, _, _), (amounts, is_sure) in acknowledged(calls).items():
        for (scope, meter), amount in amounts.items():
            if is_sure:
                sure[org, scope, meter] += amount
            else:
                maybe[org, scope, meter].append(amount)
    wrong = []
    for place in sorted(sure.keys() | maybe.keys() | ledger.keys()):
        kept, least = ledger.get(place, 0), sure[place]
        if kept < least:
            wrong.append(f"{place}: {least} acknowledged, {kept} in the ledger: lost")
        elif not _is_sum(kept - least, maybe[place]):
            doubt = f", {sum(maybe[place])} unknown" if maybe[place] else ""
            wrong.append(f"{place}: {least} acknowledged{doubt}, {kept} in the ledger: recorded twice, or never sent")
    return wrong


def _is_sum(wanted, amounts):
    """Whether some of the amounts make up `wanted`. Many in doubt at one place are only bounded."""
    if len(amounts) > 16:
        return 0 <= wanted <= sum(amounts)
    sums = {0}
    for amount in amounts:
        sums |= {each + amount for each in sums}
    return wanted in sums


class Deciders:
    """The calls of one org by the node that decided them. A decision lies somewhere between begin and end."""

    def __init__(self, calls):
        by_node = collections.defaultdict(list)
        for call in calls:
            by_node[call.node].append((call.begin, call.end))
        self.nodes = sorted(by_node)
        self._begins, self._ends = [], []
        for node in self.nodes:
            spans = sorted(by_node[node])
            self._begins.append([begin for begin, _ in spans])
            # The earliest end of this call and every later one.
            least = list(itertools.accumulate([end for _, end in reversed(spans)], min))
            self._ends.append([*reversed(least), float("inf")])

    def must_own_by(self, node, last):
        """Until when this node has to own the org, where it did so last at `last`; infinity where it need not."""
        return self._ends[node][bisect.bisect_right(self._begins[node], last)]

    def fewest_changes(self, most):
        """The fewest changes of owner that explain the answers, or None where that is more than `most`.

        An owner stays for as long as no other node has to own the org: a later change decides no fewer of its calls.
        At that instant any of the others may own it in passing, so all of them are tried."""
        count = len(self.nodes)
        start = [(0, float("-inf"), owner, (float("-inf"),) * count) for owner in range(count)]
        heap, seen = list(start), set()
        heapq.heapify(heap)
        while heap:
            changes, _, owner, lasts = heapq.heappop(heap)
            if (owner, lasts) in seen:
                continue
            seen.add((owner, lasts))
            due = min((self.must_own_by(node, lasts[node]) for node in range(count) if node != owner),
                      default=float("inf"))
            if due == float("inf"):
                return changes
            if changes == most:
                continue
            # It owned the org until then.
            lasts = lasts[:owner] + (due,) + lasts[owner + 1:]
            for node in range(count):
                if node != owner:
                    heapq.heappush(heap, (changes + 1, due, node, lasts[:node] + (due,) + lasts[node + 1:]))
        return None


def owner_changes(calls, allowed=0):
    """Orgs whose answers need more changes of owner than there were: with none, two nodes decided; with one, the old
    owner went on beside the new one. `allowed`: a number, or a mapping from org to one."""
    wrong = []
    of = collections.defaultdict(list)
    for call in calls:
        # A flagged answer is no decision of an owner, and a replay is one that was made earlier.
        if call.node and call.answered and not call.flagged and not call.replayed:
            of[call.org].append(call)
    for org, decided in sorted(of.items()):
        most = allowed if isinstance(allowed, int) else allowed.get(org, 0)
        deciders = Deciders(decided)
        if deciders.fewest_changes(most) is None:
            counts = dict(collections.Counter(call.node for call in decided))
            wrong.append(f"{org} was decided by {counts}, which needs more than {most} changes of its owner")
    return wrong


def decided_while_gone(calls, node, since, until=float("inf")):
    """Calls that a node decided which began and ended while it was dead or stopped."""
    return [f"{node} was gone since {since:.4f}, and answered: {call}" for call in calls
            if call.node == node and call.answered and not call.replayed and since < call.begin and call.end < until]


def unexpected_errors(calls, allowed=("UNAVAILABLE",)):
    """Errors that a caller should not have had to retry, each kind once."""
    found = collections.Counter((call.rpc, call.error, call.reason) for call in calls
                                if call.outcome == REFUSED and call.error not in allowed)
    return [f"{count} × {rpc}: {error} {reason}".strip() for (rpc, error, reason), count in sorted(found.items())]


def resumes_refused(calls):
    return [str(call) for call in calls if call.rpc == "Resume" and call.outcome == REFUSED]


def unanswered(calls):
    """Requests of which no attempt was answered."""
    return [f"never answered: {attempts[-1]}" for attempts in _requests(calls).values()
            if not any(call.answered for call in attempts)]


def over_picked(calls, usable):
    """Accounts of an org that were handed out more often than they may be; `usable` by (org, account)."""
    picked = collections.Counter()
    for attempts in _requests(calls).values():
        for call in attempts:
            if call.outcome == ALLOWED:
                picked[call.org, call.account] += 1
                break
    return [f"{account} of {org} was picked {count} times, at most {usable[org, account]}"
            for (org, account), count in sorted(picked.items()) if count > usable[org, account]]


def pauses(calls, since, orgs):
    """Seconds from an event to the end of the first answered call of each org that ended after it. Orgs without one
    are left out; `unanswered` finds those."""
    first = {}
    for call in calls:
        if call.org in orgs and call.answered and not call.flagged and call.end > since:
            first[call.org] = min(first.get(call.org, float("inf")), call.end)
    return {org: end - since for org, end in first.items()}


def summary(seconds):
    """`p50 1.21 s, max 1.74 s, of 12 orgs`"""
    if not seconds:
        return "nobody asked"
    values = sorted(seconds.values())
    return f"p50 {statistics.median(values):.2f} s, max {values[-1]:.2f} s, of {len(values)} orgs"
