"""ApiQueue: ready-made requests to one address, so many tokens in any minute."""

import asyncio
import gc
import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doors_fixture import prompts, questions
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit import (
    ApiQueue,
    FakeTransport,
    NoUsableKey,
    RequestFailed,
    RequestRejected,
    UsageError,
    num_tokens_from_string,
)
from openai_parallel_toolkit.calls.models import make_request
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.keys.bucket import SlidingWindow
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator
from openai_parallel_toolkit.transport import SendFault
from openai_parallel_toolkit.transport.fake import chat_reply

REPOSITORY = Path(__file__).parents[2]
HEADERS = {"Authorization": "Bearer sim-test", "Content-Type": "application/json"}
CHAT = "/chat/completions"


def bodies(count, **fields):
    return [{"model": "gpt-4o-mini", "messages": messages, **fields} for messages in prompts(count)]


def contents(out):
    return [response["choices"][0]["message"]["content"] for response in out]


def queue_to(sim, requests, path=CHAT, **settings):
    """A queue whose pauses take no time, so that only limits and latency do."""
    settings.setdefault("rate_limit", 1e9)
    settings.setdefault("sleep", lambda seconds: asyncio.sleep(min(seconds, 0.01)))
    return ApiQueue(sim.url + path, HEADERS, requests, **settings)


class Sink:
    """Answers requests under a clock turned by the queue's own sleeping, and notes when."""

    def __init__(self, answer=None, seconds=0.0):
        self.clock = FakeClock()
        self.sent = []
        self._answer = answer
        self._seconds = seconds
        self.transport = FakeTransport(self._handle)

    async def _handle(self, request, lease):
        self.sent.append((self.clock.now_s(), request))
        await asyncio.sleep(0)
        if self._seconds:
            self.clock.advance(self._seconds)
        reply = self._answer(request, len(self.sent)) if self._answer else None
        return reply or chat_reply("ok", request)

    async def sleep(self, seconds):
        for _ in range(10):
            await asyncio.sleep(0)  # others first
        self.clock.advance(seconds)

    def queue(self, requests, url="http://nowhere/v1/chat/completions", **settings):
        return ApiQueue(
            url,
            HEADERS,
            requests,
            transport=self.transport,
            clock=self.clock,
            sleep=self.sleep,
            **settings,
        )

    def most_tokens(self, window_s=60.0):
        """The most tokens that were sent within any window."""
        times = [(at_s, request.prompt_tokens) for at_s, request in self.sent]
        return max(
            sum(tokens for at_s, tokens in times if since_s <= at_s < since_s + window_s)
            for since_s, _ in times
        )


def error(status, message="no", **headers):
    body = json.dumps({"error": {"message": message, "code": None, "type": "server"}}).encode()
    return RawReply(
        status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=body
    )


def tokens_of(body):
    return make_request(CHAT, "", body).prompt_tokens


# -- responses -------------------------------------------------------------------------------------


async def run(queue):
    return await queue.run()


def test_responses_are_raw_and_in_the_order_of_the_requests():
    with Simulator(latency=0.01) as sim:
        queue = queue_to(sim, bodies(40))
        out = asyncio.run(queue.run())
        assert sim.ledger.billed() == 40
    assert contents(out) == questions(40)
    assert set(out[0]) >= {"id", "object", "choices", "usage", "model"}
    assert out == queue.out
    assert queue.tries == [1] * 40
    assert queue.errors == [None] * 40
    assert queue.api_jobs == {}
    assert queue.waiting_on == []


def test_embeddings_are_responses_as_well():
    requests = [{"model": "text-embedding-3-small", "input": f"text {n}"} for n in range(3)]
    with Simulator() as sim:
        out = asyncio.run(queue_to(sim, requests, path="/embeddings").run())
    assert all(response["data"][0]["embedding"] for response in out)


def test_url_and_headers_are_used_as_they_are_given():
    with Simulator() as sim:
        url = (
            f"{sim.azure_endpoint}/openai/deployments/mine/chat/completions?api-version=2024-10-21"
        )
        requests = [{"messages": messages} for messages in prompts(2)]
        out = asyncio.run(ApiQueue(url, {"api-key": "sim-test"}, requests).run())
        assert {row.path.split("?")[0] for row in sim.ledger.rows()} == {
            "/openai/deployments/mine/chat/completions"
        }
    assert contents(out) == questions(2)


def test_a_server_that_cannot_be_reached_is_said_once_and_tried_again(caplog):
    def answer(request, count):
        return SendFault("unsent", "connect", "refused") if count <= 9 else None

    sink = Sink(answer)
    out = asyncio.run(sink.queue(bodies(2), url="http://user:secret@nowhere/v1" + CHAT).run())
    assert contents(out) == ["ok"] * 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("nowhere cannot be reached (refused); trying again. Check the url")


def test_a_server_that_is_reached_between_is_not_called_unreachable(caplog):
    def answer(request, count):
        faults = {3: error(500), 6: None}
        return faults.get(count, SendFault("unsent", "connect", "refused"))

    sink = Sink(answer)
    assert contents(asyncio.run(sink.queue(bodies(1)).run())) == ["ok"]
    assert len(sink.sent) == 6
    assert not caplog.records


ENDPOINTS = [
    ("chat/completions", {"choices": [{"message": {"role": "assistant", "content": ""}}]}),
    ("completions", {"choices": [{"text": ""}]}),
    ("responses", {"output": []}),
    ("moderations", {"results": []}),
    ("embeddings", {"data": []}),
]
ANSWERS = {
    "chat/completions": {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
    "completions": {"choices": [{"text": "hi", "finish_reason": "stop"}]},
    "responses": {"output": [], "status": "incomplete", "id": "cut"},
    "moderations": {"results": [{"flagged": False}]},
    "embeddings": {"data": [{"index": 0, "embedding": [0.5]}]},
}


@pytest.mark.parametrize(("end", "empty"), ENDPOINTS)
def test_each_endpoint_of_text_may_be_the_url_and_has_its_empty_answer(end, empty):
    def answer(request, count):
        return error(400, "odd") if b"odd" in request.body else raw(ANSWERS[end])

    sink = Sink(answer)
    requests = [{"model": "m", "input": word} for word in ("even", "odd")]
    queue = sink.queue(requests, f"http://nowhere/v1/{end}", ignore_error=lambda _: True)
    good, ignored = asyncio.run(queue.run())
    assert good == ANSWERS[end]
    assert all(_holds(ignored[name], value) for name, value in empty.items())


def raw(body):
    return RawReply(status=200, headers={}, body=json.dumps(body).encode())


def _holds(found, wanted):
    """Whether a value has all that is wanted of it."""
    if isinstance(wanted, dict):
        return all(_holds(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_holds, found, wanted))
    return found == wanted


def test_a_queue_has_what_it_was_made_of_and_what_is_left_to_do():
    sink, requests = Sink(lambda request, n: error(400) if n == 2 else None), bodies(3)
    queue = sink.queue(requests, ignore_error=None, rate_limit=5e4, max_retries=4)
    assert (queue.url, queue.headers) == ("http://nowhere/v1/chat/completions", HEADERS)
    assert queue.request_jsons == requests
    assert (queue.ignore_error, queue.rate_limit, queue.max_retries) == (None, 5e4, 4)
    assert (len(queue), queue.todo) == (3, [True] * 3)

    async def twice():
        with pytest.raises(RuntimeError):
            await queue.run()
        assert queue.todo == [response is None for response in queue.out]
        assert any(queue.todo)
        await queue.run()

    asyncio.run(twice())
    assert queue.todo == [False] * 3


def test_an_empty_queue_gives_nothing():
    assert asyncio.run(Sink().queue([]).run()) == []


def test_jobs_can_be_submitted_and_collected_by_hand():
    async def by_hand(queue):
        queue.submit_jobs()
        assert set(queue.api_jobs) == {0, 1, 2}
        assert queue.waiting_on == list(queue.api_jobs.values())
        assert queue.out == [None] * 5
        await queue.collect_jobs()
        assert queue.api_jobs == {}
        assert contents(queue.out[:3]) == ["ok"] * 3
        assert queue.out[3:] == [None] * 2
        queue.submit_jobs()  # the minute is not over
        assert queue.api_jobs == {}
        await queue.run()
        assert contents(queue.out) == ["ok"] * 5

    sink = Sink()
    requests = bodies(5)
    asyncio.run(by_hand(sink.queue(requests, rate_limit=3 * tokens_of(requests[0]))))


# -- the limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_no_minute_sees_more_tokens_than_the_limit(seconds):
    requests = bodies(500)
    limit = 100 * tokens_of(requests[0])
    sink = Sink(seconds=seconds)
    out = asyncio.run(sink.queue(requests, rate_limit=limit).run())
    assert len(out) == 500
    print(f"{sink.most_tokens():,} of {limit:,} tokens in the fullest minute")
    assert 0.95 * limit < sink.most_tokens() <= limit


def test_requests_that_are_sent_again_count_against_the_limit():
    requests = bodies(60)
    limit = 20 * tokens_of(requests[0])
    sink = Sink(answer=lambda request, ordinal: error(500) if ordinal % 3 == 0 else None)
    asyncio.run(sink.queue(requests, rate_limit=limit).run())
    assert len(sink.sent) > 60 * 1.3
    assert sink.most_tokens() <= limit


def test_a_request_that_is_held_up_before_it_is_sent_counts_from_when_it_was_sent():
    async def slowly(queue):
        queue.submit_jobs()
        sink.clock.advance(50.0)  # the program does something else
        await queue.run()

    requests = bodies(4)
    limit = 2 * tokens_of(requests[0])
    sink = Sink()
    asyncio.run(slowly(sink.queue(requests, rate_limit=limit)))
    assert sink.most_tokens() <= limit


@given(
    steps=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 70), st.floats(0, 20)), max_size=60)
)
def test_the_window_never_lets_too_much_through(steps):
    window, now_s, sent = SlidingWindow(100), 0.0, []
    for tokens, pause_s, held_up_s in steps:
        now_s = max(now_s + pause_s, window.ready_s(tokens, now_s + pause_s))
        window.hold(tokens)
        now_s += held_up_s
        window.sent(tokens, now_s)
        sent.append((now_s, tokens))
    for since_s, _ in sent:
        assert sum(n for at_s, n in sent if since_s <= at_s < since_s + 60) <= 100


def test_the_window_lets_through_what_there_is_room_for():
    window = SlidingWindow(100)
    assert window.ready_s(60, 0.0) == 0.0
    window.hold(60)
    window.sent(60, 0.0)
    assert window.ready_s(40, 10.0) == 10.0
    window.hold(40)
    assert window.ready_s(1, 10.0) == 60.5
    assert window.ready_s(70, 20.0) == 80.5  # what is held may be sent now at the earliest
    window.sent(40, 20.0)
    assert window.ready_s(70, 20.0) == 80.5
    window.hold(5)
    window.release(5)
    assert window.ready_s(60, 60.5) == 60.5
    assert window.ready_s(60, 90.0) == 90.0


def test_a_request_larger_than_the_limit_is_refused_before_anything_is_sent():
    requests = [*bodies(2), {"messages": [{"role": "user", "content": "long " * 1000}]}]
    with pytest.raises(UsageError, match="request 2 has about 1,"):
        Sink().queue(requests, rate_limit=500)


def test_a_limit_of_the_server_is_waited_for_and_is_no_try():
    sink = Sink(answer=lambda request, n: error(429, retry_after="7") if n <= 15 else None)
    queue = sink.queue(bodies(1), max_retries=1, rate_limit=1e9)
    asyncio.run(queue.run())
    times = [at_s for at_s, _ in sink.sent]
    assert len(times) == 16
    assert all(later - earlier >= 7 for earlier, later in itertools.pairwise(times))
    assert queue.tries == [1]


def test_a_wait_that_the_server_announces_is_said(caplog):
    sink = Sink(answer=lambda request, n: error(429, retry_after="7") if n == 1 else None)
    asyncio.run(sink.queue(bodies(3), rate_limit=1e9).run())
    (said,) = [record.getMessage() for record in caplog.records]
    assert (
        said
        == "nowhere is limited: nothing is sent for 7.0 s, as the server asks (3 requests waiting)"
    )


def test_limits_without_a_time_are_errors_of_which_max_retries_are_borne():
    sink = Sink(answer=lambda request, n: error(429))
    queue = sink.queue(bodies(1), max_retries=3, rate_limit=1e9)
    with pytest.raises(RuntimeError, match="max_retries") as caught:
        asyncio.run(queue.run())
    assert isinstance(caught.value, RequestFailed)
    assert caught.value.status == 429
    assert (len(sink.sent), queue.tries) == (4, [4])


def test_an_ignored_error_may_be_a_limit():
    sink = Sink(answer=lambda request, n: error(429, "quota of the day", retry_after="7"))
    queue = sink.queue(bodies(1), ignore_error=lambda text: "quota of the day" in text)
    assert contents(asyncio.run(queue.run())) == [""]
    assert len(sink.sent) == 1


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4o", "somebody's own"])
def test_tokens_are_counted_by_tiktoken_for_the_model(model):
    body = {"model": model, "messages": [{"role": "user", "content": "\u4f60\u597d\u3002" * 90}]}
    sink = Sink()
    asyncio.run(sink.queue([body]).run())
    counted = num_tokens_from_string(json.dumps(body, ensure_ascii=False), model)
    assert sink.sent[0][1].prompt_tokens == counted != tokens_of(body)


def test_tokens_are_estimated_where_there_is_no_vocabulary(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none" / "here"))
    (tmp_path / "none").write_text("a file where the folder would be")
    body = {"model": "text-davinci-003", "prompt": "hello " * 20}  # of a vocabulary of its own
    sink = Sink(
        answer=lambda request, n: RawReply(
            status=200, headers={}, body=b'{"choices": [{"text": "hi"}]}'
        )
    )
    asyncio.run(sink.queue([body], "http://nowhere/v1/completions").run())
    assert sink.sent[0][1].prompt_tokens == tokens_of(body)


def test_what_the_estimate_takes_for_too_large_is_counted_before_it_is_refused():
    body = {"messages": [{"role": "user", "content": "internationalization " * 100}]}
    sink = Sink()
    assert contents(asyncio.run(sink.queue([body], rate_limit=tokens_of(body) - 1).run())) == ["ok"]


# -- errors ----------------------------------------------------------------------------------------


def test_an_error_is_tried_again_and_noted():
    with Simulator(faults=[Fault("500", marker="What is 1 ", times=2)]) as sim:
        queue = queue_to(sim, bodies(3))
        assert contents(asyncio.run(queue.run())) == questions(3)
    assert queue.tries == [1, 3, 1]
    assert [text is None for text in queue.errors] == [True, False, True]
    assert "server had an error" in queue.errors[1]


@pytest.mark.parametrize("kind", ["500", "504", "cut_body"])
def test_more_errors_than_max_retries_raise_and_what_was_answered_stays(kind):
    with Simulator(faults=[Fault(kind, marker="What is 2 ")]) as sim:
        queue = queue_to(sim, bodies(6), max_retries=3)
        with pytest.raises(RequestFailed):
            asyncio.run(queue.run())
        sent = len(sim.ledger.rows())
    assert queue.tries[2] == 4
    assert sent == 5 + 4
    assert [response is None for response in queue.out] == [n == 2 for n in range(6)]


def test_after_a_failure_nothing_new_starts_and_answers_on_their_way_are_taken_in():
    with Simulator(latency=0.5, faults=[Fault("400", marker="What is 2 ")]) as sim:
        queue = queue_to(sim, bodies(10))
        with pytest.raises(RequestRejected):
            asyncio.run(queue.run())
        assert sim.ledger.billed() == sum(response is not None for response in queue.out) == 9


def test_a_second_run_after_a_failure_goes_on_with_what_is_missing():
    async def twice(queue):
        with pytest.raises(RequestFailed):
            await queue.run()
        return await queue.run()

    with Simulator(faults=[Fault("500", marker="What is 2 ", times=3)]) as sim:
        out = asyncio.run(twice(queue_to(sim, bodies(4), max_retries=2)))
        assert sim.ledger.billed() == 4
    assert contents(out) == questions(4)


def test_a_refused_key_is_told_at_once():
    with Simulator([SimKey("test", valid=False)]) as sim:
        queue = queue_to(sim, bodies(1))
        with pytest.raises(NoUsableKey, match="401"):
            asyncio.run(queue.run())
        assert len(sim.ledger.rows()) == 1


@pytest.mark.parametrize(
    ("path", "empty"),
    [(CHAT, ""), ("/embeddings", [])],
)
def test_an_ignored_error_is_not_tried_again_and_leaves_an_empty_answer(path, empty):
    told = []

    def ignore(text):
        told.append(text)
        return "temperature" in text

    requests = [{"model": "m", "input": "x"}] if path == "/embeddings" else bodies(1)
    with Simulator(faults=[Fault("400")]) as sim:
        queue = queue_to(sim, requests, path=path, ignore_error=ignore)
        (response,) = asyncio.run(queue.run())
        assert len(sim.ledger.rows()) == 1
    found = response["data"] if path == "/embeddings" else contents([response])[0]
    assert found == empty
    assert told == queue.errors
    assert queue.tries == [1]


def test_an_error_that_is_not_ignored_is_tried_again():
    with Simulator(faults=[Fault("500", times=1)]) as sim:
        queue = queue_to(sim, bodies(1), ignore_error=lambda text: "content_filter" in text)
        assert contents(asyncio.run(queue.run())) == questions(1)


def test_the_key_in_the_headers_is_in_no_error():
    secret = "a1b2c3d4e5f6"
    sink = Sink(answer=lambda request, n: error(400, f"the key {secret} is odd"))
    queue = ApiQueue(
        "http://nowhere/v1/chat/completions",
        {"api-key": secret},
        bodies(1),
        transport=sink.transport,
    )
    with pytest.raises(RequestRejected) as caught:
        asyncio.run(queue.run())
    shown = f"{caught.value} {queue.errors} {vars(queue)}"
    assert secret not in shown
    assert "[api-key]" in shown


def test_a_header_that_cannot_be_sent_is_told_without_its_value():
    with Simulator() as sim:
        queue = ApiQueue(sim.url + CHAT, {"api-key": "abc\ndefgh"}, bodies(1), sleep=stop)
        with pytest.raises(StopTrying):
            asyncio.run(queue.run())
        assert not sim.ledger.rows()
    assert "no possible header value" in queue.errors[0]
    assert "defgh" not in queue.errors[0]


class StopTrying(Exception):
    pass


async def stop(seconds):
    raise StopTrying


def test_a_queue_that_is_cancelled_leaves_nothing_behind():
    async def cancelled(queue):
        task = asyncio.ensure_future(queue.run())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not queue.api_jobs
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Simulator(latency=30.0) as sim:
        asyncio.run(cancelled(queue_to(sim, bodies(3))))


# -- the event loop --------------------------------------------------------------------------------


async def turns_s(until):
    """What of the processor and of time passes between heartbeats while `until` runs, ascending.

    The processor's is the loop's own thread's: what else the machine does is not in it.
    """
    worked_s, passed_s = [], []
    task = asyncio.ensure_future(until)
    while not task.done():
        since_s = time.thread_time(), time.perf_counter()
        await asyncio.sleep(0.005)
        worked_s.append(time.thread_time() - since_s[0])
        passed_s.append(time.perf_counter() - since_s[1])
    await task
    return sorted(worked_s), sorted(passed_s)


def p99(values):
    return values[int(0.99 * (len(values) - 1))]


def test_the_event_loop_is_never_blocked():
    command = [sys.executable, "-m", "openai_parallel_toolkit", "simulate", "--keys", "test"]
    with subprocess.Popen(
        [*command, "--port", "0", "--latency", "0.3"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            url = next(
                found[0]
                for line in server.stdout
                if (found := re.search(r"http://[^\s\"]+/v1", line))
            )
            queue = ApiQueue(url + CHAT, HEADERS, bodies(500), rate_limit=1e9)
            gc.collect()
            worked_s, passed_s = asyncio.run(turns_s(queue.run()))
            assert None not in queue.out
        finally:
            server.terminate()
    print(f"heartbeat p99 with 500 requests: {1000 * p99(worked_s):.1f} ms of work")
    assert p99(worked_s) < 0.05
    assert p99(passed_s) < 2  # nor does it wait for anything
