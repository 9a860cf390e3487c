"""Certificates of callers: whom they let in, and what ends them (R-AUTH-1)."""

import datetime
import os
import queue
import ssl
import time
import unittest

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from callers import CallerCase
from case import fresh
from frames import dial
from issuer import write
from node import eventually
from plane import Plane, refusal

PLANE = "spiffe://prod/plane"
GRANTS = f"""
[auth.certificates.principals]
"{PLANE}" = {{ role = "plane", orgs = ["*"] }}
"spiffe://test/*" = {{ role = "plane", orgs = ["test-*"] }}
"ops.internal" = {{ role = "admin", orgs = ["*"] }}
"""
HOUR = datetime.timedelta(hours=1)
# The files of TLS are read so often, in seconds.
READ_EVERY = 5


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """A CA of callers."""

    def __init__(self, name="callers"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self.pem = pem(self._signed(self.name, self.key, [(ca, True)], 24 * HOUR)).decode()

    def _signed(self, subject, key, extensions, length):
        now = datetime.datetime.now(datetime.timezone.utc)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - HOUR).not_valid_after(now + length)
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self.key, hashes.SHA256())

    def certificate(self, *names, length=24 * HOUR):
        """A chain and its key, in PEM. A name with a colon is a URI."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = [x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name) for name in names]
        extensions = [(x509.SubjectAlternativeName(named), False)] if named else []
        signed = self._signed(x509.Name([]), key, extensions, length)
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return pem(signed), key.private_bytes(serialization.Encoding.PEM, form, none)


class CertificateCase(CallerCase):
    def setUp(self):
        super().setUp()
        self.tls = os.path.join(self.dir, "tls")
        made = self.any_node().run("cert", "dev", self.tls)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.ca_file = os.path.join(self.dir, "callers.pem")
        self.authority = Authority()
        self.trust(self.authority)
        with open(f"{self.tls}/ca.pem", "rb") as ca:
            self.ca = ca.read()

    def trust(self, *authorities):
        write(self.ca_file, "".join(authority.pem for authority in authorities))

    def config(self, grants=GRANTS, auth=""):
        return (f'[tls]\ncert = "{self.tls}/cert.pem"\nkey = "{self.tls}/key.pem"\n{auth}'
                f'[auth.certificates]\nca = "{self.ca_file}"\n{grants}')

    def node_of(self, *arguments, **options):
        return self.node(config=self.config(*arguments), **options)

    def caller(self, node, certificate=None, token=None):
        plane = Plane(node.grpc.replace("127.0.0.1", "localhost"), self.ca, token, certificate)
        self.addCleanup(plane.close)
        return plane

    def refused(self, node, certificate=None, org="acme"):
        """Health is for everybody, so that the connection is made; reflection is not."""
        chain, key = certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca, key, chain)
        with grpc.secure_channel(node.grpc.replace("127.0.0.1", "localhost"), credentials) as channel:
            call = channel.unary_unary("/tollgate.v1.GateService/Acquire")
            found = refusal(call, b"\x0a" + bytes([len(org)]) + org.encode(), timeout=15)
            return found.code, found.reason

    def handshake(self, node, certificate):
        """Shows a certificate; an error where the node does not take it."""
        chain, key = (self.written(name, part) for name, part in zip(("chain", "key"), certificate))
        context = ssl.create_default_context(cadata=self.ca.decode())
        context.load_cert_chain(chain, key)
        with dial(node.http) as plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
            secured.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return secured.recv(4096)

    def written(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as file:
            file.write(text)
        return path

    def stream(self, plane, org):
        items = queue.Queue()
        answers = plane.gate.AcquireStream(iter(items.get, None), timeout=60)
        items.put({"tag": 1, "acquire": {"org": org}})
        self.assertTrue(next(answers).decision.allowed)
        self.addCleanup(items.put, None)
        return items, answers

    def goes_on(self, stream, org):
        items, answers = stream
        items.put({"tag": 2, "acquire": {"org": org}})
        return next(answers).decision.allowed

    def ends(self, stream, org, within=10.0):
        until = time.monotonic() + within
        while time.monotonic() < until:
            try:
                self.goes_on(stream, org)
            except grpc.RpcError as error:
                return error.code()
            time.sleep(0.02)
        raise AssertionError(f"the stream goes on after {within} s")


UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


class FirstHour(CertificateCase):
    def test_what_cert_dev_prints_for_a_client_is_all_that_is_needed(self):
        path = os.path.join(self.dir, "dev")
        made = self.any_node().run("cert", "dev", path, "--client", "spiffe://dev/me")
        self.assertEqual(made.returncode, 0, made.stderr)
        files = ["ca.pem", "cert.pem", "client-key.pem", "client.pem", "key.pem"]
        self.assertEqual(sorted(os.listdir(path)), files)
        self.assertEqual({os.stat(f"{path}/{name}").st_mode & 0o777 for name in files}, {0o600})
        node = self.node(config=made.stdout)
        command = next(line for line in made.stdout.splitlines() if line.startswith("# tollgate "))
        port = node.grpc.rsplit(":", 1)[1]
        arguments = command.removeprefix("# tollgate ").replace(":7070", f":{port}").split()
        answer = node.run(*arguments)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        at = arguments.index("--client-cert")
        without = node.run(*arguments[:at], *arguments[at + 4:])
        self.assertEqual((without.returncode, "no credential" in without.stderr), (1, True), without.stderr)
        half = node.run(*arguments[:at + 2], *arguments[at + 4:])
        self.assertEqual((half.returncode, "belong together" in half.stderr), (1, True), half.stderr)


class Callers(CertificateCase):
    def test_a_name_in_a_certificate_is_a_principal(self):
        node = self.node_of()
        plane = self.caller(node, self.authority.certificate(PLANE))
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        self.assertEqual(refusal(plane.admin.GetNode).reason, "ROLE_NOT_ALLOWED")
        of_test = self.caller(node, self.authority.certificate("spiffe://elsewhere", "spiffe://test/7"))
        self.assertTrue(of_test.gate.Acquire(org="test-1").allowed)
        self.assertEqual(refusal(of_test.gate.Acquire, org="acme").reason, "ORG_NOT_ALLOWED")
        ops = self.caller(node, self.authority.certificate("ops.internal"))
        ops.admin.Freeze(org="acme", reason="test", request_id=fresh())
        (line,) = [node.fields(line) for line in node.logged("tollgate::audit") if "Freeze" in line]
        self.assertEqual(line["caller"], "cert:ops.internal")

    def test_a_certificate_that_is_granted_nothing_lets_nobody_in(self):
        node = self.node_of()
        for names in [["spiffe://prod/other"], ["ops.internal.evil"], ["*.internal"], []]:
            with self.subTest(names):
                certificate = self.authority.certificate(*names)
                self.assertEqual(self.refused(node, certificate), (UNAUTHENTICATED, "CREDENTIAL_INVALID"))
        self.assertEqual(self.refused(node), (UNAUTHENTICATED, "CREDENTIAL_MISSING"))

    def test_a_certificate_of_another_ca_does_not_get_through_the_handshake(self):
        node = self.node_of()
        good = self.authority.certificate(PLANE)
        self.assertIn(b"200 OK", self.handshake(node, good))
        for certificate in [
            Authority().certificate(PLANE),
            Authority("other").certificate(PLANE),
            self.authority.certificate(PLANE, length=-datetime.timedelta(minutes=1)),
        ]:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                self.handshake(node, certificate)
        self.assertIn(b"200 OK", self.handshake(node, good))

    def test_a_token_goes_before_the_certificate(self):
        token = self.token("viewer", "viewer")
        node = self.node_of(GRANTS, f'[auth]\ntokens = "{self.tokens}"\n')
        viewer = self.caller(node, self.authority.certificate(PLANE), token)
        self.assertEqual(refusal(viewer.gate.Acquire, org="acme").reason, "ROLE_NOT_ALLOWED")
        self.assertEqual(viewer.admin.GetNode().node, self.caller(node, token=token).admin.GetNode().node)


class Ends(CertificateCase):
    def test_a_stream_ends_with_its_certificate(self):
        clock = self.clock(at=time.time())
        node = self.node_of(clock=clock)
        certificate = self.authority.certificate(PLANE, length=datetime.timedelta(minutes=10))
        plane = self.caller(node, certificate)
        org = fresh("org")
        stream = self.stream(plane, org)
        clock.step(601)
        self.assertEqual(self.ends(stream, org, 2), UNAUTHENTICATED)
        self.assertEqual(refusal(plane.gate.Acquire, org=org).reason, "CREDENTIAL_EXPIRED")

    def test_other_cas_end_what_they_do_not_vouch_for_and_disturb_nobody_else(self):
        clock = self.clock(at=time.time())
        node = self.node_of(clock=clock)
        new = Authority("new")
        of_old = self.caller(node, self.authority.certificate(PLANE))
        org = fresh("org")
        ends = self.stream(of_old, org)
        write(self.ca_file, "half of a file")
        clock.step(READ_EVERY)
        eventually(lambda: self.goes_on(ends, org) and node.logged("auth.certificates.ca"), "a refusal", 15)
        self.trust(self.authority, new)
        clock.step(READ_EVERY)
        eventually(lambda: self.goes_on(ends, org) and node.logged("other CAs are trusted"), "both CAs", 15)
        of_new = self.caller(node, new.certificate("spiffe://test/1"))
        stays = self.stream(of_new, "test-1")
        self.trust(new)
        clock.step(READ_EVERY)
        self.assertEqual(self.ends(ends, org, 10), UNAUTHENTICATED)
        self.assertEqual(refusal(of_old.gate.Acquire, org=org).reason, "CREDENTIAL_INVALID")
        self.assertTrue(self.goes_on(stays, "test-1"))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.handshake(node, self.authority.certificate(PLANE))

    def test_a_reload_ends_what_is_granted_otherwise_within_a_second(self):
        node = self.node_of()
        plane, other = (self.caller(node, self.authority.certificate(name)) for name in (PLANE, "spiffe://test/1"))
        org = fresh("org")
        ends, stays = self.stream(plane, org), self.stream(other, "test-1")
        node.write_config(self.config(GRANTS.replace(PLANE, "spiffe://prod/another")))
        node.reload()
        eventually(lambda: node.logged("configuration reloaded"), "the reload")
        self.assertEqual(self.ends(ends, org, 1), UNAUTHENTICATED)
        self.assertTrue(self.goes_on(stays, "test-1"))


if __name__ == "__main__":
    unittest.main()
