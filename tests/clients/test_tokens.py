"""Tokens: made by the command, revoked within a second, and what the file may say."""

import os
import queue
import stat
import time
import unittest
import urllib.error
import urllib.request

import grpc

from callers import CallerCase
from case import fresh
from node import eventually
from plane import refusal


class FirstHour(CallerCase):
    def test_a_token_is_printed_once_and_lets_its_bearer_in(self):
        made = self.token_command("create", "--name", "ops", "--role", "admin", "--orgs", "*", "--expires", "90d")
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        self.assertRegex(token, r"^tg_[0-9a-f]{16}_[0-9a-f]{64}$")
        with open(self.tokens, encoding="utf-8") as file:
            self.assertNotIn(token.rsplit("_", 1)[1], file.read())
        self.assertEqual(stat.S_IMODE(os.stat(self.tokens).st_mode), 0o600)
        node = self.guarded()
        file = os.path.join(self.dir, "ops.token")
        with open(file, "w", encoding="ascii") as out:
            out.write(made.stdout)
        self.assertEqual(node.run("node", "--addr", node.grpc, "--token-file", file).returncode, 0)
        without = node.run("node", "--addr", node.grpc)
        self.assertEqual((without.returncode, "authorization: Bearer" in without.stderr), (1, True), without.stderr)
        listed = self.token_command("list")
        self.assertIn("ops", listed.stdout)
        self.assertNotIn(token.rsplit("_", 1)[1], listed.stdout)
        self.assertFalse(node.logged(token) or node.logged(token.rsplit("_", 1)[1]))

    def test_what_is_wrong_on_the_command_line_is_named(self):
        self.token("ops", "admin")
        plane = ["--name", "p", "--role", "plane", "--expires", "1d"]
        for arguments, said in [
            (["--name", "ops", "--role", "admin", "--orgs", "*", "--expires", "1d"], "named \"ops\" already"),
            (["--name", "", "--role", "admin", "--orgs", "*", "--expires", "1d"], "name \"\" is not allowed"),
            (["--name", "p", "--role", "boss", "--orgs", "*", "--expires", "1d"], "boss"),
            (["--name", "p", "--role", "plane", "--orgs", "*"], "--expires"),
            (["--name", "p", "--role", "plane", "--orgs", "*", "--expires", "soon"], "never"),
            (["--name", "p", "--role", "plane", "--orgs", "*", "--expires", "2020-01-01T00:00:00Z"], "in the past"),
            ([*plane, "--orgs", "a*b"], "orgs \"a*b\" is not allowed"),
            ([*plane, "--orgs", "acme", "--scopes", "account/*"], "scopes \"account/*\" is not allowed"),
            ([*plane, "--orgs", "acme", "--bind", "agent/*"], "bind \"agent/*\" is not allowed"),
            (["--name", "v", "--role", "viewer", "--orgs", "*", "--expires", "1d", "--scopes", "a"], "scopes \"a\""),
        ]:
            with self.subTest(said):
                answer = self.token_command("create", *arguments)
                self.assertNotEqual(answer.returncode, 0)
                self.assertIn(said, answer.stderr)
                self.assertEqual(answer.stdout, "")
        self.assertEqual(self.token_command("revoke", "nobody").returncode, 1)

    def test_the_file_keeps_its_owner_and_mode(self):
        self.token("one", "viewer")
        os.chmod(self.tokens, 0o640)
        if os.getuid() == 0:
            os.chown(self.tokens, 65534, 65534)
        self.token("two", "viewer")
        about = os.stat(self.tokens)
        self.assertEqual(stat.S_IMODE(about.st_mode), 0o640)
        if os.getuid() == 0:
            self.assertEqual((about.st_uid, about.st_gid), (65534, 65534))


class Revoked(CallerCase):
    def test_a_stream_gets_nothing_admitted_a_second_after_its_token_was_revoked(self):
        token, other = self.token("one", "plane"), self.token("other", "plane")
        node = self.guarded()
        plane, bystander = self.plane(node, token), self.plane(node, other)
        org, items = fresh("org"), queue.Queue()
        answers = plane.gate.AcquireStream(iter(items.get, None))
        items.put({"tag": 1, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed)
        self.revoke("one")
        revoked, last, ended = time.monotonic(), 0.0, None
        tag = 1
        while ended is None and time.monotonic() < revoked + 5:
            tag += 1
            items.put({"tag": tag, "acquire": {"org": org}})
            sent = time.monotonic()
            try:
                next(answers)
                last = sent - revoked
            except grpc.RpcError as error:
                ended = error
            time.sleep(0.02)
        items.put(None)
        self.assertEqual(ended.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertLess(last, 1.0)
        self.assertEqual(refusal(plane.gate.Acquire, org=org).reason, "CREDENTIAL_INVALID")
        self.assertTrue(bystander.gate.Acquire(org=org).allowed, "who has another token is not disturbed")
        used = next(limit for limit in bystander.gate.GetStatus(org=org).limits if limit.window == "aligned/1h")
        self.assertEqual(used.used, tag, "what the stream was refused is not charged")

    def test_a_token_made_while_the_node_runs_lets_in(self):
        node = self.guarded()
        token = self.token("late", "plane")
        eventually(lambda: node.logged("the tokens were read"), "the new file")
        self.assertTrue(self.plane(node, token).gate.Acquire(org="acme").allowed)

    def test_a_broken_file_lets_nobody_new_in_and_ends_nothing(self):
        token = self.token("one", "admin")
        node = self.guarded()
        plane = self.plane(node, token)
        with open(self.tokens, encoding="utf-8") as file:
            good = file.read()
        for broken in ["[[token]]\nid = 5\n", "nonsense", None]:
            if broken is None:
                os.remove(self.tokens)
            else:
                with open(self.tokens, "w", encoding="utf-8") as file:
                    file.write(broken)
            ready = f"http://{node.http}/readyz"
            with self.subTest(broken):
                eventually(lambda: b"auth.tokens" in urllib.request.urlopen(ready, timeout=10).read(), "readyz says it")
                self.assertTrue(plane.gate.Acquire(org="acme").allowed)
                self.assertIn("auth.tokens", plane.admin.GetNode().health)
        with open(self.tokens, "w", encoding="utf-8") as file:
            file.write(good)
        eventually(lambda: plane.admin.GetNode().health == "serving", "the file is good again")

    def test_a_clock_that_is_set_back_gives_a_token_no_more(self):
        clock = self.clock(monotonic=False)
        made = self.node(start=False, clock=clock).run(
            "token", "create", "--name", "short", "--role", "plane", "--orgs", "*", "--expires", "3s", "--file", self.tokens)
        node = self.guarded(clock=clock)
        plane = self.plane(node, made.stdout.strip())
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        clock.step(-3600)
        eventually(lambda: self.is_refused(plane, "CREDENTIAL_EXPIRED"), "the token ends")

    def test_a_node_that_knows_a_later_time_than_its_clock_does_not_forget_what_has_ended(self):
        clock = self.clock(monotonic=True)
        made = self.node(start=False, clock=clock).run(
            "token", "create", "--name", "hour", "--role", "plane", "--orgs", "*", "--expires", "1h", "--file", self.tokens)
        other = self.token("other", "plane")
        node = self.guarded(clock=clock)
        self.assertTrue(self.plane(node, other).gate.Acquire(org="acme").allowed)
        clock.step(2 * 3600)
        self.assertTrue(self.plane(node, other).gate.Acquire(org="acme").allowed)
        node.stop()
        clock.step(-2 * 3600)
        node.start()
        self.assertTrue(self.is_refused(self.plane(node, made.stdout.strip()), "CREDENTIAL_EXPIRED"))

    def test_a_token_ends_with_its_time(self):
        clock = self.clock(monotonic=True)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock.now_ms() / 1000 + 3600))
        made = self.node(start=False, clock=clock).run(
            "token", "create", "--name", "hour", "--role", "plane", "--orgs", "*", "--expires", at, "--file", self.tokens)
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        node = self.guarded(clock=clock)
        plane = self.plane(node, token)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        clock.step(3601)
        eventually(lambda: self.is_refused(plane, "CREDENTIAL_EXPIRED"), "the token ends")

    def is_refused(self, plane, reason):
        try:
            plane.gate.Acquire(org="acme")
        except grpc.RpcError:
            return refusal(plane.gate.Acquire, org="acme").reason == reason
        return False


class AtTheStart(CallerCase):
    def refused(self, config, *flags, environment=None):
        node = self.node(start=False, config=config, environment=environment)
        served = node.run("serve", "--config", node.config_file, "--data-dir", os.path.join(self.dir, "data"),
                          "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *flags)
        self.assertEqual(served.returncode, 1, served.stderr)
        return served.stderr, node.run("check-config", node.config_file)

    def test_a_file_of_no_use_refuses_the_start_and_check_config_says_so(self):
        wrong = os.path.join(self.dir, "wrong.toml")
        with open(wrong, "w", encoding="utf-8") as file:
            file.write('[[token]]\nid = "a"\nname = "a"\nrole = "boss"\n')
        for path, said in [(wrong, "line 4"), (os.path.join(self.dir, "none"), "No such file"), (self.dir, "regular file")]:
            with self.subTest(said):
                stderr, checked = self.refused(f'[auth]\ntokens = "{path}"\n')
                self.assertIn(said, stderr)
                self.assertIn("auth.tokens", stderr)
                self.assertEqual(checked.returncode, 1)
                self.assertIn(said, checked.stderr)

    def test_metrics_for_viewers_need_an_identity(self):
        stderr, _ = self.refused('[auth]\nmetrics = "viewer"\n')
        self.assertIn("auth.metrics", stderr)

    def test_beyond_loopback_a_node_wants_to_know_who_calls_and_to_be_spoken_to_in_secret(self):
        self.token("ops", "admin")
        listen = '[listen]\ngrpc = "0.0.0.0:0"\nhttp = "0.0.0.0:0"\n'
        auth = f'[auth]\ntokens = "{self.tokens}"\n'
        made = self.any_node().run("cert", "dev", os.path.join(self.dir, "tls"))
        self.assertEqual(made.returncode, 0, made.stderr)
        tls = f'[tls]\ncert = "{self.dir}/tls/cert.pem"\nkey = "{self.dir}/tls/key.pem"\n'
        for config, said in [(listen, "may do everything"), (listen + tls, "may do everything"), (listen + auth, "credentials")]:
            node = self.node(start=False, config=config)
            served = node.run("serve", "--config", node.config_file, "--data-dir", os.path.join(self.dir, "data"))
            self.assertEqual((served.returncode, said in served.stderr, "--insecure" in served.stderr), (1, True, True))
            checked = node.run("check-config", node.config_file)
            self.assertEqual((checked.returncode, said in checked.stderr), (0, True))
        node = self.node(start=False, config=listen + auth + tls)
        checked = node.run("check-config", node.config_file)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))


class Http(CallerCase):
    def read(self, node, path, token=None):
        request = urllib.request.Request(f"http://{node.http}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def test_metrics_are_open_or_for_a_viewer_of_all_orgs(self):
        viewer, some = self.token("viewer", "viewer"), self.token("some", "viewer", "acme")
        plane, admin = self.token("plane", "plane"), self.token("admin", "admin")
        node = self.guarded()
        self.assertEqual(self.read(node, "/metrics"), 200)
        node = self.guarded(config='metrics = "viewer"\n')
        answers = [self.read(node, "/metrics", token) for token in [None, "tg_a_b", plane, some, viewer, admin]]
        self.assertEqual(answers, [401, 401, 403, 403, 200, 200])
        self.assertEqual([self.read(node, path) for path in ["/livez", "/readyz"]], [200, 200])


class Guessed(CallerCase):
    def test_an_address_that_guesses_is_slowed_down_and_its_neighbours_are_not(self):
        token = self.token("one", "plane")
        node = self.guarded()
        plane = self.plane(node, token)
        channel = grpc.insecure_channel(node.grpc)
        self.addCleanup(channel.close)
        acquire = channel.unary_unary("/tollgate.v1.GateService/Acquire")
        reasons = {}
        for number in range(60):
            wrong = f"tg_{number:016x}_{number:064x}"
            said = refusal(acquire, b"", metadata=[("authorization", f"Bearer {wrong}")], timeout=10)
            reasons.setdefault(said.reason, said)
            self.assertNotIn(wrong, said.message)
        self.assertEqual(set(reasons), {"CREDENTIAL_INVALID", "TOO_MANY_REFUSALS"})
        self.assertEqual(reasons["TOO_MANY_REFUSALS"].retry_after, 1.0)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        metrics = urllib.request.urlopen(f"http://{node.http}/metrics", timeout=10).read().decode()
        self.assertIn('tollgate_rpc_errors_total{rpc="Acquire",reason="CREDENTIAL_INVALID"} 2', metrics)
        self.assertFalse([line for line in node.log if "tg_" in line])


if __name__ == "__main__":
    unittest.main()
