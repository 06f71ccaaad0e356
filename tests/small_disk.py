"""A file system of its own, which a test can fill and enlarge."""

import contextlib
import os
import shutil
import subprocess

import pytest

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class SmallDisk:
    def __init__(self, path):
        self.path = path

    def fill(self, *, leave_bytes=0):
        """Be full from one moment to the next; what is deleted afterwards is free again."""
        while not self._is_shrunk(leave_bytes):
            continue

    def fill_greedily(self):
        """Have somebody write until there is no room, also into what is given up meanwhile."""
        with open(self.path / "somebody-elses", "ab") as out:
            for _ in range(20):
                seen, size_bytes = os.statvfs(self.path), os.fstat(out.fileno()).st_size
                with contextlib.suppress(OSError):  # a part of it was taken just now
                    os.posix_fallocate(out.fileno(), size_bytes, seen.f_bavail * seen.f_frsize)

    def move(self, path):
        """Be at another place from now on, which is a new folder, and empty."""
        seen = os.statvfs(self.path)
        path.mkdir(mode=0o700, parents=True)
        self.unmount()
        self.path = path
        self.mount(f"size={seen.f_blocks * seen.f_frsize},mode=700")

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True, timeout=10)

    def enlarge(self, size_mb=64):
        self.mount(f"remount,size={size_mb}m")

    def mount(self, options):
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)],
            check=True,
            capture_output=True,
            timeout=10,
        )

    def _is_shrunk(self, leave_bytes):
        seen = os.statvfs(self.path)
        size_bytes = (seen.f_blocks - seen.f_bfree) * seen.f_frsize + leave_bytes
        try:
            self.mount(f"remount,size={max(size_bytes, _PAGE_BYTES)}")
        except subprocess.CalledProcessError:  # it holds more by now
            return False
        return True


@contextlib.contextmanager
def small_disk(path, size_mb=24):
    """Mount a disk of so many megabytes; yield it."""
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    disk = SmallDisk(path)
    try:
        disk.mount(f"size={size_mb}m")
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"a tmpfs cannot be mounted here: {exc.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        disk.unmount()
