"""What is an answer: its text, how it ended, and whether it is whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.responses import read_answer
from openai_parallel_toolkit.core.records import OutcomeKind, RawReply, Reply

CHAT = "/chat/completions"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chat(content="Half.", reason="stop", usage=USAGE, message=(), choice=(), **more):
    told = {"role": "assistant", "content": content, **dict(message)}
    one = {"index": 0, "message": told, "finish_reason": reason, **dict(choice)}
    return {"model": "m", "choices": [one], "usage": usage, **more}


def judged(raw, path=CHAT):
    body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    reply = RawReply(status=200, headers={}, body=body)
    return classify(reply, path, wall_s=0, clean=lambda text: text.replace("sk-1", "***"))


@pytest.mark.parametrize(
    "reason",
    [
        *("stop", "STOP", "Stop", "tool_calls", "function_call", "eos", "end_turn", "EOS"),
        *("stop_sequence", "COMPLETE", "completed", "eos_token", "tool_use", "normal", "end"),
        *("", None, 0, {"type": "stop", "matched": 2}),
        *("FinishReason.STOP", "FINISH_REASON_STOP", "REASON_STOP", "tool-calls", "toolUse"),
    ],
)
def test_a_text_with_a_good_ending_or_none_is_an_answer(reason):
    outcome, reply = judged(chat("Whole.", reason))
    assert (outcome.kind, reply.text, reply.is_whole) == (OutcomeKind.OK, "Whole.", True)


@pytest.mark.parametrize(
    "reason",
    [
        *("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens"),
        *("content_filter", "SAFETY", "RECITATION", "sensitive", "refusal", "blocked"),
        *("error", "abort", "cancelled", "network_error", "time_limit", "pause_turn"),
        *("insufficient_system_resource", "model_context_window_exceeded", "null", "whatever"),
    ],
)
def test_any_other_ending_is_paid_for_and_of_no_use(reason):
    outcome, reply = judged(chat("Half.", reason))
    assert (outcome.kind, outcome.code) == (OutcomeKind.UNUSABLE, reason)
    assert (reply.text, reply.finish_reason, reply.is_whole) == ("Half.", reason, False)
    assert outcome.usage.total_tokens == 15


@pytest.mark.parametrize(
    "raw",
    [
        chat(""),
        chat(None),
        chat(" \n"),
        chat([]),
        chat({}),
        chat([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
        chat([{"type": "text", "text": None}]),
        chat(None, message={"reasoning_content": "all of it"}),
        chat(None, message={"reasoning": "all of it"}),
        chat(None, message={"tool_calls": []}),
        chat(None, None),
        {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}], "usage": USAGE},
    ],
)
def test_an_answer_with_nothing_in_it_is_of_no_use(raw):
    outcome, reply = judged(raw)
    assert (outcome.kind, outcome.code) == (OutcomeKind.UNUSABLE, "empty")
    assert not reply.is_whole


@pytest.mark.parametrize(
    ("told", "reason"),
    [({"type": "length", "length": 5}, "length"), ({"type": "abort"}, "abort"), (2, "2")],
)
def test_an_ending_that_is_told_in_an_object_or_a_number_counts(told, reason):
    outcome, reply = judged(chat("Half.", told))
    assert (outcome.kind, reply.finish_reason) == (OutcomeKind.UNUSABLE, reason)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda raw: {"code": 200, "msg": "ok", "data": raw},
        lambda raw: {"success": True, "errors": [], "result": raw},
        lambda raw: {"response": raw},
        lambda raw: {"statusCode": 200, "body": json.dumps(raw)},
        lambda raw: {"output": {"choices": raw["choices"]}, "usage": raw["usage"]},
        lambda raw: {**raw, "choices": [{"delta": raw["choices"][0]["message"]}]},
        lambda raw: {**raw, "choices": [{"message": "Whole.", "finish_reason": "stop"}]},
    ],
)
def test_an_answer_that_a_gateway_wraps_is_one_and_is_paid_once(wrapped):
    outcome, reply = judged(wrapped(chat("Whole.")))
    assert (outcome.kind, reply.text) == (OutcomeKind.OK, "Whole.")
    assert outcome.usage.total_tokens == 15


def test_a_choice_without_a_message_tells_why():
    outcome, reply = judged({"choices": [{"finish_reason": "content_filter"}], "usage": USAGE})
    assert (outcome.kind, outcome.code) == (OutcomeKind.UNUSABLE, "content_filter")
    assert reply.text == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Paris.", "Paris."),
        ([{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris."}], "Paris."),
        ([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Paris."}], "Paris."),
        ([{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": "Yes."}], "Yes."),
        ([{"type": "text", "text": {"value": "Yes."}}], "Yes."),
        ([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "Yes."}], "Yes."),
        (["Ye", "s."], "Yes."),
        ([{"text": "Yes."}, 5, None], "Yes."),
        ({"type": "text", "text": "Yes."}, "Yes."),
        ({"parts": [{"text": "Hm.", "thought": True}, {"text": "Yes."}]}, "Yes."),
        ({"city": "Orléans"}, '{"city": "Orléans"}'),
        ("half \ud83d", "half \ud83d"),
    ],
)
def test_the_text_of_a_content_in_any_form_is_the_answer(content, text):
    outcome, reply = judged(chat(content))
    assert (outcome.kind, reply.text) == (OutcomeKind.OK, text)


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"id": "t", "type": "function", "function": {"name": "f"}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
        {"audio": {"id": "a", "data": "AAAA"}},
    ],
)
def test_what_a_message_holds_instead_of_a_text_is_an_answer(message):
    outcome, reply = judged(chat(None, message=message))
    assert (outcome.kind, reply.text) == (OutcomeKind.OK, "")


def test_spoken_words_are_a_text():
    assert judged(chat(None, message={"audio": {"transcript": "Hello."}}))[1].text == "Hello."


@pytest.mark.parametrize(
    "raw",
    [
        chat(None, message={"refusal": "No."}),
        chat([{"type": "refusal", "refusal": "No."}]),
    ],
)
def test_a_refusal_has_its_words(raw):
    outcome, reply = judged(raw)
    assert (outcome.kind, reply.text) == (OutcomeKind.UNUSABLE, "No.")
    assert reply.finish_reason == "refusal"


ERRORS = [
    ({"message": "Slow down", "code": 429}, "busy", True),
    ({"message": "Slow down", "code": "429"}, "busy", True),
    ({"message": "Slow down", "code": "rate_limit_exceeded"}, "busy", True),
    ({"message": "Slow down", "type": "rate_limit_error"}, "busy", True),
    ({"message": "Slow down", "status": "RESOURCE_EXHAUSTED"}, "busy", True),
    ({"message": "Upstream broke", "code": 502}, "busy", False),
    ({"message": "Internal error", "type": "server_error"}, "busy", False),
    ({"message": "Overloaded", "status": 503}, "busy", False),
    ({"message": "Overloaded", "status_code": "529"}, "busy", False),
    ("upstream request timeout", "busy", False),
    ({"message": "what is this", "code": "no_such_word"}, "busy", False),
    ({"message": "no such key", "code": 401}, "key_dead", False),
    ({"message": "no money", "code": "insufficient_quota"}, "key_dead", False),
    ({"message": "no such model", "code": "model_not_found"}, "not_here", False),
    ({"message": "no", "type": "invalid_request_error"}, "rejected", False),
    ({"message": "flagged", "code": "content_filter"}, "rejected", False),
]


@pytest.mark.parametrize(("error", "kind", "is_limit"), ERRORS)
@pytest.mark.parametrize(
    "form",
    [
        lambda error: {"error": error},
        lambda error: {"id": "x", "choices": None, "error": error},
        lambda error: {"id": "x", "choices": [], "usage": None, "error": error},
        lambda error: chat("", "error", None, choice={"error": error}),
        lambda error: chat(None, None, {"prompt_tokens": 0, "total_tokens": 0}, error=error),
    ],
)
def test_an_error_that_came_as_a_success_is_done_as_it_says(form, error, kind, is_limit):
    outcome, reply = judged(form(error))
    assert (outcome.kind.value, reply) == (kind, None)
    assert outcome.is_limit == is_limit
    assert outcome.message == (error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize("raw", [
    {"code": "invalid_request_error", "message": "no"},
    {"object": "error", "message": "no", "type": "invalid_request_error", "code": 400},
    {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
])  # fmt: skip
def test_a_body_that_is_nothing_but_an_error_is_one(raw):
    outcome, _ = judged(raw)
    assert (outcome.kind, outcome.message) == (OutcomeKind.REJECTED, "no")


@pytest.mark.parametrize(
    "raw",
    [
        chat("Half.", "error", choice={"error": {"code": 502, "message": "sk-1 broke"}}),
        chat("Half.", "error", None, choice={"error": {"code": 502, "message": "sk-1 broke"}}),
        chat("Half.", "stop", error={"message": "sk-1 broke"}),
        chat("", "error", error="sk-1 broke"),
        chat("", "error", {"total_tokens": 3}, error="sk-1 broke"),
    ],
)
def test_an_error_of_what_was_billed_or_came_half_is_told_and_nothing_is_sent_again(raw):
    outcome, reply = judged(raw)
    assert (outcome.kind, outcome.message) == (OutcomeKind.UNUSABLE, "*** broke")
    assert (reply.is_whole, reply.trouble) == (False, "*** broke")


@pytest.mark.parametrize("error", [None, "", {}, [], False, {"code": None, "message": ""}])
def test_an_error_without_a_word_is_none(error):
    outcome, _ = judged(chat("Whole.", error=error, choice={"error": error}))
    assert outcome.kind is OutcomeKind.OK


@pytest.mark.parametrize(
    ("path", "raw", "kind", "text"),
    [
        ("/completions", {"choices": [{"text": "Yes.", "finish_reason": "stop"}]}, "ok", "Yes."),
        (
            "/completions",
            {"choices": [{"text": "Y", "finish_reason": "length"}]},
            "unusable",
            "Y",
        ),
        ("/completions", {"choices": [{"text": "", "finish_reason": "stop"}]}, "unusable", ""),
        ("/moderations", {"results": [{"flagged": False}]}, "ok", ""),
        ("/moderations", {"results": []}, "unknown", None),
        ("/embeddings", {"data": [{"embedding": [1.0]}]}, "ok", ""),
        ("/embeddings", {"data": []}, "unknown", None),
        ("/responses", {"output": []}, "unusable", ""),
        ("/responses", {"output": [], "status": "queued"}, "unusable", ""),
        ("/responses", {"output": [], "status": "failed"}, "unknown", None),
        ("/responses", {"output": [{"type": "function_call"}]}, "ok", ""),
        (
            "/responses",
            {"output": [{"type": "reasoning"}, {"type": "message", "content": "Yes."}]},
            "ok",
            "Yes.",
        ),
        ("/anything", {"what": "ever"}, "ok", ""),
    ],
)
def test_other_apis_are_read_by_their_own_rules(path, raw, kind, text):
    outcome, reply = judged(raw, path)
    assert outcome.kind.value == kind
    assert (reply and reply.text) == text


def test_what_a_path_that_is_not_known_returns_is_an_answer_whatever_it_is():
    for value in ("", None, [], {"error": "none of the provider's"}, "Yes."):
        reply = read_answer("/audio/transcriptions", {"text": value}, clean=str)
        assert (reply.is_whole, reply.finish_reason) == (True, "generated")


FIELDS = [
    *("audio", "choices", "content", "data", "error", "finish_reason", "message", "output"),
    *("parts", "refusal", "status", "text", "tool_calls", "transcript", "type", "usage"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(json_values, st.sampled_from([CHAT, "/completions", "/responses", "/moderations"]))
def test_no_body_breaks_the_reading(value, path):
    outcome, reply = judged({"choices": [value]} if path == CHAT else value, path)
    assert (reply is not None) == outcome.kind.is_answer
    assert reply is None or isinstance(reply, Reply)
