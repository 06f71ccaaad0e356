"""Module-level calls of the openai package: whose key they go out under, and where to."""

from pathlib import Path

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, user
from forked_process import run_forked

from openai_parallel_toolkit import APIKeyManager, OpenAIModel, UsageError, request_openai_api

HERE = Path(__file__).parent


class Own(OpenAIModel):
    """Calls the module-level client, as programs of old do."""

    def __init__(self, text):
        self.text = text

    def generate(self):
        return openai.chat.completions.create(model=MODEL, messages=user(self.text))


class Asks(Hooks):
    """Asks at module level in a hook."""

    def process_data(self, data):
        return chat(openai, data)


@pytest.mark.parametrize("end", ["/", ""])
def test_outside_of_hooks_a_users_own_key_goes_out_to_its_own_address(door, end):
    theirs, ours = door.simulate("theirs"), door.simulate("ours")
    openai.api_key, openai.base_url = theirs.keys[0].secret, theirs.url + end
    assert request_openai_api(Own("first"), door.keys()) == "first"
    assert door.inputs(1).run(Asks).done == 1
    assert (theirs.ledger.billed(), ours.ledger.billed()) == (0, 2)
    assert chat(openai, "mine") == "mine"
    assert (theirs.ledger.billed(), ours.ledger.billed()) == (1, 2)
    assert openai.api_key == theirs.keys[0].secret


def test_a_client_of_the_users_own_is_not_replaced(door, caplog):
    theirs, ours = door.simulate("theirs"), door.simulate("ours")
    openai.api_key, openai.base_url = theirs.keys[0].secret, theirs.url + "/"
    openai.http_client = openai.DefaultHttpxClient()
    with pytest.raises(UsageError, match="generate\\(self, client\\)"):
        request_openai_api(Own("text"), door.keys())
    assert door.inputs(1).run(Asks).done == 1
    assert "openai.http_client" in caplog.text
    assert (theirs.ledger.billed(), ours.ledger.billed()) == (1, 0)


@pytest.mark.parametrize("deployment", ["dep", None], ids=["named", "by model"])
@pytest.mark.parametrize("base", ["", "/openai", "/openai/v1"])
def test_under_an_azure_key_it_goes_to_its_deployment(door, base, deployment):
    sim = door.simulate()
    key = {"key": sim.keys[0].secret, "name": "azure", "api_version": "2024-06-01"}
    key |= {"api_base": sim.url.replace("/v1", base)}
    keys = APIKeyManager([{**key, "azure_deployment": deployment} if deployment else key])
    assert request_openai_api(Own("text"), keys) == "text"
    keys.close()
    (row,) = sim.ledger.rows()
    assert row.path == f"/openai/deployments/{deployment or MODEL}/chat/completions"


def test_an_azure_client_is_served_by_a_plain_key(door, monkeypatch):
    from openai_parallel_toolkit import openai_client

    sim = door.simulate()
    client = openai_client(door.keys(), azure=True)
    assert isinstance(client, openai.AzureOpenAI)
    assert chat(client, "text") == "text"
    assert [row.path for row in sim.ledger.rows()] == ["/v1/chat/completions"]


def test_the_package_may_be_imported_in_the_hook_first(door):
    sim = door.simulate()
    door.inputs(3)
    done = run_forked([HERE / "door_child.py", door.config, door.input, door.output])
    assert done.returncode == 0, done.stderr
    assert (sim.ledger.billed(), len(door.outputs())) == (15, 3)


@pytest.mark.parametrize("way", ["module", "client", "generate"])
def test_whatever_imports_the_package_first_in_a_hook_all_its_calls_are_kept(door, way):
    sim = door.simulate()
    door.inputs(1)
    child = [HERE / "first_import_child.py", door.config, door.input, door.output, way]
    for deleted in (False, True):
        if deleted:
            (door.output / "f000.txt").unlink()
        done = run_forked(child)
        assert (door.output / "f000.txt").exists(), done.stdout + done.stderr
        assert sim.ledger.billed() == 2
