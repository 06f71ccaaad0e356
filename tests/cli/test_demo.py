"""The demo works on any machine, costs nothing, and leaves alone what its user changed."""

import json


def test_a_second_demo_skips_everything_and_is_billed_nothing(workspace):
    first = workspace.give("demo", "--fast", "--folder", "d")
    assert first.code == 0
    assert "12 done" in first.out
    assert "24 billed" in first.out
    assert "exhausted: 0 of" in first.out
    second = workspace.give("demo", "--fast", "--folder", "d")
    assert second.code == 0
    assert "12 skipped" in second.out
    assert "Calls: 0 sent" in second.out
    assert "0 calls, of which 0 billed" in second.out


def test_the_demo_keeps_what_its_user_changed_and_pays_for_new_texts_alone(workspace):
    workspace.give("demo", "--fast", "--folder", "d")
    hooks, text = workspace.root / "d" / "my_toolkit.py", workspace.root / "d" / "input" / "my.txt"
    changed = hooks.read_text() + "\n# mine\n"
    hooks.write_text(changed)
    text.write_text("A text of my own.")
    result = workspace.give("demo", "--fast", "--folder", "d")
    assert "1 done, 12 skipped" in result.out
    assert "2 billed" in result.out
    assert hooks.read_text() == changed
    assert json.loads((workspace.root / "d" / "output" / "my.json").read_text())["title"]
    assert (workspace.root / "d" / "config.json").stat().st_mode & 0o777 == 0o600
