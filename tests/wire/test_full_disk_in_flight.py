"""A disk that is full while many calls are in flight: each answer is kept, and no more are sent.

With --full each case is run 20 times, with another amount of room left each time.
"""

import base64
import contextlib
import functools
import itertools
import random
import threading
from collections import Counter

import pytest
from provider_fixture import CHAT, provider
from small_disk import small_disk
from wire_fixture import STATE, Ask, question

from openai_parallel_toolkit import (
    Gpt35Turbo,
    StorageError,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
)
from openai_parallel_toolkit.journal import JournalReader


class OneAfterTheOther(Ask):
    def process_data(self, data):
        return [request_openai_api(question(f"{n} {data}")) for n in range(2)]

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write("".join(data))


class Awaited(OneAfterTheOther):
    async def process_data(self, data):
        return [await arequest_openai_api(question(f"{n} {data}")) for n in range(2)]


class Lists(OneAfterTheOther):
    def process_data(self, data):
        return multi_process_one([("p", f"{n} {data}") for n in range(10)], Gpt35Turbo)

    def process_output(self, data, output_file_without_ext):
        super().process_output(map(str, data), output_file_without_ext)


class FillingProvider:
    """Holds its replies back until enough are asked for, fills the disk, and answers one by one."""

    def __init__(self, enough, sizes, chance):
        self.asked = Counter()
        self.asked_late = 0
        self._sizes, self._chance = sizes, chance
        self._left = itertools.count(enough - 1, -1)
        self._turn = threading.Lock()
        self._is_full = threading.Event()

    def answer(self, _, body):
        self.asked[body] += 1
        self.asked_late += self._is_full.is_set()
        if next(self._left) == 0:
            self.fill()
            self._is_full.set()
        assert self._is_full.wait(40)
        with self._turn:
            self._is_full.wait(0.002)
            size = self._chance.randint(*self._sizes)
        text = base64.b64encode(self._chance.randbytes(size * 3 // 4)).decode()
        choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": text}}
        return 200, {**CHAT, "choices": [choice]}


@contextlib.contextmanager
def somebody_writes(disk):
    """Have another program take whatever room there is, once it is told to, until the end."""
    is_told, is_over = threading.Event(), threading.Event()

    def write():
        is_told.wait()
        while not is_over.wait(0.002):
            disk.fill_greedily()

    def begin():
        disk.fill_greedily()
        is_told.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield begin
    finally:
        is_over.set()
        is_told.set()
        thread.join()


def runs_out_of_space(fixture, disk, kind, files, in_flight, sizes, *, lap):
    """Run on a disk that fills up, give it room, run again; return how many calls came late."""
    chance = random.Random(lap)
    filling = FillingProvider(in_flight, sizes, chance)
    with provider(filling.answer) as server:
        fixture.inputs(files).configure_at(server.url, ["a"])
        with contextlib.ExitStack() as stack:
            if lap % 2:
                leave_bytes = chance.randrange(2_000) * 1024
                filling.fill = functools.partial(disk.fill, leave_bytes=leave_bytes)
            else:
                filling.fill = stack.enter_context(somebody_writes(disk))
            with pytest.raises(StorageError) as caught:
                fixture.run(kind, num_threads=files)
        assert caught.value.summary.failed == 0
        asked_late = filling.asked_late
        disk.enlarge(256)
        assert fixture.run(kind, num_threads=files).left == 0
    assert set(filling.asked.values()) == {1}
    with JournalReader(str(fixture.state)) as journal:
        figures = journal.status().totals.all_runs
    assert (figures.sent, figures.unanswered) == (len(filling.asked), 0)
    return asked_late


CASES = {
    "200 async hooks": (Awaited, 200, 200, (8_000, 8_000)),
    "50 threads": (OneAfterTheOther, 50, 50, (8_000, 40_000)),
    "20 lists of 10": (Lists, 20, 200, (4_000, 16_000)),
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_no_answer_in_flight_is_lost_and_nothing_more_is_sent(tmp_path, fixture, request, case):
    for lap in range(20 if request.config.getoption("--full") else 1):
        with small_disk(tmp_path / f"disk-{lap}", size_mb=64) as disk:
            fixture.output = disk.path / "out"
            fixture.state = fixture.output / STATE
            asked_late = runs_out_of_space(fixture, disk, *CASES[case], lap=lap)
        assert asked_late == 0 or lap % 2
