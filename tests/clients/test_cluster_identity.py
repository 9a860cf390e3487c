"""Tokens that all nodes share: one verdict through every node, one revocation for all of them (R-AUTH-1)."""

import queue
import threading
import time
import unittest

import grpc

from callers import ROLES, Rpcs, documented
from cluster import NAME_OF_NODES, Authority, Cluster
from cluster_case import ClusterCase
from crowd import RECONNECT, fresh
from doors import PgBouncer
from network import STORE
from node import Node, eventually
from plane import Plane, metric, ready

AUTH = '\n[auth]\ntoken_store = "cluster"\n'
# What is promised of a revocation and of a new token, in seconds from the end of the command on.
IN_FORCE = 1.0
# Between two questions of one caller: what is measured is the nodes and not this machine.
PAUSE = 0.02
# For how long a node is asked again after it has refused a token for the first time.
WATCHED = 1.0
ACQUIRE = "tollgate.v1.GateService/Acquire"
# Refusals of the caller, whatever is asked for.
OF_CALLERS = {"ROLE_NOT_ALLOWED", "ORG_NOT_ALLOWED", "SCOPE_NOT_ALLOWED", "SCOPE_MISSING", "CREDENTIAL_INVALID",
              "CREDENTIAL_EXPIRED", "CREDENTIAL_MISSING", "IDENTITY_UNAVAILABLE", "TOO_MANY_REFUSALS"}
# From the twentieth in a row on it is the second.
WRONG = {"CREDENTIAL_INVALID", "TOO_MANY_REFUSALS"}
# What is asked of a node, whatever org.
NODE_WIDE = {"tollgate.admin.v1.AdminService/Reload", "tollgate.admin.v1.AdminService/DrainNode"}


def first_token(cells):
    """Made with the URL alone, before there is any node, and so before there is any table."""
    command = Node(environment=cells[0].primary.environment)
    try:
        made = command.run("token", "create", "--name", "ops", "--role", "admin", "--orgs", "*", "--expires", "never",
                           "--postgres", cells[0].url)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()
    finally:
        command.close()


def patiently(call, within=30.0, **fields):
    """A call as its caller makes it: again under its request id where nothing was decided, as on a machine so slow that
    nodes lose their leases."""
    until = time.monotonic() + within
    while True:
        try:
            return call(**fields)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() >= until:
                raise
            time.sleep(0.05)


class IdentityCase(ClusterCase):
    """A cluster for the tests of a class."""

    OPTIONS = {}

    @classmethod
    def setUpClass(cls):
        cls.stand = Cluster(config=AUTH, prepare=first_token, **cls.OPTIONS)
        cls.addClassCleanup(cls.stand.close)
        cls.admin = cls.stand.plane("n1")
        cls.rpcs = Rpcs(cls.admin.channel)
        # A connection to each node, over which everybody asks.
        cls.channels = {}
        for name, node in cls.stand.nodes.items():
            options = [("grpc.use_local_subchannel_pool", 1), *RECONNECT]
            cls.channels[name] = grpc.insecure_channel(node.grpc, options=options)
            cls.addClassCleanup(cls.channels[name].close)

    def command(self, *arguments, through="n1"):
        """`tollgate token`, with the configuration of a node."""
        node = self.stand.nodes[through]
        return node.run("token", *arguments, "--config", node.config_file)

    def token(self, name, role, orgs="*", *more):
        made = self.command("create", "--name", name, "--role", role, "--orgs", orgs, "--expires", "never", *more)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def revoke(self, name, through="n1"):
        """The instant at which the command was through."""
        revoked = self.command("revoke", name, through=through)
        self.assertEqual(revoked.returncode, 0, revoked.stderr)
        return time.monotonic()

    def plane(self, name, token):
        plane = Plane(self.stand.nodes[name].grpc, token=token, options=RECONNECT)
        self.addCleanup(plane.close)
        return plane

    def owned(self, prefix):
        """An org of each node, by its name; each is known, with one execution."""
        found = {}
        while len(found) < len(self.stand.nodes):
            org = fresh(prefix)
            found.setdefault(patiently(self.admin.gate.Acquire, org=org, request_id=org).node, org)
        return found

    def said(self, node, token, org, rpc=ACQUIRE, scopes=()):
        """Why the caller is refused; None where it is let in, whatever becomes of the call."""
        reason = self.rpcs.ask(self.channels[node], rpc, token, self.rpcs.request(rpc, org, scopes)[0])
        return reason if reason in OF_CALLERS else None

    def everywhere(self, token, org, rpc=ACQUIRE, scopes=()):
        """The same of each node, as a set."""
        return {self.said(node, token, org, rpc, scopes) for node in self.channels}

    def known_everywhere(self, token, org="nobody-owns-it"):
        return self.everywhere(token, org) == {None}


class OneVerdict(IdentityCase):
    """A call has the same verdict through any node."""

    def test_every_rpc_by_every_role_for_orgs_of_every_node(self):
        own, other = self.owned("own"), self.owned("other")
        tokens = {role: self.token(fresh(role), role, "own-*") for role in ROLES}
        eventually(lambda: all(self.known_everywhere(token, "own-x") or role in {"viewer", "reporter", "peer"}
                               for role, token in tokens.items()), "the tokens are there")
        judged = 0
        for rpc, may in documented().items():
            if rpc in NODE_WIDE:
                continue
            for role, token in tokens.items():
                for of_org, orgs in ((None, own), ("ORG_NOT_ALLOWED", other)):
                    expected = "ROLE_NOT_ALLOWED" if role not in may else of_org if self.rpcs.names_an_org(rpc) else None
                    for owner, org in orgs.items():
                        with self.subTest(rpc=rpc, role=role, owner=owner, org=org):
                            self.assertEqual(self.everywhere(token, org, rpc), {expected})
                            judged += 1
        self.assertGreater(judged, 500)

    def test_scopes_that_a_token_is_bound_to_or_kept_to(self):
        own = self.owned("own")
        scoped = self.token(fresh("scoped"), "plane", "own-*", "--scopes", "agent/*")
        bound = self.token(fresh("bound"), "plane", "own-*", "--bind", "agent/a")
        eventually(lambda: self.known_everywhere(bound, "own-x"), "the tokens are there")
        for rpc in (ACQUIRE, "tollgate.v1.GateService/AcquireBatch", "tollgate.v1.GateService/AcquireStream",
                    "tollgate.v1.GateService/Record"):
            for org in own.values():
                for token, scopes, expected in [
                    (scoped, [], "SCOPE_MISSING"),
                    (scoped, ["team/x"], "SCOPE_NOT_ALLOWED"),
                    (scoped, ["agent/b"], None),
                    (bound, [], None),
                    (bound, ["team/x"], None),
                    (bound, ["agent/b"], "SCOPE_NOT_ALLOWED"),
                ]:
                    with self.subTest(rpc=rpc, org=org, scopes=scopes, expected=expected):
                        self.assertEqual(self.everywhere(token, org, rpc, scopes), {expected})
        # What was bound is charged there, wherever the call came in.
        for org in own.values():
            before = self.executions(org)
            for name in self.channels:
                acquire = self.plane(name, bound).gate.Acquire
                self.assertTrue(patiently(acquire, org=org, request_id=fresh("r")).allowed)
            self.assertEqual(self.executions(org) - before, len(self.channels))

    def executions(self, org, scope="agent/a"):
        return sum(hour.total for row in patiently(self.admin.admin.GetOrg, org=org).ledgers
                   if (row.scope, row.meter) == (scope, "executions") for hour in row.hours)

    def test_who_has_nothing_or_something_wrong_is_nobody_at_every_node(self):
        real = self.token(fresh("real"), "plane")
        other = self.token(fresh("other"), "plane")
        eventually(lambda: self.known_everywhere(other), "the tokens are there")
        mixed = "_".join([*real.split("_")[:2], other.split("_")[2]])
        (digest,) = self.stand.cells[0].ask(
            f"SELECT encode(sha256, 'hex') FROM tollgate.token WHERE id = '{real.split('_')[1]}'")
        of_digest = "_".join([*real.split("_")[:2], digest])
        org = fresh("own")
        for token, expected in [(None, "CREDENTIAL_MISSING"), (real[:-1], "CREDENTIAL_INVALID"), (mixed, "CREDENTIAL_INVALID"),
                                (of_digest, "CREDENTIAL_INVALID"), (real, None)]:
            self.assertEqual(self.everywhere(token, org), {expected})

    def test_the_command_keeps_no_secret_and_gives_a_name_once(self):
        name = fresh("once")
        token = self.token(name, "plane", "acme-*", "--bind", "agent/a")
        secret = token.rsplit("_", 1)[1]
        again = self.command("create", "--name", name, "--role", "admin", "--orgs", "*", "--expires", "1d", through="n2")
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertIn(f'a token named "{name}" already', again.stderr)
        listed = self.command("list", through="n3")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertRegex(listed.stdout, rf"{name} +plane +acme-\* +- +agent/a +never")
        self.assertNotIn(secret, listed.stdout)
        (row,) = self.stand.cells[0].ask(f"SELECT name, role, orgs, bind, token::text FROM tollgate.token WHERE name = '{name}'")
        self.assertTrue(row.startswith(name + "|plane|{acme-*}|{agent/a}|"), row)
        self.assertNotIn(secret, row)
        self.assertFalse([line for node in self.stand.nodes.values() for line in node.log if secret in line])
        unknown = self.command("revoke", "nobody")
        self.assertEqual((unknown.returncode, 'no token is named "nobody"' in unknown.stderr), (1, True))
        self.revoke(name, through="n2")
        self.assertNotIn(name, self.command("list").stdout)


class Asking(threading.Thread):
    """Asks one node again and again; notes each answer with the instants of question and answer."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self._ask, self._over = ask, threading.Event()
        self.answers = []
        self.start()

    def run(self):
        while not self._over.is_set():
            asked = time.monotonic()
            self.answers.append((asked, self._ask()))
            time.sleep(PAUSE)

    def end(self):
        self._over.set()
        self.join()
        return self.answers

    def stood_still(self):
        """The longest time between two questions: whoever does not ask cannot be refused, and the nodes are on the same machine."""
        asked = [at for at, _ in self.answers]
        return max((later - at for at, later in zip(asked, asked[1:])), default=0.0)


class Streaming(threading.Thread):
    """One item after the other on a stream, until it ends."""

    def __init__(self, plane, org):
        super().__init__(daemon=True)
        self._plane, self._org = plane, org
        self.admitted, self.ended, self._over = [], None, threading.Event()
        self.start()

    def run(self):
        items = queue.Queue()
        answers = self._plane.gate.AcquireStream(iter(items.get, None), timeout=120)
        try:
            while not self._over.is_set():
                asked = time.monotonic()
                items.put({"tag": len(self.admitted) + 1, "acquire": {"org": self._org}})
                answer = next(answers)
                # What nobody has decided, because a shard has moved, is no answer to who asks.
                if answer.HasField("decision"):
                    self.admitted.append(asked)
                time.sleep(PAUSE)
        except grpc.RpcError as error:
            self.ended = error
        finally:
            items.put(None)

    def end(self):
        self._over.set()
        self.join()


class RevokingCase(IdentityCase):
    def revoked(self, how):
        orgs = self.owned("own")
        names = sorted(orgs)
        # Each node is asked for an org of its own and for one of the next node.
        pairs = [(node, orgs[of]) for at, node in enumerate(names) for of in (node, names[(at + 1) % len(names)])]
        longest = 0.0
        for number in range(4):
            name = fresh("leaves")
            token, stays = self.token(name, "plane"), self.token(fresh("stays"), "plane")
            eventually(lambda: self.known_everywhere(token) and self.known_everywhere(stays), "they are there")
            asking = [Asking(lambda node=node, org=org: self.said(node, token, org)) for node, org in pairs]
            streams = [Streaming(self.plane(node, token), org) for node, org in pairs]
            bystanders = [Streaming(self.plane(node, stays), org) for node, org in pairs]
            for each in [*streams, *bystanders]:
                eventually(lambda each=each: len(each.admitted) > 3, "the stream is served")
            # Not always at the same instant between two readings of a node.
            time.sleep(number * 0.07)
            revoked = self.revoke(name, through=names[number % len(names)])
            for stream in streams:
                eventually(lambda stream=stream: stream.ended is not None, "the stream ends", within=5.0)
                self.assertEqual(stream.ended.code(), grpc.StatusCode.UNAUTHENTICATED)
                longest = max(longest, stream.admitted[-1] - revoked)
            time.sleep(WATCHED)
            stood = 0.0
            for each in asking:
                answers = each.end()
                stood = max(stood, each.stood_still())
                let_in = [asked for asked, reason in answers if reason is None]
                refused = [asked for asked, reason in answers if reason is not None]
                self.assertLessEqual({reason for _, reason in answers}, {None, *WRONG})
                self.assertLess(max(let_in), min(refused), "who was refused once is not let in again")
                longest = max(longest, max(let_in) - revoked)
            self.assertLess(longest, IN_FORCE + stood)
            for each in bystanders:
                each.end()
                self.assertIsNone(each.ended, "who has another token is not disturbed")
        self.say(f"{how} a revoked token was let in for {max(longest, 0) * 1000:.0f} ms at most")


class InForce(RevokingCase):
    """R-AUTH-1: what is made or revoked by one command is so at every node within a second."""

    def test_a_token_that_is_revoked_is_refused_at_every_node_on_streams_and_where_calls_are_forwarded(self):
        self.revoked("with notifications")

    def test_it_is_without_notifications_as_well(self):
        """As behind a pooler that passes none on."""
        function = "CREATE OR REPLACE FUNCTION tollgate.token_changed() RETURNS trigger LANGUAGE plpgsql AS "
        change = "UPDATE tollgate.token_change SET mark = gen_random_uuid();"
        notify = "PERFORM pg_notify('tollgate_token', 'changed');"
        (body,) = self.stand.cells[0].ask("SELECT position('pg_notify' IN prosrc) > 0 FROM pg_proc WHERE proname = 'token_changed'")
        self.assertEqual(body, "t", "there is something to take away")
        self.stand.cells[0].ask(f"{function} $$ BEGIN {change} RETURN NULL; END $$")
        try:
            self.revoked("without notifications")
        finally:
            self.stand.cells[0].ask(f"{function} $$ BEGIN {change} {notify} RETURN NULL; END $$")

    def test_a_row_that_is_removed_or_changed_with_sql_counts_as_well(self):
        name = fresh("by-hand")
        token = self.token(name, "plane", "own-*")
        eventually(lambda: self.known_everywhere(token, "own-x"), "it is there")
        stream = Streaming(self.plane("n2", token), "own-x")
        eventually(lambda: stream.admitted, "the stream is served")
        self.stand.cells[0].ask(f"UPDATE tollgate.token SET orgs = '{{other-*}}' WHERE name = '{name}'")
        eventually(lambda: self.everywhere(token, "own-x") == {"ORG_NOT_ALLOWED"}, "another grant", within=10 * IN_FORCE)
        eventually(lambda: stream.ended is not None, "who has another grant now is another caller")
        self.stand.cells[0].ask(f"DELETE FROM tollgate.token WHERE name = '{name}'")
        eventually(lambda: self.everywhere(token, "other-x") <= WRONG, "no row", within=10 * IN_FORCE)

    def test_a_new_token_lets_in_at_every_node(self):
        longest = 0.0
        for number in range(6):
            time.sleep(number * 0.05)
            token = self.token(fresh("new"), "plane")
            made = time.monotonic()
            eventually(lambda: self.known_everywhere(token), "every node lets it in", within=IN_FORCE)
            longest = max(longest, time.monotonic() - made)
        self.say(f"a new token was let in after {longest * 1000:.0f} ms at most")


class Outage(IdentityCase):
    """What cannot be read lets nobody in, and takes nothing away."""

    def stale(self, name):
        node = self.stand.nodes[name]
        return metric(node.http, "tollgate_tokens_stale"), "auth.token_store" in ready(node.http)[1]

    def test_without_postgresql_known_tokens_go_on_and_nobody_else_is_let_in(self):
        known, gone = self.token(fresh("known"), "plane"), fresh("gone")
        revoked = self.token(gone, "plane")
        eventually(lambda: self.known_everywhere(known) and self.known_everywhere(revoked), "they are there")
        self.revoke(gone)
        eventually(lambda: self.everywhere(revoked, "x") <= WRONG, "it is revoked", within=10 * IN_FORCE)
        self.assertEqual({self.stale(name) for name in self.channels}, {(0, False)})
        stranger = f"tg_{'0' * 16}_{'0' * 64}"
        server = self.stand.cells[0].primary
        server.stop("immediate")
        try:
            eventually(lambda: {self.stale(name)[0] for name in self.channels} == {1}, "every node says so")
            for _ in range(10):
                self.assertTrue(self.known_everywhere(known))
                for token, said in [(revoked, "CREDENTIAL_INVALID"), (stranger, "CREDENTIAL_INVALID"), (None, "CREDENTIAL_MISSING")]:
                    self.assertLessEqual(self.everywhere(token, "x"), {said, "TOO_MANY_REFUSALS"})
                time.sleep(0.2)
            made = self.command("create", "--name", fresh("none"), "--role", "admin", "--orgs", "*", "--expires", "1d")
            self.assertEqual((made.returncode, made.stdout), (1, ""))
            self.assertIn("PostgreSQL", made.stderr)
        finally:
            server.start()
        self.stand.wait_until_settled()
        eventually(lambda: {self.stale(name) for name in self.channels} == {(0, False)}, "the tokens are read again")
        late = self.token(fresh("late"), "plane")
        eventually(lambda: self.known_everywhere(late), "a new one lets in", within=10 * IN_FORCE)
        for node in self.stand.nodes.values():
            self.assertLessEqual(len(node.logged("not all tokens are as their source says")), 8, "it is not said again and again")

    def test_a_node_that_could_not_read_tokens_yet_lets_nobody_in(self):
        known = self.token(fresh("known"), "admin")
        eventually(lambda: self.known_everywhere(known), "it is there")
        self.stand.terminate("n3")
        ask = self.stand.cells[0].ask
        ask("ALTER TABLE tollgate.token_change RENAME TO elsewhere")
        try:
            self.stand.start("n3", wait=False)
            for token in (known, None, "tg_a_b"):
                self.assertIsNotNone(self.said("n3", token, "x"))
            self.assertEqual(self.said("n3", known, "x"), "IDENTITY_UNAVAILABLE")
            status, text = ready(self.stand.nodes["n3"].http)
            self.assertIn("auth.token_store", text, status)
            self.assertEqual(self.stale("n3"), (1, True))
            self.assertTrue(self.stand.nodes["n3"].logged("no token lets anybody in"))
            self.assertIsNone(self.said("n1", known, "x"), "who has read them goes on")
        finally:
            ask("ALTER TABLE tollgate.elsewhere RENAME TO token_change")
        eventually(lambda: self.known_everywhere(known), "it goes on trying")
        eventually(lambda: self.stale("n3") == (0, False), "and says so")
        self.stand.wait_until_settled()


class BehindAPooler(RevokingCase):
    OPTIONS = {"door": PgBouncer}

    def test_a_token_is_revoked_in_time_where_no_notification_comes_through(self):
        self.revoked("behind a pooler")


class Failover(IdentityCase):
    OPTIONS = {"standby": True}

    def test_what_is_revoked_at_the_new_primary_is_refused_at_every_node(self):
        names = [fresh("before") for _ in range(2)]
        tokens = [self.token(name, "plane") for name in names]
        eventually(lambda: all(map(self.known_everywhere, tokens)), "they are there")
        self.revoke(names[0])
        self.stand.cells[0].fail_over()
        self.stand.wait_until_settled()
        # A node may not have read it before; each has connected to the new one again.
        eventually(lambda: self.everywhere(tokens[0], "x") <= WRONG, "it was revoked at the old one")
        self.assertTrue(self.known_everywhere(tokens[1]))
        self.revoke(names[1])
        eventually(lambda: self.everywhere(tokens[1], "x") <= WRONG, "it is revoked at the new one", within=10 * IN_FORCE)


class CutOff(IdentityCase):
    OPTIONS = {"isolated": True}

    def test_a_node_that_does_not_reach_postgresql_says_so_and_makes_up_for_it(self):
        name = fresh("one")
        token, other = self.token(name, "plane"), self.token(fresh("other"), "plane")
        eventually(lambda: self.known_everywhere(token) and self.known_everywhere(other), "they are there")
        http = self.stand.nodes["n2"].http
        self.stand.cut("n2", STORE)
        eventually(lambda: metric(http, "tollgate_tokens_stale") == 1, "nobody refuses the connection, and it is noticed")
        self.revoke(name)
        eventually(lambda: all(self.said(node, token, "x") in WRONG for node in ("n1", "n3")), "others refuse it", within=10 * IN_FORCE)
        self.assertEqual({self.said("n2", each, "x") for each in (token, other)}, {None}, "what was valid is valid")
        self.stand.mend("n2", STORE)
        eventually(lambda: self.said("n2", token, "x") in WRONG, "it is refused when the node reads again", within=30.0)
        eventually(lambda: metric(http, "tollgate_tokens_stale") == 0, "and says so")
        self.assertIsNone(self.said("n2", other, "x"))


class Cells(IdentityCase):
    """Of several databases the first has the tokens."""

    OPTIONS = {"cells": 2}

    def test_without_the_first_database_known_tokens_go_on_and_a_node_that_starts_lets_nobody_in(self):
        first, second = (cell.primary for cell in self.stand.cells)
        node = self.stand.nodes["n1"]
        wrong = node.run("token", "create", "--name", "lost", "--role", "plane", "--orgs", "*", "--expires", "1d", "--postgres",
                         second.url)
        self.assertEqual((wrong.returncode, wrong.stdout, "database 2 of its cluster" in wrong.stderr), (1, "", True), wrong.stderr)
        known = self.token(fresh("known"), "plane")
        eventually(lambda: self.known_everywhere(known), "it is there")
        self.stand.terminate("n3")
        first.stop("immediate")
        try:
            eventually(lambda: all(metric(self.stand.nodes[name].http, "tollgate_tokens_stale") for name in ("n1", "n2")), "it is said")
            self.assertEqual({self.said(name, known, "x") for name in ("n1", "n2")}, {None})
            self.stand.start("n3", wait=False)
            for _ in range(10):
                self.assertEqual(self.said("n3", known, "x"), "IDENTITY_UNAVAILABLE")
                self.assertEqual(self.said("n3", None, "x"), "CREDENTIAL_MISSING")
                time.sleep(0.2)
        finally:
            first.start()
        eventually(lambda: self.known_everywhere(known), "it goes on trying", within=30.0)
        name = fresh("late")
        late = self.token(name, "plane")
        eventually(lambda: self.known_everywhere(late), "a new one lets in", within=10 * IN_FORCE)
        self.revoke(name)
        eventually(lambda: self.everywhere(late, "x") <= WRONG, "and is revoked", within=10 * IN_FORCE)
        self.stand.wait_until_settled()


class TakenOver(IdentityCase):
    def test_tokens_of_a_file_are_good_in_the_store_and_are_taken_over_once(self):
        node = self.stand.nodes["n1"]
        file = node.config_file + ".tokens"
        names = [fresh("filed") for _ in range(3)]
        made = [node.run("token", "create", "--name", name, "--role", "plane", "--orgs", "acme-*", "--bind", "agent/a",
                         "--expires", "30d", "--file", file).stdout.strip() for name in names]
        imported = self.command("import", file)
        self.assertEqual(imported.returncode, 0, imported.stderr)
        self.assertIn("3 tokens taken over, 0 were", imported.stderr)
        eventually(lambda: all(self.known_everywhere(token, "acme-1") for token in made), "they are there")
        self.assertEqual(self.everywhere(made[0], "beta"), {"ORG_NOT_ALLOWED"})
        self.assertIn("0 tokens taken over, 3 were", self.command("import", file).stderr)
        self.revoke(names[0])
        taken = node.run("token", "create", "--name", names[0], "--role", "viewer", "--orgs", "*", "--expires", "1d", "--postgres",
                         self.stand.cells[0].url)
        self.assertEqual(taken.returncode, 0, taken.stderr)
        again = self.command("import", file)
        self.assertEqual((again.returncode, "a token named" in again.stderr), (1, True), again.stderr)
        nowhere = node.run("token", "import", file, "--file", file)
        self.assertEqual((nowhere.returncode, "--postgres or --config" in nowhere.stderr), (1, True), nowhere.stderr)


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """A field of a message, by its wire format: proto/tollgate/peer/v1/peer.proto has no descriptor that nodes show."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """(number, value) of each field."""
    def number(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                return value, at

    found, at = [], 0
    while at < len(data):
        key, at = number(at)
        if key & 7 == 0:
            value, at = number(at)
        else:
            length, at = (8, at) if key & 7 == 1 else number(at)
            value, at = data[at:at + length], at + length
        found.append((key >> 3, value))
    return found


class ForgedPeer(IdentityCase):
    """Who is no node speaks for nobody."""

    OPTIONS = {"tls": True}
    HELLO, CALL, ANSWER, RESPONSE = 1, 2, 2, 2
    FORGER = "forger"

    def exchanged(self, address, credentials, org):
        """What became of an Acquire in the name of an admin; each answer as its fields, or the error."""
        caller = field(2, self.FORGER) + field(3, "admin") + field(4, "*")
        request = self.rpcs.request(ACQUIRE, org)[0]
        call = field(1, 7) + field(2, ACQUIRE) + field(3, request) + field(4, 5000) + field(6, caller)
        frames = [field(self.HELLO, field(1, 1) + field(2, "n9") + field(4, "forged")), field(self.CALL, call)]
        options = [("grpc.ssl_target_name_override", NAME_OF_NODES), ("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            channel = grpc.insecure_channel(address, options=options)
        else:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*credentials), options=options)
        with channel:
            exchange = channel.stream_stream("/tollgate.peer.v1.PeerService/Exchange")
            try:
                answers = exchange(iter(frames), timeout=10)
                return [fields(next(answers)) for _ in range(2)]
            except grpc.RpcError as error:
                return error.code()

    def used(self, org):
        return sum(hour.total for row in patiently(self.admin.admin.GetOrg, org=org).ledgers
                   if (row.scope, row.meter) == ("", "executions") for hour in row.hours)

    def test_only_a_node_of_this_cluster_may_forward(self):
        orgs, nodes, other = self.owned("own"), self.stand.authority, Authority()
        chain, key = other.certificate([NAME_OF_NODES])
        nameless, nameless_key = nodes.certificate(["n1", "callers.internal"])
        forgers = [
            ("a certificate of another CA", (nodes.ca, key, chain), grpc.StatusCode.UNAVAILABLE),
            ("one of this CA, without the name of nodes", (nodes.ca, nameless_key, nameless), grpc.StatusCode.UNAUTHENTICATED),
            ("none", (nodes.ca, None, None), grpc.StatusCode.UNAVAILABLE),
            ("not even TLS", None, grpc.StatusCode.UNAVAILABLE),
        ]
        for name, org in orgs.items():
            address, before = self.stand.nodes[name].peer, self.used(org)
            for shown, credentials, code in forgers:
                with self.subTest(node=name, shown=shown):
                    self.assertEqual(self.exchanged(address, credentials, org), code)
            self.assertEqual(self.used(org), before, "nothing was carried out")
            # The same frames of somebody who is a node: what was refused above is refused for its certificate alone.
            good, good_key = nodes.certificate(["n9", NAME_OF_NODES])
            (hello,), (answer,) = self.exchanged(address, (nodes.ca, good_key, good), org)
            self.assertEqual((hello[0], answer[0]), (self.HELLO, self.ANSWER))
            self.assertIn(self.RESPONSE, dict(fields(answer[1])))
            self.assertEqual(self.used(org), before + 1)

    def test_callers_are_judged_as_everywhere_where_nodes_speak_tls(self):
        own = self.owned("own")
        token = self.token(fresh("plane"), "plane", "own-*")
        eventually(lambda: self.known_everywhere(token, "own-x"), "it is there")
        for org in own.values():
            self.assertEqual(self.everywhere(token, org), {None})
        names = {patiently(self.plane(name, token).gate.Acquire, org=org, request_id=fresh("r")).node
                 for name in self.channels for org in own.values()}
        self.assertEqual(names, set(self.stand.nodes))


class AtTheStart(ClusterCase):
    def test_a_store_without_a_cluster_and_two_places_are_refused(self):
        for config, said in [
            (AUTH, "no value without [cluster]"),
            (AUTH + 'tokens = "tokens.toml"\n[cluster]\npostgres_urls = ["postgres://h/d"]\n', "no value beside auth.tokens"),
            ('[auth]\ntoken_store = "postgres"\n', 'auth.token_store "postgres" is not allowed: "cluster"'),
        ]:
            node = Node(config=config)
            self.addCleanup(node.close)
            for verb in (["check-config", node.config_file], ["token", "list", "--config", node.config_file]):
                refused = node.run(*verb)
                self.assertEqual((refused.returncode, said in refused.stderr), (1, True), refused.stderr)


if __name__ == "__main__":
    unittest.main()
