"""A disk that is full while many calls are in flight: each answer is kept, and no more are sent.

With --full each case is run 20 times, with another amount of room left each time.
"""

import itertools
import random
import threading
from collections import Counter

import pytest
from provider_fixture import CHAT, provider
from small_disk import small_disk
from wire_fixture import Ask, question

from openai_parallel_toolkit import (
    Gpt35Turbo,
    StorageError,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
)
from openai_parallel_toolkit.journal import JournalReader

KILOBYTE = 1024


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
    """Holds its replies back until enough are asked for, fills the disk, and then answers all."""

    def __init__(self, disk, enough, sizes, chance, leave_bytes):
        self.asked = Counter()
        self.asked_late = 0
        self._disk, self._sizes, self._chance = disk, sizes, chance
        self._left, self._leave_bytes = itertools.count(enough - 1, -1), leave_bytes
        self.is_full = threading.Event()

    def answer(self, _, body):
        self.asked[body] += 1
        self.asked_late += self.is_full.is_set()
        if next(self._left) == 0:
            self._disk.fill(leave_bytes=self._leave_bytes)
            self.is_full.set()
        assert self.is_full.wait(40)
        text = self._chance.randbytes(self._chance.randint(*self._sizes) // 2).hex()
        choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": text}}
        return 200, {**CHAT, "choices": [choice]}


def runs_out_of_space(fixture, disk, kind, files, threads, in_flight, sizes, chance, leave_bytes):
    """Run on a disk that fills up, enlarge it and run again; return what the provider saw."""
    filling = FillingProvider(disk, in_flight, sizes, chance, leave_bytes)
    with provider(filling.answer) as server:
        fixture.inputs(files).configure_at(server.url, ["a"])
        with pytest.raises(StorageError) as caught:
            fixture.run(kind, num_threads=threads)
        assert caught.value.summary.failed == 0
        asked_late = filling.asked_late
        with JournalReader(str(fixture.state)) as journal:
            figures = journal.status().totals.all_runs
            assert journal.status().run.ended_wall_s is not None
        assert (figures.sent, figures.unanswered) == (len(server.seen), 0)
        disk.enlarge(256)
        assert fixture.run(kind, num_threads=threads).left == 0
    assert set(filling.asked.values()) == {1}
    return asked_late


CASES = {
    "200 async hooks": (Awaited, 200, 200, 200, (8_000, 8_000)),
    "50 threads": (OneAfterTheOther, 50, 50, 50, (8_000, 40_000)),
    "lists of 10": (Lists, 20, 20, 200, (4_000, 16_000)),
}


@pytest.mark.parametrize("case", CASES)
def test_no_answer_in_flight_is_lost_and_nothing_more_is_sent(tmp_path, fixture, request, case):
    kind, files, threads, in_flight, sizes = CASES[case]
    for lap in range(20 if request.config.getoption("--full") else 1):
        chance = random.Random(lap)
        leave_bytes = chance.randrange(2_000) * KILOBYTE if lap else 0
        with small_disk(tmp_path / f"disk-{lap}", size_mb=64) as disk:
            fixture.output = disk.path / "out"
            fixture.state = fixture.output / ".openai_parallel_toolkit"
            asked_late = runs_out_of_space(
                fixture, disk, kind, files, threads, in_flight, sizes, chance, leave_bytes
            )
        assert asked_late == 0 or leave_bytes
