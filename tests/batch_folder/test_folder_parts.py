"""The parts of a BatchFolder by themselves: sorting results, remembering jobs, reading values."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.api.batch_folder.job import (
    Job,
    JobStage,
    LineFigures,
    job_from_json,
    job_to_json,
)
from openai_parallel_toolkit.api.batch_folder.job_files import JobFiles
from openai_parallel_toolkit.api.batch_folder.job_machine import Stop
from openai_parallel_toolkit.api.batch_folder.results import (
    RoundFiles,
    sort_results,
    with_doubts,
    write_rest,
    write_results,
)
from openai_parallel_toolkit.batch.judgement import judge_line
from openai_parallel_toolkit.batch.service.check import Finding
from openai_parallel_toolkit.core.errors import JournalError, RunStopping
from openai_parallel_toolkit.core.records import Outcome, OutcomeKind, Usage, canonical_json
from openai_parallel_toolkit.costs.model_price import ModelPrice
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.journal import Journal

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
#: How often a line that may be billed is asked again without an answer.
MOST_SILENT = 1


def result(custom_id, status):
    choices = [{"message": {"content": "yes"}, "finish_reason": "stop"}]
    body = {"model": "m", "choices": choices, "usage": USAGE}
    if status != 200:
        body = {"error": {"code": "no"}}
    response = None if status is None else {"status_code": status, "body": body}
    error = None if response else {"code": "batch_expired"}
    return json.dumps({"custom_id": custom_id, "response": response, "error": error}) + "\n"


def judge(result):
    return judge_line(result, "/chat/completions", wall_s=0.0, clean=str)


def outcome(kind):
    return Outcome(kind=kind, code="no_result", message="nothing came")


def write_round(folder, number, fates):
    """Write one round's result files, and return where they are."""
    files = RoundFiles(
        lines=str(folder / f"input-{number}"),
        output=str(folder / f"output-{number}"),
        error=str(folder / f"error-{number}"),
        rest=outcome(OutcomeKind.UNKNOWN),
    )
    with open(files.lines, "w") as lines:
        lines.write("".join(json.dumps({"custom_id": id}) + "\n" for id in fates))
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
    rounds, still_open, answered, silent = [], list(IDS), set(), Counter()
    for number in range(1, data.draw(st.integers(1, 3)) + 1):
        fates = {id: data.draw(st.sampled_from(sorted(FATES)), label=id) for id in still_open}
        rounds.append(write_round(tmp_path, number, fates))
        answered |= {id for id, fate in fates.items() if fate == "answered"}
        silent.update(id for id, fate in fates.items() if fate == "silent")
        still_open = [
            id for id, fate in fates.items() if FATES[fate][2] and silent[id] <= MOST_SILENT
        ]
    assert write_rest(str(original), str(rest), sort_results(rounds, judge)) == len(still_open)
    assert [json.loads(line)["custom_id"] for line in rest.read_text().splitlines()] == still_open

    paths = {kind: tmp_path / f"{kind}.jsonl" for kind in ("output", "error")}
    figures = write_results(
        str(original),
        rounds,
        judge,
        output_path=str(paths["output"]),
        error_path=str(paths["error"]),
        clean=str,
        prices=PriceBook({}),
        model="m",
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
        lines=str(tmp_path / "input"),
        output=str(tmp_path / "output"),
        error=str(tmp_path / "error"),
        rest=outcome(OutcomeKind.UNKNOWN if is_silence_doubtful else OutcomeKind.BUSY),
    )
    (tmp_path / "input").write_text("".join(map(line, ids)) + line("silent too", "unpriced"))
    bare = json.loads(result("without usage", 200))
    del bare["response"]["body"]["usage"]
    (tmp_path / "output").write_text(result("fine", 200) + json.dumps(bare) + "\n")
    errors = [
        {"custom_id": "lost", "response": None, "error": {"code": "server_error"}},
        {"custom_id": "not asked", "response": None, "error": {"code": "batch_expired"}},
    ]
    (tmp_path / "error").write_text(
        result("refused", 400) + "".join(json.dumps(error) + "\n" for error in errors)
    )
    figures = with_doubts(LineFigures(), [files], judge, prices)
    # A token is a byte at least, and at half the price.
    body = json.loads(line(""))["body"]
    most_usd = Decimal(len(canonical_json(body)) + 2 * 10) / 1_000_000 / 2
    count = 3 if is_silence_doubtful else 2
    assert figures.doubt_usd == count * most_usd
    assert figures.in_doubt == count + is_silence_doubtful
    assert figures.unpriced == int(is_silence_doubtful), "of a model that has no price"


MONEY = st.decimals(allow_nan=False, allow_infinity=False)
JOBS = st.builds(
    Job,
    id=st.just(1),
    token=st.text(),
    path=st.text(),
    signature=st.text(),
    folder=st.text(),
    taken_wall_s=st.floats(0, 1e10),
    stage=st.sampled_from(JobStage),
    lines_files=st.lists(st.integers(0, 9)).map(tuple),
    findings=st.lists(st.builds(Finding, code=st.text(), message=st.text())).map(tuple),
    figures=st.builds(LineFigures, usage=st.builds(Usage), cost_usd=MONEY, doubt_usd=MONEY),
)


@given(JOBS)
def test_a_job_survives_being_written(job):
    assert job_from_json(1, json.loads(json.dumps(job_to_json(job)))) == job


def a_job(**changes):
    facts = {"token": "j", "path": "a.jsonl", "signature": "s", "folder": "", "taken_wall_s": 1.0}
    return Job(**{"id": 1, **facts, **changes})


def test_the_journal_gives_jobs_back_with_their_batches_and_forgets_both(tmp_path):
    journal = Journal.open(str(tmp_path))
    store, facts = journal.batches, {"fingerprint": "f", "path": "/p", "model": "m"}
    job = a_job(id=store.add_job(job_to_json(a_job())))
    ready = job.at(JobStage.RUNNING)
    batch = store.form_round(
        job.id, job_to_json(ready), lines=3, tokens=9, key_name="k", token="t", **facts
    )
    journal.close()
    journal = Journal.open(str(tmp_path))
    store = journal.batches
    assert [job_from_json(*one) for one in store.jobs()] == [ready]
    assert store.rounds_of(job.id) == [batch]
    assert store.open_batches() == [], "these are of hooks' calls"
    store.forget_job(job.id)
    assert (store.jobs(), store.rounds_of(job.id)) == ([], [])
    journal.close()


def test_folders_of_no_known_job_are_swept_away(fixture):
    settings = fixture.folder().settings
    settings = replace(settings, state_folder=str(fixture.root / "state"))
    files = JobFiles(None, settings, prices=PriceBook({}), wall_s=float, clean=str)
    for token in ("kept", "gone"):
        (fixture.root / "state" / "batch_folder" / token).mkdir()
    files.sweep([a_job(token="kept")])
    left = (fixture.root / "state" / "batch_folder").iterdir()
    assert [path.name for path in left] == ["kept"]


def test_a_job_that_cannot_be_read_is_named_with_the_way_out():
    with pytest.raises(JournalError, match=r"job 7 .*state_path"):
        job_from_json(7, {"path": 1})


def test_a_stop_ends_a_wait_at_once():
    async def go():
        stop = Stop()
        asyncio.get_running_loop().call_soon(stop.ask)
        with pytest.raises(RunStopping):
            await stop.pause(60)
        with pytest.raises(RunStopping):
            stop.check()

    asyncio.run(go())
