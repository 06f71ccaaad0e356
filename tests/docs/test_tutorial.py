"""The tutorial, as a newcomer follows it: every command in its turn, in a folder of its own."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PORT = "8123"


def written(page, pattern):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(pattern, text, re.DOTALL | re.MULTILINE)


def steps(checkout):
    """Yield the commands of the tutorial; what only a person can do is left out or let go."""
    for line in written("docs/tutorial.md", r"^    (\S[^\n]*)$"):
        if " simulate " in line:
            yield f"{line} --ledger ../bill.jsonl > ../server.log 2>&1 &"
            yield f"until (: < /dev/tcp/127.0.0.1/{PORT}) 2> /dev/null; do sleep 0.1; done"
        elif " view " in line:
            yield f"timeout -s INT 3 {line} --no-browser; test $? != 2"
        elif not line.startswith(("unset ", "export OPENAI_API_KEY=...")):
            yield line.replace("PATH/TO/THIS/CHECKOUT", checkout)


@pytest.mark.timeout(1000)
def test_the_tutorial_works_as_it_is_written(tmp_path, pytestconfig):
    """Only with `--full`: it installs the package, and starts a dozen processes."""
    if not pytestconfig.getoption("--full"):
        pytest.skip("a minute; with --full")
    (script,) = written("README.md", r"^```python\n(.*?)^```$")
    lines = ["set -u", "trap 'kill %1' EXIT"]
    for line in steps(str(REPOSITORY)):
        # What belongs to the shell itself stays in it; the time and the status of each are noted.
        lines += [line, f"printf '%s %s\\n' $? {shlex.quote(line)} >> \"$HOME/statuses\""]
        if line.startswith("mkdir texts"):
            lines.append('cp "$HOME/briefs.py" .')
    (tmp_path / "briefs.py").write_text(script, encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    print(f"the tutorial took {time.monotonic() - began:.0f} s", file=sys.stderr)
    statuses = (tmp_path / "statuses").read_text().splitlines()
    failed = [line for line in statuses if not line.startswith("0 ")]
    assert failed == ["1 .venv/bin/python briefs.py"], done.stderr
    folder = tmp_path / "my-texts"
    assert len(list((folder / "out").glob("letter-*.json"))) == 31
    bill = [json.loads(line) for line in (tmp_path / "bill.jsonl").read_text().splitlines()]
    assert len(bill) == 31 + 31  # deleted outputs cost nothing; a deleted folder all of it again
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
