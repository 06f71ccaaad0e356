"""engine="processes": hooks run in processes of their own, and every promise holds over them."""

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from cluster_hooks import EveryDoor, Mixed, SlowThrice, Thrice, ThriceAsync
from toolkit_fixture import ToolkitFixture

from openai_parallel_toolkit import ConfigError, UsageError
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Latency


def run(fixture, kind, *, workers=1, **settings):
    return fixture.run(kind, engine="processes", workers=workers, **settings)


def unanswered(fixture):
    with JournalReader(str(fixture.output / ".openai_parallel_toolkit")) as reader:
        return reader.status().totals.all_runs.unanswered


@pytest.mark.parametrize(("kind", "workers"), [(Thrice, 2), (ThriceAsync, 1)])
def test_outputs_bill_and_journal_are_those_of_one_process(fixture, kind, workers):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(12)
    summary = run(fixture, kind, workers=workers)
    assert (summary.done, summary.calls.sent, sim.ledger.billed()) == (12, 36, 36)
    ours = fixture.outputs()
    fixture.output = fixture.root / "threads"
    fixture.run(kind)
    assert ours == fixture.outputs()


def test_every_way_of_asking_works_and_is_kept(fixture):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(2)
    assert run(fixture, EveryDoor).done == 2
    assert (fixture.output / "index.csv").read_text() == "f000.txt\nf001.txt\n"
    again = run(fixture, EveryDoor, force=True)
    assert (again.done, again.calls.sent, again.calls.replayed) == (2, 0, 8)
    assert sim.ledger.billed() == 8


class Ran:
    """What a run came to whose files do all sorts of things."""

    def __init__(self, fixture, summary, printed, logged):
        self.summary, self.printed, self.logged = summary, printed, logged
        self.outputs = fixture.outputs()
        self.failures = {one["file"].removesuffix(".txt"): one for one in fixture.failures()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    kinds = [name for name, kind in vars(Mixed).items() if callable(kind)]
    names = [name for name in kinds if name != "process_data"]
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        fixture = ToolkitFixture(tmp_path_factory.mktemp("mixed"), stack)
        sim = fixture.simulate()
        patch.setenv("OPENAI_API_KEY", sim.keys[0].secret)
        patch.setenv("OPENAI_BASE_URL", sim.url)
        fixture.config = None
        for name in names:
            (fixture.input / f"{name}.txt").write_text(name)
        printed, logged = io.StringIO(), []
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())
        logging.getLogger("users.own").addHandler(handler)
        stack.callback(logging.getLogger("users.own").removeHandler, handler)
        with contextlib.redirect_stdout(printed):
            summary = run(fixture, Mixed, hook_timeout_s=6.0)
        yield Ran(fixture, summary, printed.getvalue(), logged), sim, fixture


def test_each_file_comes_to_the_end_that_its_hooks_gave_it(mixed):
    ran, sim, _ = mixed
    assert sorted(ran.outputs) == ["asks.json", "logs.json", "looks.json", "prints.json"]
    failed = ["forks", "hangs", "has_keys", "kills", "makes_manager", "raises"]
    assert sorted(ran.failures) == failed
    assert (ran.summary.done, ran.summary.failed, ran.summary.left) == (4, len(failed), 0)
    assert sim.ledger.billed() == sim.ledger.hits() == 1


def test_hooks_run_in_another_process_and_what_they_print_comes_back(mixed):
    ran, _, _ = mixed
    assert ran.outputs["prints.json"] != os.getpid()
    assert ran.printed == "printed prints\n" * ran.printed.count("\n") != ""


def test_what_hooks_log_reaches_the_handlers_of_the_head(mixed):
    ran, _, _ = mixed
    assert set(ran.logged) == {"logged logs"}


def test_what_hooks_raise_is_the_failure_of_their_file(mixed):
    failure = mixed[0].failures["raises"]
    assert (failure["kind"], failure["message"]) == ("ValueError", "cannot do raises")
    assert "in raises" in failure["trace"]


def test_a_file_that_kills_its_worker_is_put_aside_within_the_run(mixed):
    ran, _, fixture = mixed
    assert ran.failures["kills"]["kind"] == "ProcessDied"
    assert "SIGABRT" in ran.failures["kills"]["message"]
    with JournalReader(str(fixture.output / ".openai_parallel_toolkit")) as reader:
        assert reader.file("kills.txt").file.state.value == "aside"


def test_a_worker_that_died_is_missed_although_its_fork_holds_its_connection(mixed):
    assert "exit status 3" in mixed[0].failures["forks"]["message"]


def test_a_hook_that_hangs_costs_its_worker_and_its_file_says_where(mixed):
    failure = mixed[0].failures["hangs"]
    assert failure["kind"] == "HookTimeout"
    assert "in hangs" in failure["trace"]


@pytest.mark.parametrize("name", ["has_keys", "makes_manager"])
def test_keys_of_a_hooks_own_are_refused_with_the_way_out(mixed, name):
    failure = mixed[0].failures[name]
    assert failure["kind"] == "UsageError"
    assert "config_path or key_manager" in failure["message"]


def test_no_key_is_in_the_environment_or_the_command_line_of_a_worker(mixed):
    ran, sim, _ = mixed
    assert "PYTHONUNBUFFERED" in ran.outputs["looks.json"]
    assert sim.keys[0].secret not in ran.outputs["looks.json"]


def test_what_cannot_reach_a_worker_is_named_before_anything_is_paid(fixture):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(1)

    class Holds(Thrice):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings)
            self.lock = threading.Lock()

    with pytest.raises(UsageError, match=r"Holds .* its attribute 'lock' .*__getstate__"):
        run(fixture, Holds)
    assert sim.ledger.hits() == 0


def test_a_key_among_what_hooks_use_is_refused(fixture):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(1)

    class Holds(Thrice):
        secret = sim.keys[0].secret

    with pytest.raises(UsageError, match="holds an API key"):
        run(fixture, Holds)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "processes", "workers": 0}, "workers"),
        ({"engine": "dask"}, "engine"),
        ({"workers": 2}, "workers"),
        ({"engine": "processes", "mode": "batch"}, "leave engine out"),
    ],
)
def test_settings_that_cannot_work_are_named(fixture, settings, told):
    with pytest.raises(ConfigError, match=told):
        Thrice(None, fixture.input, fixture.output, **settings)


def children_of(pid):
    """Ids of the worker processes that a process has now."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.crash
def test_workers_that_are_killed_again_and_again_leave_nothing_in_doubt(fixture, request):
    is_full = request.config.getoption("--full")
    files, kills = (600, 50) if is_full else (30, 3)
    sim = fixture.simulate(latency=Latency(0.02, 0.3))
    fixture.configure(sim).inputs(files)
    killed = []

    def kill():
        steps = range(files // 2, 3 * files * 8 // 10, max(1, files * 2 // kills))
        for step in list(steps)[:kills]:
            while sim.ledger.hits() < step and not is_over.is_set():
                time.sleep(0.002)
            for child in children_of(os.getpid())[:1]:
                os.kill(child, signal.SIGKILL)
                killed.append(child)

    is_over = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = run(fixture, SlowThrice, workers=2)
    finally:
        is_over.set()
        killer.join()
    print(f"{len(killed)} kills, {sim.ledger.billed()} billed, {unanswered(fixture)} in doubt")
    assert len(killed) == kills
    assert (summary.done, summary.failed) == (files, 0)
    assert sim.ledger.billed() == 3 * files
    assert unanswered(fixture) == 0


SCRIPT = """
import json, sys, threading
from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api

WORDS = ["zero", "one", "two"]

class Briefs(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{word}: {data}")) for word in WORDS]

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)

settings = {"engine": "processes", "workers": 1, "num_threads": 4, "progress": False}
Briefs(sys.argv[1], sys.argv[2], sys.argv[3], **settings).run()
"""


class ScriptRun:
    """A script without a guard, in a process group of its own, over the fixture's folders."""

    def __init__(self, fixture):
        script = fixture.root / "script.py"
        script.write_text(SCRIPT)
        places = map(str, (fixture.config, fixture.input, fixture.output))
        self.process = subprocess.Popen(
            [sys.executable, str(script), *places], start_new_session=True, stderr=subprocess.PIPE
        )

    def after(self, sim, hits):
        """Wait until so much was asked, and return the ids of its workers."""
        while sim.ledger.hits() < hits:
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.005)
        return children_of(self.process.pid)


def ended(pids):
    """Wait until processes that are not ours to wait for are gone."""
    for pid in pids:
        while os.path.exists(f"/proc/{pid}/exe"):
            time.sleep(0.01)
    return True


@pytest.mark.crash
def test_workers_end_with_their_head_and_a_rerun_goes_on(fixture):
    sim = fixture.simulate(latency=Latency(0.05, 0.3))
    fixture.configure(sim).inputs(16)
    first = ScriptRun(fixture)
    workers = first.after(sim, 4)
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does
    _, told = first.process.communicate(timeout=60)
    assert first.process.returncode == 130
    assert b"Traceback" not in told
    assert ended(workers)
    assert unanswered(fixture) == 0
    second = ScriptRun(fixture)
    workers = second.after(sim, sim.ledger.hits() + 4)
    second.process.kill()
    second.process.communicate(timeout=60)
    assert ended(workers)
    doubt = unanswered(fixture)
    assert doubt <= 4
    third = ScriptRun(fixture)
    _, told = third.process.communicate(timeout=60)
    assert (third.process.returncode, told) == (0, b"")
    assert len(fixture.outputs()) == 16
    assert 48 <= sim.ledger.billed() <= 48 + doubt
