"""A script of one's own ends as the command does: not with 0 when files have no output."""

import pytest
from cli_workspace import REPOSITORY
from forked_process import run_forked

BREAKS = """
class Breaks(Mine):
    def process_output(self, data, output_file_without_ext):
        if {broken!r} in output_file_without_ext:
            raise ValueError("no such column")
        super().process_output(data, output_file_without_ext)

summary = Breaks("config.json", "in", "out", **{settings}).run()
print("went on with", summary.failed, "failed")
"""


@pytest.fixture
def script(workspace, sim):
    """Runs a script whose hooks raise for the files that `broken` is in the name of."""
    workspace.inputs(4).configure(sim)

    def run(broken, **settings):
        hooks = (workspace.root / "hooks.py").read_text()
        workspace.write("script.py", hooks + BREAKS.format(broken=broken, settings=settings))
        return run_forked(["script.py"], cwd=workspace.root, env={"PYTHONPATH": str(REPOSITORY)})

    return run


@pytest.mark.parametrize("progress", [True, False])
def test_a_script_whose_files_failed_ends_with_1_and_says_what_to_do(script, workspace, progress):
    ended = script("f0", progress=progress)
    assert ended.returncode == 1
    assert "went on" not in ended.stdout
    last = ended.stderr.splitlines()[-1]
    assert "FilesFailed: 4 of 4 files failed; see " in last
    assert f"{workspace.state / 'failures.jsonl'}, mend what it tells and run again" in last
    told = ["  4 x ValueError: no such column (first: f00.txt)", "To try them again: "]
    assert all((words in ended.stdout) is progress for words in told)
    if progress:
        again = ended.stdout.partition("To try them again: ")[2].splitlines()[0]
        assert again.split()[-1] == "script.py"
    assert ended.stderr.count("\n") <= 8
    assert "/runs/" not in ended.stderr


def test_the_others_are_done_first_and_a_later_run_pays_nothing_twice(script, workspace, sim):
    assert script("f02").returncode == 1
    assert workspace.outputs() == ["f00.json", "f01.json", "f03.json"]
    mended = script("none")
    assert (mended.returncode, sim.ledger.billed()) == (0, 4)
    assert "went on with 0 failed" in mended.stdout


def test_told_so_the_summary_is_returned(script):
    ended = script("f0", fail_on_error=False)
    assert (ended.returncode, "went on with 4 failed" in ended.stdout) == (0, True)


def test_files_that_are_put_aside_are_no_success_either(script):
    script("f02", max_file_attempts=1)
    ended = script("f02", max_file_attempts=1)
    assert ended.returncode == 1
    assert "1 file put aside after too many runs that failed; retry_failed=True" in ended.stderr
