"""Whole runs from one place to another: the same promises as between folders of this machine."""

import logging
import os
import subprocess
import time
from pathlib import Path

import pytest
import remote_fixture
from forked_process import ForkedProcess, run_forked
from remote_fixture import Ask, RemoteFixture, numbered, store_of, texts

from openai_parallel_toolkit.core.errors import (
    ConfigError,
    OutputConflict,
    ScanError,
    SharedOutput,
    StorageError,
)
from openai_parallel_toolkit.files.run_folders import lay_out, local_root
from openai_parallel_toolkit.files.run_lock import state_folder_of
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Latency, SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
ROUTES = [("s3", "abfs"), ("abfs", "s3"), ("local", "gs"), ("gs", "local")]


@pytest.fixture
def sim():
    with Simulator([SimKey("good")], seed=7) as simulator:
        yield simulator


@pytest.fixture
def places(tmp_path, sim):
    return RemoteFixture(tmp_path, sim)


def expected(inputs):
    stems = [path.removesuffix(".txt") for path in inputs]
    return sorted(stem + end for stem in stems for end in (".json", ".txt"))


@pytest.mark.parametrize(("source", "target"), ROUTES)
def test_a_folder_is_worked_from_any_place_to_any_other(places, new_place, source, target):
    inputs, outputs = new_place(source) + "/in", new_place(target) + "/out"
    places.fill(inputs, numbered(20))
    summary = places.run(inputs, outputs)
    assert (summary.done, summary.failed) == (20, 0)
    assert summary.output_path == outputs
    assert sorted(texts(outputs)) == expected(numbered(20))
    assert places.sim.ledger.billed() == 40
    again = places.run(inputs, outputs)
    assert (again.done, again.skipped) == (0, 20)
    assert places.sim.ledger.billed() == 40


def test_inputs_and_outputs_are_what_they_would_be_on_this_machine(places, new_place, tmp_path):
    inputs, outputs = new_place("s3"), new_place("abfs")
    places.fill(inputs, numbered(6))
    places.fill(str(tmp_path / "in"), numbered(6))
    places.run(inputs, outputs)
    places.run(str(tmp_path / "in"), str(tmp_path / "out"))
    assert texts(outputs) == texts(str(tmp_path / "out"))


def test_hidden_objects_are_left_out_and_patterns_hold(places, new_place):
    inputs, outputs = new_place("s3"), new_place("local")
    names = [".hidden", ".git/x.txt", "a/.x", "a/b.txt", "a/c.md", "skip/d.txt", "e.txt"]
    places.fill(inputs, dict.fromkeys(names, "x"))
    places.run(inputs, outputs, pattern="*.txt", exclude="skip")
    assert sorted(texts(outputs)) == expected(["a/b.txt", "e.txt"])
    flat = new_place("local")
    places.run(inputs, flat, pattern="*.txt", recursive=False)
    assert sorted(texts(flat)) == expected(["e.txt"])


def test_two_objects_that_would_share_one_output_are_found_before_anything_is_paid(
    places, new_place
):
    inputs, outputs = new_place("s3"), new_place("local")
    places.fill(inputs, {"d/a.txt": "x", "d/a.md": "y"})
    with pytest.raises(SharedOutput, match="output_names='whole'"):
        places.run(inputs, outputs)
    assert places.sim.ledger.billed() == 0
    places.run(inputs, outputs, output_names="whole")
    assert sorted(texts(outputs)) == expected(["d/a.txt.txt", "d/a.md.txt"])


def test_outputs_that_no_run_made_count_as_done(places, new_place):
    inputs, outputs = new_place("local"), new_place("s3")
    places.fill(inputs, {"a.txt": "x", "b.txt": "y"})
    places.fill(outputs, {"a.json": "made elsewhere"})
    summary = places.run(inputs, outputs)
    assert (summary.done, summary.skipped) == (1, 1)
    assert texts(outputs)["a.json"] == "made elsewhere"


def test_an_output_that_somebody_deleted_is_made_again_for_free(places, new_place):
    inputs, outputs = new_place("local"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x", "b.txt": "y"})
    places.run(inputs, outputs)
    before = texts(outputs)
    store_of(outputs).delete("a.json")
    summary = places.run(inputs, outputs)
    assert (summary.done, summary.skipped) == (1, 1)
    assert texts(outputs) == before
    assert places.sim.ledger.billed() == 4


class Elsewhere(Ask):
    """Writes its two outputs where no name tells which input they are of."""

    def process_output(self, data, output_file_without_ext):
        folder = Path(output_file_without_ext).parent / "other"
        folder.mkdir()
        super().process_output(data, str(folder / "a"))


def test_what_others_put_under_an_output_s_name_is_not_replaced(places, new_place):
    inputs, outputs = new_place("local"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x"})
    places.fill(outputs, {"other/a.json": "not ours"})
    summary = places.run(inputs, outputs, Elsewhere)
    assert summary.failed == 1
    assert OutputConflict.__name__ in Path(summary.failures_path).read_text()
    assert texts(outputs) == {"other/a.json": "not ours"}


def test_a_file_of_which_others_put_all_outputs_there_is_done_and_nothing_is_replaced(
    places, new_place
):
    inputs, outputs = new_place("local"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x"})
    theirs = {"other/a.json": "not ours", "other/a.txt": "nor this"}
    places.fill(outputs, theirs)
    summary = places.run(inputs, outputs, Elsewhere)
    assert (summary.done, summary.failed, summary.notices.found_outputs) == (1, 0, 1)
    assert texts(outputs) == theirs
    paid = places.sim.ledger.billed()
    again = places.run(inputs, outputs, Elsewhere)
    assert (again.skipped, again.failed, again.left) == (1, 0, 0)
    assert (texts(outputs), places.sim.ledger.billed()) == (theirs, paid)


def test_one_object_is_an_input_and_a_name_with_an_extension_is_its_output(places, new_place):
    inputs, outputs = new_place("s3"), new_place("abfs")
    places.fill(inputs, {"d/a.txt": "x", "d/b.txt": "y"})
    summary = places.run(f"{inputs}/d/a.txt", f"{outputs}/named.json")
    assert summary.done == 1
    assert sorted(texts(outputs)) == ["named.json", "named.txt"]


def test_hooks_see_the_name_of_their_input(places, new_place):
    inputs, outputs = new_place("s3"), new_place("local")
    places.fill(inputs, {"d/my name.txt": "x"})
    seen = []

    class Names(Ask):
        def process_input(self, file):
            seen.append(os.path.basename(file.name))
            return file.read()

    places.run(inputs, outputs, Names)
    assert seen == ["my name.txt"]


def test_fetched_inputs_and_staged_outputs_do_not_stay(places, new_place):
    inputs, outputs = new_place("s3"), new_place("abfs")
    places.fill(inputs, numbered(5))
    places.run(inputs, outputs)
    left = {path.name for path in Path(local_root(outputs)).rglob("*") if path.is_file()}
    left -= {"run.json", "progress.json"}
    assert not [name for name in left if name.endswith((".txt", ".json"))]
    assert not list(Path(local_root(outputs)).rglob("fetched*"))


@pytest.mark.parametrize("kind", ["s3", "abfs"])
def test_outputs_among_the_inputs_are_never_input(places, new_place, kind):
    inputs = new_place(kind)
    outputs = f"{inputs}/results/first"
    places.fill(inputs, {"a.txt": "x", "results/b.txt": "y"})
    for _ in range(2):
        places.run(inputs, outputs)
    assert sorted(texts(outputs)) == expected(["a.txt", "results/b.txt"])


def test_outputs_do_not_replace_inputs_that_lie_among_them(places, new_place):
    outputs = new_place("s3")
    inputs = f"{outputs}/in"
    places.fill(inputs, {"a.txt": "the input"})

    class Overwrite(Ask):
        def process_output(self, data, output_file_without_ext):
            folder = Path(output_file_without_ext).parent / "in"
            folder.mkdir()
            (folder / "a.txt").write_text("ours")

    assert places.run(inputs, outputs, Overwrite, force=True).failed == 1
    assert texts(inputs) == {"a.txt": "the input"}


def test_outputs_may_not_go_where_the_inputs_are(places, new_place):
    inputs = new_place("s3")
    with pytest.raises(ConfigError, match="choose another"):
        places.run(inputs, inputs + "/")


def test_a_place_without_inputs_is_told(places, new_place):
    with pytest.raises(ScanError, match="No input file in 's3://"):
        places.run(new_place("s3"), new_place("local"))


@pytest.mark.parametrize("kind", ["s3", "abfs"])
def test_a_bucket_for_outputs_that_does_not_exist_is_told_before_anything_is_paid(
    places, new_place, kind
):
    inputs = new_place("local")
    places.fill(inputs, {"a.txt": "x"})
    with pytest.raises(ConfigError, match="make it first"):
        places.run(inputs, new_place(kind).replace("://b", "://not"))
    assert places.sim.ledger.billed() == 0


def test_names_that_make_no_path_are_left_out_and_told(places, new_place, caplog):
    inputs, outputs = new_place("s3"), new_place("local")
    places.fill(inputs, {"a.txt": "x"})
    store = store_of(inputs)
    store._fs.pipe_file(f"{store._place.root}/a//b.txt", b"y")
    assert places.run(inputs, outputs).done == 1
    assert "1 object left out, whose name makes no path, first 'a//b.txt'" in caplog.text


def test_where_the_state_is_is_told_once(places, new_place, caplog):
    inputs, outputs = new_place("local"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x"})
    with caplog.at_level(logging.WARNING):
        places.run(inputs, outputs)
        places.run(inputs, outputs)
    told = [record.getMessage() for record in caplog.records if outputs in record.getMessage()]
    assert len(told) == 1
    assert state_folder_of(local_root(outputs)) in told[0]


def test_a_state_path_holds_all_that_is_local(places, new_place, tmp_path):
    inputs, outputs = new_place("local"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x"})
    places.run(inputs, outputs, state_path=tmp_path / "state")
    assert not (tmp_path / "state-home").exists()
    assert places.run(inputs, outputs, state_path=tmp_path / "state").skipped == 1


def test_a_dry_run_and_an_estimate_read_remote_inputs(places, new_place):
    inputs, outputs = new_place("abfs"), new_place("local")
    places.fill(inputs, numbered(6))
    assert places.run(inputs, outputs, dry_run=True).would_send == 6
    toolkit = Ask(places.config, inputs, outputs, progress=False)
    assert toolkit.estimate(sample=2).files == 6
    assert len(texts(outputs)) == 4


def test_the_commands_find_the_state_of_a_url(places, new_place):
    inputs, outputs = new_place("s3"), new_place("abfs")
    places.fill(inputs, {"a.txt": "x", "b.txt": "y"})
    target = f"{remote_fixture.__file__}:Ask"
    config = ["--config", str(places.config)]
    done = command("run", target, inputs, outputs, *config)
    assert done.returncode == 0, done.stderr
    assert f"Outputs: {outputs}" in done.stdout
    assert "is kept in" in done.stderr
    assert "2 done" in command("status", f"{outputs}/").stdout
    mistake = command("run", target, "https://host/in", outputs, *config)
    assert mistake.returncode == 2
    assert "https:// is no place the toolkit knows" in mistake.stderr
    assert "Traceback" not in mistake.stderr


def command(*words):
    return run_forked(["-m", "openai_parallel_toolkit", *words])


def test_uploads_that_are_refused_stop_the_run_and_nothing_is_paid_twice(places, new_place):
    inputs, outputs = new_place("local"), new_place("s3", own_bucket=True)
    places.fill(inputs, numbered(40))
    bucket = outputs.split("/")[2]

    class Vandal(Ask):
        """Takes the bucket away, with all that is in it, while the run is on."""

        def process_data(self, data):
            found = super().process_data(data)
            if bucket in store_of(outputs)._fs.ls(""):
                store_of(outputs)._fs.rm(bucket, recursive=True)
            return found

    with pytest.raises(StorageError, match="nothing paid for is lost"):
        places.run(inputs, outputs, Vandal, num_threads=1)
    billed = places.sim.ledger.billed()
    store_of(outputs)._fs.mkdir(bucket)
    assert places.run(inputs, outputs).failed == 0
    assert sorted(texts(outputs)) == expected(numbered(40))
    assert billed <= places.sim.ledger.billed() == 80


def test_kill_9_between_two_object_stores_loses_nothing_and_pays_nothing_twice(
    tmp_path, new_place, request
):
    files = 80 if request.config.getoption("--full") else 24
    inputs, outputs, back = new_place("s3"), new_place("abfs"), new_place("s3")
    with Simulator([SimKey("good")], seed=7, latency=Latency(0.02)) as sim:
        places = RemoteFixture(tmp_path, sim)
        places.fill(inputs, numbered(files))
        for billed in (files // 2, 2 * files):
            run_until(sim, billed, places.config, inputs, outputs)
        process = start(places.config, inputs, outputs)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert sorted(texts(outputs)) == expected(numbered(files))
        with JournalReader(state_folder_of(local_root(outputs))) as reader:
            lost = reader.status().totals.all_runs.unanswered
        assert sim.ledger.billed() <= 2 * files + lost
        again = places.run(inputs, outputs)
        assert (again.done, again.skipped) == (0, files)
        billed = sim.ledger.billed()
        summary = places.run(outputs, back, pattern="*.txt")
        assert (summary.done, summary.failed) == (files, 0)
        assert sim.ledger.billed() == billed + 2 * files


def start(*arguments):
    return ForkedProcess(
        [remote_fixture.__file__, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def run_until(sim, billed, *arguments):
    """Run in a process of its own, and kill it when that many requests were billed."""
    process = start(*arguments)
    while sim.ledger.billed() < billed and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate()


def test_a_url_and_its_state_belong_together_also_in_another_account(monkeypatch):
    one = local_root("abfs://box/out")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    assert local_root("abfs://box/out") != one
    assert local_root("abfss://box/out/") == local_root("az://box/out")
    assert "box-out-" in local_root("az://box/out")


def test_layouts_of_folders_are_as_they_were(tmp_path):
    (tmp_path / "in").mkdir()
    layout = lay_out(f"file://{tmp_path}/in", str(tmp_path / "out"))
    assert layout.input_root == str(tmp_path / "in")
    assert layout.output_name == str(tmp_path / "out")
