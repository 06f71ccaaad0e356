"""A key that a server gives back, in any field or header and however spelled, is found nowhere."""

import itertools
import json
from pathlib import Path

import pytest
from echo_fixture import MODEL, QUICKLY, STATE
from echo_server import QUIET, SCENARIOS, prompt
from hostile import SPELLINGS

FOLDER = """\
import json, sys

from openai_parallel_toolkit import FilesFailed
from openai_parallel_toolkit.api.batch_folder import BatchFolder, Pace

quick = Pace(
    first_poll_s=0.02, longest_poll_s=0.1, first_limit_s=0.05, longest_limit_s=0.2, look_s=0.1,
    settle_s=0.05, listed_within_s=0.1, patience_s=1.0, grace_s=5.0,
)
try:
    BatchFolder(sys.argv[1], "in", "out", "err", progress=False, pace=quick).run()
except FilesFailed as exc:
    print(exc, exc.summary)
"""


def a_line(custom_id, content):
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line)


def fill(place, folder, scenarios):
    """Write an input for each scenario and spelling, and good ones between: no outage holds up."""
    for n, (scenario, spelling) in enumerate(itertools.product(scenarios, SPELLINGS)):
        place.write(f"{folder}/{n:03}-{scenario}-{spelling}.txt", prompt(scenario, spelling))
        place.write(f"{folder}/{n:03}-good.txt", prompt("good", spelling) + f" {n}")


def looks(out, files):
    """All that may be asked of an output folder."""
    yield from (["status", out], ["status", out, "--json"])
    yield from (["failures", out], ["failures", out, "--json"])
    for file in files:
        yield from (["show", out, file, "--full"], ["show", out, file, "--json"])


def names(place, folder):
    return sorted(p.name for p in (place.root / folder).iterdir() if "-good" not in p.name)


def test_live(place):
    fill(place, "in", [one for one in SCENARIOS if one not in ("named", "ended")])
    fill(place, "answers", ["named", "ended"])
    place.configure("live.config", "echo")
    how = ("--config", "live.config", "--log-file", "run.log", *QUICKLY)
    statuses = place.give(
        ["run", "hooks.py", "in", "out", *how],
        ["run", "hooks.py", "answers", "answered", *how],
        *looks("out", names(place, "in")[::5]),
        *looks("answered", names(place, "answers")[::5]),
        ["keys", "--config", "live.config"],
        ["keys", "--config", "live.config", "--check"],
        ["keys", "--config", "live.config", "--check", "--json"],
    )
    assert set(statuses.values()) <= {0, 1, 4}, place.said
    failed = (place.root / "out" / STATE / "failures.jsonl").read_text()
    assert len(failed.splitlines()) > 50
    assert place.shown(answers=["answered"]) == []


def test_dead_keys(place):
    fill(place, "in", ["good"])
    place.configure("dead.config", "401", "402", "403", "404")
    place.configure("limited.config", "429", "302")
    how = ("--config", "dead.config", "--log-file", "run.log", *QUICKLY)
    statuses = place.give(
        ["run", "hooks.py", "in", "out", *how],
        *looks("out", names(place, "in")[:2]),
        ["run", "hooks.py", "in", "other", "--json", *how],
        ["keys", "--config", "dead.config", "--check"],
        ["keys", "--config", "dead.config", "--check", "--json"],
        ["keys", "--config", "limited.config", "--check"],
    )
    assert 4 in statuses.values(), place.said
    assert "dropped" in place.said
    assert place.shown() == []


@pytest.mark.parametrize("format", ["flat", "batch"])
def test_prompts(place, format):
    lines = [prompt(*one) for one in itertools.product(SCENARIOS, SPELLINGS)]
    place.write(
        "in.txt", "".join(f"{line}\n{prompt('good', 'url')} {n}\n" for n, line in enumerate(lines))
    )
    place.configure("live.config", "echo")
    how = ("--config", "live.config", "--model", MODEL, "--log-file", "run.log", *QUICKLY[:-2])
    place.give(
        ["prompts", "in.txt", "out.jsonl", "--max-workers", "1", "--output-format", format, *how]
    )
    assert len((place.root / "out.errors.jsonl").read_text().splitlines()) > 60
    if format == "batch":  # the bodies are whole, and the user's own
        (place.root / "out.jsonl").unlink()
    assert place.shown(answers=["out.jsonl.state"]) == []


@pytest.mark.parametrize("mode", ["echo", "failing", "bad_batch_id", "bad_file_id"])
def test_batch_mode(place, mode):
    fill(place, "in", [*QUIET, "good", "error_200", "failed_choice"])
    place.configure("live.config", mode)
    how = ("--config", "live.config", "--mode", "batch", "--log-file", "run.log", *QUICKLY)
    statuses = place.give(
        ["run", "hooks.py", "in", "out", *how], *looks("out", names(place, "in")[::5])
    )
    assert 1 in statuses.values(), place.said
    assert place.shown() == []


@pytest.mark.parametrize("mode", ["echo", "failing", "bad_batch_id", "bad_file_id"])
def test_folders_of_batch_files(place, mode):
    for spelling in SPELLINGS:
        lines = [a_line(one, prompt(one, spelling)) for one in [*QUIET, "named", "ended", "good"]]
        place.write(f"in/{spelling}.jsonl", "".join(f"{line}\n" for line in lines))
    place.configure("live.config", mode)
    place.write("folder.py", FOLDER)
    place.start("folder.py", "live.config")
    assert "of 6 files 6 failed" in place.said
    place.give(
        ["batch", "failures", "err"],
        ["batch", "failures", "err", "--json"],
        ["batch", "status", "out"],
    )
    for path in (place.root / "out").rglob("*_output.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert {
            line["response"].pop("body")["choices"][0]["message"]["content"] for line in lines
        } == {"ok"}
        path.write_text(json.dumps(lines))
    assert place.shown() == []


def test_the_library(place):
    place.configure("live.config", "echo")
    place.start(Path(__file__).with_name("library_child.py"))
    assert place.said.count("Traceback") > 40
    assert place.shown() == []


def test_the_search_finds_what_it_looks_for(place):
    place.configure("live.config", "echo")
    for n, spell in enumerate(SPELLINGS.values()):
        place.write(f"{n}.json", json.dumps({"said": spell(place.keys[0])}))
    assert {name for name, _, _ in place.shown()} == {f"{n}.json" for n in range(6)}
