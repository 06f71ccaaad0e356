"""Prompts that changed since files were finished are noticed before a run, wherever they lie."""

import asyncio
import itertools
import logging
import os
import random
import re
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import (
    CarryingPool,
    ChatModel,
    Gpt35Turbo,
    amulti_process_one,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
)
from openai_parallel_toolkit.journal.upkeep import prune

PRICES = {"gpt-3.5-turbo": {"input": 1000, "output": 1000}, "gpt-4o": {"input": 1, "output": 1}}
CONSTANT = "Sum this up."
CHANGED = re.compile(r"about (\d+) of (\d+) finished files? would now ask something else")


def told(caplog):
    """How many files were told to be changed, of how many; None: nothing was told."""
    found = [CHANGED.search(record.getMessage()) for record in caplog.records]
    counts = [(int(one[1]), int(one[2])) for one in found if one]
    assert len(counts) <= 1
    return counts[0] if counts else None


class Prompted(Ask):
    def prompt(self):
        raise NotImplementedError

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data, prompt=self.prompt()))


class OfConstant(Prompted):
    def prompt(self):
        return CONSTANT


class OfFile(Prompted):
    path = None

    def prompt(self):
        return self.path.read_text()


class OfModule(Prompted):
    def prompt(self):
        import prompts_of_mine

        return prompts_of_mine.PROMPT


class OfEnvironment(Prompted):
    def prompt(self):
        return os.environ["MY_PROMPT"]


class OfInstance(Prompted):
    words = "one"

    def prompt(self):
        return self.words


def edit_constant(root, monkeypatch, words):
    monkeypatch.setitem(globals(), "CONSTANT", words)
    return OfConstant


def edit_file(root, monkeypatch, words):
    OfFile.path = root / "prompt.txt"
    OfFile.path.write_text(words)
    return OfFile


def edit_module(root, monkeypatch, words):
    (root / "prompts_of_mine.py").write_text(f"PROMPT = {words!r}\n")
    monkeypatch.syspath_prepend(str(root))
    sys.modules.pop("prompts_of_mine", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return OfModule


def edit_environment(root, monkeypatch, words):
    monkeypatch.setenv("MY_PROMPT", words)
    return OfEnvironment


def edit_instance(root, monkeypatch, words):
    monkeypatch.setattr(OfInstance, "words", words)
    return OfInstance


def edit_notebook(root, monkeypatch, words):
    """A cell that is run again: the class stays, its global is another."""
    cell = {"Prompted": Prompted, "PROMPT": words}
    source = "class Mine(Prompted):\n    def prompt(self):\n        return PROMPT\n"
    exec(compile(source, "<cell>", "exec"), cell)
    return cell["Mine"]


PLACES = [
    edit_constant,
    edit_file,
    edit_module,
    edit_environment,
    edit_instance,
    edit_notebook,
]


@pytest.mark.parametrize("edit", PLACES, ids=lambda place: place.__name__)
def test_an_edited_prompt_is_told_with_its_price_and_buys_nothing(
    fixture, sim, tmp_path, monkeypatch, caplog, edit
):
    kind = edit(tmp_path, monkeypatch, "one")
    fixture.inputs(5).configure(sim, prices=PRICES).run(kind)
    paid = fixture.run(kind, force=True).calls
    assert (paid.sent, told(caplog)) == (0, None)
    kind = edit(tmp_path, monkeypatch, "two")
    before = fixture.outputs()
    summary = fixture.run(kind)
    assert (summary.skipped, summary.calls.sent, sim.ledger.billed("good")) == (5, 0, 5)
    assert told(caplog) == (5, 5)
    assert summary.notices.changed_prompts == 5
    assert fixture.outputs() == before
    text = caplog.text
    assert "force=True (--force)" in text
    assert "check_prompts=False" in text
    forecast = float(re.search(r"about \$([\d.]+)", text)[1])
    spent = float(fixture.run(kind, force=True).calls.cost_usd)
    assert spent > 0
    assert abs(forecast / spent - 1) < 0.5
    caplog.clear()
    assert fixture.run(kind).calls.sent == 0
    assert told(caplog) is None


def test_nothing_is_told_or_tried_when_it_is_switched_off(fixture, sim, monkeypatch, caplog):
    kind = edit_instance(None, monkeypatch, "one")
    fixture.inputs(3).configure(sim).run(kind)
    edit_instance(None, monkeypatch, "two")
    fixture.run(kind, check_prompts=False)
    fixture.run(kind, check_prompts=False, dry_run=True)
    assert told(caplog) is None
    fixture.run(kind, dry_run=True)
    assert told(caplog) == (3, 3)


class Chained(Ask):
    """The second request needs the first one's answer; an async hook, threads or a list."""

    prompt = "one"

    def process_data(self, data):
        first = request_openai_api(Gpt35Turbo(content=data))
        return request_openai_api(Gpt35Turbo(content=first, prompt=self.prompt))


class Async(Chained):
    async def process_data(self, data):
        asks = (Gpt35Turbo(content=f"{n} {data}", prompt=self.prompt) for n in range(3))
        return await asyncio.gather(*map(arequest_openai_api, asks))


class AsyncList(Chained):
    async def process_data(self, data):
        return await amulti_process_one([(self.prompt, data), ("", data)], Gpt35Turbo)


class Listed(Chained):
    def process_data(self, data):
        return multi_process_one([(self.prompt, data), ("", data)], Gpt35Turbo)


class Pooled(Chained):
    def process_data(self, data):
        models = [Gpt35Turbo(content=data, prompt=f"{self.prompt} {n}") for n in range(3)]
        with CarryingPool(3) as pool:
            return list(pool.map(request_openai_api, models))


class Swallowing(Chained):
    def process_data(self, data):
        try:
            return request_openai_api(Gpt35Turbo(content=data, prompt=self.prompt))
        except BaseException:
            return "nothing"


@pytest.mark.parametrize("kind", [Chained, Async, AsyncList, Listed, Pooled, Swallowing])
def test_every_way_of_asking_is_looked_at(fixture, sim, monkeypatch, caplog, kind):
    fixture.inputs(4).configure(sim).run(kind)
    assert fixture.run(kind).calls.sent == 0
    assert told(caplog) is None
    monkeypatch.setattr(kind, "prompt", "two")
    assert fixture.run(kind).calls.sent == 0
    assert told(caplog) == (4, 4)


def test_what_an_async_hook_keeps_still_belongs_to_its_loop(fixture, sim, monkeypatch):
    """The hooks are tried on the very loop that the run goes on with."""
    loops = []

    class Keeps(Async):
        async def process_data(self, data):
            loops.append(asyncio.get_running_loop())
            return await super().process_data(data)

    fixture.inputs(3).configure(sim).run(Keeps)
    loops.clear()
    fixture.inputs(5).run(Keeps)
    assert len(loops) == 5
    assert len(set(map(id, loops))) == 1


def test_a_prompt_that_is_put_back_is_told_and_costs_nothing(fixture, sim, monkeypatch, caplog):
    kind = edit_instance(None, monkeypatch, "one")
    fixture.inputs(3).configure(sim).run(kind)
    first = fixture.outputs()
    edit_instance(None, monkeypatch, "two")
    fixture.run(kind, force=True)
    edit_instance(None, monkeypatch, "one")
    caplog.clear()
    fixture.run(kind)
    assert told(caplog) == (3, 3)
    assert fixture.run(kind, force=True).calls.sent == 0
    assert fixture.outputs() == first


@pytest.mark.parametrize(
    "prompt_of",
    [
        lambda count=itertools.count(): f"at {next(count)}",  # noqa: B008
        lambda: f"{random.random()}",
        lambda: f"{uuid.uuid4()}",
        lambda: f"{time.time()}",
        lambda: time.strftime("It is %H:%M:%S."),
        lambda: f"{time.time():.0f}",
    ],
    ids=["counter", "chance", "uuid", "time", "time of day", "unix time"],
)
def test_prompts_by_chance_or_time_are_recognised(fixture, sim, caplog, prompt_of):
    class Differs(Ask):
        prompt = "first"

        def process_data(self, data):
            prompt = self.prompt or prompt_of()
            return request_openai_api(Gpt35Turbo(content=data, prompt=prompt))

    fixture.inputs(2).configure(sim).run(Differs)
    Differs.prompt = ""
    assert fixture.run(Differs).calls.sent == 0
    assert told(caplog) is None
    assert "prompts differ each time the hooks run" in caplog.text


def test_another_model_is_priced_by_what_the_answers_before_took(fixture, sim, monkeypatch, caplog):
    class OfModel(Ask):
        model = "gpt-3.5-turbo"

        def process_data(self, data):
            return request_openai_api(ChatModel(self.model, content=data))

    fixture.inputs(4).configure(sim, prices=PRICES).run(OfModel)
    monkeypatch.setattr(OfModel, "model", "gpt-4o")
    fixture.run(OfModel)
    forecast = float(re.search(r"about \$([\d.]+)", caplog.text)[1])
    spent = float(fixture.run(OfModel, force=True).calls.cost_usd)
    assert abs(forecast - spent) <= 0.0001 + spent / 2


def test_an_edited_input_or_pruned_answers_are_no_changed_prompt(fixture, sim, caplog):
    fixture.inputs(3).configure(sim).run(Chained)
    for path in fixture.input.iterdir():
        path.write_text("something else altogether")
    fixture.run(Chained)
    assert told(caplog) is None
    fixture.inputs(3)
    prune(str(fixture.output / ".openai_parallel_toolkit"))
    fixture.run(Chained)
    assert told(caplog) is None
    assert sim.ledger.billed("good") == 6


@pytest.mark.parametrize("fault", ["raise", "exit", "hang"])
def test_hooks_that_raise_or_hang_when_they_are_tried_hold_nobody_up(fixture, sim, caplog, fault):
    released, is_first = threading.Event(), True
    faults = {"raise": lambda: 1 / 0, "exit": sys.exit, "hang": released.wait}

    class Odd(Ask):
        def process_input(self, file):
            if not is_first:
                faults[fault]()
            return super().process_input(file)

    fixture.inputs(3).configure(sim).run(Odd)
    is_first = False
    try:
        summary = fixture.run(Odd, hook_timeout_s=0.1)
    finally:
        released.set()
    assert (summary.skipped, summary.failed) == (3, 0)
    assert told(caplog) is None


def test_a_hooks_own_thread_sends_nothing_while_hooks_are_tried(fixture, sim, caplog):
    """Nobody knows which file it asks for, so nothing could answer it."""

    class OwnThread(Ask):
        prompt = "one"

        def process_data(self, data):
            answers = [request_openai_api(Gpt35Turbo(content=data))]
            ask = Gpt35Turbo(content=data, prompt=self.prompt)
            thread = threading.Thread(target=lambda: answers.append(request_openai_api(ask)))
            thread.start()
            thread.join()
            return answers

    fixture.inputs(1).configure(sim).run(OwnThread)
    billed = sim.ledger.billed("good")
    threading.excepthook, kept = lambda *_: None, threading.excepthook
    try:
        fixture.run(OwnThread)
        fixture.run(OwnThread, dry_run=True, force=True)
    finally:
        threading.excepthook = kept
    assert sim.ledger.billed("good") == billed


def test_some_of_the_finished_files_are_enough(fixture, sim, monkeypatch, caplog):
    """With half of the files made anew, about half of them are told, whichever are tried."""
    tried = []

    class Counts(OfInstance):
        def process_input(self, file):
            tried.append(Path(file.name).name)
            return super().process_input(file)

    fixture.inputs(60, text="text {n}").configure(sim).run(Counts)
    tried.clear()
    fixture.run(Counts)
    fixture.run(Counts)
    assert 3 <= len(set(tried)) <= 6
    assert len(tried) == 6
    monkeypatch.setattr(Counts, "words", "two", raising=False)
    with caplog.at_level(logging.WARNING):
        fixture.run(Counts)
    assert told(caplog) == (60, 60)
