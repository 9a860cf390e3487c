"""TLS on both listeners: certificates for a first hour, replaced under load, and what a handshake may take."""

import json
import os
import shutil
import socket
import ssl
import tempfile
import threading
import time
import unittest
import urllib.request

from case import NodeCase
from frames import closes, dial
from node import BINARY, eventually
from plane import Plane

DAY = 24 * 3600


class Tls(NodeCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-tls-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def made(self, name, *more, clock=None):
        """`cert dev` into a directory of this name."""
        path = os.path.join(self.dir, name)
        maker = self.node(start=False, clock=clock)
        answer = maker.run("cert", "dev", path, *more)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.said = answer.stdout
        return path

    def config(self, path):
        return f'[tls]\ncert = "{path}/cert.pem"\nkey = "{path}/key.pem"\n'

    def started(self, path, **options):
        return self.node(config=self.config(path), **options)

    def secure(self, node, path):
        with open(f"{path}/ca.pem", "rb") as ca:
            plane = Plane(node.grpc, ca=ca.read())
        self.addCleanup(plane.close)
        return plane

    def shown(self, address, path):
        """The certificate that a new connection is shown, verified."""
        trusted = ssl.create_default_context(cafile=f"{path}/ca.pem")
        with dial(address) as plain, trusted.wrap_socket(plain, server_hostname="localhost") as secured:
            return secured.getpeercert(binary_form=True)


class FirstHour(Tls):
    def test_what_cert_dev_prints_is_all_that_is_needed(self):
        path = self.made("dev")
        self.assertEqual(sorted(os.listdir(path)), ["ca.pem", "cert.pem", "key.pem"])
        self.assertEqual({os.stat(f"{path}/{name}").st_mode & 0o777 for name in os.listdir(path)}, {0o600})
        node = self.node(config=self.said)
        command = next(line for line in self.said.splitlines() if line.startswith("# tollgate "))
        arguments = command.removeprefix("# tollgate ").replace(":7070", ":" + node.grpc.rsplit(":", 1)[1]).split()
        self.assertEqual(node.run(*arguments).returncode, 0)
        peer = self.made("peer", "--peer")
        self.assertEqual(sorted(os.listdir(peer)), ["ca.pem", "cert.pem", "key.pem", "peer-key.pem", "peer.pem"])
        again = node.run("cert", "dev", path)
        self.assertEqual((again.returncode, "ca.pem" in again.stderr), (1, True), "nothing is overwritten")

    def test_grpc_and_http_speak_tls_1_3_and_1_2_and_nothing_older(self):
        path = self.made("dev")
        node = self.started(path)
        self.assertTrue(self.secure(node, path).gate.Acquire(org="acme").allowed)
        trusted = ssl.create_default_context(cafile=f"{path}/ca.pem")
        url = f"https://localhost:{node.http.rsplit(':', 1)[1]}/livez"
        with urllib.request.urlopen(url, timeout=10, context=trusted) as answer:
            self.assertEqual(answer.read(), b"alive\n")
        for version, name in [(ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")]:
            context = ssl.create_default_context(cafile=f"{path}/ca.pem")
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2"])
            with dial(node.grpc) as plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
                self.assertEqual((secured.version(), secured.selected_alpn_protocol()), (name, "h2"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with dial(node.grpc) as plain, self.assertRaises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="localhost")

    def test_the_command_says_what_is_wrong(self):
        path = self.made("dev")
        other = self.made("other")
        node = self.started(path)
        port = node.grpc.rsplit(":", 1)[1]
        for arguments, said in [
            ([f"https://localhost:{port}"], "UnknownIssuer"),
            ([f"https://localhost:{port}", "--ca", f"{other}/ca.pem"], "BadSignature"),
            ([f"https://localhost:{port}", "--ca", f"{path}/missing.pem"], "missing.pem"),
            ([f"https://localhost:{port}", "--ca", f"{path}/key.pem"], "certificates in PEM"),
            ([f"http://localhost:{port}"], "with https://"),
        ]:
            with self.subTest(said):
                answer = node.run("--timeout", "2s", "node", "--addr", *arguments)
                self.assertEqual(answer.returncode, 1)
                self.assertIn(said, answer.stderr)


class Files(Tls):
    def refused(self, config):
        """What `check-config` says, which is what a node says that is started with it."""
        node = self.node(start=False, config=config)
        checked = node.run("check-config", node.config_file)
        served = node.run("serve", "--config", node.config_file, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
                          "--data-dir", os.path.join(self.dir, "data"))
        self.assertEqual((checked.returncode, served.returncode), (1, 1), checked.stdout)
        self.assertIn(checked.stderr.strip().splitlines()[-1], served.stderr)
        return checked.stderr

    def test_a_file_that_is_of_no_use_is_named(self):
        path, other = self.made("dev"), self.made("other")
        old = self.made("old", clock=self.clock(at=time.time() - 90 * DAY))
        empty = os.path.join(self.dir, "empty.pem")
        open(empty, "w", encoding="ascii").close()
        for config, said in [
            (f'[tls]\ncert = "{path}/cert.pem"\n', "tls.key"),
            (f'[tls]\nkey = "{path}/key.pem"\n', "tls.cert"),
            (f'[tls]\ncert = ""\nkey = "{path}/key.pem"\n', "tls.cert"),
            (f'[tls]\ncert = "{path}/none.pem"\nkey = "{path}/key.pem"\n', "none.pem"),
            (f'[tls]\ncert = "{self.dir}"\nkey = "{path}/key.pem"\n', "no regular file"),
            (f'[tls]\ncert = "{empty}"\nkey = "{path}/key.pem"\n', "it has none"),
            (f'[tls]\ncert = "{path}/key.pem"\nkey = "{path}/key.pem"\n', "it has none"),
            (f'[tls]\ncert = "{path}/cert.pem"\nkey = "{path}/cert.pem"\n', "a private key in PEM"),
            (f'[tls]\ncert = "{path}/cert.pem"\nkey = "{other}/key.pem"\n', "the key of the first certificate"),
            (self.config(old), "has ended on"),
        ]:
            with self.subTest(said):
                text = self.refused(config)
                self.assertIn(said, text)
                self.assertNotIn("PRIVATE KEY", text)

    def test_a_certificate_is_replaced_under_load_and_no_call_fails(self):
        path, new = self.made("dev"), self.made("new")
        # One CA file for both, as after a rotation of the CA.
        with open(f"{path}/ca.pem", "a", encoding="ascii") as ca, open(f"{new}/ca.pem", encoding="ascii") as more:
            ca.write(more.read())
        node = self.started(path)
        before = self.shown(node.grpc, path)
        kept, failed, calls, over = self.secure(node, path), [], [0], threading.Event()

        def load():
            while not over.is_set():
                try:
                    kept.gate.Acquire(org="acme")
                    self.shown(node.grpc, path)
                    calls[0] += 1
                except Exception as error:  # noqa: BLE001
                    failed.append(error)

        caller = threading.Thread(target=load)
        caller.start()
        try:
            # Not at once: for a while the certificate and the key do not belong together.
            os.replace(f"{new}/cert.pem", f"{path}/cert.pem")
            eventually(lambda: node.logged("the certificate was not replaced"), "a certificate without its key", 15)
            self.assertEqual(self.shown(node.grpc, path), before)
            os.replace(f"{new}/key.pem", f"{path}/key.pem")
            eventually(lambda: node.logged("another certificate is served"), "the new certificate", 15)
            self.assertNotEqual(self.shown(node.grpc, path), before)
            self.assertNotEqual(self.shown(node.http, path), before)
        finally:
            over.set()
            caller.join()
        self.assertEqual((failed, calls[0] > 10), ([], True))
        refused = [line for line in node.log if "the certificate was not replaced" in line]
        self.assertEqual(len(refused), 1, "said once")

    def test_a_certificate_that_ends_soon_is_said_and_measured(self):
        path = self.made("dev")
        node = self.started(path, clock=self.clock(at=time.time() + 20 * DAY))
        eventually(lambda: node.logged("ends soon"), "a warning")
        trusted = ssl._create_unverified_context()
        with urllib.request.urlopen(f"https://{node.http}/metrics", timeout=10, context=trusted) as answer:
            text = answer.read().decode()
        line = next(line for line in text.splitlines() if line.startswith("tollgate_certificate_ends_seconds "))
        self.assertAlmostEqual(float(line.split()[1]), time.time() + 30 * DAY, delta=2 * DAY)


class Handshakes(Tls):
    def test_half_handshakes_are_cut_and_disturb_nobody(self):
        path = self.made("dev")
        node = self.started(path, environment={"TOLLGATE__BOUNDS__REQUEST_MS": "1000"})
        plane = self.secure(node, path)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        peers = []
        for said in [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 64]:
            for port in [node.grpc, node.http]:
                for _ in range(50):
                    peer = dial(port)
                    self.addCleanup(peer.close)
                    peer.sendall(said)
                    peers.append(peer)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        until = time.monotonic() + 8
        for peer in peers:
            self.assertTrue(closes(peer, until - time.monotonic()))
        # What speaks no TLS is cut at once.
        for said in [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", os.urandom(512)]:
            peer = dial(node.grpc)
            self.addCleanup(peer.close)
            peer.sendall(said)
            self.assertTrue(closes(peer, 3))
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)


class Loopback(Tls):
    def test_beyond_loopback_a_node_starts_only_when_it_is_told_to(self):
        node = self.node(start=False)
        data = os.path.join(self.dir, "data")
        for port in ["--grpc", "--http"]:
            refused = node.run("serve", "--data-dir", data, port, "0.0.0.0:0")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("--insecure", refused.stderr)
        node.start("--insecure")
        self.assertEqual(node.logged("INSECURE"), [], "on loopback there is nothing to say")
        node.stop()
        node.write_config('[listen]\ngrpc = "0.0.0.0:0"\n')
        beyond = node.run("serve", "--config", node.config_file, "--data-dir", data, "--http", "127.0.0.1:0")
        self.assertIn("0.0.0.0", beyond.stderr)


if __name__ == "__main__":
    unittest.main()
