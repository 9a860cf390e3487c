"""Signed tokens: which let in and which do not, and what becomes of them when keys and grants change (R-AUTH-1)."""

import os
import queue
import shutil
import tempfile
import time
import unittest

import grpc

from case import NodeCase, fresh
from issuer import AUDIENCE, ISSUER, Key, KeyServer, by_secret, encoded, key_set, write
from node import eventually
from plane import Plane, metric, ready, refusal

HOUR = 3600
GRANTS = """
[auth.jwt.subjects]
"plane" = { role = "plane", orgs = ["*"] }
"system:serviceaccount:prod:*" = { role = "plane", orgs = ["prod-*"], bind = ["agent/k8s"] }
"""


def config(jwks, more=GRANTS):
    return f'[auth.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks = "{jwks}"\n{more}'


class JwtCase(NodeCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-jwt-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.jwks = os.path.join(self.dir, "jwks.json")

    def keys(self, *keys):
        write(self.jwks, key_set(*keys))

    def guarded(self, more=GRANTS, **options):
        return self.node(config=config(self.jwks, more), **options)

    def plane(self, node, token):
        plane = Plane(node.grpc, token=token)
        self.addCleanup(plane.close)
        return plane

    def caller(self, node):
        """Calls with a token each; a channel that knows what messages are like."""
        plane = Plane.__new__(Plane)
        plane.channel = grpc.insecure_channel(node.grpc)
        self.addCleanup(plane.channel.close)
        return plane.channel

    def acquire(self, channel, token, org="acme"):
        """The reason of the refusal, or None."""
        call = channel.unary_unary("/tollgate.v1.GateService/Acquire")
        request = b"\x0a" + bytes([len(org)]) + org.encode()
        found = refusal_of(lambda: call(request, timeout=15, metadata=[("authorization", f"Bearer {token}")]))
        return found and (found.code, found.reason)

    def stream(self, plane, org):
        """A stream that has had one item admitted, as the way in and the way out."""
        items = queue.Queue()
        answers = plane.gate.AcquireStream(iter(items.get, None), timeout=60)
        items.put({"tag": 1, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed)
        self.addCleanup(items.put, None)
        return items, answers

    def ends_within(self, stream, org, seconds):
        """Asks on until the stream ends: with which code, and when the last item was admitted."""
        items, answers = stream
        began, last = time.monotonic(), 0.0
        while time.monotonic() < began + seconds + 5:
            sent = time.monotonic()
            items.put({"tag": 2, "acquire": {"org": org}})
            try:
                next(answers)
                last = sent - began
            except grpc.RpcError as error:
                self.assertLess(last, seconds)
                return error.code()
            time.sleep(0.02)
        raise AssertionError("the stream goes on")


def refusal_of(call):
    try:
        return refusal(call)
    except AssertionError:
        return None


UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
INVALID = (UNAUTHENTICATED, "CREDENTIAL_INVALID")
UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "IDENTITY_UNAVAILABLE")


class Tokens(JwtCase):
    def test_a_good_token_of_each_algorithm_lets_in(self):
        keys = [Key("EdDSA", "ed"), Key("ES256", "ec"), Key("RS256", "rs")]
        self.keys(*keys)
        node = self.guarded()
        channel = self.caller(node)
        for key in keys:
            with self.subTest(key.algorithm):
                self.assertIsNone(self.acquire(channel, key.token()))
                self.assertIsNone(self.acquire(channel, key.token(aud=["other", AUDIENCE], nbf=int(time.time()) + 10)))
                forged = Key(key.algorithm, key.kid)
                self.assertEqual(self.acquire(channel, forged.token()), INVALID)
        self.assertFalse([line for line in node.log if "eyJ" in line], "no token in the log")

    def test_a_token_that_says_otherwise_lets_nobody_in(self):
        ed, rs = Key("EdDSA", "ed"), Key("RS256", "rs")
        self.keys(ed, rs)
        node = self.guarded()
        channel = self.caller(node)
        now = int(time.time())
        unsigned = encoded(b'{"alg":"none"}') + "." + ed.token().split(".")[1] + "."
        for what, token in [
            ("none", unsigned),
            ("none, with a name", ed.token(header={"alg": "none"}, sign=lambda _: b"")),
            ("a public key as a secret", rs.token(header={"alg": "HS256"}, sign=by_secret(rs.public_pem()))),
            ("the other algorithm", ed.token(header={"kid": "rs"})),
            ("another issuer", ed.token(iss="https://other.example")),
            ("another audience", ed.token(aud="other")),
            ("no audience", ed.token(aud=None)),
            ("no end", ed.token(exp=None)),
            ("not yet", ed.token(nbf=now + 120)),
            ("a key that is not there", ed.token(header={"kid": "new"})),
            ("a subject that is granted nothing", ed.token("somebody")),
            ("another payload", ".".join([*ed.token().split(".")[:1], ed.token("plane", aud="x").split(".")[1],
                                          ed.token().split(".")[2]])),
        ]:
            with self.subTest(what):
                self.assertEqual(self.acquire(channel, token), INVALID)
        self.assertEqual(self.acquire(channel, ed.token(exp=now - 60)), (UNAUTHENTICATED, "CREDENTIAL_EXPIRED"))
        self.assertIsNone(self.acquire(channel, ed.token()))

    def test_subjects_are_granted_orgs_and_scopes_and_a_claim_grants_where_it_is_trusted(self):
        key = Key("EdDSA", "ed")
        self.keys(key)
        node = self.guarded(f'claim = "tollgate"\n{GRANTS}')
        channel = self.caller(node)
        service_account = key.token("system:serviceaccount:prod:plane")
        self.assertIsNone(self.acquire(channel, service_account, "prod-1"))
        self.assertEqual(self.acquire(channel, service_account, "acme")[1], "ORG_NOT_ALLOWED")
        bound = self.plane(node, service_account)
        org = "prod-2"
        self.assertEqual(refusal(bound.gate.Acquire, org=org, scope="agent/other").reason, "SCOPE_NOT_ALLOWED")
        claimed = key.token("elsewhere", tollgate={"role": "plane", "orgs": ["beta"]})
        self.assertIsNone(self.acquire(channel, claimed, "beta"))
        self.assertEqual(self.acquire(channel, claimed, "acme")[1], "ORG_NOT_ALLOWED")
        grown = key.token("plane", tollgate={"role": "admin", "orgs": ["*"]})
        self.assertEqual(refusal(self.plane(node, grown).admin.GetNode).reason, "ROLE_NOT_ALLOWED")
        wrong = key.token("elsewhere", tollgate={"role": "boss", "orgs": ["*"]})
        self.assertEqual(self.acquire(channel, wrong), INVALID)
        self.assertTrue(node.logged("the claim of a token is no grant"))


class Ends(JwtCase):
    def test_a_stream_ends_with_its_token(self):
        key = Key("EdDSA", "ed")
        self.keys(key)
        clock = self.clock()
        node = self.guarded(clock=clock)
        token = key.token(now=clock.now_ms() / 1000)
        plane = self.plane(node, token)
        org = fresh("org")
        stream = self.stream(plane, org)
        clock.step(700)
        self.assertEqual(self.ends_within(stream, org, 1), UNAUTHENTICATED)
        self.assertEqual(refusal(plane.gate.Acquire, org=org).reason, "CREDENTIAL_EXPIRED")

    def test_a_key_that_leaves_its_file_ends_what_it_let_in_within_a_second(self):
        old, new = Key("EdDSA", "old"), Key("ES256", "new")
        self.keys(old)
        node = self.guarded()
        org = fresh("org")
        by_old = self.plane(node, old.token())
        self.keys(old, new)
        by_new = self.plane(node, eventually(lambda: self.good(node, new), "the new key"))
        ends, stays = self.stream(by_old, org), self.stream(by_new, org)
        self.keys(new)
        self.assertEqual(self.ends_within(ends, org, 1), UNAUTHENTICATED)
        # The new token was asked about again and again before its key was known: all from one address.
        self.assertIn(refusal(by_old.gate.Acquire, org=org).reason, {"CREDENTIAL_INVALID", "TOO_MANY_REFUSALS"})
        items, answers = stays
        items.put({"tag": 3, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed, "who is of another key is not disturbed")

    def good(self, node, key):
        token = key.token()
        return token if self.acquire(self.caller(node), token) is None else None

    def test_a_file_of_no_use_changes_nothing_and_is_said_once(self):
        key = Key("EdDSA", "ed")
        self.keys(key)
        node = self.guarded()
        channel = self.caller(node)
        write(self.jwks, '{"keys": [')
        eventually(lambda: metric(node.http, "tollgate_jwt_keys_refused_total") >= 3, "readings")
        self.assertEqual(len(node.logged("those before are used on")), 1)
        status, text = ready(node.http)
        self.assertEqual((status, "the keys of auth.jwt are those of before" in text), (200, True), text)
        self.assertIsNone(self.acquire(channel, key.token()))
        os.remove(self.jwks)
        eventually(lambda: len(node.logged("those before are used on")) == 2, "the other cause")
        self.assertIsNone(self.acquire(channel, key.token()))
        self.keys(key)
        eventually(lambda: ready(node.http) == (200, "serving"), "nothing to be said")

    def test_a_reload_ends_what_is_granted_otherwise_and_nothing_else(self):
        key = Key("EdDSA", "ed")
        self.keys(key)
        more = '"other" = { role = "plane", orgs = ["*"] }\n'
        node = self.guarded(GRANTS + more)
        plane, other = self.plane(node, key.token()), self.plane(node, key.token("other"))
        org = fresh("org")
        ends, stays = self.stream(other, org), self.stream(plane, org)
        node.write_config(config(self.jwks))
        node.reload()
        self.assertEqual(self.ends_within(ends, org, 2), UNAUTHENTICATED)
        self.assertEqual(refusal(other.gate.Acquire, org=org).reason, "CREDENTIAL_INVALID")
        items, answers = stays
        items.put({"tag": 3, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed)


class Start(JwtCase):
    def test_a_file_that_lets_nobody_in_is_refused_at_start_and_beforehand(self):
        for text, said in [
            (None, "jwks.json"),
            ("", "no JSON Web Key Set"),
            ('{"keys": []}', "it has no key"),
            ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "no key that signs"),
            ('{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AA", "d": "AA"}]}', "private key"),
        ]:
            with self.subTest(said):
                if text is not None:
                    write(self.jwks, text)
                node = self.guarded(start=False)
                checked = node.run("check-config", node.config_file)
                data = os.path.join(self.dir, "data")
                served = node.run("serve", "--config", node.config_file, "--grpc", "127.0.0.1:0", "--http",
                                  "127.0.0.1:0", "--data-dir", data)
                self.assertEqual((checked.returncode, served.returncode), (1, 1), checked.stdout)
                self.assertIn(said, checked.stderr)
                self.assertIn(said, served.stderr)


class Url(JwtCase):
    def serve(self, *keys, **options):
        server = KeyServer(key_set(*keys), **options)
        self.addCleanup(server.close)
        return server

    def behind(self, server, more=GRANTS, **options):
        return self.node(config=config(server.url, more), **options)

    def test_known_keys_go_on_while_the_url_is_down_and_unknown_ones_are_refused(self):
        old, new = Key("EdDSA", "old"), Key("EdDSA", "new")
        server = self.serve(old)
        clock = self.clock()
        # The stream stays on its connection for that hour.
        node = self.behind(server, clock=clock, environment={"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": str(24 * HOUR * 1000)})
        token = old.token(now=clock.now_ms() / 1000, exp=clock.now_ms() // 1000 + 2 * HOUR)
        plane = self.plane(node, token)
        org = fresh("org")
        items, answers = self.stream(plane, org)
        server.status = 503
        clock.step(HOUR)
        eventually(lambda: metric(node.http, "tollgate_jwt_keys_refused_total") > 0, "a refusal")
        items.put({"tag": 2, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed)
        channel = self.caller(node)
        now = clock.now_ms() / 1000
        self.assertIsNone(self.acquire(channel, old.token(now=now)), "another token of a key that is known")
        self.assertEqual(self.acquire(channel, new.token(now=now)), UNAVAILABLE)
        self.assertIn("those of before: the answer is 503", ready(node.http)[1])
        server.text, server.status = key_set(new), 200
        clock.step(11)
        eventually(lambda: self.acquire(channel, new.token(now=now)) is None, "the new key")
        self.assertEqual(self.acquire(channel, old.token(now=now)), INVALID)
        self.assertEqual(ready(node.http), (200, "serving"))

    def test_a_node_starts_while_the_url_is_down_and_says_that_nobody_is_let_in(self):
        key = Key("RS256", "rs")
        server = self.serve(key)
        server.status = 500
        clock = self.clock()
        node = self.behind(server, clock=clock)
        channel, now = self.caller(node), clock.now_ms() / 1000
        self.assertEqual(self.acquire(channel, key.token(now=now)), UNAVAILABLE)
        self.assertIn("no token of auth.jwt lets anybody in", ready(node.http)[1])
        self.assertEqual(metric(node.http, "tollgate_jwt_keys"), 0)
        self.assertTrue(node.logged("could not be read yet"))
        server.status = 200
        clock.step(11)
        eventually(lambda: self.acquire(channel, key.token(now=now)) is None, "the keys")
        self.assertEqual(metric(node.http, "tollgate_jwt_keys"), 1)

    def test_tokens_of_unknown_keys_do_not_make_the_node_ask_more_often(self):
        key = Key("EdDSA", "ed")
        server = self.serve(key)
        node = self.behind(server)
        channel = self.caller(node)
        # The set has just come: it does not have it.
        self.assertEqual(self.acquire(channel, key.token(header={"kid": "new"})), INVALID)
        for turn in range(15):
            self.acquire(channel, key.token(header={"kid": str(turn)}))
        self.assertEqual(server.asked, 1)
        self.assertIsNone(self.acquire(channel, key.token()))

    def test_an_answer_of_no_use_is_no_set(self):
        key = Key("EdDSA", "ed")
        server = self.serve(key)
        server.text = "x" * (300 << 10)
        node = self.behind(server)
        self.assertIn("more than 256 KiB", ready(node.http)[1])
        server.text, server.status, server.headers = key_set(key), 302, {"location": server.url}
        other = self.behind(server)
        self.assertIn("the answer is 302", ready(other.http)[1])

    def test_the_url_is_trusted_by_the_ca_that_is_named(self):
        key = Key("EdDSA", "ed")
        path = os.path.join(self.dir, "tls")
        maker = self.node(start=False)
        self.assertEqual(maker.run("cert", "dev", path).returncode, 0)
        server = self.serve(key, tls=(f"{path}/cert.pem", f"{path}/key.pem"))
        node = self.behind(server, f'ca = "{path}/ca.pem"\n{GRANTS}')
        self.assertIsNone(self.acquire(self.caller(node), key.token()))
        stranger = self.behind(server)
        self.assertIn("invalid peer certificate", ready(stranger.http)[1])
        self.assertEqual(self.acquire(self.caller(stranger), key.token()), UNAVAILABLE)


if __name__ == "__main__":
    unittest.main()
