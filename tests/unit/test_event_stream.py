"""Replies that came as a stream although none was asked for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.event_stream import read_event_stream
from openai_parallel_toolkit.calls.responses import read_answer, read_body

DONE = "data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(delta, reason=None, index=0, **more):
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def said(*events, end=DONE):
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + end


def answer(body, path="/chat/completions"):
    raw = read_body(body if isinstance(body, bytes) else body.encode())
    return None if raw is None else read_answer(path, raw, clean=str)


WHOLE = {"model": "m", "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}
STREAM = [chunk({"role": "assistant", "content": "Ye"}), chunk({"content": "s."})]
END = chunk({}, "stop")
COUNTED = {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(WHOLE),
        "\n\n   \n" + json.dumps(WHOLE),
        "\ufeff" + json.dumps(WHOLE),
        json.dumps(WHOLE, indent=2) + "\n\n" + DONE,
        json.dumps(WHOLE) + DONE,
        said(WHOLE),
        said(WHOLE, end=""),
        said(*STREAM, END),
        said(*STREAM, END, end=""),
        said(*STREAM),
        said(*STREAM, END, COUNTED),
        said({"choices": [], "prompt_filter_results": []}, *STREAM, END),
        ": OPENROUTER PROCESSING\n\n" * 3 + said(*STREAM, END),
        "retry: 500\nid: 1\nevent: message\n" + said(*STREAM, END),
        "data: ping\n\ndata:\n\n" + said(*STREAM, END),
        said(*STREAM, END).replace("\n", "\r\n"),
        said(*STREAM, END).replace("\n", "\r"),
        said(*STREAM, END).replace("\n\n", "\n"),
        said(*STREAM, END).replace("data: ", "data:"),
        "".join(json.dumps(event) + "\n" for event in (*STREAM, END)),
        "data: " + json.dumps(WHOLE, indent=1).replace("\n", "\ndata: ") + "\n\n",
    ],
)
def test_a_whole_answer_is_read_in_every_form(body):
    reply = answer(body)
    assert (reply.text, reply.is_whole) == ("Yes.", True)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[1, 2]",
        DONE,
        "plain words",
        "<html><body>gateway</body></html>",
        "<html>\n" + json.dumps(WHOLE) + "\n</html>",
        '{"choices": [{"mess',
        'data: {"choices": [{"mess',
        said(*STREAM, end=""),
        said(*STREAM, end="data: {"),
        said(chunk({"content": "a"}, "stop"), chunk({"content": "b"}, index=1), end=""),
        said({"type": "response.created", "response": {"output": []}}, end=""),
        "[" * 100_000,
    ],
)
def test_what_is_no_stream_or_was_cut_is_no_answer(body):
    assert read_body(body.encode()) is None


def test_a_whole_answer_comes_with_its_model_its_id_and_its_usage():
    raw = read_event_stream(said(*STREAM, END, COUNTED).encode())
    assert raw == {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "usage": USAGE,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Yes."},
            }
        ],
    }


def test_an_ending_that_is_no_good_one_is_kept():
    reply = answer(said(*STREAM, chunk({}, "length")))
    assert (reply.text, reply.finish_reason, reply.is_whole) == ("Yes.", "length", False)


def test_several_choices_stay_apart():
    parts = [chunk({"content": word}, index=n) for word in ("a", "b") for n in (1, 0)]
    ends = [chunk({}, "stop", index=n) for n in (0, 1)]
    raw = read_event_stream(said(*parts, *ends).encode())
    assert [choice["message"]["content"] for choice in raw["choices"]] == ["ab", "ab"]


@pytest.mark.parametrize(
    "pieces",
    [
        [
            {"index": 0, "id": "t1", "type": "function", "function": {"name": "f"}},
            {"index": 0, "function": {"arguments": '{"a"'}},
            {"index": 0, "id": "t1", "function": {"name": "f", "arguments": ": 1}"}},
            {"index": 1, "id": "t2", "function": {"name": "g", "arguments": "{}"}},
        ],
        [
            {"index": 0, "id": "t1", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"index": 0, "id": "t2", "function": {"name": "g", "arguments": "{}"}},
        ],
        [
            {"id": "t1", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "t2", "function": {"name": "g", "arguments": "{}"}},
        ],
    ],
)
def test_calls_of_tools_are_put_together(pieces):
    events = [chunk({"tool_calls": [piece]}) for piece in pieces]
    raw = read_event_stream(said(*events, chunk({}, "tool_calls")).encode())
    calls = raw["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]) for call in calls] == [
        ("t1", {"name": "f", "arguments": '{"a": 1}'}),
        ("t2", {"name": "g", "arguments": "{}"}),
    ]


def test_thoughts_and_parts_are_told_from_the_text():
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    events = [
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": [thought]}),
        chunk({"content": [{"type": "text", "text": "Ye"}]}),
        chunk({"content": "s."}, "stop"),
    ]
    reply = answer(said(*events))
    assert reply.text == "Yes."
    assert reply.raw["choices"][0]["message"]["reasoning_content"] == "Hm."


def test_an_error_in_a_stream_is_the_replys():
    error = {"code": 502, "message": "broke"}
    for events in ([*STREAM, {"error": error}], [*STREAM, chunk({}, "error", error=error)]):
        reply = answer(said(*events, end=""))
        assert (reply.text, reply.is_whole, reply.trouble) == ("Yes.", False, "broke")


def test_completions_of_the_older_api_are_read_too():
    events = [{"choices": [{"index": 0, "text": word}]} for word in ("Ye", "s.")]
    assert answer(said(*events), "/completions").text == "Yes."


def test_a_response_is_what_its_last_event_holds():
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}]
    usage = {"input_tokens": 3, "output_tokens": 2}
    whole = {"status": "completed", "output": output, "usage": usage}
    events = [
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "delta": "Yes."},
        {"type": "response.completed", "response": whole},
    ]
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    reply = answer(body, "/responses")
    assert (reply.text, reply.is_whole, reply.usage.prompt_tokens) == ("Yes.", True, 3)


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.sampled_from([": alive", "", "event: x", "id: 7", "data: ping"]), max_size=4),
    st.booleans(),
)
def test_however_a_text_is_cut_into_chunks_it_is_the_same(words, line_end, noise, is_ascii):
    events = [*(chunk({"content": word}) for word in words), END]
    lines = []
    for event in events:
        lines += [*noise, "data: " + json.dumps(event, ensure_ascii=is_ascii), ""]
    body = line_end.join([*lines, "data: [DONE]", "", ""])
    raw = read_event_stream(body.encode("utf-8", "replace"))
    wanted = "".join(words)
    if not is_ascii:
        wanted = wanted.encode("utf-8", "replace").decode()
    assert raw["choices"][0]["message"]["content"] == wanted


@given(st.integers(0, len(said(*STREAM, END, COUNTED))))
def test_wherever_a_stream_is_cut_it_is_whole_or_nothing(end):
    reply = answer(said(*STREAM, END, COUNTED)[:end])
    assert reply is None or (reply.text, reply.is_whole) == ("Yes.", True)


FIELDS = ["choices", "content", "delta", "error", "id", "index", "object", "text", "tool_calls"]
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=4), st.binary(max_size=30))
def test_no_stream_breaks_the_reading(events, tail):
    chunked = [{"choices": [event]} for event in events]
    for body in (said(*events), said(*chunked)):
        read_event_stream(body.encode() + tail)
        read_event_stream(tail + body.encode())
