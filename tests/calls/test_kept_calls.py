"""Calls outside a toolkit, kept when asked: a script that runs again pays for the rest alone."""

import asyncio
import os
from pathlib import Path

import pytest
from forked_process import run_forked
from toolkit_fixture import STATE, Hooks

from openai_parallel_toolkit import (
    EmbeddingModel,
    Gpt35Turbo,
    InvalidAnswer,
    NoUsableKey,
    RunLocked,
    StorageError,
    UsageError,
    amulti_process_one,
    arequest_openai_api,
    arequest_reply,
    multi_process_one,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import SimKey

CHILD = Path(__file__).with_name("kept_child.py")
LINES = [("", f"line {n % 5}") for n in range(8)]


def script(keys, journal):
    """Ask in every way there is; return the answers."""
    return [
        request_openai_api(Gpt35Turbo("hello"), keys, journal=journal),
        request_openai_api(Gpt35Turbo("hello"), keys, journal=journal),
        request_reply(Gpt35Turbo("hello"), keys, journal=journal).text,
        asyncio.run(arequest_openai_api(Gpt35Turbo("later"), keys, journal=journal)),
        asyncio.run(arequest_reply(Gpt35Turbo("later"), keys, journal=journal)).text,
        request_openai_api(EmbeddingModel("e", "hello", dimensions=4), keys, journal=journal),
        multi_process_one(LINES, Gpt35Turbo, 3, keys=keys, journal=journal),
        asyncio.run(amulti_process_one(LINES, Gpt35Turbo, 3, keys=keys, journal=journal)),
    ]


def test_all_ways_of_asking_replay_when_the_script_runs_again(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    first = script(keys, fixture.root / "kept")
    assert sim.ledger.billed() == 6 + 2 * len(LINES)
    keys.close()
    assert script(fixture.keys(sim), str(fixture.root / "kept")) == first
    assert sim.ledger.hits() == 6 + 2 * len(LINES)


def test_in_one_process_an_equal_call_is_a_new_one(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    for _ in range(3):
        request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    assert sim.ledger.billed() == 3


def test_without_a_journal_nothing_is_kept(fixture):
    sim = fixture.simulate()
    request_openai_api(Gpt35Turbo("hello"), fixture.keys(sim))
    assert list(fixture.root.iterdir()) == [fixture.input]


def test_a_replay_is_told_in_the_reply(fixture):
    sim = fixture.simulate()
    for is_replay in (False, True):
        keys = fixture.keys(sim)
        assert request_reply(Gpt35Turbo("hi"), keys, journal="kept").is_replay is is_replay
        keys.close()


def run_child(*words):
    return run_forked([CHILD, *words])


def test_a_script_that_was_killed_pays_for_the_rest_and_what_was_in_flight(fixture):
    sim = fixture.simulate(latency=0.02)
    killed = run_child(sim.url, fixture.root / "kept", 200, 0.4)
    assert killed.returncode == -9
    paid = sim.ledger.billed()
    assert 1 < paid < 201
    for _ in range(2):
        again = run_child(sim.url, fixture.root / "kept", 200)
        assert again.stdout == "200\n201\n", again.stderr
        assert 201 <= sim.ledger.billed() <= 201 + 4
    with JournalReader(str(fixture.root / "kept" / STATE)) as journal:
        status = journal.status()
        assert status.run.how == "finished"  # closed in good order when the process ended
        assert (status.totals.this_run.sent, status.totals.all_runs.answered) == (0, 201)


def test_another_process_is_told_who_holds_the_journal(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    other = run_child(sim.url, fixture.root / "kept", 1)
    assert f"RunLocked: Process {os.getpid()} on" in other.stderr
    keys.close()
    assert run_child(sim.url, fixture.root / "kept", 1).returncode == 0


def test_under_other_keys_the_journal_is_locked_too(fixture):
    sim = fixture.simulate()
    request_openai_api(Gpt35Turbo("hello"), fixture.keys(sim), journal="kept")
    with pytest.raises(RunLocked):
        request_openai_api(Gpt35Turbo("hello"), fixture.keys(sim), journal=fixture.root / "kept")


def test_one_folder_has_one_journal_however_it_is_called(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    (fixture.root / "link").symlink_to(fixture.root / "kept")
    for name in ("kept", "./kept/", fixture.root / "kept", "link"):
        request_openai_api(Gpt35Turbo("hello"), keys, journal=name)
    keys.close()
    keys = fixture.keys(sim)
    for _ in range(4):
        assert request_reply(Gpt35Turbo("hello"), keys, journal="kept").is_replay


def test_errors_of_calls_come_as_they_are_and_spoil_nothing(fixture):
    sim = fixture.simulate(SimKey("short", quota=3))
    keys = fixture.keys(sim)
    with pytest.raises(NoUsableKey):
        multi_process_one(LINES, Gpt35Turbo, 1, keys=keys, journal="kept")
    with pytest.raises(NoUsableKey):
        request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    keys.close()
    richer = fixture.simulate()
    assert len(multi_process_one(LINES, Gpt35Turbo, keys=fixture.keys(richer), journal="kept")) == 8
    assert richer.ledger.billed() == len(LINES) - 3


def test_tries_that_did_not_fit_are_replayed_too(fixture):
    sim = fixture.simulate()
    form = {"type": "json_object"}
    model = EmbeddingModel("e", ["a", "b"])
    model.input = ["a", "b"]
    counts = []
    for _ in range(2):
        keys = fixture.keys(sim)

        class Short(EmbeddingModel):
            def payload(self):
                return {**super().payload(), "input": ["a"]}

        with pytest.raises(InvalidAnswer):
            request_openai_api(Short("e", ["a", "b"]), keys, journal="kept")
        request_openai_api(Gpt35Turbo("hi", response_format=form), keys, journal="kept")
        counts.append(sim.ledger.hits())
        keys.close()
    assert counts == [4, 4]


def test_in_a_hook_the_file_keeps_the_answer(fixture):
    class Asks(Hooks):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(data), journal=fixture.root / "kept")

    sim = fixture.simulate()
    fixture.configure(sim).inputs(2).run(Asks)
    assert not (fixture.root / "kept").exists()
    assert fixture.run(Asks, force=True).calls.replayed == 2


def test_a_journal_that_cannot_be_made_is_said_before_anything_is_sent(fixture):
    sim = fixture.simulate()
    (fixture.root / "file").write_text("no folder")
    with pytest.raises(StorageError):
        request_openai_api(Gpt35Turbo("hello"), fixture.keys(sim), journal="file")
    assert sim.ledger.hits() == 0


def test_a_forked_child_cannot_use_it_and_leaves_it_alone(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
        except UsageError:
            for cache in keys._sender._resources.values():
                cache.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    with pytest.raises(RunLocked):
        request_openai_api(Gpt35Turbo("hello"), fixture.keys(sim), journal="kept")


def test_the_command_line_shows_it(fixture, capsys):
    keys = fixture.keys(fixture.simulate())
    request_openai_api(Gpt35Turbo("hello"), keys, journal="kept")
    keys.close()
    assert dispatch(["show", "kept", "(calls)"]) == 0
    assert "hello" in capsys.readouterr().out
    assert dispatch(["status", "kept"]) == 0
