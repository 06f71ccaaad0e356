"""Whatever a hook raises or returns, and whatever its methods do, it fails no file but its own."""

import asyncio
import json
import logging
import threading
from collections import Counter

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import (
    ChatModel,
    Gpt35Turbo,
    OpenAIModel,
    amulti_process_one,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
)

SOUND = 3


def boom(*given, **named):
    raise ValueError("from a method of the exception")


def leave(*given):
    raise SystemExit(3)


class HostileText(str):
    __slots__ = ()
    __len__ = __str__ = __getitem__ = __contains__ = isprintable = encode = boom


class Meta(type):
    __name__ = property(boom)
    __repr__ = __str__ = boom


def exception(base=Exception, **methods):
    return type("Hostile", (base,), methods)


def circle():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


class Response:
    extensions = property(boom)


#: What hooks raise, made by a call, and how its failure is told.
RAISED = {
    "str": (exception(__str__=boom), "Hostile: (its __str__ raised ValueError)"),
    "str that exits": (exception(__str__=leave), "Hostile: (its __str__ raised SystemExit)"),
    "str without end": (exception(__str__=lambda self: f"{self}"), "raised RecursionError"),
    "str of no text": (exception(__str__=lambda self: None), "raised TypeError"),
    "str of a hostile text": (exception(__str__=lambda self: HostileText("said")), "Hostile: said"),
    "format and repr": (exception(__repr__=boom, __format__=boom, __str__=boom), "its __str__"),
    "eq, hash and bool": (exception(__eq__=boom, __hash__=boom, __bool__=boom), "Hostile: "),
    "len and iter": (exception(__len__=boom, __iter__=boom), "Hostile: "),
    "reduce": (exception(__reduce__=boom, __reduce_ex__=boom), "Hostile: "),
    "traceback": (exception(__traceback__=property(boom)), "Hostile"),
    "args": (exception(args=property(boom)), "Hostile: "),
    "class": (exception(__class__=property(boom)), "Hostile: "),
    "causes": (
        exception(__cause__=property(boom), __context__=property(boom), __notes__=property(boom)),
        "Hostile: ",
    ),
    "attributes": (exception(__getattribute__=boom), "Hostile: "),
    "response": (exception(response=property(boom)), "Hostile: "),
    "extensions": (exception(response=Response()), "Hostile: "),
    "disk": (
        exception(OSError, errno=property(boom), filename=property(boom), strerror=property(boom)),
        "Hostile: ",
    ),
    "metaclass": (Meta("Hostile", (Exception,), {}), "Hostile: "),
    "circle": (circle, "ValueError: first"),
    "no Exception": (exception(BaseException, __str__=boom), "Hostile: (its"),
    "SystemExit": (lambda: SystemExit(3), "SystemExit: 3"),
    "KeyboardInterrupt": (KeyboardInterrupt, "KeyboardInterrupt: "),
    "GeneratorExit": (GeneratorExit, "GeneratorExit: "),
    "CancelledError": (asyncio.CancelledError, "CancelledError: "),
    "RecursionError": (RecursionError, "RecursionError: "),
    "MemoryError": (MemoryError, "MemoryError: "),
    "StopIteration": (StopIteration, "StopIteration"),
}


class Payload(ChatModel):
    """Raises where it is to say what it asks."""

    def __init__(self, content, prompt="", name=""):
        super().__init__("gpt-4o-mini", content=content)
        self.name = name

    def payload(self):
        raise_for(self.name)
        return super().payload()


class Generate(OpenAIModel):
    def __init__(self, content, prompt="", name=""):
        self.name = name

    def generate(self):
        raise_for(self.name)
        return "generated"


def raise_for(name):
    if name in RAISED:
        make, _ = RAISED[name]
        raise make()


class Hooks(Ask):
    """Raises in one place what the file's text names."""

    PLACE = ""

    def process_input(self, file):
        name = file.read()
        self.at("process_input", name)
        return name

    def process_data(self, name):
        self.at("process_data", name)
        kind = {"payload": Payload, "generate": Generate}.get(self.PLACE)
        if kind is not None:
            return request_openai_api(kind(name, name=name))
        if self.PLACE == "multi_process_one":
            return multi_process_one([("", name)] * 2, Payload, name=name)
        return request_openai_api(Gpt35Turbo(content=name))

    def process_output(self, data, output_file_without_ext):
        self.at("process_output", output_file_without_ext.rpartition("/")[2])
        super().process_output(data, output_file_without_ext)

    def at(self, place, name):
        if place == self.PLACE:
            raise_for(name)


class AsyncHooks(Hooks):
    async def process_data(self, name):
        self.at("process_data", name)
        kind = {"payload": Payload, "generate": Generate}.get(self.PLACE)
        if kind is not None:
            return await arequest_openai_api(kind(name, name=name))
        if self.PLACE == "multi_process_one":
            return await amulti_process_one([("", name)] * 2, Generate, name=name)
        if self.PLACE == "gather":
            await asyncio.gather(self.raise_later(name))
        return await arequest_openai_api(Gpt35Turbo(content=name))

    async def raise_later(self, name):
        raise_for(name)


def inputs(fixture, sim):
    fixture.configure(sim)
    for name in [*RAISED, *(f"sound {n}" for n in range(SOUND))]:
        (fixture.input / f"{name}.txt").write_text(name)
    return fixture


def failures(fixture):
    text = (fixture.output / ".openai_parallel_toolkit" / "failures.jsonl").read_text()
    return {one["file"][:-4]: one for one in map(json.loads, text.splitlines())}


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (Hooks, "process_input"),
        (Hooks, "process_output"),
        (Hooks, "multi_process_one"),
        (AsyncHooks, "process_data"),
        (AsyncHooks, "gather"),
        (AsyncHooks, "payload"),
        (AsyncHooks, "generate"),
    ],
)
def test_whatever_a_hook_raises_fails_its_own_file_and_is_told(fixture, sim, kind, place):
    hooks = type("Placed", (kind,), {"PLACE": place})
    summary = inputs(fixture, sim).run(hooks, fail_on_error=False)
    assert (summary.done, summary.failed, summary.left) == (SOUND, len(RAISED), 0)
    assert len(fixture.outputs()) == SOUND
    told = failures(fixture)
    assert set(told) == set(RAISED)
    if place.startswith("process_") and kind is Hooks:
        for name, (_, words) in RAISED.items():
            assert words in f"{told[name]['kind']}: {told[name]['message']}"
    # A later run, with hooks that raise nothing, finishes them all and pays for nothing twice.
    assert fixture.run(Hooks).done == len(RAISED)
    billed = Counter(row.payload for row in sim.ledger.rows() if row.billed)
    assert max(billed.values()) == (2 if (kind, place) == (Hooks, "multi_process_one") else 1)


def test_in_batch_mode_too(fixture, sim):
    hooks = type("Placed", (Hooks,), {"PLACE": "process_output"})
    summary = inputs(fixture, sim).run(hooks, mode="batch", fail_on_error=False)
    assert (summary.done, summary.failed, summary.left) == (SOUND, len(RAISED), 0)


def test_a_dry_run_tells_them_and_looks_at_all_files(fixture, sim, caplog):
    names = [name for name in RAISED if name != "KeyboardInterrupt"]  # which may be Ctrl-C
    (inputs(fixture, sim).input / "KeyboardInterrupt.txt").unlink()
    hooks = type("Placed", (Hooks,), {"PLACE": "process_data"})
    summary = fixture.run(hooks, dry_run=True)
    assert (summary.failed, summary.would_send) == (len(names), SOUND)
    for name in names:
        assert f"{name}.txt would fail: " in caplog.text


class Nothing:
    """An object that lets nobody do anything with it."""

    __str__ = __repr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = boom
    __getattribute__ = __reduce__ = __format__ = boom


@pytest.mark.parametrize("is_async", [False, True])
def test_what_hooks_hand_each_other_is_left_alone(fixture, sim, is_async):
    class Handed(Ask):
        def process_input(self, file):
            return Nothing()

        def process_data(self, data):
            return data

        def process_output(self, data, output_file_without_ext):
            super().process_output("written", output_file_without_ext)
            return data

    async def process_data(self, data):
        return data

    if is_async:
        Handed.process_data = process_data
    assert fixture.inputs(3).configure(sim).run(Handed).done == 3


@pytest.mark.parametrize("ending", ["at once", "later", "stops the loop"])
def test_an_async_hook_that_cancels_itself_or_stops_the_loop_fails_alone(fixture, sim, ending):
    class Rash(Ask):
        async def process_data(self, data):
            if "file 1" in data:
                if ending == "stops the loop":
                    asyncio.get_running_loop().stop()
                    raise ValueError
                asyncio.current_task().cancel()
                if ending == "at once":
                    await asyncio.sleep(0)
            return data

    summary = fixture.inputs(6).configure(sim).run(Rash, num_threads=2, fail_on_error=False)
    assert (summary.done, summary.failed, summary.left) == (5, 1, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_task_that_nobody_waits_for_cannot_end_the_loop(fixture, sim, error):
    class Careless(Ask):
        async def process_data(self, data):
            async def fail():
                raise error

            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.exception()
            return data

    assert fixture.inputs(4).configure(sim).run(Careless, num_threads=2).done == 4


def test_a_str_that_hangs_is_given_up_like_its_hook(fixture, sim):
    released = threading.Event()
    hostile = exception(__str__=lambda self: released.wait(20) and "")

    class Hangs(Ask):
        def process_data(self, data):
            if "file 1" in data:
                raise hostile
            return data

    settings = {"hook_timeout_s": 0.3, "num_threads": 1, "fail_on_error": False}
    summary = fixture.inputs(4).configure(sim).run(Hangs, **settings)
    released.set()
    assert (summary.done, summary.failed) == (3, 1)
    assert failures(fixture)["f0001"]["kind"] == "HookTimeout"


def test_a_filter_or_handler_of_logs_that_raises_costs_its_line_alone(fixture, sim, capsys):
    class Breaks(Ask):
        def process_data(self, data):
            raise ValueError(data)

    class Raises(logging.Handler):
        handle = boom

    package, single = (
        logging.getLogger(name)
        for name in ("openai_parallel_toolkit", "openai_parallel_toolkit.runs.file_task")
    )
    handler, level = Raises(), package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    single.addFilter(boom)
    try:
        summary = fixture.inputs(3).configure(sim).run(Breaks, fail_on_error=False)
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        single.removeFilter(boom)
    assert (summary.failed, summary.left) == (3, 0)
    assert "a filter or handler raised ValueError: from a method" in capsys.readouterr().err
