"""`prompts` as it is given on the command line: the cookbook's names, stops, kills, memory."""

import json
import signal
import time

import pytest
from prompts_fixture import MODEL, until

from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.simulator import Fault, Latency

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


def mistake(given):
    code, out, err = given
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    return err


def test_plain_lines_become_answers(fixture):
    fixture.simulate()
    code, out, err = fixture.write("one", "two").give("--system", "be brief", "--temperature=0")
    assert (code, err) == (0, "")
    assert "2 answered" in out
    assert [line["content"] for line in fixture.lines()] == ["one", "two"]


def test_the_summary_can_be_json(fixture):
    fixture.simulate()
    code, out, _ = fixture.numbers(2).give("--json")
    assert code == 0
    assert json.loads(out)["answered"] == 2


def test_the_cookbooks_call_works_as_it_stands(fixture):
    sim = fixture.simulate()
    fixture.write({**CHAT, "metadata": {"row_id": 1}}, CHAT, "{")
    given = ["--requests_filepath", "in.jsonl", "--save_filepath", "out.jsonl"]
    given += ["--request_url", f"{sim.url}/chat/completions", "--max_requests_per_minute", "1500"]
    given += ["--max_tokens_per_minute", "6250000", "--token_encoding_name", "cl100k_base"]
    given += ["--max_attempts", "5", "--logging_level", "20", "--no-progress"]
    code, _, _ = fixture.give(given=given, env={"OPENAI_API_KEY": sim.keys[0].secret})
    assert code == 1
    first, second, third = fixture.lines()
    assert first[0] == CHAT
    assert first[1]["choices"][0]["message"]["content"] == "hello"
    assert first[2] == {"row_id": 1}
    assert len(second) == 2
    assert "begins like JSON" in third[1][0]


def test_the_cookbooks_default_output_lies_beside_the_requests(fixture):
    fixture.simulate()
    code, _, _ = fixture.write(CHAT).give(given=["--requests_filepath", "in.jsonl"])
    assert code == 0
    assert len(fixture.lines(fixture.root / "in_results.jsonl")) == 1


def test_a_key_on_the_command_line_is_refused_and_not_repeated(fixture):
    given = ["in.jsonl", "out.jsonl", "--api_key", "sk-0123456789abcdef"]
    told = mistake(fixture.give(given=given))
    assert "OPENAI_API_KEY" in told
    assert "sk-0123" not in told


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["in.jsonl"], "FILE OUT"),
        (["missing.jsonl", "out.jsonl"], "missing.jsonl"),
        (["in.jsonl", "in.jsonl"], "written over"),
        (["in.jsonl", "out.jsonl", "--param", "x"], "NAME=VALUE"),
        (["in.jsonl", "out.jsonl", "--max-cost", "much"], "an amount of USD"),
        (["in.jsonl", "out.jsonl", "--max_attempts", "0"], "a count above 0"),
        (["in.jsonl", "out.jsonl", "--max-workers", "0"], "max_workers"),
        (["in.jsonl", "out.jsonl", "--request-url", "https://a.b/v1/images"], "--request-url"),
        (["in.jsonl", "out.jsonl", "--request-url", "a/embeddings"], "--request-url"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_sent(fixture, capsys, given, words):
    sim = fixture.simulate()
    fixture.numbers(1)
    assert dispatch(["prompts", *given]) == 2
    assert words in capsys.readouterr().err
    assert sim.ledger.hits() == 0


def test_other_parameters_and_the_path_are_given_by_name(fixture):
    sim = fixture.simulate()
    more = ["--request-url", "/embeddings", "--param", "dimensions=3", "--param", "user=me"]
    assert fixture.write("hello").give(*more)[0] == 0
    assert len(fixture.lines()[0]["embedding"]) == 3
    assert sim.ledger.rows()[0].path.endswith("/embeddings")


def test_the_length_limit_has_the_name_that_the_path_wants(fixture):
    fixture.simulate()
    for path, name in (("/responses", "max_output_tokens"), ("/chat/completions", "max_tokens")):
        more = ["--request-url", path, "--max-tokens=50", "--output-format=cookbook", "--force"]
        assert fixture.write("hello").give(*more)[0] == 0
        assert fixture.lines()[0][0][name] == 50


def test_status_and_failures_know_the_output(fixture, capsys):
    fixture.simulate(faults=[Fault("400", marker="number 1,")])
    assert fixture.numbers(2).give()[0] == 1
    assert dispatch(["status", "out.jsonl"]) == 0
    assert "2 sent, 1 answered" in capsys.readouterr().out
    assert dispatch(["failures", "out.jsonl"]) in {0, 1}
    assert "out.errors.jsonl" in capsys.readouterr().out


def undisturbed(fixture, count):
    """What a run that nobody disturbs writes."""
    fixture.simulate()
    fixture.numbers(count).run(state_path=str(fixture.root / "quiet"))
    written = fixture.output.read_bytes()
    fixture.output.unlink()
    return written


def test_ctrl_c_ends_with_130_and_the_next_run_pays_only_for_the_rest(fixture):
    expected = undisturbed(fixture, 40)
    started = []

    def interrupt(row):
        if row.ordinal == 9:
            started[0].send_signal(signal.SIGINT)

    sim = fixture.simulate(latency=0.3, on_post=interrupt)
    with fixture.start("--max-workers=4") as process:
        started.append(process)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "told to by SIGINT" in out
    assert "run it again" in err
    assert not fixture.output.exists()
    asked = sim.ledger.hits()
    assert asked < 40
    assert fixture.figures().answered == asked
    sim = fixture.simulate()
    assert fixture.give()[0] == 0
    assert sim.ledger.hits() == 40 - asked
    assert fixture.output.read_bytes() == expected


def test_a_stuck_line_gets_its_grace_after_ctrl_c_and_no_more(fixture):
    sim = fixture.simulate(faults=[Fault("never", marker="number 0,")])
    with fixture.numbers(5).start("--grace=0.5") as process:
        until(lambda: sim.ledger.hits() == 5)
        since_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
        assert time.monotonic() - since_s < 30  # the line would be stuck for ten minutes
    assert process.returncode == 130
    assert "1 answer that is paid for" in err
    assert "Traceback" not in err


@pytest.mark.crash
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(fixture):
    count, workers = 400, 8
    expected = undisturbed(fixture, count)
    victims = []

    def kill(row):
        if row.ordinal % 60 == 0:
            victims[-1].send_signal(signal.SIGKILL)

    sim = fixture.simulate(latency=Latency(0.03, 0.5), on_post=kill)
    kills = 0
    while True:
        victims.append(fixture.start(f"--max-workers={workers}"))
        victims[-1].communicate()
        if victims[-1].returncode == 0:
            break
        assert victims[-1].returncode == -signal.SIGKILL
        assert not fixture.output.exists()
        kills += 1
    assert kills >= 4
    assert fixture.output.read_bytes() == expected
    assert 0 <= sim.ledger.billed() - count <= fixture.figures().unanswered <= kills * workers


def test_a_stuck_line_holds_nothing_up_and_memory_stays_small(fixture):
    """What waits for its turn waits in the journal; see benchmarks/kills.py for the long form."""
    count = 3_000
    stuck = Fault("never", marker="number 0,", billed=False)
    sim = fixture.simulate(faults=[stuck])
    with fixture.numbers(count).start() as process:
        until(lambda: sim.ledger.billed() == count - 1, within_s=100)
        until(lambda: fixture.figures().answered == count - 1)
        with open(f"/proc/{process.pid}/status") as status:
            peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        assert fixture.partial.read_bytes() == b""
        process.kill()
        process.communicate()
    assert peak_kb < 150_000
    sim.script.replace([])
    assert fixture.give()[0] == 0
    assert [line["id"] for line in fixture.lines()] == list(range(count))
    assert sim.ledger.billed() == count
