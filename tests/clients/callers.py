"""Nodes that ask who calls: a file of tokens, made by the command itself."""

import os
import shutil
import tempfile

from case import NodeCase
from node import Node
from plane import Plane


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
