"""Nodes that ask who calls: a file of tokens, made by the command itself, and every rpc as anybody may call it."""

import json
import os
import re
import shutil
import tempfile

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.message import DecodeError

from case import NodeCase
from connect import ENDS, Connect, reason
from node import ROOT, Node
from plane import SERVICES, Plane, Refusal, descriptors

ROLES = ["reporter", "plane", "viewer", "admin", "peer"]
ROW = re.compile(r"^\| `(\S+)` \| (.+) \|$", re.MULTILINE)


def documented():
    """rpc -> the roles that may call it."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = {name: cells.split(" | ") for name, cells in ROW.findall(text)}
    return {name: {role for role, cell in zip(ROLES, cells) if cell == "yes"} for name, cells in rows.items()}


class Rpcs:
    """Every rpc, by its full name."""

    def __init__(self, channel):
        """`channel` asks a node for their descriptors, as somebody who is known."""
        pool = descriptors(channel)
        self.methods = {
            f"{service}/{method.name}": method
            for service in SERVICES.values()
            for method in pool.FindServiceByName(service).methods
        }

    def ask(self, channel, name, token, request):
        """The reason of the refusal, of the call or of each of its items; None where it is carried out."""
        metadata = [("authorization", f"Bearer {token}")] if token else []
        method = self.methods[name]
        answer_type = message_factory.GetMessageClass(method.output_type)
        try:
            if method.client_streaming:
                call = channel.stream_stream(f"/{name}", response_deserializer=answer_type.FromString)
                answers = list(call(iter([request]), metadata=metadata, timeout=10))
            elif method.server_streaming:
                # It has no end of its own.
                call = channel.unary_stream(f"/{name}", response_deserializer=answer_type.FromString)
                stream = call(request, metadata=metadata, timeout=10)
                answers = [next(stream)]
                stream.cancel()
            else:
                call = channel.unary_unary(f"/{name}", response_deserializer=answer_type.FromString)
                answers = [call(request, metadata=metadata, timeout=10)]
        except grpc.RpcError as error:
            return Refusal(error).reason
        for answer in answers:
            for item in getattr(answer, "results", [answer]):
                if item.DESCRIPTOR.fields_by_name.get("error") and item.HasField("error"):
                    return item.error.reason
        return None

    def request(self, name, org, scopes=()):
        """A request for this org, in a batch or a stream as its item; and whether it names scopes."""
        message = message_factory.GetMessageClass(self.methods[name].input_type)()
        fields = message.DESCRIPTOR.fields_by_name
        if "org" in fields:
            target = message
        elif "items" in fields:
            target = message.items.add()
        elif "acquire" in fields:
            target = message.acquire
        else:
            return message.SerializeToString(), False
        target.org = org
        inner = target.acquire if name.endswith("/Pick") else target
        has_scopes = "scopes" in inner.DESCRIPTOR.fields_by_name
        if has_scopes and scopes:
            inner.scopes.extend(scopes)
        for field, value in {"request_id": "r-1", "usage": None, "reservation_id": "0" * 32, "pool": "p"}.items():
            if field in target.DESCRIPTOR.fields_by_name and value and not getattr(target, field):
                if field != "pool" or "PoolService" in name:
                    setattr(target, field, value)
        return message.SerializeToString(), has_scopes

    def names_an_org(self, name):
        fields = self.methods[name].input_type.fields_by_name
        return any(field in fields for field in ["org", "items", "acquire"])


class OverConnect(Rpcs):
    """The same over Connect in JSON, which has no streams of requests."""

    def __init__(self, channel):
        super().__init__(channel)
        self.methods = {name: method for name, method in self.methods.items() if not method.client_streaming}

    def ask(self, channel, name, token, request):
        """`channel` is the address of a port."""
        method = self.methods[name]
        try:
            message = message_factory.GetMessageClass(method.input_type).FromString(request)
            request = json_format.MessageToJson(message).encode()
        except DecodeError:
            # Garbage is sent as it is.
            pass
        connect = Connect(channel, token)
        try:
            if method.server_streaming:
                flags, frame = connect.first_of(name, request)
                return reason(json.loads(frame).get("error", {})) if flags == ENDS else None
            answered = connect.post(name, request)
        finally:
            connect.close()
        if answered.status != 200:
            return answered.reason
        errors = [item["error"] for item in answered.json.get("results", []) if "error" in item]
        return errors[0]["reason"] if errors else None


class CallerCase(NodeCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-callers-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.tokens = os.path.join(self.dir, "tokens.toml")

    def token_command(self, *arguments):
        return Node.run(self.any_node(), "token", *arguments, "--file", self.tokens)

    def any_node(self):
        """Runs verbs that need no node."""
        if not hasattr(self, "_any"):
            self._any = self.node(start=False)
        return self._any

    def token(self, name, role, orgs="*", *more, expires="never"):
        """Makes a token; the text that the command prints."""
        made = self.token_command("create", "--name", name, "--role", role, "--orgs", orgs, "--expires", expires, *more)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def revoke(self, name):
        revoked = self.token_command("revoke", name)
        self.assertEqual(revoked.returncode, 0, revoked.stderr)

    def guarded(self, config="", **options):
        """A node that lets in whom the file of tokens knows."""
        if not os.path.exists(self.tokens):
            open(self.tokens, "w", encoding="ascii").close()
        return self.node(config=f'[auth]\ntokens = "{self.tokens}"\n{config}', **options)

    def plane(self, node, token=None, **options):
        plane = Plane(node.grpc, token=token, **options)
        self.addCleanup(plane.close)
        return plane
