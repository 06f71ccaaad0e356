"""A user's mistake gives one line on standard error, an exit status, and no traceback."""

import json

import pytest

RAISES = "\nraise ValueError('no such table')\n"
TWO = "from hooks import Mine\nclass One(Mine): pass\nclass Two(Mine): pass\n"
BARE = "from openai_parallel_toolkit import ParallelToolkit\nclass Bare(ParallelToolkit): pass\n"
STUBBORN = "from hooks import Mine\nclass Stubborn(Mine):\n    def __init__(self, folder): pass\n"

MISTAKES = {
    "no command": ([], "COMMAND"),
    "an unknown command": (["dance"], "invalid choice: 'dance'"),
    "an unknown option": (["run", "hooks.py", "in", "out", "--fast"], "--fast"),
    "a typo in an option": (
        ["run", "hooks.py", "in", "out", "--confg", "c"],
        "mean --config? (see",
    ),
    "where its help is": (["batch", "status", "out", "--jsn"], "toolkit batch status --help`"),
    "a folder in the place of TARGET": (
        ["run", "in", "hooks.py", "out"],
        "'in' is a folder; first",
    ),
    "a batch of nothing": (["batch"], "give IN and OUT, or --config"),
    "a batch config that is not there": (["batch", "--config", "no.json"], "batch --init DIR"),
    "a batch of one file": (["batch", "two.py", "out"], "two.py' is a file"),
    "a file for batch results": (["batch", "in", "two.py"], "'two.py' is a file; name a folder"),
    "a word of batch in the wrong place": (["batch", "--json", "status", "out"], "right behind"),
    "a missing argument": (["run", "hooks.py"], "IN, OUT"),
    "a module that is not there": (["run", "nothing:Mine", "in", "out"], "no module 'nothing'"),
    "a file that is not there": (["run", "no.py", "in", "out"], "no file 'no.py'"),
    "a class that is not there": (["run", "hooks.py:Yours", "in", "out"], "it defines Mine"),
    "a class of another kind": (["run", "hooks:Gpt35Turbo", "in", "out"], "not a subclass"),
    "no class at all": (["run", "json", "in", "out"], "defines no subclass"),
    "a module that raises": (["run", "raises.py", "in", "out"], "raises.py, line 2)"),
    "a module that is not Python": (["run", "broken.py", "in", "out"], "broken.py, line 1)"),
    "a module that lacks a package": (["run", "lacks.py", "in", "out"], "'no_such_package'"),
    "two classes": (["run", "two.py", "in", "out"], "One, Two; say which"),
    "a class without hooks": (["run", "bare.py", "in", "out"], "Bare does not define process_"),
    "an __init__ that does not fit": (["run", "stubborn.py:Stubborn", "in", "out"], "**settings"),
    "an input that is not there": (["run", "hooks.py", "nowhere", "out"], "nowhere'; mend"),
    "an empty input folder": (["run", "hooks.py", "in", "out"], "No input file"),
    "outputs among the inputs": (["run", "hooks.py", "in", "in"], "among the inputs"),
    "a config that is not there": (["run", "hooks.py", "in", "out", "--config", "c"], "c: there"),
    "no key anywhere": (["keys", "--config", "empty.json"], "api_keys"),
    "an impossible setting": (["run", "hooks.py", "in", "out", "--threads", "0"], "num_threads"),
    "a number that is none": (["run", "hooks.py", "in", "out", "--grace", "long"], "--grace"),
    "a bare option before TARGET": (["run", "--fail-on-error", "hooks.py", "in", "out"], "last"),
    "a folder without a run": (["status", "in"], "no run has begun in 'in'"),
    "a restore without a folder": (["keys", "--restore", "key-1"], "--output"),
    "a demo in another's folder": (["demo", "--folder", "."], "choose another --folder"),
    "an impossible port": (["simulate", "--port", "99999"], "0-65535"),
    "an impossible simulation": (["simulate", "--keys", "a:rpm=0"], "not above 0"),
}


@pytest.fixture
def cluttered(workspace):
    """A folder with everything that can be wrong in it."""
    workspace.write("raises.py", RAISES).write("broken.py", "def").write("two.py", TWO)
    workspace.write("bare.py", BARE).write("stubborn.py", STUBBORN)
    workspace.write("lacks.py", "import no_such_package").write("empty.json", '{"api_keys": []}')
    return workspace.write("config.json", json.dumps({"api_keys": ["env:HOME"]}))


@pytest.mark.parametrize(("command", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(cluttered, command, told):
    result = cluttered.give(*command)
    assert told in result.mistake
    assert result.code == 2
    if "--json" not in command:
        assert result.out == ""


def test_an_output_folder_that_cannot_be_written_is_told_in_one_line(cluttered):
    cluttered.inputs(1).write("out", "a file where a folder should be")
    result = cluttered.give("run", "hooks.py", "in", "out/deeper")
    assert "out" in result.mistake
    assert result.code == 5


def test_a_state_folder_that_cannot_be_looked_into_is_not_taken_for_none(cluttered):
    (cluttered.root / "out").mkdir()
    cluttered.state.symlink_to(cluttered.state)  # a loop: not even root can look into it
    for command in (["status", "out"], ["batch", "cancel", "out"], ["prune", "out"]):
        result = cluttered.give(*command)
        assert "Too many levels of symbolic links" in result.mistake
        assert result.code == 5


def test_a_lock_that_cannot_be_taken_is_told_in_one_line(cluttered, sim):
    cluttered.inputs(1).configure(sim)
    (cluttered.state / "run.lock").mkdir(parents=True)
    result = cluttered.run()
    assert "run.lock" in result.mistake
    assert result.code == 5


def test_an_input_folder_that_cannot_be_read_is_the_same_mistake_everywhere(cluttered, sim):
    cluttered.configure(sim)
    (cluttered.root / "loop").symlink_to("loop")
    for command in (["run", "hooks.py", "loop", "out"], ["batch", "loop", "out"]):
        result = cluttered.give(*command, "--config", "config.json")
        assert "loop" in result.mistake
        assert result.code == 2


def test_a_log_file_that_cannot_be_written_is_told_in_one_line(cluttered):
    result = cluttered.inputs(1).run("--log-file", "nowhere/log")
    assert "nowhere/log" in result.mistake
    assert result.code == 5


def test_a_bug_in_the_hooks_module_keeps_its_traceback(cluttered):
    cluttered.write(
        "buggy.py",
        "from hooks import Mine\nclass Buggy(Mine):\n"
        "    def __init__(self, **settings):\n        self.nothing.there()\n",
    )
    result = cluttered.give("run", "buggy.py", "in", "out")
    assert result.code == 70
    assert "Traceback" in result.err
    assert "buggy.py" in result.err
