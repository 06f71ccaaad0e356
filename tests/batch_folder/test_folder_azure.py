"""Azure: its paths and keys, inputs that it reads from its own storage, the accelerator's files."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import threading
from contextlib import contextmanager

import pytest
from folder_fixture import QUICK, FolderFixture, a_line

from openai_parallel_toolkit import BatchFolder, ConfigError
from openai_parallel_toolkit.api.batch_folder.config import read_plan
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator

VERSION = "2024-07-01-preview"


@pytest.fixture
def sim():
    with Simulator([SimKey("azure", deployments=("mine",))], batch_seconds=0.1) as sim:
        yield sim


@pytest.fixture
def fixture(tmp_path, sim):
    fixture = FolderFixture(tmp_path, sim)
    key = {"key": "sim-azure", "name": "azure", "azure_deployment": "mine", "api_version": VERSION}
    fixture.give_keys(key, api_base=sim.azure_endpoint)
    return fixture


def put(fixture, name="a.jsonl", model="mine", count=3):
    lines = [a_line(f"l{n}", f"t {n}", model=model, url="/chat/completions") for n in range(count)]
    return fixture.put(name, *lines)


def ours(fixture, **more):
    """A batch.json of the fixture."""
    told = {"config_path": "config.json", "input_path": "in", "output_path": "out"}
    path = fixture.root / "batch.json"
    path.write_text(json.dumps({**told, "error_path": "err", **more}))
    return BatchFolder(path, progress=False, fail_on_error=False, pace=QUICK)


@contextmanager
def web(folder):
    """Serves a folder over HTTP; yields its address and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_azure_batches_are_sent_collected_and_cleaned_up(fixture, sim):
    put(fixture, "deep/a.jsonl")
    assert fixture.run().lines_answered == 3
    assert len(fixture.results("deep/a.jsonl")) == 3
    assert [batch.endpoint for batch in sim.batches.batches()] == ["/chat/completions"]
    assert sim.files.stored() == []


def test_a_deployment_that_does_not_exist_fails_with_the_services_words(fixture, sim):
    put(fixture, model="other")
    assert fixture.run().failed == 1
    [line] = fixture.results("a.jsonl", "error").values()
    assert line["code"] == "model_not_found"
    assert "other" in line["message"]


def test_inputs_that_azure_reads_by_itself_are_not_sent(fixture, sim):
    put(fixture, "deep/a b.jsonl")
    with web(fixture.input) as (address, asked):
        assert ours(fixture, import_base=address).run().lines_answered == 3
    assert asked == ["/deep/a%20b.jsonl"]
    posts = [row.path for row in sim.ledger.rows() if row.ordinal]
    assert posts == ["/openai/files/import", "/openai/batches"]
    assert sim.files.stored() == []


@pytest.mark.parametrize("why", ["it cannot be read", "it is refused"])
def test_what_azure_cannot_read_is_sent_and_the_role_is_named(fixture, sim, caplog, why):
    put(fixture)
    if why == "it is refused":
        sim.script.replace([Fault("400", path="/files/import")])
    with web(fixture.root / "in" / "nothing") as (address, _), caplog.at_level(logging.WARNING):
        assert ours(fixture, import_base=address).run().lines_answered == 3
    assert "Storage Blob Data Contributor" in caplog.text
    assert sim.files.stored() == []


# --- the accelerator's files -----------------------------------------------------------------

APP = {
    "AOAI_config": "AOAI_config.json",
    "storage_config": "storage_config.json",
    "batch_size": 7,
    "download_to_local": False,
    "local_download_path": "copies",
    "continuous_mode": True,
    "count_tokens": True,
}
AOAI = {
    "aoai_key": "sim-azure",
    "aoai_api_version": VERSION,
    "aoai_endpoint": "https://mine.openai.azure.com",
    "aoai_deployment_name": "mine",
    "batch_job_endpoint": "/chat/completions",
    "completion_window": "24h",
}
STORAGE = {
    "storage_account_name": "acct",
    "storage_account_key": "c2VjcmV0c2VjcmV0",
    "input_filesystem_system_name": "in-fs",
    "processed_filesystem_system_name": "done-fs",
    "error_filesystem_system_name": "bad-fs",
    "input_directory": "/",
    "output_directory": "/",
    "error_directory": "/sub/errors/",
}


def write(folder, **changes):
    """Write the three files; a field that is None is left out."""
    for name, fields in (
        ("app_config.json", APP),
        ("AOAI_config.json", AOAI),
        ("storage_config.json", STORAGE),
    ):
        told = {k: v for k, v in {**fields, **changes}.items() if k in fields and v is not None}
        (folder / name).write_text(json.dumps(told))
        (folder / name).chmod(0o600)
    return str(folder / "app_config.json")


def test_every_field_of_the_accelerators_files_is_heard(tmp_path):
    plan = read_plan(write(tmp_path), {})
    settings, [key] = plan.settings, plan.settings.keys.api_keys
    assert (settings.batch_size, settings.continuous, settings.count_tokens) == (7, True, True)
    assert (settings.endpoint, settings.completion_window) == ("/chat/completions", "24h")
    assert settings.keys.api_base == "https://mine.openai.azure.com"
    assert (key.api_version, key.azure_deployment) == (VERSION, "mine")
    assert plan.input.url == "abfs://in-fs@acct.dfs.core.windows.net"
    assert plan.output.url == "abfs://done-fs@acct.dfs.core.windows.net"
    assert plan.error.url == "abfs://bad-fs@acct.dfs.core.windows.net/sub/errors"
    assert plan.input.options == {"account_key": STORAGE["storage_account_key"]}
    assert settings.import_base == "https://acct.blob.core.windows.net/in-fs"
    assert settings.state_folder.endswith("copies/.openai_parallel_toolkit")


def test_download_to_local_sends_inputs_through_this_machine(tmp_path):
    assert read_plan(write(tmp_path, download_to_local=True), {}).settings.import_base == ""
    assert read_plan(write(tmp_path, download_to_local="true"), {}).settings.import_base == ""


def test_the_place_of_downloads_may_stay_a_placeholder_while_nothing_is_downloaded(tmp_path):
    place = {"local_download_path": "<Local path for file downloads if enabled>"}
    assert read_plan(write(tmp_path, **place), {}).settings.import_base
    with pytest.raises(
        ConfigError, match=r"app_config.json: local_download_path: is a placeholder"
    ):
        read_plan(write(tmp_path, **place, download_to_local=True), {})


def test_app_config_may_hold_the_pattern_and_the_way_of_names(tmp_path, caplog):
    path = write(tmp_path)
    more = {**APP, "pattern": "*.json", "names": "accelerator"}
    (tmp_path / "app_config.json").write_text(json.dumps(more))
    settings = read_plan(path, {}).settings
    assert (settings.pattern, settings.names) == ("*.json", "accelerator")
    assert "not used here" not in caplog.text


def test_the_environment_names_the_configuration(tmp_path):
    plan = read_plan(None, {}, env={"APP_CONFIG": write(tmp_path)})
    assert plan.settings.batch_size == 7


def test_arguments_win_over_the_file(tmp_path):
    plan = read_plan(write(tmp_path), {"batch_size": 2, "continuous": False})
    assert (plan.settings.batch_size, plan.settings.continuous) == (2, False)


def test_directories_may_be_left_out(tmp_path):
    plan = read_plan(write(tmp_path, error_directory=None, input_directory=None), {})
    assert plan.error.url == "abfs://bad-fs@acct.dfs.core.windows.net"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"aoai_key": None}, "AOAI_config.json: aoai_key: is missing"),
        ({"aoai_key": "<your key>"}, "AOAI_config.json: aoai_key: is a placeholder"),
        ({"aoai_endpoint": "<endpoint>"}, "AOAI_config.json: aoai_endpoint: is a placeholder"),
        ({"aoai_deployment_name": "<d>"}, "AOAI_config.json: aoai_deployment_name: is a place"),
        ({"storage_account_name": None}, "storage_config.json: storage_account_name: is missing"),
        (
            {"input_filesystem_system_name": "<fs>"},
            "storage_config.json: input_filesystem_system_name: is a placeholder",
        ),
        ({"batch_size": 0}, "app_config.json: batch_size: expected a positive whole number"),
        ({"download_to_local": 3}, "app_config.json: download_to_local: expected true or false"),
        ({"AOAI_config": "gone.json"}, "app_config.json: AOAI_config: there is no file"),
        ({"storage_config": None}, "app_config.json: storage_config: is missing"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_field(tmp_path, changes, told):
    with pytest.raises(ConfigError) as caught:
        read_plan(write(tmp_path, **changes), {})
    assert told in str(caught.value)


def test_no_error_shows_a_secret_of_the_files(tmp_path):
    plan = read_plan(write(tmp_path), {})
    assert "sim-azure" not in repr(plan)
    assert STORAGE["storage_account_key"] not in repr(plan)
