"""Keys are listed, checked and restored; journals are pruned and repaired."""

import signal

import pytest
from cli_workspace import until

from openai_parallel_toolkit.simulator import SimKey, Simulator


def test_keys_are_listed_without_their_values(workspace, sim):
    result = workspace.configure(sim, "good", "other").give("keys", "--config", "config.json")
    assert result.code == 0
    assert "other" in result.out
    assert sim.url in result.out
    assert "sim-" not in result.out


def test_a_check_tells_the_state_of_each_key_for_free(workspace, sim):
    workspace.configure(sim, "good", "empty", "stranger")
    result = workspace.give("keys", "--config", "config.json", "--check", "--json")
    assert [key["state"] for key in result.json] == ["alive", "no quota", "invalid"]
    assert result.code == 1
    assert sim.ledger.hits() == 0
    assert "sim-" not in result.out + result.err


def test_a_check_exits_with_4_when_no_key_is_alive(workspace):
    with Simulator([SimKey("good")]) as gone:
        workspace.configure(gone)
    result = workspace.give("keys", "--config", "config.json", "--check")
    assert "unreachable" in result.out
    assert result.code == 4


def test_a_key_that_was_dropped_can_be_restored(workspace, sim):
    workspace.inputs(2).configure(sim, "good", "empty").run()
    command = ("keys", "--config", "config.json", "--output", "out", "--restore")
    assert "no key is named nobody" in workspace.give(*command, "nobody").mistake
    result = workspace.give(*command, "empty", "good")
    assert result.out == "empty: is offered again\ngood: was not dropped\n"
    assert workspace.give("status", "out", "--json").json["dropped"] == {}


def test_prune_drops_the_answers_of_finished_files(workspace, sim):
    workspace.inputs(3).configure(sim).run()
    assert "3 answers and 3 requests dropped" in workspace.give("prune", "out").out
    assert "3 skipped" in workspace.run().out
    assert sim.ledger.billed() == 3


def test_repair_says_that_a_journal_is_sound_and_saves_what_a_damaged_one_holds(workspace, sim):
    workspace.inputs(3).configure(sim).run()
    assert "sound" in workspace.give("repair", "out").out
    journal = workspace.state / "journal.sqlite3"
    content = bytearray(journal.read_bytes())
    content[4096:4160] = b"\xff" * 64
    journal.write_bytes(content)
    damaged = workspace.give("repair", "out")
    assert damaged.code == 0
    assert "kept as" in damaged.out
    assert workspace.run().code == 0


@pytest.mark.parametrize("command", ["prune", "repair"])
def test_upkeep_waits_for_no_run(workspace, holding_sim, let_go, command):
    workspace.inputs(1).configure(holding_sim)
    with workspace.start_run() as process:
        until(lambda: holding_sim.ledger.hits() > 0)
        result = workspace.give(command, "out")
        assert result.code == 3
        assert f"Process {process.pid}" in result.mistake
        let_go.set()
        process.communicate()


def test_simulate_tells_where_it_is_and_in_the_end_its_bill(workspace):
    with workspace.start("simulate", "--keys", "good,bad:valid=no") as process:
        url = process.stdout.readline().decode().strip()
        config = process.stdout.readline().decode().removeprefix("config.json: ")
        workspace.inputs(2).write("config.json", config)
        assert url in config
        assert workspace.run().code == 0
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert b"of which 2 billed" in out
    assert b"good: 2 of 2 billed" in out
    assert err == b""
