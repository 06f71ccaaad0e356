"""What is edited in config.json while work goes on: keys are taken up, the rest is told."""

import json
import os

import pytest

from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.records import Need
from openai_parallel_toolkit.keys.config_watch import ConfigWatch

LAB = {"key": "sim-lab", "name": "lab"}


class Edited:
    """A config.json that is edited, the manager made of it, and the watch over both."""

    def __init__(self, path, caplog):
        self.path = path
        self.caplog = caplog
        self.clock = FakeClock()

    def begin(self, keys, **fields):
        self.write({"api_keys": keys, **fields})
        self.manager = APIKeyManager(config_path=self.path, clock=self.clock)
        self.watch = ConfigWatch(self.manager, self.clock)
        return self

    def write(self, value):
        text = value if isinstance(value, str) else json.dumps(value)
        self.path.write_text(text)
        self.path.chmod(0o600)
        return self

    def edit(self, keys, **fields):
        return self.write({"api_keys": keys, **fields}).wait()

    def wait(self, looks=4):
        """Let some seconds pass; return the names of the keys then."""
        for _ in range(looks):
            self.clock.advance(1.5)
            self.watch.look()
        return self.names()

    def names(self):
        return [one.name for one in self.manager.status()]

    @property
    def told(self):
        return self.caplog.text


@pytest.fixture
def config(tmp_path, caplog):
    edited = Edited(tmp_path / "config.json", caplog)
    yield edited
    edited.manager.close()


def test_a_key_that_is_added_is_lent_within_seconds(config):
    assert config.begin([LAB]).edit([LAB, {"key": "sim-new", "name": "new"}]) == ["lab", "new"]
    leases = [config.manager.lease(Need(model="m", tokens=1), timeout_s=0) for _ in range(2)]
    assert {lease.key_name for lease in leases} == {"lab", "new"}
    assert "was edited: key new is taken up" in config.told
    assert "sim-new" not in config.told
    assert config.manager.redactor.clean("sim-new") == "[new]"


def test_a_key_that_is_taken_out_is_lent_no_more(config):
    config.begin([LAB, {"key": "sim-old", "name": "old"}])
    assert config.edit([LAB]) == ["lab"]
    assert "key old is lent no more" in config.told


@pytest.mark.parametrize("key", [LAB, "sim-lab"])
def test_a_value_that_is_replaced_leaves_nobody_without_a_key(config, key):
    (old,) = config.begin([key]).names()
    errors = []
    request = config.manager.request(Need(model="m", tokens=1), lambda: None)
    waiting = config.manager.request(Need(model="m", tokens=1), lambda: errors.append("ended"))
    renewed = {**key, "key": "sim-renewed"} if isinstance(key, dict) else "sim-renewed"
    (new,) = config.edit([renewed])
    assert new != old
    assert request.lease is not None
    assert waiting.error is None


def test_names_that_only_count_may_shift_without_any_key_being_changed(config):
    config.begin(["sim-one", "sim-two"])
    assert config.edit(["sim-zero", "sim-one", "sim-two"]) == ["key-1", "key-2", "key-1-2"]
    assert config.edit(["sim-one", "sim-two"]) == ["key-1", "key-2"]


def test_a_broken_file_is_told_once_and_what_was_read_before_holds(config):
    config.begin([LAB]).write('{"api_keys": [').wait()
    config.wait()
    assert config.names() == ["lab"]
    assert config.told.count("is not JSON") == 1
    assert "what it said before still holds" in config.told
    assert config.edit([LAB, "sim-new"]) == ["lab", "key-2"]


def test_a_file_that_is_gone_or_only_touched_changes_nothing(config):
    config.begin([LAB])
    os.utime(config.path, (1, 1))
    assert config.wait() == ["lab"]
    config.path.unlink()
    assert config.wait() == ["lab"]
    assert config.told == ""


def test_what_holds_for_the_whole_run_is_told(config):
    config.begin([LAB], api_base="http://127.0.0.1:1/v1", prices={"m": {"input": 1}})
    config.edit([{**LAB, "rpm": 5}], api_base="http://127.0.0.1:2/v1", prices={"m": {"input": 2}})
    (line,) = config.told.splitlines()
    assert "api_base, prices, rpm of lab: read once, so this holds from the next run on" in line
    lease = config.manager.lease(Need(model="m", tokens=1), timeout_s=0)
    assert lease.api_base == "http://127.0.0.1:1/v1"


def test_a_new_key_goes_to_the_address_that_stands_beside_it(config):
    config.begin([LAB], api_base="http://127.0.0.1:1/v1")
    config.edit([LAB, {"key": "sim-new", "name": "new"}], api_base="http://127.0.0.1:2/v1")
    leases = [config.manager.lease(Need(model="m", tokens=1), timeout_s=0) for _ in range(2)]
    assert {lease.key_name: lease.api_base for lease in leases} == {
        "lab": "http://127.0.0.1:1/v1",
        "new": "http://127.0.0.1:2/v1",
    }


def test_a_file_that_is_still_being_written_is_not_read(config):
    config.begin([LAB])
    for n in range(1, 4):
        config.write({"api_keys": [LAB, *(f"sim-{one}" for one in range(n))]})
        config.clock.advance(2.5)
        config.watch.look()
        assert config.names() == ["lab"]
    assert config.wait() == ["lab", "key-2", "key-3", "key-4"]


def test_keys_that_a_program_gave_are_not_the_files_to_change(tmp_path, caplog):
    config = Edited(tmp_path / "config.json", caplog)
    config.write({"api_keys": [LAB]})
    config.manager = APIKeyManager(["sim-mine"], config_path=config.path, clock=config.clock)
    config.watch = ConfigWatch(config.manager, config.clock)
    config.edit([LAB, "sim-new"])
    assert config.names() == ["key-1"]
    config.manager.close()
