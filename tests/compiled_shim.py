"""Compile what stands between a process and the system's calls, for LD_PRELOAD."""

import shutil
import subprocess
import sys

import pytest


def compiled_shim(source, folder):
    """Return the path of the library; the test is skipped where there can be none."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler, or no Linux")
    path = folder / f"{source.stem}.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return path
