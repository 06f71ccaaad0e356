"""Whatever a hook does with its suspension, no output is made without its answers."""

import asyncio
import contextlib
import json
import sys
import threading

import pytest
from batch_fixture import Ask, billed_twice, question

from openai_parallel_toolkit import CarryingPool, arequest_openai_api, request_openai_api

WRONG = "made up without an answer"


class BareExcept(Ask):
    def process_data(self, data):
        try:
            return super().process_data(data)
        except:  # noqa: E722
            return WRONG


class ExceptBase(Ask):
    def process_data(self, data):
        try:
            return super().process_data(data)
        except BaseException:
            return WRONG


class Suppresses(Ask):
    def process_data(self, data):
        answer = WRONG
        with contextlib.suppress(BaseException):
            answer = super().process_data(data)
        return answer


class ReturnsInFinally(Ask):
    def process_data(self, data):
        answer = WRONG
        try:
            answer = super().process_data(data)
        finally:
            return answer  # noqa: B012


class RaisesAnother(Ask):
    """Its error must not count as the file's failure."""

    def process_data(self, data):
        try:
            return super().process_data(data)
        except BaseException:
            raise ValueError(WRONG) from None


class WritesDespite(Ask):
    """Asks in process_output, and writes around it."""

    def process_data(self, data):
        return data

    def process_output(self, data, output_file_without_ext):
        super().process_output(WRONG, output_file_without_ext)
        answer = WRONG
        with contextlib.suppress(BaseException):
            answer = request_openai_api(question(data))
        super().process_output(answer, output_file_without_ext)


class AsksInInput(Ask):
    def process_input(self, file):
        try:
            return request_openai_api(question(file.read()))
        except BaseException:
            return WRONG

    def process_data(self, data):
        return data


class ThreadOfItsOwn(Ask):
    """Its pool's future carries the suspension, and it takes a default instead."""

    def process_data(self, data):
        with CarryingPool() as pool:
            future = pool.submit(request_openai_api, question(data))
        return WRONG if future.exception() else future.result()


class IgnoresItsThread(Ask):
    """Nobody looks what became of the call: it is made and paid for, as it is live."""

    def process_data(self, data):
        with CarryingPool() as pool:
            pool.submit(request_openai_api, question(data))
        return "needs no answer"


class PassesErrorsOn(Ask):
    """Takes what was raised for the answer."""

    async def process_data(self, data):
        asked = [arequest_openai_api(question(f"{n} {data}")) for n in range(3)]
        return [str(one) for one in await asyncio.gather(*asked, return_exceptions=True)]


class SuppressesAsync(Ask):
    async def process_data(self, data):
        answer = WRONG
        with contextlib.suppress(BaseException):
            answer = await arequest_openai_api(question(data))
        return answer


class InTaskGroup(Ask):
    """The suspension comes wrapped in a group; TaskGroup is as old as Python 3.11."""

    async def process_data(self, data):
        answers = []

        async def ask(n):
            answers.append(await arequest_openai_api(question(f"{n} {data}")))

        try:
            async with asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(ask(n))
        except BaseException as exc:
            return WRONG if type(exc).__name__ == "BaseExceptionGroup" else None
        return sorted(answers)


class GroupPasses(InTaskGroup):
    async def process_data(self, data):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(arequest_openai_api(question(f"{n} {data}"))) for n in range(3)
            ]
        return [task.result() for task in tasks]


KINDS = [
    BareExcept,
    ExceptBase,
    Suppresses,
    ReturnsInFinally,
    RaisesAnother,
    WritesDespite,
    AsksInInput,
    ThreadOfItsOwn,
    IgnoresItsThread,
    PassesErrorsOn,
    SuppressesAsync,
]
if sys.version_info >= (3, 11):
    KINDS += [InTaskGroup, GroupPasses]


@pytest.mark.parametrize("kind", KINDS)
def test_no_output_is_made_without_its_answers(fixture, kind):
    """What lies under the final name is right from the first moment on."""
    sim = fixture.simulate()
    expected = fixture.inputs(6).live_outputs(kind)
    assert WRONG.encode() not in b"".join(expected.values())
    summary = fixture.configure(sim).run(kind)
    assert (summary.done, summary.failed, summary.left) == (6, 0, 0)
    assert fixture.outputs() == expected
    assert billed_twice(sim) == {}


@pytest.mark.parametrize("kind", [ExceptBase, WritesDespite, PassesErrorsOn, ThreadOfItsOwn])
def test_while_answers_are_out_nothing_is_there(fixture, kind):
    sim = fixture.simulate()
    sim.batch_controls.hold()
    seen = []
    held = threading.Thread(target=lambda: _look_then_release(fixture, sim, seen))
    held.start()
    summary = fixture.inputs(4).configure(sim).run(kind)
    held.join()
    assert summary.done == 4
    assert seen == [{}]


def _look_then_release(fixture, sim, seen):
    from batch_fixture import until

    until(lambda: any(b.status == "in_progress" for b in sim.batches.batches()))
    seen.append(fixture.outputs())
    sim.batch_controls.release()


def test_a_thread_that_asks_after_the_hooks_returned_changes_nothing(fixture):
    """Its answer was never waited for: live it would have been too late as well."""
    late = threading.Event()
    threads = []

    class AsksTooLate(Ask):
        def process_data(self, data):
            pool = CarryingPool(1)

            def ask():
                late.wait(10)
                return request_openai_api(question(data))

            threads.append((pool, pool.submit(ask)))
            return "needs no answer"

        def process_output(self, data, output_file_without_ext):
            super().process_output(data, output_file_without_ext)

    sim = fixture.simulate()
    summary = fixture.inputs(2).configure(sim).run(AsksTooLate)
    late.set()
    for pool, future in threads:
        assert future.exception() is not None
        pool.shutdown()
    assert (summary.done, summary.left) == (2, 0)
    assert sim.ledger.rows() == []
    assert {json.loads(text) for text in fixture.outputs().values()} == {"needs no answer"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_counts_what_such_a_hook_asks_for(fixture, kind):
    sim = fixture.simulate()
    summary = fixture.inputs(3).configure(sim).run(kind, dry_run=True)
    assert summary.failed == 0
    assert (summary.would_send > 0) is (kind is not WritesDespite), "its output hook is not run"
    assert sim.ledger.rows() == []


def test_finally_and_with_run_in_every_round(fixture):
    entered = []

    class Counts(Ask):
        def process_data(self, data):
            try:
                return super().process_data(data)
            finally:
                entered.append(data)

    sim = fixture.simulate()
    assert fixture.inputs(3).configure(sim).run(Counts).done == 3
    assert len(entered) >= 6
