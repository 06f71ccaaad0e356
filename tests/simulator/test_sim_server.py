"""Starting, stopping, Azure, streams, the real client and the command line."""

import dataclasses
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import openai
import pytest
from sim_wire import address, ask, call, chat_body, connect, raw_request

from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator, serve
from openai_parallel_toolkit.simulator.command import HELP, fault_from, keys_from, latency_from

KEYS = (SimKey("good"), SimKey("azure", deployments=("mine",)))
AZURE = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"


def azure(sim, path, key="sim-azure"):
    return call(sim, "POST", path, chat_body(), {"api-key": key})


def test_it_starts_and_stops_at_once_with_clients_connected():
    start = time.monotonic()
    with Simulator(KEYS, faults=[Fault("never")]) as sim:
        sock = connect(sim)
        sock.sendall(raw_request(chat_body()))
    assert time.monotonic() - start < 10  # the fault never ends
    with sock, pytest.raises(OSError):
        socket.create_connection(address(sim), timeout=1)
    sim.stop()


def test_a_request_that_the_stop_broke_off_was_not_left_by_its_client():
    decided = threading.Event()
    with Simulator(
        KEYS, faults=[Fault("never")], on_post=lambda _: decided.set()
    ) as sim, connect(sim) as sock:  # fmt: skip
        sock.sendall(raw_request(chat_body()))
        assert decided.wait(30)
        sim.stop()
    assert not sim.ledger.rows()[0].client_closed


def test_one_that_was_never_started_can_be_stopped():
    Simulator(KEYS).stop()


def test_a_taken_port_is_said_in_the_callers_thread():
    with Simulator(KEYS) as sim, pytest.raises(OSError):
        Simulator(KEYS, port=address(sim)[1])


def test_a_ledger_that_cannot_be_opened_leaves_nothing_open(tmp_path):
    with pytest.raises(OSError):
        Simulator(KEYS, ledger_path=str(tmp_path / "no" / "file"))


def test_azure_paths_take_its_header_and_a_version():
    with Simulator(KEYS) as sim:
        good = azure(sim, AZURE.format("mine"))
        assert good.status == 200
        assert good.json["model"] == "gpt-4o-mini"
        missing = azure(sim, AZURE.format("other"))
        assert (missing.status, missing.code) == (404, "DeploymentNotFound")
        assert azure(sim, AZURE.format("mine").partition("?")[0]).code == "404"
        assert azure(sim, AZURE.format("mine"), "nobody").code == "401"


def test_azures_limits_have_its_own_error():
    with Simulator([SimKey("azure", rpm=1)], clock=lambda: 0.0) as sim:
        assert azure(sim, AZURE.format("any")).status == 200
        limited = azure(sim, AZURE.format("any"))
    assert (limited.status, limited.code) == (429, "429")
    assert limited.headers["retry-after"] == "60"


def test_a_stream_tells_the_same_as_the_whole_answer():
    with Simulator(KEYS) as sim, client(sim) as openai_client:
        ask_for = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "Tell me of the sea"}],
        }
        chunks = list(
            openai_client.chat.completions.create(
                **ask_for, stream=True, stream_options={"include_usage": True}
            )
        )
        whole = openai_client.chat.completions.create(**ask_for)
        assert sim.ledger.billed() == 2
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(chunks) > 3
    assert said in "Tell me of the sea"
    assert whole.choices[0].message.content in "Tell me of the sea"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_streamed_response_tells_the_same_as_the_whole_answer():
    with Simulator(KEYS) as sim, client(sim) as openai_client:
        ask_for = {"model": "gpt-4o", "input": "Tell me of the sea"}
        with openai_client.responses.stream(**ask_for) as stream:
            said = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
            final = stream.get_final_response()
        assert sim.ledger.billed() == 1
    assert said == final.output_text
    assert said in ask_for["input"]
    assert final.usage.output_tokens > 0


def test_a_streamed_tool_call_is_whole():
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    with Simulator(KEYS) as sim, client(sim) as openai_client:
        stream = openai_client.chat.completions.stream(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Look."}],
            tools=[{"type": "function", "function": function}],
            tool_choice="required",
        )
        with stream as events:
            (call,) = events.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {})


def test_a_stream_ends_with_done():
    with Simulator(KEYS) as sim:
        reply = ask(sim, stream=True)
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_a_stream_can_be_cut():
    with Simulator(KEYS, faults=[Fault("cut_chunked")]) as sim, client(sim) as openai_client:
        stream = openai_client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Tell me"}], stream=True
        )
        with pytest.raises(openai.APIError):
            list(stream)
        assert sim.ledger.billed() == 1


def test_the_real_client_understands_every_endpoint():
    with Simulator(KEYS) as sim, client(sim) as openai_client:
        embedded = openai_client.embeddings.create(model="text-embedding-3-small", input=["a"])
        assert len(embedded.data[0].embedding) == 1536
        answered = openai_client.responses.create(model="gpt-4o", input="Hello you.")
        assert answered.output_text == "Hello you."
        assert "gpt-4o" in [model.id for model in openai_client.models.list()]
    with Simulator(KEYS) as sim, azure_client(sim) as openai_client:
        made = openai_client.embeddings.create(model="mine", input="a", dimensions=3)
        assert len(made.data[0].embedding) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404_model", openai.NotFoundError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("cut_body", openai.APIConnectionError),
        ("reset_before", openai.APIConnectionError),
        ("close_before", openai.APIConnectionError),
    ],
)
def test_the_real_client_raises_what_it_should(fault, error):
    with Simulator(KEYS, faults=[Fault(fault)]) as sim, client(sim) as openai_client:
        with pytest.raises(error):
            openai_client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Tell me"}]
            )
        assert sim.ledger.hits() == 1


def test_serve_ends_when_told():
    stop, heard = threading.Event(), []

    def ready(url):
        heard.append(url)
        stop.set()

    serve(Simulator(KEYS), ready, stop=stop)
    assert heard[0].endswith("/v1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_url_and_ends_on_a_signal(tmp_path, number):
    path = tmp_path / "ledger.jsonl"
    arguments = ["--keys", "good,empty:quota=none", "--ledger", str(path), "--fault", "500:at=2"]
    with subprocess.Popen(
        [sys.executable, "-m", "openai_parallel_toolkit.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running = Running(process.stdout.readline().strip())
        assert [ask(running).status for _ in range(2)] == [200, 500]
        assert ask(running, key="empty").code == "insufficient_quota"
        process.send_signal(number)
        _, errors = process.communicate(timeout=40)
    assert (process.returncode, errors) == (0, "")
    billed = [json.loads(line)["billed"] for line in path.read_text().splitlines()]
    assert billed == [True, False, False]


@pytest.mark.parametrize(
    "arguments",
    [["--keys", "a:rpm=x"], ["--fault", "nonsense"], ["--keys", "a,a"], ["--latency", "x"]],
)
def test_the_command_explains_a_mistake(arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "openai_parallel_toolkit.simulator", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "error:" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("read", "kind"), [(keys_from, SimKey), (fault_from, Fault)])
def test_every_setting_can_be_given_in_a_short_text(read, kind):
    texts = {"bool": "no", "Collection[int]": "3", "Sequence[str]": "a", "str": "POST"}
    for field in dataclasses.fields(kind)[1:]:
        text = texts.get(str(field.type).partition(" | None")[0], "1")
        made = read(f"500:{field.name}={text}")
        assert getattr(made[0] if kind is SimKey else made, field.name) is not None
        assert re.search(rf"\b{field.name}\b", HELP)


@pytest.mark.parametrize(
    "text", ["500:at=x", "500:billed=maybe", "500:when=1", "500:at", '{"kind": "500"}']
)
def test_a_rule_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError):
        fault_from(text)


def test_settings_are_read_from_short_texts():
    good, slow = keys_from("good,slow:rpm=60:quota=5:valid=no:models=a+b")
    assert good == SimKey("good")
    assert slow == SimKey("slow", rpm=60, quota=5, valid=False, models=("a", "b"))
    rule = fault_from("429:at=3,7-9:chance=0.5:billed=yes:retry_after=date+5")
    assert rule.at == {3, 7, 8, 9}
    assert (rule.chance, rule.billed, rule.retry_after) == (0.5, True, "date+5")
    assert latency_from("0.2:0.5").sigma == 0.5


class Running:
    def __init__(self, url):
        self.url = url


def client(sim):
    return openai.OpenAI(base_url=sim.url, api_key="sim-good", max_retries=0, timeout=40)


def azure_client(sim):
    return openai.AzureOpenAI(
        azure_endpoint=sim.azure_endpoint,
        api_key="sim-azure",
        api_version="2024-10-21",
        max_retries=0,
    )
