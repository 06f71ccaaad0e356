"""A misspelt parameter is refused as the real API refuses it."""

import json

import pytest
from sim_wire import call, post

from openai_parallel_toolkit.simulator import SimKey, Simulator

MESSAGES = [{"role": "user", "content": "Hello"}]
GOOD = {
    "/chat/completions": {"model": "gpt-4o", "messages": MESSAGES, "temperature": 0, "n": 1},
    "/responses": {"model": "gpt-4o", "input": "Hello", "store": False},
    "/embeddings": {"model": "text-embedding-3-small", "input": "Hello", "dimensions": 8},
    "/moderations": {"input": "Hello"},
}


@pytest.fixture(scope="module")
def sim():
    with Simulator([SimKey("good")], seed=7) as simulator:
        yield simulator


def said(sim, path, **more):
    return post(sim, json.dumps({**GOOD[path], **more}).encode(), path=f"/v1{path}")


@pytest.mark.parametrize("path", [path for path in GOOD if path != "/responses"])
def test_an_unknown_argument_is_refused_and_not_billed(sim, path):
    before = sim.ledger.billed()
    reply = said(sim, path, promt="x")
    told = "Unrecognized request argument supplied: promt"
    kind = "invalid_request_error"
    assert reply.status == 400
    assert reply.json["error"] == {"message": told, "type": kind, "param": None, "code": None}
    plural = "Unrecognized request arguments supplied: promt, top_k"
    assert said(sim, path, promt="x", top_k=1).json["error"]["message"] == plural
    assert sim.ledger.billed() == before
    assert said(sim, path).status == 200


def test_the_responses_api_names_the_first_unknown_parameter(sim):
    reply = said(sim, "/responses", promt="x", top_k=1)
    assert reply.status == 400
    assert reply.json["error"] == {
        "message": "Unknown parameter: 'promt'.",
        "type": "invalid_request_error",
        "param": "promt",
        "code": "unknown_parameter",
    }
    assert said(sim, "/responses").status == 200


def test_azure_refuses_as_well(sim):
    path = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    body = json.dumps({**GOOD["/chat/completions"], "promt": 1}).encode()
    assert call(sim, "POST", path, body, {"api-key": "sim-good"}).status == 400


@pytest.mark.parametrize(
    ("extra", "status"), [(("top_k", "min_p"), 200), (("*",), 200), (("top_k",), 400), ((), 400)]
)
def test_parameters_of_other_servers_are_taken_when_they_are_named(extra, status):
    with Simulator([SimKey("good")], extra_parameters=extra) as other:
        assert said(other, "/chat/completions", top_k=4, min_p=0.1).status == status
