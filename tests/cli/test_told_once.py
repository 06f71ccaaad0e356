"""What happens is told once, and what is told is so."""

import pytest

LONG = "You exceeded your current quota"


@pytest.mark.parametrize("more", [(), ("--no-progress",)])
def test_when_the_last_key_dies_each_fact_is_told_once(workspace, sim, more):
    result = workspace.inputs(3).configure(sim, "empty").run(*more)
    assert result.code == 4
    told = result.out + result.err
    assert told.count(LONG) == 1
    assert told.count("no key can serve") == 1
    assert told.count("add a key or top one up") == 1
    assert "3 left" in result.out
    assert "Stopped: see the error." in result.out
    assert "dropped (429 insufficient_quota)" in result.out


def test_json_keeps_the_reason_for_programs(workspace, sim):
    result = workspace.inputs(1).configure(sim, "empty").run("--json")
    assert "no key can serve" in result.json["stopped"]


def test_prompts_tell_each_fact_once(workspace, sim):
    workspace.write("p.txt", "one\ntwo\n").configure(sim, "empty")
    result = workspace.give("prompts", "p.txt", "o.jsonl", "--model", "gpt-3.5-turbo")
    assert result.code == 4
    told = result.out + result.err
    assert told.count(LONG) == 1
    assert told.count("no key can serve") == 1
    assert "2 left" in result.out


def test_too_many_failed_files_are_told_once(workspace, sim):
    workspace.write("bad.py", "from hooks import Mine\nclass Bad(Mine):\n    process_data = 1\n")
    workspace.inputs(2).configure(sim)
    result = workspace.give("run", "bad.py", "in", "out", "--threads=1", "--fail-on-error")
    assert result.code == 1
    assert (result.out + result.err).count("more than fail_on_error") == 1
    assert "1 file failed" in result.err


def test_the_output_of_a_single_input_is_named(workspace, sim):
    workspace.inputs(1).configure(sim)
    for asked, found in (("out", "out/f00.json"), ("results/mine.json", "results/mine.json")):
        for _ in range(2):  # also when it was there already
            result = workspace.give("run", "hooks.py", "in/f00.txt", asked)
            assert result.code == 0
            assert f"Output: {workspace.root / found}\n" in result.out
            assert "Outputs:" not in result.out
    assert (workspace.root / found).exists()
    told = workspace.give("run", "hooks.py", "in/f00.txt", "out", "--json").json
    assert told["output_file"] == str(workspace.root / "out/f00.json")


def test_a_folder_of_inputs_has_a_folder_of_outputs(workspace, sim):
    result = workspace.inputs(1).configure(sim).run()
    assert f"Outputs: {workspace.root / 'out'}\n" in result.out


def test_an_estimate_says_calls_once(workspace, sim):
    workspace.inputs(2).configure(sim)
    result = workspace.give("estimate", "hooks.py", "in", "out", "--tokens-only")
    assert "First calls: 2.\n" in result.out
    result = workspace.give("estimate", "hooks.py", "in", "out")
    assert "\nCalls: 2.\n" in result.out
    assert "Sample: 2 of 2 files" in result.out


def test_prompts_that_fail_are_told_with_their_most_frequent_reason(workspace, sim):
    workspace.write("p.txt", "one\ntwo\n").configure(sim)
    result = workspace.give("prompts", "p.txt", "o.jsonl")
    assert result.code == 1
    assert "2 x UsageError: the line names no model" in result.out
    assert "(first: 1)" in result.out
    again = "-m openai_parallel_toolkit prompts p.txt o.jsonl"
    assert again in result.out or "openai-parallel-toolkit prompts p.txt o.jsonl" in result.out


def test_what_is_stale_is_told_once_and_has_its_option(workspace, sim):
    workspace.inputs(2).configure(sim).run()
    (workspace.root / "in" / "f00.txt").write_text("edited since")
    for more in ((), ("--no-progress", "--no-check-prompts")):
        result = workspace.run(*more)
        assert (result.out + result.err).count("Changed: 1 input since") == 1
    assert workspace.run("--json").json["notices"]["changed_inputs"] == 1
    assert "1 done" in workspace.run("--on-changed-input", "redo").out
    assert "Changed" not in workspace.run().out
