"""A BatchFolder from and to object stores, and by the Azure batch accelerator's own files."""

import json
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked_process import run_forked

from openai_parallel_toolkit.api.batch_folder import BatchFolder
from openai_parallel_toolkit.core.errors import ConfigError
from openai_parallel_toolkit.files.stores import open_store
from openai_parallel_toolkit.simulator import SimKey, Simulator

sys.path.append(str(Path(__file__).parents[1] / "batch_folder"))
from folder_fixture import QUICK, a_line

REPOSITORY = Path(__file__).parents[2]
LINES = [a_line(f"l{n}", f"text {n}", model="mine", url="/chat/completions") for n in range(3)]


@pytest.fixture
def sim():
    with Simulator([SimKey("azure", deployments=("mine",))], batch_seconds=0.1) as sim:
        yield sim


@pytest.fixture
def config(tmp_path, sim):
    key = {"key": "sim-azure", "azure_deployment": "mine", "api_version": "2024-10-21"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"api_keys": [key], "api_base": sim.azure_endpoint}))
    path.chmod(0o600)
    return path


def fill(url, tmp_path, texts):
    source = tmp_path / "to-put"
    with closing(open_store(url)) as store:
        for path, text in texts.items():
            source.write_text(text)
            store.publish(str(source), path)


def held(url):
    with closing(open_store(url)) as store:
        return {stored.path: stored.size_bytes for stored in store.list()}


@pytest.mark.parametrize(("kind", "other"), [("s3", "abfs"), ("abfs", "local")])
def test_inputs_and_results_may_lie_in_object_stores(kind, other, new_place, tmp_path, config, sim):
    source, results, failed = new_place(kind), new_place(other), new_place(kind)
    if other == "local":
        Path(results).mkdir()
    text = "\n".join(LINES) + "\n"
    fill(source, tmp_path, {"deep/good.jsonl": text, "bad.jsonl": "{", "notes.txt": "no input"})
    folder = BatchFolder(
        config, source, results, failed, progress=False, fail_on_error=False, pace=QUICK
    )
    summary = folder.run()
    assert (summary.done, summary.failed) == (1, 1)
    assert list(held(source)) == ["notes.txt"]
    names = [path.rpartition("/")[2] for path in held(results) if "/." not in f"/{path}"]
    assert sorted(names) == ["good.jsonl", "good_metadata.json", "good_output.jsonl"]
    names = [path.rpartition("/")[2] for path in held(failed)]
    assert sorted(names) == ["bad.jsonl", "bad_error.jsonl", "bad_metadata.json"]
    assert sim.files.stored() == []


@pytest.fixture
def accelerator(new_place, tmp_path, sim, servers_running, monkeypatch):
    """Three containers, an input in one, and the accelerator's files filled in, as APP_CONFIG says.

    Azurite asks everybody for a key, so that the service cannot read the inputs by itself.
    """
    urls = {name: new_place("abfs", own_bucket=True) for name in ("input", "processed", "error")}
    connection = servers_running.environment("abfs")["AZURE_STORAGE_CONNECTION_STRING"]
    fill(f"{urls['input']}/to do", tmp_path, {"a/b.jsonl": "\n".join(LINES)})

    def fill_in(**app):
        files = {
            "app_config.json": {
                "AOAI_config": "AOAI_config.json",
                "storage_config": "storage_config.json",
                "batch_size": 10,
                "continuous_mode": False,
                **app,
            },
            "AOAI_config.json": {
                "aoai_key": "sim-azure",
                "aoai_api_version": "2024-07-01-preview",
                "aoai_endpoint": sim.azure_endpoint,
                "aoai_deployment_name": "mine",
                "batch_job_endpoint": "/chat/completions",
                "completion_window": "24h",
            },
            "storage_config.json": {
                "storage_account_name": "devaccount",
                "storage_account_key": connection.partition("AccountKey=")[2].partition(";")[0],
                **{f"{name}_filesystem_system_name": url[7:] for name, url in urls.items()},
                "input_directory": "/to do",
                "output_directory": "/",
                "error_directory": "/",
                "storage_connection_string": connection,
            },
        }
        for name, told in files.items():
            (tmp_path / name).write_text(json.dumps(told))
            (tmp_path / name).chmod(0o600)
        monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
        monkeypatch.setenv("APP_CONFIG", str(tmp_path / "app_config.json"))

    def results():
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
        assert held(urls["input"]) == {}
        return sorted(path.rpartition("/")[2] for path in held(urls["processed"]))

    return SimpleNamespace(fill_in=fill_in, results=results)


@pytest.mark.parametrize("download_to_local", [True, False])
def test_the_accelerators_files_are_enough(download_to_local, accelerator, tmp_path, sim):
    accelerator.fill_in(
        download_to_local=download_to_local,
        local_download_path=str(tmp_path / "copies"),
        count_tokens=True,
    )
    summary = BatchFolder(progress=False, fail_on_error=False, pace=QUICK).run()
    assert (summary.done, summary.lines_answered) == (1, 3)
    assert accelerator.results() == ["b.jsonl", "b_metadata.json", "b_output.jsonl"]
    posts = [row.path for row in sim.ledger.rows() if row.ordinal]
    assert ("/openai/files/import" in posts) is not download_to_local
    assert sim.files.stored() == []


def test_they_are_enough_for_the_command_with_what_its_template_leaves_open(
    accelerator, tmp_path, sim
):
    accelerator.fill_in(
        download_to_local=False,
        local_download_path="<Local path for file downloads if enabled>",
        count_tokens=False,
    )
    words = ["-m", "openai_parallel_toolkit", "batch", "--no-progress"]
    done = run_forked(words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert accelerator.results() == ["b.jsonl", "b_metadata.json", "b_output.jsonl"]
    assert sim.ledger.billed() == len(LINES)
    assert sim.files.stored() == []


@pytest.mark.parametrize("which", ["input_path", "output_path", "error_path"])
def test_a_bucket_that_is_not_there_is_a_mistake_to_mend(which, new_place, tmp_path, config):
    source = new_place("local")
    Path(source).mkdir()
    (Path(source) / "a.jsonl").write_text("\n".join(LINES))
    missing = new_place("s3", own_bucket=True) + "-not-there/in"
    places = {"input_path": source, "output_path": str(tmp_path / "out"), which: missing}
    with pytest.raises(ConfigError, match="there is no such bucket"):
        BatchFolder(config, **places, progress=False, fail_on_error=False, pace=QUICK).run()
