"""`status`, `failures` and `show` tell how things stand, while a run is on and after its death."""

import json

from cli_workspace import until


def test_status_tells_of_files_calls_cost_and_dropped_keys(workspace, sim):
    workspace.inputs(3).configure(sim, "good", "empty").run()
    status = workspace.give("status", "out", "--json").json
    assert status["files"]["done"] == 3
    assert status["run"]["how"] == "finished"
    assert status["all_runs"]["answered"] == sim.ledger.billed()
    assert status["by_key"]["good"]["answered"] == 3
    assert "insufficient_quota" in status["dropped"]["empty"]
    assert status["locked_by"] is None
    words = workspace.give("status", "out").out
    assert "3 done" in words
    assert "Dropped: empty" in words


def test_a_cost_that_is_not_known_is_never_shown_as_0(workspace, sim):
    hooks = (workspace.root / "hooks.py").read_text()
    workspace.write("hooks.py", hooks.replace("content=data", 'content=data, model="mystery-9"'))
    workspace.inputs(1).configure(sim).run()
    status = workspace.give("status", "out", "--json").json
    assert status["all_runs"]["cost_usd"] is None
    assert status["all_runs"]["max_cost_usd"] is None
    words = workspace.give("status", "out").out
    assert "cost unknown" in words
    assert "$0" not in words


def test_status_tells_of_a_run_that_is_on_and_of_its_death(workspace, slow_sim):
    workspace.inputs(20).configure(slow_sim)
    with workspace.start_run("--threads=2") as process:
        until(lambda: slow_sim.ledger.hits() > 2)
        on = workspace.give("status", "out", "--json").json
        assert on["locked_by"]["pid"] == process.pid
        assert on["run"]["ended_wall_s"] is None
        process.kill()
        process.communicate()
    dead = workspace.give("status", "out", "--json").json
    assert dead["locked_by"] is None
    assert dead["all_runs"]["answered"] >= on["all_runs"]["answered"] >= 1
    assert "died without a word" in workspace.give("status", "out").out
    lost = slow_sim.ledger.billed() - dead["all_runs"]["answered"]
    assert 0 <= lost <= dead["all_runs"]["unanswered"] + dead["all_runs"]["unknown"]


def test_failures_lists_each_failed_file_with_its_reason(workspace, sim):
    workspace.inputs(1).configure(sim)
    (workspace.root / "in" / "b\nd.txt").write_bytes(b"\xff")
    workspace.run()
    line = workspace.give("failures", "out").out
    assert line.startswith("b\\nd.txt: UnicodeDecodeError: ")
    assert line.count("\n") == 1
    (failure,) = workspace.give("failures", "out", "--json").json
    assert (failure["file"], failure["state"]) == ("b\nd.txt", "failed")
    assert f"\nFailed: {line}" in workspace.give("status", "out").out
    assert "process_input" in failure["trace"]


def test_show_tells_of_a_files_outputs_requests_and_answers(workspace, sim):
    workspace.write("in/long.txt", "word " * 300).configure(sim).run()
    shown = workspace.give("show", "out", "long.txt", "--json").json
    assert shown["state"] == "done"
    assert [output["path"] for output in shown["outputs"]] == ["long.json"]
    (attempt,) = shown["attempts"]
    assert (attempt["key"], attempt["ending"]["kind"]) == ("good", "ok")
    assert attempt["answer"] == json.loads((workspace.root / "out" / "long.json").read_text())
    short, full = (
        workspace.give("show", "out", "long.txt", *more).out for more in ((), ("--full",))
    )
    assert attempt["answer"] in full.replace("\n    ", " ")
    assert len(short) <= len(full)
    assert "nobody.txt" in workspace.give("show", "out", "nobody.txt").mistake


def test_out_may_be_the_file_that_a_single_output_was_called(workspace, sim):
    workspace.inputs(1).configure(sim)
    assert workspace.give("run", "hooks.py", "in/f00.txt", "out/one.json").code == 0
    assert "1 done" in workspace.give("status", "out/one.json").out
    assert workspace.give("show", "out", "f00.txt").code == 0


def test_out_is_never_taken_for_another_jobs_in_the_same_folder(workspace, sim):
    workspace.inputs(1).configure(sim).write("asks.txt", "one\ntwo\n")
    assert workspace.give("run", "hooks.py", "in/f00.txt", "one.json").code == 0
    assert workspace.give("prompts", "asks.txt", "answers.jsonl", "--model=gpt-4o-mini").code == 0
    assert "2 answered" in workspace.give("status", "answers.jsonl").out
    assert "1 answered" in workspace.give("status", "one.json").out
    assert "no run has begun in 'nowhere'" in workspace.give("status", "nowhere").mistake


def test_a_state_path_is_looked_into_when_it_is_given(workspace, sim):
    workspace.inputs(1).configure(sim).run("--state-path=state")
    assert "1 done" in workspace.give("status", "out", "--state-path=state").out
    assert workspace.give("status", "out").code == 2


def test_every_locale_can_be_written_in(workspace, sim):
    workspace.configure(sim).write("in/täxt.txt", "grüße")
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "HOME": "/nonexistent"}
    assert workspace.run(env=bare).code == 0
    shown = workspace.give("show", "out", "täxt.txt", env=bare)
    assert shown.code == 0
    assert "Traceback" not in shown.err
