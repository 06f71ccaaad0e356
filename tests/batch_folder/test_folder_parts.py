"""The parts of a BatchFolder by themselves: sorting results, remembering jobs, reading values."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.api.batch_folder.job import (
    Figures,
    Job,
    Round,
    Stage,
    job_from_json,
    job_to_json,
)
from openai_parallel_toolkit.api.batch_folder.pace import Backoff, Stop
from openai_parallel_toolkit.api.batch_folder.results import (
    RoundFiles,
    sort_results,
    with_doubts,
    write_rest,
    write_results,
)
from openai_parallel_toolkit.api.batch_folder.shelf import Shelf
from openai_parallel_toolkit.batch.service.check import Finding
from openai_parallel_toolkit.core.errors import JournalError, RunStopping
from openai_parallel_toolkit.core.records import Usage, canonical_json
from openai_parallel_toolkit.costs.prices import ModelPrice, PriceBook

IDS = [f"l{n}" for n in range(6)]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
#: What may come of a line: which file it is in, its status, and whether it may be asked again.
FATES = {
    "answered": ("output", 200, False),
    "refused": ("error", 400, False),
    "limited": ("error", 429, True),
    "broken": ("error", 500, True),
    "expired": ("error", None, True),
    "silent": (None, None, True),
}


def result(custom_id, status):
    body = {"model": "m", "usage": USAGE} if status == 200 else {"error": {"code": "no"}}
    response = None if status is None else {"status_code": status, "body": body}
    return json.dumps({"custom_id": custom_id, "response": response, "error": None}) + "\n"


def write_round(folder, number, fates):
    """Write one round's result files, and return where they are."""
    files = RoundFiles(
        input=str(folder / f"input-{number}"),
        output=str(folder / f"output-{number}"),
        error=str(folder / f"error-{number}"),
    )
    for kind, path in (("output", files.output), ("error", files.error)):
        lines = [result(id, FATES[fate][1]) for id, fate in fates.items() if FATES[fate][0] == kind]
        with open(path, "w") as file:
            file.write("".join(lines))
    return files


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_every_line_ends_in_one_place_and_only_open_ones_are_asked_again(tmp_path, data):
    original, rest = tmp_path / "input-1", tmp_path / "rest"
    original.write_text("".join(json.dumps({"custom_id": id}) + "\n" for id in IDS))
    rounds, still_open, answered = [], list(IDS), set()
    for number in range(1, data.draw(st.integers(1, 3)) + 1):
        fates = {id: data.draw(st.sampled_from(sorted(FATES)), label=id) for id in still_open}
        rounds.append(write_round(tmp_path, number, fates))
        answered |= {id for id, fate in fates.items() if fate == "answered"}
        still_open = [id for id, fate in fates.items() if FATES[fate][2]]
    assert write_rest(str(original), str(rest), sort_results(rounds)) == len(still_open)
    assert [json.loads(line)["custom_id"] for line in rest.read_text().splitlines()] == still_open

    paths = {kind: tmp_path / f"{kind}.jsonl" for kind in ("output", "error")}
    figures = write_results(
        str(original),
        rounds,
        output_path=str(paths["output"]),
        error_path=str(paths["error"]),
        prices=PriceBook({}),
    )
    found = {
        kind: [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]
        if path.exists()
        else []
        for kind, path in paths.items()
    }
    assert sorted(found["output"]) == sorted(answered)
    assert sorted(found["output"] + found["error"]) == IDS
    assert (figures.answered, figures.failed) == (len(answered), 6 - len(answered))
    assert figures.usage.total_tokens == 5 * len(answered)
    assert figures.unpriced == len(answered)


def line(custom_id, model="m"):
    body = {"model": model, "messages": [], "max_tokens": 10}
    asked = {"custom_id": custom_id, "url": "/v1/chat/completions", "body": body}
    return json.dumps(asked) + "\n"


@pytest.mark.parametrize("is_silence_doubtful", [True, False])
def test_lines_that_may_be_billed_without_an_answer_that_says_so_are_in_doubt(
    tmp_path, is_silence_doubtful
):
    ids = ["fine", "without usage", "silent", "lost", "not asked", "refused"]
    prices = PriceBook({"m": ModelPrice(input_usd=Decimal(1), output_usd=Decimal(2))})
    files = RoundFiles(
        input=str(tmp_path / "input"),
        output=str(tmp_path / "output"),
        error=str(tmp_path / "error"),
        is_silence_doubtful=is_silence_doubtful,
    )
    (tmp_path / "input").write_text("".join(map(line, ids)) + line("silent too", "unpriced"))
    bare = {"custom_id": "without usage", "response": {"status_code": 200, "body": {"model": "m"}}}
    (tmp_path / "output").write_text(result("fine", 200) + json.dumps(bare) + "\n")
    errors = [
        {"custom_id": "lost", "response": None, "error": {"code": "server_error"}},
        {"custom_id": "not asked", "response": None, "error": {"code": "batch_expired"}},
    ]
    (tmp_path / "error").write_text(
        result("refused", 400) + "".join(json.dumps(error) + "\n" for error in errors)
    )
    figures = with_doubts(Figures(), [files], prices)
    # A token is a byte at least, and at half the price.
    body = json.loads(line(""))["body"]
    most_usd = Decimal(len(canonical_json(body)) + 2 * 10) / 1_000_000 / 2
    count = 3 if is_silence_doubtful else 2
    assert figures.doubt_usd == count * most_usd
    assert figures.in_doubt == count + is_silence_doubtful
    assert figures.unpriced == int(is_silence_doubtful), "of a model that has no price"


MONEY = st.decimals(allow_nan=False, allow_infinity=False)
ROUNDS = st.builds(
    Round,
    key_name=st.text(),
    fingerprint=st.text(),
    input_file_id=st.none() | st.text(),
    batch_id=st.none() | st.text(),
    total=st.integers(0),
    ended_wall_s=st.none() | st.floats(0, 1e10),
)
JOBS = st.builds(
    Job,
    id=st.text(),
    path=st.text(),
    signature=st.text(),
    folder=st.text(),
    taken_wall_s=st.floats(0, 1e10),
    stage=st.sampled_from(Stage),
    rounds=st.lists(ROUNDS).map(tuple),
    findings=st.lists(st.builds(Finding, code=st.text(), message=st.text())).map(tuple),
    figures=st.builds(Figures, usage=st.builds(Usage), cost_usd=MONEY, doubt_usd=MONEY),
)


@given(JOBS)
def test_a_job_survives_being_written(job):
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def a_job(**changes):
    facts = {"id": "j", "path": "a.jsonl", "signature": "s", "folder": "", "taken_wall_s": 1.0}
    return Job(**{**facts, **changes})


def test_a_shelf_gives_its_jobs_back_oldest_first(tmp_path):
    shelf = Shelf(str(tmp_path))
    for id, taken_wall_s in (("b", 1.0), ("a", 2.0)):
        shelf.save(a_job(id=id, taken_wall_s=taken_wall_s))
    assert [job.id for job in Shelf(str(tmp_path)).load()] == ["b", "a"]
    assert Shelf(str(tmp_path)).salt == shelf.salt


def test_a_shelf_sweeps_what_a_crash_left(tmp_path):
    shelf, kept, gone = Shelf(str(tmp_path)), a_job(id="kept"), a_job(id="gone")
    for job in (kept, gone):
        with open(shelf.place(job, "lines"), "w") as file:
            file.write("x")
    half = tmp_path / "batch_folder" / "jobs" / "kept.json.new"
    half.write_text("{")
    shelf.sweep([kept])
    assert [path.name for path in (tmp_path / "batch_folder" / "work").iterdir()] == ["kept"]
    assert not half.exists()


def test_a_job_that_cannot_be_read_is_named_with_the_way_out(tmp_path):
    shelf = Shelf(str(tmp_path))
    (tmp_path / "batch_folder" / "jobs" / "x.json").write_text('{"id": 1}')
    with pytest.raises(JournalError, match=r"x\.json.*move it away"):
        shelf.load()


def test_waits_double_up_to_the_longest():
    waits = Backoff(2.0, 10.0, Random(1))
    found = [waits.next_s() for _ in range(5)]
    for wait_s, most_s in zip(found, (2, 4, 8, 10, 10), strict=True):
        assert 0.8 * most_s <= wait_s <= most_s


def test_a_stop_ends_a_wait_at_once():
    async def go():
        stop = Stop()
        asyncio.get_running_loop().call_soon(stop.ask)
        with pytest.raises(RunStopping):
            await stop.pause(60)
        with pytest.raises(RunStopping):
            stop.check()

    asyncio.run(go())
