"""Keys are lent in turn and come back."""

import logging
from decimal import Decimal

import pytest
from keys_fixture import (
    DEAD,
    NOT_HERE,
    OK,
    OVERLOADED,
    UNSENT,
    Asked,
    answered,
    key,
    manager_of,
    need,
)

from openai_parallel_toolkit.core.errors import ConfigError, LeaseTimeout, NoUsableKey, UsageError
from openai_parallel_toolkit.costs.model_price import ModelPrice
from openai_parallel_toolkit.keys import APIKeyManager, default_manager
from openai_parallel_toolkit.keys.config import DEFAULT_API_BASE


def names(manager, count, what=None):
    return [manager.lease(what or need()).key_name for _ in range(count)]


def test_the_key_that_has_rested_longest_goes_first():
    assert names(manager_of(3), 7) == ["key-1", "key-2", "key-3"] * 2 + ["key-1"]


def test_a_lease_says_where_and_how_to_send():
    azure = key("a", api_base="https://a.example", api_version="2024-10-21")
    named = key("b", api_base="https://b.example", api_version="v", azure_deployment="mine")
    manager = manager_of(azure, named, key("c"))
    a, b, c = (manager.lease(need(model="gpt")) for _ in range(3))
    assert (a.api_base, a.azure_deployment, a.api_version) == (
        "https://a.example",
        None,
        "2024-10-21",
    )
    assert (b.azure_deployment, b.api_version) == ("mine", "v")
    assert (c.api_base, c.azure_deployment, c.api_version) == (DEFAULT_API_BASE, None, None)


def test_a_request_served_at_once_is_not_called_back():
    asked = Asked(manager_of(1))
    assert asked.lease is not None
    assert asked.times_told == 0


def test_after_an_overload_another_key_goes_first_and_a_lone_one_stays_open():
    manager = manager_of(2)
    first, second = manager.lease(need()), manager.lease(need())
    manager.settle(first, OVERLOADED)
    manager.settle(second, OK)
    assert names(manager, 2) == ["key-2", "key-1"]
    alone = manager_of(1)
    alone.settle(alone.lease(need()), OVERLOADED)
    assert names(alone, 1) == ["key-1"]


def test_a_dead_key_is_dropped_for_good_and_told_once(caplog):
    manager = manager_of(2)
    heard = []
    manager.on_drop(lambda name, reason: heard.append((name, reason)))
    first, other, second = (manager.lease(need()) for _ in range(3))
    manager.settle(first, DEAD)
    manager.settle(second, DEAD)
    manager.settle(other, OK)
    assert heard == [("key-1", "401 invalid_api_key: no such key")]
    assert manager.dropped() == dict(heard)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.action for record in told] == ["key_dropped"]
    assert names(manager, 3) == ["key-2"] * 3
    assert repr(manager) == "<APIKeyManager 2 keys: 1 alive, 1 dropped | 3 in flight, 0 waiting>"


def test_the_reason_of_a_drop_shows_no_key(caplog):
    manager = manager_of(key("a"))
    leak = f"wrong key {'sk-value-of-a'} given"
    outcome = DEAD.__class__(kind=DEAD.kind, status=401, message=leak)
    manager.settle(manager.lease(need()), outcome)
    assert "sk-value" not in caplog.text + str(manager.dropped())


def test_a_listener_that_unsubscribed_hears_nothing():
    manager = manager_of(1)
    heard = []
    manager.on_drop(lambda *drop: heard.append(drop))()
    manager.settle(manager.lease(need()), DEAD)
    assert heard == []


def test_no_key_left_fails_at_once_with_every_reason():
    manager = manager_of(2)
    for outcome in (DEAD, NOT_HERE):
        manager.settle(manager.lease(need()), outcome)
    assert manager.has_usable()
    with pytest.raises(NoUsableKey) as caught:
        manager.lease(need())
    assert caught.value.reasons == {
        "key-1": "401 invalid_api_key: no such key",
        "key-2": "does not have the model, 404",
    }
    assert "key-1: 401 invalid_api_key" in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert names(manager, 1, need(model="other")) == ["key-2"]


def test_the_drop_of_the_last_key_fails_those_who_wait():
    manager = manager_of(key("a", max_concurrent_requests=1))
    lease = manager.lease(need())
    waiting = [Asked(manager) for _ in range(3)]
    manager.settle(lease, DEAD)
    for asked in waiting:
        with pytest.raises(NoUsableKey):
            asked.wait()
    assert not manager.has_usable()
    assert manager.waiting_on() is None


def test_those_who_wait_for_a_dropped_key_go_to_another():
    manager = manager_of(key("a", max_concurrent_requests=1), key("b", max_concurrent_requests=1))
    first, second = manager.lease(need()), manager.lease(need())
    asked = Asked(manager)
    manager.settle(first, DEAD)
    assert asked.request.is_waiting
    manager.settle(second, OK)
    assert asked.wait().key_name == "b"


def test_a_restored_key_is_offered_again():
    manager = manager_of(1)
    manager.settle(manager.lease(need()), DEAD)
    manager.restore("key-1")
    assert names(manager, 1) == ["key-1"]
    assert manager.dropped() == {}
    with pytest.raises(UsageError):
        manager.restore("key-9")


def test_a_key_recalled_from_an_earlier_run_gets_one_request_until_one_succeeds():
    manager = manager_of(1)
    salt = b"salt"
    fingerprint = manager.fingerprints(salt)["key-1"]
    manager.recall_drops(salt, {fingerprint: "no quota", "00000000": "unknown"})
    assert manager.status()[0].state == "on trial"
    assert repr(manager) == "<APIKeyManager 1 key: 0 alive, 1 on trial | 0 in flight, 0 waiting>"
    lease = manager.lease(need())
    waiting = [Asked(manager), Asked(manager)]
    manager.settle(lease, UNSENT)
    assert waiting[0].wait()
    assert waiting[1].request.is_waiting
    manager.settle(waiting[0].lease, OK)
    assert waiting[1].wait()
    assert len(names(manager, 5)) == 5
    assert manager.status()[0].state == "alive"


def test_restoring_a_key_on_trial_ends_the_trial_for_those_who_wait():
    manager = manager_of(1)
    manager.recall_drops(b"s", {manager.fingerprints(b"s")["key-1"]: "no quota"})
    manager.lease(need())
    asked = Asked(manager)
    manager.restore("key-1")
    assert asked.wait()


def test_a_recalled_key_is_dropped_again_at_the_first_refusal():
    manager = manager_of(1)
    manager.recall_drops(b"s", {manager.fingerprints(b"s")["key-1"]: "no quota"})
    manager.settle(manager.lease(need()), DEAD)
    assert manager.status()[0].state == "dropped"


def test_settling_twice_counts_once(caplog):
    manager = manager_of(1)
    lease = manager.lease(need())
    manager.settle(lease, OK)
    manager.settle(lease, DEAD)
    assert "settled twice" in caplog.text
    assert manager.status()[0].state == "alive"
    assert manager.counts().in_flight == 0


def test_a_lease_of_another_manager_is_not_taken_for_an_own_one(caplog):
    manager, other = manager_of(1), manager_of(1)
    manager.lease(need())
    manager.settle(other.lease(need()), DEAD)
    assert manager.counts().in_flight == 1
    assert manager.dropped() == {}


def test_figures_are_kept_per_key():
    prices = {"m": ModelPrice(input_usd=Decimal(2), output_usd=Decimal(10))}
    manager = manager_of(1, prices=prices)
    manager.settle(manager.lease(need()), answered(100, 50))
    manager.settle(manager.lease(need()), UNSENT)
    [status] = manager.status()
    assert (status.requests, status.tokens, status.in_flight) == (1, 150, 0)
    assert status.cost_usd == Decimal("0.0007")


def test_keys_can_be_added_and_removed_while_others_wait():
    manager = manager_of(key("a", max_concurrent_requests=1))
    lease = manager.lease(need())
    asked = Asked(manager)
    manager.add_key("sk-brandnew123")
    assert asked.wait().key_name == "key-2"
    assert manager.redactor.clean("x sk-brandnew123") == "x [key-2]"
    assert [each.name for each in manager.settings.api_keys] == ["a", "key-2"]
    manager.remove_key("sk-brandnew123")
    manager.settle(asked.lease, DEAD)
    assert manager.dropped() == {}
    manager.settle(lease, OK)
    assert names(manager, 1) == ["a"]
    manager.remove_key("a")
    with pytest.raises(NoUsableKey):
        manager.lease(need())
    with pytest.raises(UsageError) as caught:
        manager.remove_key("sk-unknown-value")
    assert "sk-" not in str(caught.value)


def test_a_redactor_that_was_handed_out_learns_new_keys():
    manager = manager_of(1)
    redactor = manager.redactor
    manager.add_key("plainvalue-without-prefix")
    assert "plainvalue" not in redactor.clean("it is plainvalue-without-prefix")


def test_a_key_that_is_added_twice_is_left_alone(caplog):
    manager = manager_of(1)
    manager.add_key("sk-value-of-key-1")
    assert manager.counts().keys == 1
    assert "same key as key-1" in caplog.text
    with pytest.raises(ConfigError):
        manager.add_key("two words")


def test_a_closed_manager_fails_those_who_wait_and_lends_no_more():
    manager = manager_of(key("a", max_concurrent_requests=1))
    lease = manager.lease(need())
    asked = Asked(manager)
    manager.close()
    with pytest.raises(UsageError):
        asked.wait()
    with pytest.raises(UsageError):
        manager.lease(need())
    manager.settle(lease, OK)
    assert manager.counts().in_flight == 0


def test_a_lease_can_time_out():
    manager = manager_of(key("a", max_concurrent_requests=1))
    manager.lease(need())
    with pytest.raises(LeaseTimeout):
        manager.lease(need(), timeout_s=0)


def test_the_first_manager_is_the_default_and_an_explicit_one_stays_apart():
    first, second = manager_of(1), manager_of(2)
    assert default_manager() is first
    assert second is not first
    first.close()
    third = manager_of(1)
    assert default_manager() is third


def test_keys_given_as_texts_work_without_a_config():
    manager = APIKeyManager(["sk-aaaaaaaa", " sk-bbbbbbbb"])
    assert names(manager, 2) == ["key-1", "key-2"]


def test_set_api_base_false_ignores_the_configured_address(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"api_keys": ["sk-aaaaaaaa"], "api_base": "http://127.0.0.1:1/v1"}')
    config.chmod(0o600)
    assert APIKeyManager(config_path=config).lease(need()).api_base == "http://127.0.0.1:1/v1"
    plain = APIKeyManager(config_path=config, set_api_base=False)
    assert plain.lease(need()).api_base == DEFAULT_API_BASE
