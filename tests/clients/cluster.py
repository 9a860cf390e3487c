"""A cluster as somebody runs it: a PostgreSQL for each cell, nodes that share them, and a load balancer in front.

What is read of a cluster is what operators read: `GetCluster`, and the tables of PostgreSQL. Everything that is
started ends with `close`, also where something fails half-way.
"""

import collections
import contextlib
import datetime
import ipaddress
import json
import os
import signal
import shutil
import tempfile
import time
import typing
from concurrent.futures import ThreadPoolExecutor

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balancer import BALANCERS
from crowd import RECONNECT
from network import CALLERS, PEERS, STORE, Network
from node import FakeClock, Node, eventually
from plane import Plane
from postgres import USER, Postgres, free_port
from relay import Relay

SHARDS = 1024
LEASE = 1.5
# Generous: machines that check changes are slow, and nothing here is about speed.
OWNED_WITHIN = 60.0
# A node looks at least twice a second.
SETTLED = 1.2
# What a takeover may forget of one org: its plain admissions that are not yet written.
WRITE_BEHIND_MAX = 64
CONFIG = f"""
[durability]
write_behind_max = {WRITE_BEHIND_MAX}
[rate]
amount = 100000000
"""
# Longer than a balancer takes to notice that a node drains.
NOTICE = {"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "2500"}
# By this name in its certificate a node knows another one.
NAME_OF_NODES = "peer.tollgate.internal"


def size(name, default):
    """A size of a test: small, unless the environment says otherwise, as scripts/torture does."""
    return int(os.environ.get(f"TOLLGATE_CLUSTER_{name}", default))


class Seen(typing.NamedTuple):
    """A node as GetCluster shows it."""

    name: str
    state: str
    shards: int
    weight: int
    incarnation: str
    config: str
    grpc: str
    peer: str


class View(typing.NamedTuple):
    """The cluster as GetCluster shows it."""

    nodes: list
    owned: int
    free: int
    total: int
    drift: bool

    def alive(self):
        return {node.name: node for node in self.nodes if node.state == "alive"}

    def shares(self):
        """Shards by the name of the node, of those that own any."""
        return {node.name: node.shards for node in self.nodes if node.shards}


def view_of(answer):
    """The one place that knows the fields of GetClusterResponse."""
    def state(node):
        values = node.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        return values[node.state].name.rpartition("_")[2].lower()

    nodes = [Seen(node.name, state(node), node.shards, node.weight, str(node.incarnation), node.config, node.grpc, node.peer)
             for node in answer.nodes]
    return View(nodes, answer.shards_owned, answer.shards_free, answer.shards_total, bool(answer.drift))


class ClusterNode(Node):
    """A node without a data directory, on addresses that it keeps over restarts."""

    def __init__(self, name, addresses, config, environment, clock=None, under=(), flags=()):
        """`addresses`: of grpc, of http and of peers."""
        super().__init__(config=config, environment=environment, clock=clock, under=under)
        self.name, self.flags = name, list(flags)
        self.grpc, self.http, self.peer = addresses
        self.stopped = False

    def arguments(self):
        return ["serve", "--config", self.config_file, "--grpc", self.grpc, "--http", self.http, *self.flags]

    def kill(self):
        self.stopped = False
        super().kill()

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None and not self.stopped


class Cell:
    """A primary, its standby, and the address by which nodes know it."""

    def __init__(self, stack, standby, network, door):
        self.primary = Postgres()
        stack.callback(self.primary.close)
        self._door = door(self.primary) if door else None
        if self._door:
            stack.callback(self._door.close)
        self.standby = self.primary.standby() if standby else None
        if self.standby:
            stack.callback(self.standby.close)
        self._relay = None
        if standby or network:
            host = network.here(STORE) if network else "127.0.0.1"
            self._relay = Relay((host, free_port()), self.primary.address)
            stack.callback(self._relay.close)

    @property
    def url(self):
        if self._relay is None:
            return (self._door or self.primary).url
        host, port = self._relay.listen
        return f"postgres://{USER}@{host}:{port}/postgres?sslmode=disable"

    def ask(self, sql):
        return self.primary.ask(sql)

    def fail_over(self):
        """The primary crashes and its standby takes over; it is the primary then. Returns an instant at which there
        was none."""
        lost = self.primary
        lost.stop("immediate")
        gone = time.monotonic()
        self.standby.promote()
        self._relay.to(self.standby.address)
        self.primary, self.standby = self.standby, None
        return gone


class Cluster:
    """Nodes n1, n2, … on shared cells, all shards owned; `close` ends everything."""

    def __init__(self, nodes=3, cells=1, balancer=None, config="", environment=None, standby=False, spare=0,
                 isolated=False, weights=None, prepare=None, door=None, clocks=None, binary=None, tls=False):
        """`spare`: nodes that the balancer knows and that are not started yet. `isolated`: each node in a network
        namespace of its own, with cables that can be cut; only root may. `config` and `environment`: of every node.
        `clocks`: what those of a node are ahead of this machine's, in seconds, by its name. `prepare` is called with the
        cells before the first node starts, and returns the token that operators have, if callers need one. `door`: what
        is in front of each PostgreSQL, of doors.py. `binary`: what every node runs, where it is not the one under test.
        `tls`: nodes show certificates to each other also on this machine."""
        self._stack = contextlib.ExitStack()
        try:
            self.dir = tempfile.mkdtemp(prefix="tollgate-cluster-")
            self._stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
            self.network = None
            if isolated:
                self.network = Network()
                self._stack.callback(self.network.close)
            with ThreadPoolExecutor(max(cells, 1)) as pool:
                made = [pool.submit(Cell, self._stack, standby, self.network, door) for _ in range(cells)]
                self.cells = [each.result() for each in made]
            self.config, self.environment = CONFIG + config, self.cells[0].primary.environment
            if balancer:
                self.environment |= NOTICE
            self.environment |= environment or {}
            self.authority = Authority() if isolated or tls else None
            self.nodes = {}
            for number in range(1, nodes + spare + 1):
                self._add(number, (weights or {}).get(f"n{number}", 1), (clocks or {}).get(f"n{number}"))
                if binary:
                    self.nodes[f"n{number}"].binary = binary
            self._planes = {}
            self.token = prepare(self.cells) if prepare else None
            self.start(*list(self.nodes)[:nodes])
            self.balancer = None
            if balancer:
                addresses = [(name, node.grpc) for name, node in self.nodes.items()]
                self.balancer = BALANCERS[balancer](addresses)
                self._stack.callback(self.balancer.close)
                self.balancer.wait_until(self.running())
        except BaseException:
            self.close()
            raise

    def _add(self, number, weight, ahead):
        name, clock, under, flags = f"n{number}", None, (), ()
        if ahead is not None:
            clock = FakeClock(at=time.time() + ahead)
            self._stack.callback(clock.close)
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        more = f'\n[cluster]\npostgres_urls = {json.dumps([cell.url for cell in self.cells])}\n'
        more += f'weight = {weight}\n[node]\nname = "{name}"\n'
        if self.network:
            under, flags = self.network.add(number), ["--insecure"]
            callers, peers = (self.network.address(number, cable) for cable in (CALLERS, PEERS))
            addresses = [f"{callers}:7070", f"{callers}:7071", f"{peers}:7072"]
            more += self.authority.written(self.dir, name, [callers, peers])
        elif self.authority:
            more += self.authority.written(self.dir, name, ["127.0.0.1"])
        more = f'\n[listen]\npeer = "{addresses[2]}"\n' + more
        node = ClusterNode(name, addresses, self.config + more, self.environment, clock, under, flags)
        self.nodes[name] = node
        # The log is what explains a failure, and the directory goes with the node.
        self._stack.callback(self._end, node)

    @staticmethod
    def _end(node):
        if node.stopped:
            node.process.send_signal(signal.SIGCONT)
        node.close()

    def start(self, *names, wait=True):
        """Starts nodes, all at once, and waits until every shard has an owner."""
        with ThreadPoolExecutor(max(len(names), 1)) as pool:
            list(pool.map(lambda name: self.nodes[name].start(), names))
        if wait:
            self.wait_until_settled()

    def running(self):
        return [name for name, node in self.nodes.items() if node.is_running]

    # What operators do, and what happens to them.

    def kill(self, name):
        """SIGKILL. Returns an instant from which on it is dead."""
        self.nodes[name].kill()
        return time.monotonic()

    def stop(self, name):
        """SIGSTOP: the process stands still and its connections stay open. Returns an instant after that."""
        self.nodes[name].process.send_signal(signal.SIGSTOP)
        self.nodes[name].stopped = True
        return time.monotonic()

    def cont(self, name):
        before = time.monotonic()
        self.nodes[name].stopped = False
        self.nodes[name].process.send_signal(signal.SIGCONT)
        return before

    def terminate(self, name):
        """SIGTERM: it hands its shards over and exits with 0."""
        code = self.nodes[name].stop()
        if code != 0:
            raise AssertionError(f"{name} exited with {code} after SIGTERM")

    def restart(self, name):
        self.terminate(name)
        self.start(name, wait=False)

    def drain(self, name, within=OWNED_WITHIN):
        """`tollgate drain`: it gives everything up and goes on running."""
        node = self.nodes[name]
        drained = node.run("drain", "--addr", node.grpc)
        if drained.returncode:
            raise AssertionError(f"tollgate drain: {drained.stdout}{drained.stderr}")
        eventually(lambda: name not in self.view().shares(), f"{name} owns nothing", within)

    def cut(self, name, *cables):
        self.network.cut(int(name[1:]), *cables)
        return time.monotonic()

    def mend(self, name, *cables):
        before = time.monotonic()
        self.network.mend(int(name[1:]), *cables)
        return before

    # What they see.

    def plane(self, name=None, token=None):
        """A client: of the balancer, or of one node. Without a token it has that of operators."""
        if name is None and self.balancer is None:
            name = self.running()[0]
        address = self.nodes[name].grpc if name else self.balancer.address
        plane = Plane(address, token=token or self.token, options=RECONNECT)
        self._stack.callback(plane.close)
        return plane

    def client(self, name=None):
        """A client of a node, over a connection that is kept."""
        name = name or self.running()[0]
        if name not in self._planes:
            self._planes[name] = self.plane(name)
        return self._planes[name]

    def admin(self, name=None):
        """The operator's services of a node."""
        return self.client(name).admin

    def view(self, name=None):
        return view_of(self.admin(name).GetCluster())

    def wait_until_owned(self, within=OWNED_WITHIN, names=None):
        """Until every shard is owned by a node that runs, as every one of them says."""
        names = set(names or self.running())

        def owned():
            for name in names:
                try:
                    seen = self.view(name)
                except grpc.RpcError:
                    return False
                alive = seen.alive()
                if set(alive) != names or seen.owned != seen.total or seen.total != SHARDS:
                    return False
                if sum(node.shards for node in alive.values()) != SHARDS:
                    return False
            return True

        eventually(owned, f"{sorted(names)} own all {SHARDS} shards", within)

    def wait_until_settled(self, within=OWNED_WITHIN):
        """The same, and until no shard has moved for longer than a node waits between two looks."""
        self.wait_until_owned(within)
        last, since = None, time.monotonic()

        def settled():
            nonlocal last, since
            now = self.epochs()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > SETTLED

        eventually(settled, "no shard moves", within)
        self.wait_until_owned(within)

    def wait_until_shared(self, tolerance, names=None, within=OWNED_WITHIN):
        """Until each node has its part by weight, give or take; returns the parts."""
        def shared():
            nodes = self.view().alive()
            if set(nodes) != set(names or self.running()) or sum(node.shards for node in nodes.values()) != SHARDS:
                return None
            weights = sum(node.weight for node in nodes.values())
            fair = {name: SHARDS * node.weight / weights for name, node in nodes.items()}
            if any(abs(nodes[name].shards - fair[name]) > tolerance * fair[name] for name in nodes):
                return None
            return {name: node.shards for name, node in nodes.items()}

        return eventually(shared, f"each node has its part, give or take {tolerance:.0%}", within)

    def rows(self, sql):
        """Rows of all cells, as lists of text; {schema} is that of the tables. The number of the cell comes first."""
        found = []
        for number, cell in enumerate(self.cells):
            found += [[number, *row.split("|")] for row in cell.ask(sql.format(schema="tollgate"))]
        return found

    def epochs(self):
        """By (cell, shard); one more with every claim and every release."""
        return {(cell, shard): int(epoch) for cell, shard, epoch in self.rows("SELECT shard_id, epoch FROM {schema}.shard")}

    def owners(self):
        """The name of the owner by (cell, shard)."""
        sql = "SELECT shard_id, owner FROM {schema}.shard WHERE owner IS NOT NULL"
        return {(cell, shard): owner for cell, shard, owner in self.rows(sql)}

    def places(self):
        """(cell, shard) by org, of those of which something is stored."""
        return {org: (cell, shard) for cell, shard, org in self.rows("SELECT shard_id, org FROM {schema}.head")}

    def changes(self, before):
        """By org, how often its shard was claimed or released since `before`, which `epochs` said."""
        now = self.epochs()
        return {org: now[place] - before.get(place, 0) for org, place in self.places().items()}

    def orgs_of(self, name, orgs):
        """Those of the orgs that a node owns."""
        owners, places = self.owners(), self.places()
        return {org for org in orgs if org in places and owners.get(places[org]) == name}

    def ledger(self, orgs, prefix=""):
        """What is recorded, by (org, scope, meter), of scopes that begin so: as GetOrg says it."""
        totals = collections.Counter()
        for org in orgs:
            for kept in self.admin().GetOrg(org=org).ledgers:
                if kept.scope.startswith(prefix):
                    totals[org, kept.scope, kept.meter] += sum(hour.total for hour in kept.hours)
        return dict(totals)

    def stored(self, prefix=""):
        """The same as the views of PostgreSQL say it."""
        sql = "SELECT org, scope, meter, sum(amount)::bigint FROM {schema}.ledger_hours WHERE starts_with(scope, '" + prefix
        rows = self.rows(sql + "') GROUP BY 1, 2, 3")
        return {(org, scope, meter): int(amount) for _, org, scope, meter, amount in rows}

    def log(self, name, lines=40):
        return "\n".join(self.nodes[name].log[-lines:])

    def close(self):
        self._stack.close()


class Authority:
    """The CA of a cluster's nodes, and their certificates."""

    LENGTH = datetime.timedelta(days=1)

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nodes")])
        self.ca = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), True)

    def _signed(self, subject, key, extension, critical):
        now = datetime.datetime.now(datetime.timezone.utc)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - self.LENGTH)
        made = made.not_valid_after(now + self.LENGTH).add_extension(extension, critical)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def certificate(self, names, addresses=()):
        """A certificate with these names of the DNS and addresses, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*map(x509.DNSName, names), *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses)]
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        certificate = self._signed(x509.Name([]), key, x509.SubjectAlternativeName(names), True)
        return certificate, key.private_bytes(serialization.Encoding.PEM, form, none)

    def written(self, folder, name, addresses):
        """Files for one node, and the section of its configuration that names them."""
        cert, key = self.certificate((name, NAME_OF_NODES), addresses)
        texts = {"cert": cert, "key": key, "ca": self.ca}
        lines = ["[cluster.tls]"]
        for kind, text in texts.items():
            path = os.path.join(folder, f"{name}-{kind}.pem")
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                file.write(text)
            lines.append(f'{kind} = "{path}"')
        return "\n".join(lines) + "\n"
