"""kill -9, again and again: nothing is lost, nothing is half written, nothing is paid twice."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from forked_process import ForkedProcess

from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Fault, Latency, SimKey, Simulator

FILES, CALLS, THREADS = 300, 3, 8
#: Given, so that a process that lives for a moment does not spend it looking them up.
PRICES = {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}}
STATE = ".openai_parallel_toolkit"


def write_inputs(folder):
    folder.mkdir()
    for n in range(FILES):
        (folder / f"{n:03}.txt").write_text(f"The file number {n} has a text of its own.")


def write_config(path, sim, *names):
    config = {"api_keys": [f"sim-{n}" for n in names], "api_base": sim.url, "prices": PRICES}
    path.write_text(json.dumps(config))
    os.chmod(path, 0o600)


def start(config, source, target):
    command = [Path(__file__).with_name("kill_child.py"), config, source, target, THREADS]
    return ForkedProcess(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def visible(target):
    return {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and STATE not in path.parts
    }


def unanswered(target):
    if not (target / STATE / "journal.sqlite3").exists():
        return 0
    with JournalReader(str(target / STATE)) as reader:
        return reader.status().totals.all_runs.unanswered


def undisturbed(tmp_path, source):
    """What a run that nobody disturbs writes."""
    with Simulator([SimKey("a")], seed=3) as sim:
        write_config(tmp_path / "quiet.json", sim, "a")
        child = start(tmp_path / "quiet.json", source, tmp_path / "quiet")
        _, errors = child.communicate(timeout=50)
        assert child.returncode == 0, errors
        assert sim.ledger.billed() == FILES * CALLS
    return visible(tmp_path / "quiet")


def kill_until_done(sim, config, source, target, expected, *, seed, most):
    """Start and kill until a run is allowed to end; return how many kills it took.

    A run lives until it has sent a chance number of up to `most` requests, and a moment more: by
    the clock alone, a slow machine would never come to an end.
    """
    chance, kills, lost = random.Random(seed), 0, unanswered(target)
    while True:
        enough = sim.ledger.hits() + chance.randint(0, most)
        child = start(config, source, target)
        while sim.ledger.hits() < enough and child.poll() is None:
            time.sleep(0.005)
        try:
            child.communicate(timeout=chance.uniform(0, 0.2))
            assert child.returncode == 0
            return kills
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        kills += 1
        for name, content in visible(target).items():
            assert content == expected[name], f"{name} is visible and not whole"
        now_lost = unanswered(target)
        assert now_lost - lost <= THREADS, "a kill left more doubt than was in flight"
        lost = now_lost


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(tmp_path, request):
    is_full = request.config.getoption("--full")
    seed, most, least_kills = (int(time.time()), 50, 20) if is_full else (11, 120, 8)
    print("seed", seed)
    source, target = tmp_path / "in", tmp_path / "out"
    write_inputs(source)
    expected = undisturbed(tmp_path, source)
    with Simulator([SimKey("a"), SimKey("b")], seed=3, latency=Latency(0.07, 0.3)) as sim:
        write_config(tmp_path / "config.json", sim, "a", "b")
        kills = kill_until_done(
            sim, tmp_path / "config.json", source, target, expected, seed=seed, most=most
        )
        assert kills >= least_kills
        assert visible(target) == expected
        excess = sim.ledger.billed() - FILES * CALLS
    assert 0 <= excess <= unanswered(target)
    with JournalReader(str(target / STATE)) as reader:
        states = {state.value: count for state, count in reader.status().files.items() if count}
        assert states == {"done": FILES}
        assert list(reader.failures()) == []
    print(f"{kills} kills, {excess} billed beyond need, {unanswered(target)} claims unanswered")


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_with_every_fault_at_once_the_bill_is_explained(tmp_path, request):
    """One key dies, one has no quota, 5 % each of cut body, 429, 500 and HTML; and kills."""
    seed = int(time.time()) if request.config.getoption("--full") else 5
    print("seed", seed)
    source, target = tmp_path / "in", tmp_path / "out"
    write_inputs(source)
    expected = undisturbed(tmp_path, source)
    keys = [SimKey("a"), SimKey("b"), SimKey("c"), SimKey("dies", quota=40)]
    faults = [
        Fault("cut_body", chance=0.05, per_payload=True, times=1),
        Fault("429", chance=0.05, retry_after="0.1", per_payload=True, times=1),
        Fault("500", chance=0.05, per_payload=True, times=1),
        Fault("html_200", chance=0.05, per_payload=True, times=1),
    ]
    keys.append(SimKey("empty", quota="none"))
    with Simulator(keys, seed=3, latency=0.02, faults=faults) as sim:
        config = tmp_path / "config.json"
        write_config(config, sim, "a", "b", "c", "dies", "empty")
        for _ in range(20):
            kill_until_done(sim, config, source, target, expected, seed=seed, most=600)
            if visible(target) == expected:
                break
        assert visible(target) == expected
        billed = sim.ledger.billed()
    with JournalReader(str(target / STATE)) as reader:
        figures = reader.status().totals.all_runs
    assert figures.answered >= FILES * CALLS
    assert figures.answered <= billed <= figures.answered + figures.unknown + figures.unanswered
