"""Environments for others' packages, and what machine and versions figures were made with."""

from __future__ import annotations

import datetime as dt
import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

OF_OURS = ("aiohttp", "httptools", "openai", "openai-parallel-toolkit", "uvloop")


def home():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "openai-parallel-toolkit-benchmarks"


@functools.cache
def made(package):
    """The interpreter of an environment with a package, and its version; or None and why not."""
    python = home() / package / "bin" / "python"
    asked = f"from importlib import metadata; print(metadata.version({package!r}))"
    steps = (
        [sys.executable, "-m", "venv", str(home() / package)],
        [str(python), "-m", "pip", "install", "--quiet", package],
        [str(python), "-c", asked],
    )
    for step in steps[2:] if python.exists() else steps:
        done = subprocess.run(step, check=False, capture_output=True, text=True)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1]
    return str(python), done.stdout.strip()


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def machine():
    """What figures hang on, in words."""
    ours = ", ".join(f"{name} {version(name)}" for name in OF_OURS if version(name))
    return (
        f"{dt.datetime.now(dt.timezone.utc).date()}: {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; {ours}"
    )
