"""APIRequester: lists of messages in, answers out."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from doors_fixture import azure_key, prompts, questions

from openai_parallel_toolkit import (
    APIKeyManager,
    APIPlayer,
    APIRequester,
    APIRequestor,
    ConfigError,
    FakeTransport,
    FilesFailed,
    IncompleteAnswer,
    InvalidAnswer,
    NoUsableKey,
    ParallelToolkit,
    RequestRejected,
    UsageError,
)
from openai_parallel_toolkit.calls.admission import RateLimiter
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
MODEL = "gpt-35-turbo"


def requester(sim, kind=APIRequester, **settings):
    settings.setdefault("keys", azure_key(sim))
    return kind(MODEL, max_tokens=20, **settings)


def faked(handler, **settings):
    """A requester whose requests are answered by a function."""
    transport = FakeTransport(handler)
    return APIRequester(MODEL, keys=["sim-key"], transport=transport, **settings), transport


# -- answers ---------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_prompts_with_the_question_beside_each():
    with Simulator() as sim:
        with APIRequester(
            model_name=MODEL, temperature=1.0, max_tokens=20, rate_limit=100, keys=azure_key(sim)
        ) as api:
            results = api.get_responses_parallel(prompts(30))
        assert [set(result) for result in results] == [{"input", "content"}] * 30
        assert [result["input"] for result in results] == questions(30)
        assert [result["content"] for result in results] == questions(30)  # it repeats the question
        assert sim.ledger.billed() == 30


def test_what_fails_for_good_is_none_and_the_rest_goes_on(caplog):
    faults = [Fault("400", marker="What is 3 "), Fault("500", marker="What is 5 ", times=1)]
    with Simulator(faults=faults) as sim, requester(sim) as api:
        results = api.get_responses_parallel(prompts(10))
    wanted = [None if n == 3 else question for n, question in enumerate(questions(10))]
    assert [result["content"] for result in results] == wanted
    assert "1 of 10 prompts got no answer" in caplog.text


def test_what_handle_retry_error_returns_is_the_content():
    class Telling(APIRequester):
        def handle_retry_error(self, error):
            return type(error).__name__

    with Simulator(faults=[Fault("400")]) as sim, requester(sim, Telling) as api:
        assert api.get_response(prompts(1)[0]) == RequestRejected.__name__


def test_an_error_that_handle_retry_error_raises_ends_the_list_and_sends_nothing_more():
    class Strict(APIRequester):
        def handle_retry_error(self, error):
            raise error

    with Simulator(faults=[Fault("400", at=[1])]) as sim:
        api = requester(sim, Strict, rate_limit=1, burst=1)
        with api, pytest.raises(RequestRejected):
            api.get_responses_parallel(prompts(5))
        assert len(sim.ledger.rows()) == 1


def test_without_a_usable_key_every_content_is_none():
    with Simulator([SimKey("empty", quota="none")]) as sim, requester(sim) as api:
        kinds = []
        api.handle_retry_error = lambda error: kinds.append(type(error))
        results = api.get_responses_parallel(prompts(4))
    assert [result["content"] for result in results] == [None] * 4
    assert kinds == [NoUsableKey] * 4


def test_an_answer_that_its_length_limit_cut_is_the_content():
    with Simulator(faults=[Fault("finish_length")]) as sim, requester(sim) as api:
        assert api.get_response(prompts(1)[0])


def test_the_input_is_the_text_of_the_last_user_message():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "and"},
    ]
    api, _ = faked(lambda request, lease: "ok")
    with api:
        results = api.get_responses_parallel([messages, [{"role": "system", "content": "x"}]])
    assert [result["input"] for result in results] == ["look", ""]


def test_an_empty_list_gives_an_empty_list():
    api, transport = faked(lambda request, lease: "ok")
    with api:
        assert api.get_responses_parallel([]) == []
    assert not transport.sent


def test_a_prompt_that_cannot_be_sent_is_told_before_any_is_sent():
    api, transport = faked(lambda request, lease: "ok")
    with api, pytest.raises(UsageError):
        api.get_responses_parallel([*prompts(2), [{"role": "user", "content": "\ud800"}]])
    assert not transport.sent


def test_parameters_are_passed_on_and_none_is_left_out():
    api, transport = faked(lambda request, lease: "ok", temperature=1.0, top_p=0.5, stop=None)
    with api:
        api.get_response(prompts(1)[0])
    body = json.loads(transport.sent[0][0].body)
    assert body == {
        "model": MODEL,
        "messages": prompts(1)[0],
        "temperature": 1.0,
        "top_p": 0.5,
    }


# -- JSON ------------------------------------------------------------------------------------------


def test_an_answer_that_is_not_json_is_asked_again_and_then_parsed():
    answers = iter(["Sure!", '{"a": 1', '{"a": [1, 2]}'])
    api, transport = faked(lambda request, lease: next(answers), json_output=True)
    with api:
        assert api.get_response(prompts(1)[0]) == {"a": [1, 2]}
    assert len(transport.sent) == 3


def test_after_three_answers_that_are_not_json_it_is_given_up():
    api, transport = faked(lambda request, lease: "Sure!", json_output=True)
    errors = []
    api.handle_retry_error = errors.append
    with api:
        assert api.get_response(prompts(1)[0]) is None
    assert len(transport.sent) == 3
    assert isinstance(errors[0], InvalidAnswer)
    assert errors[0].text == "Sure!"


#: As the first README's notebook has it, and other ways to show the same form.
FORMS = [
    "Always answer in the following json format: {'content': '2'}.",
    'Reply with JSON: {"content": "<the sum, in words>"}',
    'JSON only, { "content": ... }, please',
]


def asked_in(form, question="What is 53 + 53?"):
    return [{"role": "system", "content": form}, {"role": "user", "content": question}]


@pytest.mark.parametrize("form", FORMS)
def test_where_the_system_prompt_asks_for_an_object_with_the_content_its_value_is_the_content(form):
    api, transport = faked(lambda request, lease: '{\n  "content": "106"\n}')
    with api:
        results = api.get_responses_parallel([asked_in(form)])
    assert results == [{"input": "What is 53 + 53?", "content": "106"}]
    body = json.loads(transport.sent[0][0].body)
    assert body["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    "form",
    [
        "Answer with the number alone.",
        "Answer in JSON: {'title': '...', 'content': '...'}",
        "Answer in JSON: {'content': '...', 'tags': []}",
        "The format is {'content': '2'}",
    ],
)
def test_where_it_asks_for_anything_else_the_text_is_the_content(form):
    api, transport = faked(lambda request, lease: '{"content": "106"}')
    with api:
        assert api.get_response(asked_in(form)) == '{"content": "106"}'
    assert "response_format" not in json.loads(transport.sent[0][0].body)


def test_the_text_may_be_asked_for_in_spite_of_the_form():
    api, _ = faked(lambda request, lease: '{"content": "106"}', json_output=False)
    with api:
        assert api.get_response(asked_in(FORMS[0])) == '{"content": "106"}'


@pytest.mark.parametrize("settings", [{}, {"json_output": "content"}])
def test_an_answer_without_the_content_is_asked_again(settings):
    answers = iter(["{'content': '106'}", '{"answer": "106"}', '{"content": 106}'])
    api, transport = faked(lambda request, lease: next(answers), **settings)
    with api:
        assert api.get_response(asked_in(FORMS[0])) == 106
    assert len(transport.sent) == 3


# -- as the original has it ------------------------------------------------------------------------


def test_it_has_the_attributes_it_was_made_with_and_asks_by_them():
    api, transport = faked(
        lambda request, lease: "ok", temperature=1.0, max_tokens=20, rate_limit=9
    )
    with api:
        assert (api.model_name, api.temperature, api.max_tokens) == (MODEL, 1.0, 20)
        assert api.rate_limit == 9
        api.model_name, api.temperature, api.max_tokens = "gpt-4o", 0.5, 30
        api.get_response(prompts(1)[0])
    body = json.loads(transport.sent[0][0].body)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o", 0.5, 30)


class Shouting(APIRequester):
    def get_response(self, messages):
        answer = super().get_response(messages)
        return json.loads("{") if answer.startswith("What is 2 ") else answer.upper()


def test_an_overridden_get_response_is_used_for_a_list_and_what_it_raises_is_handled(caplog):
    with Simulator() as sim, requester(sim, Shouting) as api:
        results = api.get_responses_parallel(prompts(4))
    wanted = [question.upper() for question in questions(4)]
    assert [result["content"] for result in results] == [*wanted[:2], None, *wanted[3:]]
    assert "1 of 4 prompts got no answer; the first: Expecting" in caplog.text


def test_in_a_hook_an_overridden_get_response_asks_for_the_whole_list_before_the_hook_unwinds(
    tmp_path,
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    with Simulator() as sim, requester(sim, Shouting, max_workers=2) as api:

        class Sums(ParallelToolkit):
            def process_input(self, file):
                return file.read()

            def process_data(self, data):
                return api.get_responses_parallel(prompts(6))

            def process_output(self, data, output_file_without_ext):
                pass

        manager = APIKeyManager(azure_key(sim))
        settings = {"key_manager": manager, "progress": False, "dry_run": True}
        assert Sums(None, "in", "out", **settings).run().would_send == 6
        manager.close()


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_limit", "count"), [(100, 100), (60_000, 500)])
def test_as_many_prompts_as_the_allowance_lets_through_take_one_reply_s_time(rate_limit, count):
    all_asked = asyncio.Event()

    async def answer(request, lease):
        if len(transport.sent) == count:
            all_asked.set()
        await asyncio.wait_for(all_asked.wait(), 40)  # no reply comes before the last request
        return "ok"

    api, transport = faked(answer, rate_limit=rate_limit)
    with api:
        results = api.get_responses_parallel(prompts(count))
    assert [result["content"] for result in results] == ["ok"] * count


def test_the_price_is_looked_up_before_the_first_request_so_that_it_need_not_wait():
    pytest.importorskip("genai_prices")
    code = """\
import sys
from openai_parallel_toolkit import APIRequester
with APIRequester("gpt-35-turbo", keys=["sim-key"]):
    print("genai_prices.data_snapshot" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_second_list_right_after_the_first_is_paced_by_the_same_allowance():
    since_s = time.monotonic()
    with Simulator() as sim, requester(sim, rate_limit=600, burst=3) as api:
        api.get_responses_parallel(prompts(3))
        api.get_responses_parallel(prompts(4))
        assert sim.ledger.billed() == 7
    assert time.monotonic() - since_s > 0.39  # one every 0.1 s after the first three


def test_a_request_that_is_sent_again_takes_of_the_allowance_as_well():
    since_s = time.monotonic()
    with Simulator(faults=[Fault("429", at=[1], retry_after=0.01)]) as sim:
        with requester(sim, rate_limit=300, burst=1) as api:
            api.get_responses_parallel(prompts(2))
        assert sim.ledger.hits() == 3
    assert time.monotonic() - since_s > 0.39  # one every 0.2 s after the first


def turns(count, tokens=10, **limits):
    """Clock times, from now, at which `count` requests of so many tokens may go."""
    limiter = RateLimiter(clock=FakeClock(), **limits)
    sizes = tokens if isinstance(tokens, list) else [tokens] * count
    return [limiter.wait_s(size) for size in sizes]


def test_one_minute_s_worth_starts_at_once_and_the_rest_evenly():
    assert turns(102, rate_limit=100) == pytest.approx([0.0] * 100 + [0.6, 1.2])


def test_a_burst_of_one_spreads_all_requests_evenly():
    assert turns(4, rate_limit=100, burst=1) == pytest.approx([0.0, 0.6, 1.2, 1.8])


def test_tokens_are_an_allowance_of_their_own():
    assert turns(4, tokens=30, token_rate_limit=60) == pytest.approx([0.0, 0.0, 30.0, 60.0])


def test_requests_held_back_by_a_large_one_do_not_start_all_at_once_after_it():
    sizes = [60, 60, 1, 1, 1]
    given = turns(5, tokens=sizes, rate_limit=60, burst=1, token_rate_limit=60)
    assert given == pytest.approx([0.0, 60.0, 61.0, 62.0, 63.0])


def test_no_more_are_under_way_than_there_are_workers():
    under_way, most = 0, 0

    async def answer(request, lease):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return "ok"

    api, _ = faked(answer, max_workers=7)
    with api:
        api.get_responses_parallel(prompts(50))
    assert most == 7


@pytest.mark.parametrize(
    ("rate_limit", "workers"), [(None, 500), (0.5, 1), (100, 100), (60_000, 500)]
)
def test_without_a_number_of_workers_the_rate_limit_tells_it(rate_limit, workers):
    api, _ = faked(lambda request, lease: "ok", rate_limit=rate_limit)
    with api:
        assert api.max_workers == workers


@pytest.mark.parametrize("name", ["rate_limit", "burst", "token_rate_limit", "max_workers"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        APIRequester(MODEL, keys=["sim-key"], **{name: 0})


# -- money -----------------------------------------------------------------------------------------


def priced(tmp_path, sim):
    config = {
        "api_keys": [sim.keys[0].secret],
        "api_base": sim.url,
        "prices": {"own": {"input": 1000.0, "output": 1000.0}},
    }
    path = tmp_path / "priced.json"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


def test_a_budget_is_never_passed_and_what_it_does_not_reach_is_none(tmp_path, caplog):
    with Simulator() as sim:
        config = priced(tmp_path, sim)
        with APIRequester("own", max_tokens=10, budget=0.3, config_path=config) as api:
            results = api.get_responses_parallel(prompts(20))
            again = api.get_responses_parallel(prompts(20))
        rows = sim.ledger.rows()
    answered = [result for result in results if result["content"] is not None]
    assert 0 < len(answered) < 20
    cost_usd = sum(row.prompt_tokens + row.completion_tokens for row in rows) / 1000
    assert cost_usd <= 0.3
    assert len(rows) == len(answered) + sum(r["content"] is not None for r in again)
    assert f"{20 - len(answered)} of 20 prompts got no answer; the first: max_cost" in caplog.text


def test_a_budget_needs_a_price():
    api, transport = faked(lambda request, lease: "ok", budget=1)
    api.model_name = "a-model-of-mine"
    with api, pytest.raises(ConfigError, match="price of a-model-of-mine"):
        api.get_response(prompts(1)[0])
    assert not transport.sent


# -- keys and places -------------------------------------------------------------------------------


def environment(monkeypatch, sim):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sim-test")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", sim.azure_endpoint)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    monkeypatch.setenv("OPENAI_API_KEY", "sim-test")
    monkeypatch.setenv("OPENAI_BASE_URL", sim.url)


@pytest.mark.parametrize(
    ("azure", "path"),
    [(True, f"/openai/deployments/{MODEL}/chat/completions"), (False, "/v1/chat/completions")],
)
def test_the_environment_s_azure_key_is_taken_unless_openai_is_asked_for(monkeypatch, azure, path):
    with Simulator() as sim:
        environment(monkeypatch, sim)
        with APIRequester(MODEL, azure=azure) as api:
            assert api.get_response(prompts(1)[0]) == questions(1)[0]
        assert [row.path.split("?")[0] for row in sim.ledger.rows()] == [path]


def test_the_key_may_stand_in_dot_env(tmp_path):
    with Simulator() as sim:
        env = f"AZURE_OPENAI_API_KEY=sim-test\nAZURE_OPENAI_ENDPOINT={sim.azure_endpoint}\n"
        (tmp_path / ".env").write_text(env)  # the API's version has a default
        with APIRequester(MODEL) as api:
            assert api.get_response(prompts(1)[0]) == questions(1)[0]


def test_with_the_key_alone_one_error_names_all_that_is_missing(tmp_path):
    (tmp_path / ".env").write_text("AZURE_OPENAI_API_KEY = sim-test\n")
    with pytest.raises(ConfigError) as caught:
        APIRequester(model_name=MODEL, temperature=1.0, max_tokens=20, rate_limit=100)
    assert str(caught.value) == (
        "the environment: AZURE_OPENAI_ENDPOINT: is missing beside AZURE_OPENAI_API_KEY; set it to "
        "https://<resource>.openai.azure.com, in the environment or in .env (OPENAI_API_VERSION is "
        "2024-10-21 unless it is set)"
    )


def test_several_keys_share_the_work():
    with Simulator([SimKey("a"), SimKey("b")]) as sim:
        keys = [{"key": key.secret, "api_base": sim.url} for key in sim.keys]
        with APIRequester(MODEL, keys=keys) as api:
            api.get_responses_parallel(prompts(10))
        assert (sim.ledger.hits("a"), sim.ledger.hits("b")) == (5, 5)


def test_the_keys_of_a_manager_are_used_and_left_open():
    with Simulator() as sim:
        manager = APIKeyManager(azure_key(sim))
        for _ in range(2):
            with requester(sim, keys=manager) as api:
                assert api.get_response(prompts(1)[0])
        assert manager.status()[0].requests == 2
        manager.close()


def test_it_works_where_an_event_loop_runs_as_in_a_notebook():
    async def cell():
        return api.get_responses_parallel(prompts(5))

    with Simulator() as sim, requester(sim) as api:
        assert [result["content"] for result in asyncio.run(cell())] == questions(5)


def test_the_other_names_are_the_same_class():
    assert APIRequestor is APIPlayer is APIRequester


def test_in_a_hook_a_dead_key_fails_the_file_so_that_a_later_run_asks_again(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    keys = [SimKey("empty", quota="none"), SimKey("good")]
    with Simulator(keys) as sim, requester(sim) as api:

        class Sums(ParallelToolkit):
            def process_input(self, file):
                return file.read()

            def process_data(self, data):
                return api.get_responses_parallel(prompts(2))

            def process_output(self, data, output_file_without_ext):
                open(output_file_without_ext + ".json", "w").close()

        manager = APIKeyManager([{"key": "sim-good", "api_base": sim.url}])
        toolkit = Sums(None, "in", "out", key_manager=manager, progress=False)
        with pytest.raises(FilesFailed):
            toolkit.run()
        manager.close()


def test_in_a_hook_its_answers_are_kept_for_the_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    mended = []
    with Simulator() as sim, requester(sim) as api:

        class Sums(ParallelToolkit):
            def process_input(self, file):
                return file.read()

            def process_data(self, data):
                return api.get_responses_parallel(prompts(5))

            def process_output(self, data, output_file_without_ext):
                if not mended:
                    raise ValueError("not yet")
                with open(output_file_without_ext + ".json", "w") as out:
                    json.dump(data, out)

        manager = APIKeyManager(azure_key(sim))
        settings = {"key_manager": manager, "progress": False, "fail_on_error": False}
        run = Sums(None, "in", "out", **settings).run
        assert run().failed == 1
        mended.append(True)
        assert run().done == 1
        manager.close()
        assert sim.ledger.billed() == 5
    kept = json.loads((tmp_path / "out" / "a.json").read_text())
    assert [result["content"] for result in kept] == questions(5)


def test_in_a_dry_run_the_whole_list_is_planned_at_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    api, transport = faked(lambda request, lease: "ok", max_workers=2)

    class Sums(ParallelToolkit):
        def process_input(self, file):
            return file.read()

        def process_data(self, data):
            return api.get_responses_parallel(prompts(5))

        def process_output(self, data, output_file_without_ext):
            raise AssertionError

    with api, closing(APIKeyManager(["sim-key"])) as manager:
        toolkit = Sums(None, "in", "out", key_manager=manager, progress=False, dry_run=True)
        assert toolkit.run().would_send == 5
    assert not transport.sent


def test_json_in_a_fence_is_json():
    api, fake = faked(lambda request, lease: '```json\n{"a": 1}\n```', json_output=True)
    with api:
        assert api.get_response(prompts(1)[0]) == {"a": 1}
    assert len(fake.sent) == 1


def test_an_answer_with_nothing_in_it_is_a_failure():
    class Telling(APIRequester):
        def handle_retry_error(self, error):
            return type(error).__name__

    with Simulator(faults=[Fault("empty_content")]) as sim, requester(sim, Telling) as api:
        assert api.get_response(prompts(1)[0]) == IncompleteAnswer.__name__
