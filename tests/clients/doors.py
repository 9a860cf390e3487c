"""What may stand between nodes and a PostgreSQL: a pooler, and TLS that is asked for.

Each is made for a server that runs, has the address for nodes as `url`, and ends with `close`.
"""

import datetime
import ipaddress
import os
import pathlib
import shutil
import socket
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from postgres import PASSWORD, USER, free_port

WITHIN = 20.0


class PgBouncer:
    """In transaction mode: each transaction may be on another connection of the server. It refuses parameters of a
    connection that it does not know, as it does when nobody has changed that."""

    def __init__(self, server):
        found = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not os.path.exists(found):
            raise AssertionError("missing: pgbouncer; scripts/test installs it as root (Debian: pgbouncer)")
        self.port = free_port()
        folder = pathlib.Path(server.dir, "pgbouncer")
        folder.mkdir()
        users = folder / "users"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        settings = folder / "pgbouncer.ini"
        host, port = server.address
        settings.write_text(f"""[databases]
postgres = host={host} port={port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
admin_users = {USER}
""")
        under = []
        if os.getuid() == 0:
            # It refuses to run as root.
            for each in (folder, users, settings):
                shutil.chown(each, "postgres")
            under = ["runuser", "-u", "postgres", "--"]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen([*under, found, str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() >= until:
                    self.close()
                    raise AssertionError((folder / "log").read_text()) from None
                time.sleep(0.05)

    @property
    def url(self):
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def close(self):
        """May be called again."""
        self._process.terminate()
        self._process.wait(WITHIN)


class Encrypted:
    """The server takes connections with TLS alone. `ca` is who vouches for its certificate; `other` vouches for nothing
    of it."""

    def __init__(self, server):
        self._server = server
        self.ca, self.other = (pathlib.Path(server.dir, name) for name in ("ca.pem", "other.pem"))
        key, own = _authority()
        self.ca.write_bytes(_pem(own))
        self.other.write_bytes(_pem(_authority()[1]))
        leaf = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = _signed("server", leaf, "ca", key, names)
        data = pathlib.Path(server.dir, "data")
        private = leaf.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        for name, text in (("server.crt", _pem(certificate)), ("server.key", private)):
            with open(os.open(data / name, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                file.write(text)
            if os.getuid() == 0:
                shutil.chown(data / name, "postgres")
        server.ask("ALTER SYSTEM SET ssl = on")
        rules = data / "pg_hba.conf"
        rules.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        server.stop("fast")
        server.start()
        # What the test itself asks goes the same way.
        server.mode = f"verify-full&sslrootcert={self.ca}"

    @property
    def url(self):
        return self._server.url

    def close(self):
        """May be called again; what it made goes with the server."""


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _authority():
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _signed("ca", key, "ca", key, x509.BasicConstraints(ca=True, path_length=0))


def _signed(subject, key, issuer, by, extension):
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer))
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
    return made.add_extension(extension, True).sign(by, hashes.SHA256())
