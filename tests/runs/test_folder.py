"""A folder of files becomes a folder of outputs, and is paid for once."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from run_fixture import Ask, AskThrice, RunFixture

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    NoUsableKey,
    RequestRejected,
    ScanError,
    SharedOutput,
    UsageError,
    arequest_openai_api,
    request_openai_api,
)
from openai_parallel_toolkit.core.errors import ConfigError, FilesFailed
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator


def test_every_file_gets_an_output_and_the_summary_agrees_with_the_bill(fixture, sim):
    summary = fixture.inputs(20).configure(sim).run(AskThrice)
    assert (summary.done, summary.failed, summary.skipped) == (20, 0, 0)
    assert len(fixture.outputs()) == 20
    assert summary.calls.sent == summary.calls.answered == sim.ledger.billed() == 60
    assert summary.calls.tokens == sum(
        row.prompt_tokens + row.completion_tokens for row in sim.ledger.rows()
    )


def test_the_hierarchy_of_the_input_is_mirrored(fixture, sim):
    deep = fixture.input / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x.txt").write_text("deep")
    (fixture.input / ".hidden").write_text("not an input")
    fixture.configure(sim).run()
    assert list(fixture.outputs()) == ["a/b/x.json"]


def test_a_second_run_skips_everything_and_bills_nothing(fixture, sim):
    fixture.inputs(5).configure(sim).run()
    before = fixture.outputs()
    summary = fixture.run()
    assert (summary.done, summary.skipped, summary.calls.sent) == (0, 5, 0)
    assert fixture.outputs() == before
    assert sim.ledger.billed() == 5


def test_deleted_outputs_are_made_again_from_the_journal_for_free(fixture, sim):
    fixture.inputs(5).configure(sim).run(AskThrice)
    before = fixture.outputs()
    for path in fixture.output.glob("*.json"):
        path.unlink()
    summary = fixture.run(AskThrice)
    assert fixture.outputs() == before
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (5, 0, 15)
    assert sim.ledger.billed() == 15


def test_outputs_that_somebody_else_made_count_as_done(fixture, sim):
    fixture.inputs(3).configure(sim)
    fixture.output.mkdir()
    (fixture.output / "f0001.md").write_text("made by hand")
    summary = fixture.run()
    assert (summary.done, summary.skipped) == (2, 1)
    assert fixture.outputs()["f0001.md"] == b"made by hand"


def test_force_works_on_every_file_again_and_pays_only_for_what_changed(fixture, sim):
    fixture.inputs(4).configure(sim).run()
    (fixture.input / "f0002.txt").write_text("something else")
    summary = fixture.run(force=True)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (4, 1, 3)


def test_file_count_limits_this_run_and_does_not_count_skipped_files(fixture, sim):
    fixture.inputs(6).configure(sim)
    assert fixture.run(file_count=2).left == 4
    summary = fixture.run(file_count=2)
    assert (summary.done, summary.skipped, summary.left) == (2, 2, 2)


def test_one_input_file_may_name_its_output_file(fixture, sim):
    fixture.inputs(1).configure(sim)
    toolkit = Ask(
        fixture.config, fixture.input / "f0000.txt", fixture.output / "answer.json", progress=False
    )
    assert toolkit.run().done == 1
    assert list(fixture.outputs()) == ["answer.json"]


def test_two_inputs_with_one_output_are_found_before_anything_is_paid(fixture, sim):
    (fixture.input / "a.txt").write_text("one")
    (fixture.input / "a.md").write_text("two")
    with pytest.raises(SharedOutput, match="output_names"):
        fixture.configure(sim).run()
    assert sim.ledger.billed() == 0
    assert fixture.run(output_names="whole").done == 2
    assert sorted(fixture.outputs()) == ["a.md.json", "a.txt.json"]


def test_the_same_prompt_asked_twice_in_a_file_is_two_calls(fixture, sim):
    class Twice(Ask):
        def process_data(self, data):
            return [request_openai_api(Gpt35Turbo(content="same")) for _ in range(2)]

    fixture.inputs(2).configure(sim).run(Twice)
    assert sim.ledger.billed() == 4


def test_a_hook_that_raises_fails_its_file_only_and_a_rerun_replays_its_answers(fixture, sim):
    broken = {"f0001"}

    class Breaks(AskThrice):
        def process_output(self, data, output_file_without_ext):
            if os.path.basename(output_file_without_ext) in broken:
                raise ValueError("no good")
            super().process_output(data, output_file_without_ext)

    summary = fixture.inputs(4).configure(sim).run(Breaks)
    assert (summary.done, summary.failed) == (3, 1)
    (line,) = map(json.loads, Path(summary.failures_path).read_text().splitlines())
    assert (line["file"], line["kind"], line["message"]) == ("f0001.txt", "ValueError", "no good")
    assert "  1 x ValueError: no good (first: f0001.txt)" in str(summary).splitlines()
    broken.clear()
    summary = fixture.run(Breaks)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (1, 0, 3)


def test_a_file_that_fails_in_three_runs_is_put_aside_until_asked_for(fixture, sim):
    class Breaks(Ask):
        is_broken = True

        def process_input(self, file):
            if Breaks.is_broken and file.name.endswith("f0000.txt"):
                raise ValueError("no good")
            return file.read()

    fixture.inputs(2).configure(sim)
    assert [fixture.run(Breaks).failed for _ in range(3)] == [1, 1, 1]
    later = fixture.run(Breaks)
    assert later.aside == 1
    assert "--retry-failed" in str(later)
    Breaks.is_broken = False
    assert fixture.run(Breaks, retry_failed=True).done == 1


def test_what_was_put_aside_is_tried_again_by_itself_when_the_hooks_were_edited(
    fixture, sim, caplog
):
    class Breaks(Ask):
        def process_input(self, file):
            raise ValueError("no good")

    class Mended(Ask):
        pass

    fixture.inputs(2).configure(sim)
    for _ in range(2):
        fixture.run(Breaks, max_file_attempts=2)
    caplog.clear()
    assert fixture.run(Breaks).aside == 2
    assert "Put aside: 2 files, after" in caplog.text  # progress=False prints no summary
    assert "retry_failed=True (--retry-failed)" in caplog.text
    dry = fixture.run(Mended, dry_run=True)
    assert (dry.aside, dry.left) == (0, 2)
    summary = fixture.run(Mended)
    assert (summary.aside, summary.done) == (0, 2)
    assert "2 files had been put aside and will be tried again" in caplog.text


def test_the_config_the_env_file_the_state_and_the_log_are_no_inputs_wherever_they_lie(
    fixture, sim, monkeypatch
):
    monkeypatch.chdir(fixture.root)
    inputs = fixture.inputs(2).configure(sim).input
    (inputs / "deep").mkdir()
    config = fixture.config.rename(inputs / "deep" / "settings.json")
    fixture.config = fixture.root / "link.json"
    fixture.config.symlink_to(config)
    (inputs / ".env").write_text("OPENAI_API_KEY=sim-good\n")
    own = {"state_path": inputs / "state", "log_file": inputs / "run.log"}
    for _ in range(2):
        summary = fixture.run(output_names="whole", **own)
    assert (summary.done, summary.skipped) == (0, 2)
    assert set(fixture.outputs()) == {"f0000.txt.json", "f0001.txt.json"}
    for path in (config, fixture.config, inputs / ".env", own["log_file"]):
        fixture.input = path
        with pytest.raises(ScanError, match="never an input"):
            fixture.run(**own)


def test_with_the_state_elsewhere_nothing_but_outputs_lies_in_the_output_folder(fixture, sim):
    fixture.inputs(3).configure(sim).run(state_path=fixture.root / "state")
    assert sorted(os.listdir(fixture.output)) == ["f0000.json", "f0001.json", "f0002.json"]


def test_beside_outputs_there_is_one_hidden_name_of_ours(fixture, sim):
    fixture.inputs(3).configure(sim).run()
    names = [name for name in os.listdir(fixture.output) if not name.startswith(".")]
    assert set(os.listdir(fixture.output)) - set(names) == {".openai_parallel_toolkit"}
    assert all(json.loads((fixture.output / name).read_text()) for name in names)


def test_a_toolkit_has_what_it_was_made_of(fixture):
    toolkit = fixture.toolkit(file_count=3, num_threads=5, name="Mine")
    assert (toolkit.config_path, toolkit.input_path) == (fixture.config, str(fixture.input))
    assert toolkit.output_path == str(fixture.output)
    assert (toolkit.file_count, toolkit.num_threads, toolkit.name) == (3, 5, "Mine")
    assert fixture.toolkit(num_threads=None).num_threads == 10 * os.cpu_count()


@pytest.mark.parametrize("name", ["input_path", "output_path"])
def test_a_place_that_is_none_is_told_by_its_name(name):
    places = {"input_path": "in", "output_path": "out", name: None}
    with pytest.raises(ConfigError, match=f"^{name}: expected a path, got None"):
        Ask(config_path=None, **places)


def test_a_stop_after_too_many_failures(fixture, sim):
    class Breaks(Ask):
        def process_input(self, file):
            raise ValueError("no good")

    fixture.inputs(50).configure(sim)
    with pytest.raises(FilesFailed) as caught:
        fixture.run(Breaks, fail_on_error=True, num_threads=1)
    assert caught.value.summary.failed < 50


def test_a_hook_that_runs_out_of_memory_fails_its_file_only(fixture, sim):
    class Greedy(Ask):
        def process_input(self, file):
            if file.name.endswith("f0001.txt"):
                raise MemoryError
            return file.read()

    summary = fixture.inputs(4).configure(sim).run(Greedy)
    assert (summary.done, summary.failed) == (3, 1)


@pytest.mark.parametrize("poison", [b"\xff\xfe\xff", b"", b"\x00" * 100])
def test_a_poisonous_input_never_harms_the_others(fixture, sim, poison):
    fixture.inputs(3).configure(sim)
    (fixture.input / "poison.txt").write_bytes(poison)
    summary = fixture.run()
    assert summary.done + summary.failed == 4
    assert summary.done >= 3


def test_dead_keys_are_hit_no_oftener_than_requests_were_in_flight(fixture):
    keys = [SimKey("a"), SimKey("b"), SimKey("empty", quota="none"), SimKey("bad", valid=False)]
    with Simulator(keys, seed=7) as sim:
        fixture.inputs(200).configure(sim, "a", "b", "empty", "bad")
        summary = fixture.run(AskThrice, num_threads=10)
        assert summary.done == 200
        assert sim.ledger.billed() == summary.calls.answered == 600
        assert len(sim.ledger.rows()) == summary.calls.sent
        assert sim.ledger.hits("empty") <= 10
        assert sim.ledger.hits("bad") <= 10
        states = {key.name: key.state for key in summary.keys}
        assert states == {"a": "alive", "b": "alive", "empty": "dropped", "bad": "dropped"}


def test_when_the_last_key_dies_the_run_stops_and_a_later_one_finishes(fixture):
    with Simulator([SimKey("short", quota=10)], seed=7) as sim:
        fixture.inputs(30).configure(sim, "short")
        with pytest.raises(NoUsableKey) as caught:
            fixture.run()
        summary = caught.value.summary
        assert summary.failed == 0
        assert summary.done == len(fixture.outputs()) == 10
    with Simulator([SimKey("short")], seed=7) as sim:
        fixture.configure(sim, "short")
        summary = fixture.run()
        assert (summary.done, summary.skipped, sim.ledger.billed()) == (20, 10, 20)


def test_a_hook_that_catches_everything_writes_no_output_without_its_answers(fixture):
    class Swallows(Ask):
        def process_data(self, data):
            try:
                return request_openai_api(Gpt35Turbo(content=data))
            except:  # noqa: E722 - the hook of a careless user
                return "ERROR"

    with Simulator([SimKey("empty", quota="none")], seed=7) as sim:
        fixture.inputs(5).configure(sim, "empty")
        with pytest.raises(NoUsableKey):
            fixture.run(Swallows)
        assert fixture.outputs() == {}


def test_a_failed_request_is_the_hooks_to_handle(fixture):
    class Handles(Ask):
        def process_data(self, data):
            try:
                return request_openai_api(Gpt35Turbo(content=data))
            except RequestRejected as exc:
                return f"refused: {exc.code}"

    with Simulator([SimKey("good")], seed=7, faults=[Fault("400")]) as sim:
        assert fixture.inputs(1).configure(sim).run(Handles).done == 1
        assert b"refused" in fixture.outputs()["f0000.json"]


def test_async_hooks_run_side_by_side(fixture):
    under_way, all_are = [], asyncio.Event()

    class Async(Ask):
        async def process_data(self, data):
            under_way.append(data)
            if len(under_way) == 60:
                all_are.set()
            await asyncio.wait_for(all_are.wait(), 40)
            return await arequest_openai_api(Gpt35Turbo(content=data))

    with Simulator([SimKey("good")], seed=7) as sim:
        summary = fixture.inputs(60).configure(sim).run(Async, num_threads=60)
        assert summary.done == 60
        assert fixture.run(Async).calls.sent == 0


def test_a_blocking_call_in_an_async_hook_names_the_async_one(fixture, sim):
    class Wrong(Ask):
        async def process_data(self, data):
            return request_openai_api(Gpt35Turbo(content=data))

    summary = fixture.inputs(1).configure(sim).run(Wrong)
    assert "arequest_openai_api" in Path(summary.failures_path).read_text()


def test_an_input_that_changes_while_it_is_worked_on_is_done_again_next_time(fixture, sim):
    class Rewrites(Ask):
        is_careless = True

        def process_data(self, data):
            if Rewrites.is_careless:
                (fixture.input / "f0000.txt").write_text("changed meanwhile")
            return super().process_data(data)

    summary = fixture.inputs(1).configure(sim).run(Rewrites)
    assert (summary.done, summary.failed) == (0, 1)
    Rewrites.is_careless = False
    assert fixture.run(Rewrites).done == 1


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(fixture, sim):
    summary = fixture.inputs(7).configure(sim).run(dry_run=True)
    assert (summary.would_send, summary.calls.sent, sim.ledger.hits("good")) == (7, 0, 0)
    assert fixture.outputs() == {}
    assert fixture.run().done == 7


def test_edited_hooks_are_told_of_and_buy_nothing(fixture, sim, caplog):
    class Asks(Ask):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(content=data))

    def edited(self, data):
        return request_openai_api(Gpt35Turbo(content=data, prompt="be brief"))

    fixture.inputs(6).configure(sim).run(Asks)
    Asks.process_data = edited
    summary = fixture.run(Asks)
    assert (summary.skipped, summary.calls.sent) == (6, 0)
    assert "6 of 6 finished files would now ask something else" in caplog.text


def test_two_managers_never_mix(tmp_path):
    with Simulator([SimKey("one"), SimKey("two")], seed=7) as sim:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            fixture = RunFixture(tmp_path / name).inputs(3)
            manager = APIKeyManager(config_path=fixture.configure(sim, name).config)
            assert fixture.run(key_manager=manager).done == 3
            manager.close()
        assert (sim.ledger.billed("one"), sim.ledger.billed("two")) == (3, 3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_threads", 0),
        ("file_count", -1),
        ("max_retries", "many"),
        ("deadline_s", -1),
        ("mode", "later"),
        ("encoding", "utf-99"),
        ("output_names", "both"),
    ],
)
def test_an_impossible_setting_is_named(fixture, setting, value):
    with pytest.raises(ConfigError, match=setting):
        fixture.toolkit(**{setting: value})


def test_a_missing_input_is_named(fixture, sim):
    fixture.configure(sim)
    with pytest.raises(ScanError, match="nowhere"):
        Ask(fixture.config, fixture.root / "nowhere", fixture.output).run()


def test_a_missing_hook_is_named(fixture):
    from openai_parallel_toolkit import ParallelToolkit

    class Half(ParallelToolkit):
        def process_input(self, file):
            return file.read()

    with pytest.raises(UsageError, match="process_data and process_output"):
        fixture.toolkit(Half)
