"""What is opened, used and closed again and again leaves no descriptor and no thread behind."""

import asyncio
import contextlib
import gc
import os
import shutil
import threading

import pytest
from test_own_generate import ThroughClient, ThroughModule
from wire_fixture import MODEL, Ask, question, until

from openai_parallel_toolkit import (
    APIKeyManager,
    ApiQueue,
    APIRequester,
    NoUsableKey,
    UsageError,
    arequest_openai_api,
    request_openai_api,
)
from openai_parallel_toolkit.keys import default_manager

#: More than what comes and goes by itself: one leftover a round is far more.
_HANDFUL = 6

pytestmark = [
    pytest.mark.usefixtures("openai_module"),
    pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="descriptors cannot be counted"),
]


@pytest.fixture
def rounds(request):
    return 50 if request.config.getoption("--full") else 3 * _HANDFUL


def leaves_nothing(use, rounds):
    """Use something a few times to warm up, then `rounds` times, and count what is open."""
    for n in range(3):
        use(n)
    gc.collect()
    before = _open_descriptors(), threading.active_count()
    for n in range(rounds):
        use(3 + n)

    def is_even():
        gc.collect()
        now = _open_descriptors(), threading.active_count()
        return all(new <= old + _HANDFUL for new, old in zip(now, before, strict=True))

    until(is_even, within_s=30)


def _open_descriptors():
    return len(os.listdir("/dev/fd"))


def _configured(fixture):
    """A fixture whose default manager, the one that stays open, was made and used."""
    sim = fixture.simulate("a", "b")
    fixture.configure(sim)
    APIKeyManager(config_path=fixture.config)
    request_openai_api(question("first"), default_manager())
    return sim


def _ask_module(keys, n):
    return request_openai_api(ThroughModule(f"question {n}"), keys)


def _ask_client(keys, n):
    return request_openai_api(ThroughClient(f"question {n}"), keys)


def _ask_without_waiting(keys, n):
    return asyncio.run(arequest_openai_api(ThroughModule(f"question {n}"), keys))


def _ask(keys, n):
    return request_openai_api(question(f"question {n}"), keys)


def _ask_and_keep(keys, n):
    return request_openai_api(question(f"question {n}"), keys, journal="kept")


@pytest.mark.parametrize(
    "ask", [_ask, _ask_and_keep, _ask_module, _ask_client, _ask_without_waiting]
)
def test_many_key_managers(fixture, rounds, ask):
    _configured(fixture)

    def use(n):
        with contextlib.closing(APIKeyManager(config_path=fixture.config)) as keys:
            assert ask(keys, n)

    leaves_nothing(use, rounds)


def test_many_default_key_managers(fixture, rounds):
    fixture.configure(fixture.simulate())

    def use(n):
        request_openai_api(question(f"question {n}"), config_path=str(fixture.config))
        default_manager().close()

    leaves_nothing(use, rounds)


def test_many_key_managers_that_are_asked_after_they_were_closed(fixture, rounds):
    _configured(fixture)

    def use(n):
        keys = APIKeyManager(config_path=fixture.config)
        keys.close()
        with pytest.raises(UsageError, match="closed"):
            _ask(keys, n)

    leaves_nothing(use, rounds)


class AskAsync(Ask):
    async def process_data(self, data):
        return await arequest_openai_api(question(data))


class AskModule(Ask):
    def process_data(self, data):
        return request_openai_api(ThroughModule(data))


@pytest.mark.parametrize("kind", [Ask, AskAsync, AskModule])
def test_many_toolkits(fixture, rounds, kind):
    _configured(fixture)
    fixture.inputs(3)

    def use(n):
        assert fixture.run(kind, num_threads=3, log_file=fixture.root / "log").done == 3
        shutil.rmtree(fixture.output)

    leaves_nothing(use, rounds)


def test_many_requesters(fixture, rounds):
    sim = _configured(fixture)
    prompts = [[{"role": "user", "content": f"question {n}"}] for n in range(5)]

    def use(n):
        given = [{"key": sim.keys[0].secret, "api_base": sim.url}]
        with APIRequester(MODEL, keys=given, progress=False) as api:
            assert None not in [told["content"] for told in api.get_responses_parallel(prompts)]

    leaves_nothing(use, rounds)


def test_many_api_queues(fixture, rounds):
    sim = _configured(fixture)
    headers = {"Authorization": f"Bearer {sim.keys[0].secret}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "question"}]}

    def use(n):
        queue = ApiQueue(f"{sim.url}/chat/completions", headers, [body] * 5)
        assert len(asyncio.run(queue.run())) == 5

    leaves_nothing(use, rounds)


def test_many_api_queues_on_one_event_loop(fixture, rounds):
    """A door that is left by an error is closed as well."""
    url = f"{_configured(fixture).url}/chat/completions"
    body = {"model": MODEL, "messages": [{"role": "user", "content": "question"}]}
    counted = []

    async def work():
        for _ in range(3 + rounds):
            with pytest.raises(NoUsableKey):
                await ApiQueue(url, {"Authorization": "Bearer nobody's"}, [body] * 5).run()
            counted.append(_open_descriptors())

    asyncio.run(work())
    assert max(counted[3:]) <= counted[2] + 2 * _HANDFUL
