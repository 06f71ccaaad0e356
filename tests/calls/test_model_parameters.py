"""A model that takes no max_tokens, or no temperature but its own, is asked without it."""

import json
import logging
from contextlib import closing

import pytest

from openai_parallel_toolkit import (
    APIKeyManager,
    APIRequester,
    ChatModel,
    FakeTransport,
    Gpt35Turbo,
    RequestRejected,
    ResponsesModel,
    request_openai_api,
)
from openai_parallel_toolkit.calls.models import request_of
from openai_parallel_toolkit.calls.sender import Sender
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.transport.fake import chat_reply

NAMED = "Unsupported parameter: '{0}' is not supported with this model."


def error_of(param, code="unsupported_parameter", **more):
    kind = "invalid_request_error"
    return {"message": NAMED.format(param), "type": kind, "param": param, "code": code, **more}


FORMS = {
    "plain": lambda param: {"error": error_of(param)},
    "a value": lambda param: {"error": error_of(param, "unsupported_value")},
    "no envelope": error_of,
    "a list": lambda param: [{"error": error_of(param)}],
    "by its type": lambda param: {"error": error_of(param, 400, type="unsupported_parameter")},
    "behind a router": lambda param: {
        "error": {"message": "Provider returned error", "code": 400, "metadata": {
            "raw": json.dumps({"error": error_of(param)})
        }}
    },
    "in a sentence": lambda param: {
        "error": {
            "message": f"BadRequestError: {json.dumps({'error': error_of(param)})} Group=mine",
            "type": None, "param": None, "code": "400",
        }
    },
    "as a text": lambda param: {"detail": json.dumps({"error": error_of(param)})},
}  # fmt: skip


RESPONSE = RawReply(
    status=200,
    headers={},
    body=json.dumps(
        {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "ok"}]}],
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
        }
    ).encode(),
)


class Picky:
    """A server whose models take none of some parameters."""

    def __init__(self, *refused, form=FORMS["plain"], status=400):
        self.refused, self.form, self.status = refused, form, status
        self.bodies = []

    def __call__(self, request, lease):
        body = json.loads(request.body)
        self.bodies.append(body)
        for name in self.refused:
            if name in body:
                told = json.dumps(self.form(name)).encode()
                return RawReply(status=self.status, headers={}, body=told)
        return chat_reply("ok", request) if "messages" in body else RESPONSE


def ask(server, *models):
    """Answers of models asked one after the other, under one set of keys, and what was sent."""
    with closing(APIKeyManager(["sim-key"])) as keys:
        transport = FakeTransport(server)
        keys.shared_sender(lambda own: Sender(own, transport=transport))
        return [request_openai_api(model, keys) for model in models], transport.sent


def chat(model="mine", **parameters):
    return ChatModel(model, content="hello", **parameters)


@pytest.mark.parametrize(
    "model", ["gpt-5-mini", "gpt-5", "gpt-5.1", "o3", "o4-mini", "ft:o4-mini:a"]
)
def test_a_model_that_is_known_to_think_gets_the_limit_by_the_name_that_it_takes(model):
    server, asked = Picky("max_tokens"), chat(model, max_tokens=50)
    answers, sent = ask(server, asked)
    assert answers == ["ok"]
    assert [body.get("max_completion_tokens") for body in server.bodies] == [50]
    assert sent[0][0].hash == request_of(asked).hash  # it is the same call


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-3.5-turbo", "omni", "gpt-35-turbo", "gpt-50", "mine"]
)
def test_other_models_get_what_was_written(model):
    server = Picky()
    ask(server, chat(model, max_tokens=50, temperature=0.2))
    assert server.bodies[0] == chat(model, max_tokens=50, temperature=0.2).payload()


def test_a_limit_that_was_given_by_its_right_name_stays():
    server = Picky("max_tokens")
    ask(server, chat("o3", max_tokens=50, max_completion_tokens=60))
    assert server.bodies[0]["max_completion_tokens"] == 60


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_a_refusal_names_is_never_sent_again(form, status, caplog):
    names = ["max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty"]
    server = Picky(*names, form=form, status=status)
    asked = [ChatModel("mine", content=f"{n}", **dict.fromkeys(names, 1)) for n in range(3)]
    with caplog.at_level(logging.WARNING):
        answers, _ = ask(server, *asked)
    assert answers == ["ok"] * 3
    assert len(server.bodies) == len(names) + 3  # each name is refused once
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
    told = [r.getMessage() for r in caplog.records if r.action == "parameter_changed"]
    assert len(told) == len(names)
    assert "mine takes no max_tokens: it is sent as max_completion_tokens; write" in told[0]


@pytest.mark.parametrize("form", ["plain", "in a sentence"])
def test_every_prompt_of_a_list_is_answered_and_the_change_is_told_once(form, caplog):
    server = Picky("max_tokens", "temperature", form=FORMS[form])
    messages = [[{"role": "user", "content": f"{n}"}] for n in range(20)]
    transport = FakeTransport(server)
    with (
        APIRequester(
            "mine",
            max_tokens=9,
            temperature=0.7,
            keys=["sim-key"],
            transport=transport,
            max_workers=4,
        ) as api,
        caplog.at_level(logging.WARNING),
    ):
        got = api.get_responses_parallel(messages)
    assert [one["content"] for one in got] == ["ok"] * 20
    assert len(server.bodies) <= 20 + 2 * 4
    assert len([r for r in caplog.records if r.action == "parameter_changed"]) == 2


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_a_response_is_asked_for_without_what_its_model_does_not_take(name):
    server = Picky(name, form=lambda param: {"error": error_of(param, None)})
    model = ResponsesModel("gpt-5.2", "hello", max_output_tokens=5, **{name: 0})
    asked = [model, ResponsesModel("gpt-5.2", "again", **{name: 0})]
    assert len(ask(server, *asked)[1]) == 3
    assert [name in body for body in server.bodies] == [True, False, False]
    assert server.bodies[1]["max_output_tokens"] == 5


def test_the_temperature_of_a_built_in_model_does_not_stand_in_its_way():
    answers, _ = ask(Picky("temperature"), Gpt35Turbo("hello", model="gpt-5-mini"))
    assert answers == ["ok"]


def test_what_one_server_refuses_is_still_sent_to_another():
    server = Picky("max_tokens")
    keys = APIKeyManager([
        {"key": f"key-of-{n}", "name": f"{n}", "api_base": f"http://127.0.0.1:{n}"} for n in (1, 2)
    ])  # fmt: skip
    sent = []

    def answer(request, lease):
        sent.append((lease.key_name, "max_tokens" in json.loads(request.body)))
        return server(request, lease) if lease.key_name == "1" else chat_reply("ok", request)

    with closing(keys):
        keys.shared_sender(lambda own: Sender(own, transport=FakeTransport(answer)))
        for _ in range(8):
            request_openai_api(chat(max_tokens=5), keys)
    assert sent.count(("1", True)) == 1
    assert ("2", False) not in sent


@pytest.mark.parametrize(
    "error",
    [
        error_of("max_tokens", "invalid_value"),
        error_of("max_tokens", None),
        error_of("logprobs"),
        error_of("temperature", "decimal_above_max_value"),
        error_of("temperature", 400),
        error_of("messages", "unsupported_value"),
        error_of(None),
        {"message": "max_tokens: unsupported_parameter", "code": ["unsupported_parameter"]},
        "max_tokens",
    ],
)
def test_other_refusals_are_told_after_one_attempt(error):
    server = Picky("max_tokens", form=lambda param: {"error": error})
    with pytest.raises(RequestRejected):
        ask(server, chat(max_tokens=50, logprobs=True, temperature=9))
    assert len(server.bodies) == 1
