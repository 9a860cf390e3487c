"""A small disk of a node's own, which another process fills up. It needs root."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from case import NodeCase

DISK_BYTES = 24 << 20


class DiskCase(NodeCase):
    def disk(self):
        point = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-disk-"))
        self.addCleanup(shutil.rmtree, point, ignore_errors=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(point)]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"a disk that can be filled needs root: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(point)], check=False)
        return point

    def fill(self, disk, leave=0):
        """Leaves no byte free, or about so many."""
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while free(disk) > leave:
                    filler.write(b"x" * (64 << 10))
            except OSError:
                pass


def free(disk):
    """Bytes that can be written."""
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize
