"""Settings are told once: their fields make the checks and the options of the command line."""

import argparse
from decimal import Decimal

import pytest

from openai_parallel_toolkit import ConfigError, ParallelToolkit
from openai_parallel_toolkit.api.prompts import PromptsOptions
from openai_parallel_toolkit.cli.settings import add_settings, given_settings
from openai_parallel_toolkit.runs.options import RunOptions

PLACES = {"input_path": "in", "output_path": "out"}


class Idle(ParallelToolkit):
    def process_input(self, file):
        return None

    def process_data(self, data):
        return None

    def process_output(self, data, output_file_without_ext):
        return None


def test_what_a_toolkit_is_not_given_is_as_the_options_have_it():
    assert Idle(None, "in", "out").options == RunOptions(**PLACES)


def test_what_may_be_given_in_another_form_is_read():
    options = Idle(None, "in", "out", pattern="*.txt", exclude=["a", "b"], max_cost=0.1).options
    assert options.pattern == ("*.txt",)
    assert options.exclude == ("a", "b")
    assert options.max_cost == Decimal("0.1")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("file_count", 0),
        ("num_threads", True),
        ("max_file_attempts", 1.5),
        ("max_retries", -1),
        ("max_unknown", None),
        ("grace_s", "1"),
        ("hook_timeout_s", -0.1),
        ("mode", "slow"),
        ("output_names", None),
        ("fail_on_error", -1),
        ("max_cost", "NaN"),
        ("max_cost", "much"),
        ("encoding", "latin-99"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name, wrong):
    with pytest.raises(ConfigError, match=f"^{name}: expected .*, got {wrong!r}$"):
        Idle(None, "in", "out", **{name: wrong})


@pytest.mark.parametrize("kind", [RunOptions, PromptsOptions])
def test_what_the_command_line_does_not_give_is_left_out(kind):
    parser = argparse.ArgumentParser()
    add_settings(parser, kind)
    assert given_settings(parser.parse_args([]), kind) == {}
    given = given_settings(parser.parse_args(["--grace=2", "--no-progress", "--max-cost=3"]), kind)
    assert kind(**PLACES, **given) == kind(
        **PLACES, grace_s=2.0, progress=False, max_cost=Decimal(3)
    )
