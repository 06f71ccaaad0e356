"""A configuration is read whole, mended where that is safe, or refused with its file and field."""

import base64
import json
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.core.errors import ConfigError
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.keys.config import (
    DEFAULT_API_BASE,
    APIKey,
    Settings,
    load_settings,
    more_keys,
)
from openai_parallel_toolkit.keys.config.fields import Origin
from openai_parallel_toolkit.keys.config.file import _parse

CANARY = "sk-canary7c1f9e"
CODED = base64.b64encode(CANARY.encode()).decode()
EXAMPLE = Path(__file__).parents[2] / "config.example.json"


@pytest.fixture
def load(tmp_path):
    """Write a config (JSON text, or what becomes JSON) and load it."""

    def load(content, *, env=None, mode=0o600, **more):
        path = tmp_path / "config.json"
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return load_settings("config.json", env=env or {}, cwd=tmp_path, **more)

    return load


def names(settings):
    return [key.name for key in settings.api_keys]


def test_texts_and_objects_are_keys(load):
    settings = load(
        {
            "api_keys": [
                CANARY,
                {
                    "key": "sk-two22222",
                    "name": "lab",
                    "group": "org",
                    "rpm": 500,
                    "tpm": 90000,
                    "api_base": "http://127.0.0.1:8000/v1/",
                    "max_concurrent_requests": 4,
                },
                {"key": "sk-three333", "max_requests_per_minute": 7, "max_tokens_per_minute": 8},
            ],
            "api_base": "https://proxy.example/v1/",
            "proxy": "http://user:pass@127.0.0.1:3128",
            "prices": {"gpt-x": {"input": 0.1, "output": 1.5, "cached": 0.25}, "e": {"input": 1}},
        }
    )
    one, two, three = settings.api_keys
    assert one == APIKey(secret=Secret(CANARY), name="key-1", group="key-1")
    assert (two.name, two.group, two.rpm, two.tpm) == ("lab", "org", 500, 90000)
    assert (two.api_base, two.max_concurrent_requests) == ("http://127.0.0.1:8000/v1", 4)
    assert (three.name, three.rpm, three.tpm) == ("key-3", 7, 8)
    assert settings.api_base == "https://proxy.example/v1"
    assert settings.prices["gpt-x"].input_usd == Decimal("0.1")
    assert settings.prices["e"].cached_usd is None
    assert settings.source == "config.json"
    assert CANARY not in repr(settings)
    assert "pass@" not in repr(settings)


def test_values_come_from_the_environment_where_the_config_says_so(load):
    config = {
        "api_keys": ["env:MINE", {"key": "env:OTHER", "rpm": "env:RPM"}],
        "api_base": "env:BASE",
    }
    env = {"MINE": CANARY, "OTHER": "sk-other222", "RPM": "12", "BASE": "http://h/v1"}
    settings = load(config, env=env)
    assert settings.api_keys[0].secret == Secret(CANARY)
    assert settings.api_keys[1].rpm == 12
    assert settings.api_base == "http://h/v1"


def test_dotenv_fills_the_gaps_of_the_environment(tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / ".env").write_text("A=sk-beside11\nB=sk-beside22\n")
    (tmp_path / ".env").write_text("export A='sk-cwd11111'\nC=sk-cwd33333 # note\n")
    (folder / "c.json").write_text('{"api_keys": ["env:A", "env:B", "env:C"]}')
    settings = load_settings("conf/c.json", env={"B": "sk-real2222"}, cwd=tmp_path)
    wanted = ["sk-beside11", "sk-real2222", "sk-cwd33333"]
    assert [key.secret for key in settings.api_keys] == [Secret(text) for text in wanted]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "config.json: api_keys: is missing"),
        ([], "config.json: expected an object, got a list"),
        ({"api_keys": []}, "config.json: api_keys: is empty"),
        ({"api_keys": CANARY}, "config.json: api_keys: expected a list, got a text"),
        ({"api_keys": [5]}, "api_keys[0]: expected a key, or an object with the field key, got"),
        ({"api_keys": [CANARY, {"name": "x"}]}, "api_keys[1]: has no field key"),
        (
            {"api_keys": [CANARY, "sk-b2222222", {"key": "sk-c3333333", "rpm": "9"}]},
            "config.json: api_keys[2].rpm: expected a positive whole number, got a text",
        ),
        ({"api_keys": [{"key": CANARY, "rpm": True}]}, "got true or false"),
        ({"api_keys": [{"key": CANARY, "tpm": 0}]}, "api_keys[0].tpm: expected a positive"),
        ({"api_keys": [{"key": CANARY, "tpm": 1.5}]}, "api_keys[0].tpm: expected a positive"),
        ({"api_keys": [{"key": CANARY, "rmp": 1}]}, "unknown field 'rmp'; did you mean 'rpm'?"),
        ({"api_keys": [{"key": CANARY, "rpm": 1, "max_requests_per_minute": 1}]}, "means the same"),
        ({"api_key": [CANARY]}, "unknown field 'api_key'; did you mean 'api_keys'?"),
        ({"api_keys": [{CANARY: 1}]}, "unknown field '(a name not shown)'"),
        ({"api_keys": [{CODED: 1}]}, "unknown field '(a name not shown)'"),
        ({"api_keys": [CANARY], "a" + "5b" * 16: 1}, "unknown field '(a name not shown)'"),
        ({"api_keys": [CANARY], "prices": {CODED: {}}}, "prices.(a name not shown): has no"),
        (
            {"api_keys": [CANARY], "prices": {"gpt-4o-mini-2024-07-18": {}}},
            "prices.gpt-4o-mini-2024-07-18: has no",
        ),
        ({"api_keys": [CANARY + "é"]}, "api_keys[0]: has a character that is not ASCII"),
        ({"api_keys": [CANARY + " sk-b"]}, "api_keys[0]: has white space inside"),
        ({"api_keys": [CANARY + "\x00"]}, "api_keys[0]: has a control character"),
        ({"api_keys": [""]}, "api_keys[0]: is empty"),
        ({"api_keys": ["<your key>"]}, "api_keys[0]: is a placeholder"),
        ({"api_keys": ["sk-..."]}, "api_keys[0]: is a placeholder"),
        ({"api_keys": ["YOUR_API_KEY"]}, "api_keys[0]: is a placeholder"),
        ({"api_keys": ["sk-xxxxxxxx"]}, "api_keys[0]: is a placeholder"),
        ({"api_keys": ["env:NOWHERE"]}, "api_keys[0]: the environment has no NOWHERE"),
        (
            {"api_keys": [{"key": CANARY, "name": "a"}, {"key": "sk-b2222222", "name": "a"}]},
            "api_keys[1]: has the name 'a' of api_keys[0]",
        ),
        ({"api_keys": [{"key": CANARY, "name": CANARY}]}, "api_keys[0].name: holds the key itself"),
        ({"api_keys": [{"key": CANARY, "name": CODED}]}, "api_keys[0].name: holds the key itself"),
        (
            {"api_keys": [{"key": "mine", "name": CANARY + "-which-is-long"}]},
            "api_keys[0].name: holds the key itself",
        ),
        ({"api_keys": [{"key": CANARY, "name": "a\nb"}]}, "api_keys[0].name: expected one"),
        ({"api_keys": [CANARY], "api_base": "api.openai.com"}, "api_base: expected a URL"),
        ({"api_keys": [CANARY], "api_base": "https://"}, "api_base: expected a URL"),
        ({"api_keys": [CANARY], "api_base": "http://h:port"}, "api_base: expected a URL"),
        ({"api_keys": [CANARY], "api_base": "https://u:p@h"}, "api_base: holds a user name"),
        ({"api_keys": [CANARY], "api_base": "https://<name>.x"}, "api_base: is a placeholder"),
        ({"api_keys": [CANARY], "api_base": "https://h/?a=1"}, "api_base: holds a query"),
        ({"api_keys": [CANARY], "proxy": "ftp://h"}, "proxy: expected a URL"),
        ({"api_keys": [CANARY], "prices": {"m": {"output": 1}}}, "prices.m: has no field input"),
        ({"api_keys": [CANARY], "prices": {"m": {"input": -1}}}, "prices.m.input: expected USD"),
        ({"api_keys": [CANARY], "prices": {"m": {"input": "1"}}}, "got a text"),
        ({"api_keys": [{"key": CANARY, "azure_deployment": "d"}]}, "give its api_version"),
        ({"api_keys": [{"key": CANARY, "api_version": "v"}]}, "is for Azure; give its api_base"),
        ("{'api_keys': []}", "at line 1, column 2"),
        (f'{{"api_keys": [\n"{CANARY}", // mine\n]}}', "line 2, column 20; JSON has no comments"),
        ('{"api_keys": 1, "api_keys": 2}', "gives a field twice"),
        ('{"prices": {"m": {"input": NaN}}}', "holds NaN"),
        ("", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ("[" + "1" * 5000 + "]", "a number that is too long"),
        (b"\xff\xff", "is not UTF-8 text"),
    ],
)
def test_a_mistake_is_refused_with_file_and_field_and_without_the_key(load, config, message):
    with pytest.raises(ConfigError) as caught:
        load(config)
    text = str(caught.value)
    assert message in text
    assert text.startswith("config.json: ")
    assert CANARY not in text
    assert CODED not in text
    assert "canary" not in repr(vars(caught.value))
    assert caught.value.__context__ is None or CANARY not in repr(vars(caught.value.__context__))


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.json: there is no such file; write \{\"api_keys\""):
        load_settings("no.json", env={}, cwd=tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, env={})


def test_repairs_are_told_in_one_warning(load, caplog):
    text = json.dumps({"api_keys": [f" {CANARY}\n", "sk-b2222222", CANARY]})
    settings = load(text.encode("utf-8-sig"))
    assert names(settings) == ["key-1", "key-2"]
    assert settings.api_keys[0].secret == Secret(CANARY)
    [record] = caplog.records
    assert record.action == "config_repaired"
    for part in ("byte order mark", "api_keys[0]: white space", "api_keys[2]: is the same key"):
        assert part in record.getMessage()
    assert CANARY not in caplog.text


def test_one_azure_key_may_open_several_deployments(load):
    base = {"key": CANARY, "api_base": "https://a.example", "api_version": "v"}
    keys = [{**base, "azure_deployment": name} for name in "ab"]
    assert len(load({"api_keys": keys}).api_keys) == 2


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_config_that_others_can_read_is_warned_of_once(load, caplog, mode):
    load({"api_keys": [CANARY]}, mode=mode)
    [record] = caplog.records
    assert record.action == "config_readable_by_others"
    assert "chmod 600 config.json" in record.getMessage()


def test_a_config_without_a_secret_in_it_may_be_read_by_all(load, caplog):
    load({"api_keys": ["env:A", {"key": "env:B"}]}, env={"A": "sk-a", "B": "sk-b"}, mode=0o644)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("env", "keys", "base"),
    [
        ({"OPENAI_API_KEY": CANARY}, 1, DEFAULT_API_BASE),
        ({"OPENAI_API_KEYS": "sk-a, sk-b\n\nsk-c,", "OPENAI_API_KEY": CANARY}, 3, DEFAULT_API_BASE),
        ({"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": "http://h/v1/"}, 1, "http://h/v1"),
    ],
)
def test_without_a_config_the_environment_is_enough(tmp_path, env, keys, base):
    settings = load_settings(env=env, cwd=tmp_path)
    assert names(settings) == [f"key-{n + 1}" for n in range(keys)]
    assert settings.api_base == base
    assert settings.source == "the environment"


def test_azure_is_read_from_the_environment(tmp_path):
    env = {
        "AZURE_OPENAI_API_KEY": CANARY,
        "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com/",
        "OPENAI_API_VERSION": "2024-10-21",
    }
    settings = load_settings(env=env, cwd=tmp_path)
    assert settings.api_keys[0].api_version == "2024-10-21"
    assert settings.api_base == "https://me.openai.azure.com"
    both = {**env, "OPENAI_API_KEY": "sk-open1111"}
    assert load_settings(env=both, cwd=tmp_path).api_keys[0].api_version is None
    first = load_settings(env=both, cwd=tmp_path, azure_first=True)
    assert first.api_keys[0].secret == Secret(CANARY)
    del env["AZURE_OPENAI_ENDPOINT"]
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        load_settings(env=env, cwd=tmp_path)


def test_no_key_anywhere_names_the_ways_to_give_one(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_settings(env={"OPENAI_API_KEY": " "}, cwd=tmp_path)
    for way in ("OPENAI_API_KEY", "OPENAI_API_KEYS", "AZURE_OPENAI_API_KEY", ".env", "config.json"):
        assert way in str(caught.value)


def test_a_config_in_the_working_folder_is_found_when_the_environment_has_no_key(load, tmp_path):
    load({"api_keys": [CANARY]})
    assert load_settings(env={}, cwd=tmp_path).source == "config.json"
    assert load_settings(env={"OPENAI_API_KEY": "sk-x1"}, cwd=tmp_path).source == "the environment"


def test_keys_of_the_program_go_before_those_of_the_config(load):
    mine = APIKey(secret=Secret("sk-mine"), name="mine", rpm=3)
    config = {"api_keys": [CANARY], "api_base": "http://h/v1"}
    settings = load(config, api_keys=[mine, "sk-other"])
    assert names(settings) == ["mine", "key-2"]
    assert settings.api_base == "http://h/v1"
    with pytest.raises(ConfigError, match="the program: api_keys: expected a list, got a text"):
        load(config, api_keys=CANARY)


def test_more_keys_get_names_that_are_free():
    before = more_keys(Settings(api_keys=()), ["sk-aaa", "sk-bbb"], env={})
    later = more_keys(Settings(api_keys=before[1:]), ["sk-ccc"], env={})
    assert names(Settings(api_keys=later)) == ["key-3"]


@pytest.mark.parametrize("mine", range(5))
def test_a_copy_of_the_example_works_with_any_one_key_filled_in(load, caplog, mine):
    shown = json.loads(EXAMPLE.read_text())
    entry = shown["api_keys"][mine]
    shown["api_keys"][mine] = {**entry, "key": CANARY} if isinstance(entry, dict) else CANARY
    settings = load(shown)
    assert [key.secret for key in settings.api_keys] == [Secret(CANARY)]
    assert settings.proxy is None
    (record,) = caplog.records
    told = {int(n) for n in re.findall(r"api_keys\[(\d)\]", record.getMessage())}
    assert told == {0, 1, 2, 3, 4} - {mine}


def test_the_example_as_it_stands_is_refused_with_all_that_is_not_filled_in(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_settings(EXAMPLE, env={}, cwd=tmp_path)
    lines = str(caught.value).splitlines()
    assert [re.search(r"api_keys\[(\d)\]", line)[1] for line in lines] == list("01234")
    assert "the environment has no OPENAI_API_KEY" in lines[0]
    assert "is a placeholder" in lines[1]


def test_all_that_is_wrong_is_told_at_once(load):
    config = {
        "api_keys": [CANARY, {"key": "sk-b2222222", "rpm": 0}, 5],
        "api_base": "api.openai.com",
        "proxy": "ftp://h",
        "prices": {"m": {"output": 1}, "n": {"input": -1}},
        "colour": "red",
    }
    with pytest.raises(ConfigError) as caught:
        load(config)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("config.json: unknown field 'colour'")
    places = {line.split(": ")[1] for line in lines[1:]}
    keys = {"api_keys[1].rpm", "api_keys[2]"}
    assert places == {*keys, "api_base", "proxy", "prices.m", "prices.n.input"}
    assert CANARY not in str(caught.value)


def test_the_example_works_when_it_is_filled_in(load):
    text = EXAMPLE.read_text().replace("not-a-key", "k3y5")
    names_in_it = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "LOCAL_SERVER_KEY")
    settings = load(text, env={name: f"sk-{name}" for name in names_in_it})
    assert len(settings.api_keys) == 5
    assert settings.api_keys[2].rpm == 500


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.sampled_from([CANARY, "env:A", "env:", "https://h", "sk-b", "<x>"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["api_keys", "key", "name", "rpm", "api_base", "proxy", "prices", "input", "x"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(value=st.one_of(json_values, st.fixed_dictionaries({"api_keys": json_values})))
def test_any_json_is_settings_or_a_config_error(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value))
    try:
        shown = repr(load_settings(path, env={"A": CANARY}))
    except ConfigError as error:
        shown = str(error)
    assert CANARY not in shown


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_parsed_or_described(raw):
    value, mistake = _parse(raw, Origin(name="x", env={}))
    assert value is None or not mistake


def test_prices_may_have_those_of_the_cache_of_audio_and_of_service_tiers(tmp_path):
    price = {"input": 1, "output": 2, "cache_write": 3, "audio_input": 4, "audio_output": 5}
    path = tmp_path / "config.json"
    tiers = {"Flex": {"input": 0.5, "output": 1}}
    path.write_text(json.dumps({"api_keys": ["sk-x"], "prices": {"m": {**price, "tiers": tiers}}}))
    path.chmod(0o600)
    found = load_settings(path).prices["m"]
    assert (found.cache_write_usd, found.audio_input_usd, found.audio_output_usd) == (3, 4, 5)
    assert found.tiers["flex"].output_usd == 1
    path.write_text(
        json.dumps({"api_keys": ["sk-x"], "prices": {"m": {**price, "tiers": {"x": {}}}}})
    )
    with pytest.raises(ConfigError, match=r"prices\.m\.tiers\.x: has no field input"):
        load_settings(path)


@pytest.fixture
def told(tmp_path, caplog):
    """Load what lies in a folder and return what is warned of."""

    def told(files, *, env=None, mode=0o600, **more):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(mode)
        caplog.clear()
        load_settings(env=env or {}, cwd=tmp_path, **more)
        assert CANARY not in caplog.text
        return {record.action: record.getMessage() for record in caplog.records}

    return told


KEY_LINE, BASE_LINE = f"OPENAI_API_KEY={CANARY}\n", "OPENAI_BASE_URL=https://elsewhere.test/v1\n"
READABLE, ELSEWHERE = "config_readable_by_others", "keys_go_elsewhere"


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ({".env": KEY_LINE}, {}),
        (
            {".env": KEY_LINE, "c.json": '{"api_keys": ["env:OPENAI_API_KEY"]}'},
            {"config_path": "c.json"},
        ),
        (
            {".env": f"MY={CANARY}", "c.json": '{"api_keys": [{"key": "env:MY"}]}'},
            {"config_path": "c.json"},
        ),
        (
            {".env": f"AZURE_OPENAI_API_KEY={CANARY}\nAZURE_OPENAI_ENDPOINT=https://a.test"},
            {"azure_first": True},
        ),
    ],
)
def test_a_dotenv_with_keys_that_others_can_read_is_told(told, tmp_path, files, more):
    assert f"chmod 600 {tmp_path / '.env'}" in told(files, mode=0o644, **more)[READABLE]
    assert told(files, **more) == {}


def test_a_dotenv_without_the_keys_that_are_used_may_be_read_by_others(told):
    assert told({".env": "OTHER=1\n"}, mode=0o644, env={"OPENAI_API_KEY": CANARY}) == {}
    assert told({".env": KEY_LINE}, mode=0o644, env={"OPENAI_API_KEY": CANARY}) == {}


IN_ENV = {"OPENAI_API_KEY": CANARY}
BASE_IN_ENV = {"OPENAI_BASE_URL": "https://elsewhere.test/v1"}
CONFIG = {"config_path": "c.json"}


@pytest.mark.parametrize(
    ("files", "more", "key_home"),
    [
        ({".env": BASE_LINE}, {"env": IN_ENV}, "the environment"),
        ({".env": KEY_LINE}, {"env": BASE_IN_ENV}, ".env"),
        ({".env": BASE_LINE}, {"api_keys": [CANARY]}, "the program"),
        ({}, {"api_keys": [CANARY], "env": BASE_IN_ENV}, "the program"),
        ({".env": BASE_LINE, "c.json": f'{{"api_keys": ["{CANARY}"]}}'}, CONFIG, "c.json"),
        (
            {"c.json": '{"api_base": "https://elsewhere.test/v1"}'},
            {"api_keys": [CANARY], **CONFIG},
            "the program",
        ),
        (
            {".env": "AZURE_OPENAI_ENDPOINT=https://elsewhere.test"},
            {"env": {"AZURE_OPENAI_API_KEY": CANARY}},
            "the environment",
        ),
    ],
)
def test_it_is_told_where_keys_go_when_the_address_is_said_elsewhere(told, files, more, key_home):
    said = told(files, **more)[ELSEWHERE]
    assert "https://elsewhere.test" in said
    assert re.search(rf"keys from \S*{re.escape(key_home)} go to", said)


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ({".env": KEY_LINE + BASE_LINE}, {}),
        ({}, {"env": {**IN_ENV, **BASE_IN_ENV}}),
        ({".env": KEY_LINE}, {}),
        ({}, {"api_keys": [CANARY]}),
        (
            {
                "c.json": '{"api_keys": ["env:OPENAI_API_KEY"], "api_base": "https://elsewhere.test"}'
            },
            {"env": {**IN_ENV, **BASE_IN_ENV}, **CONFIG},
        ),
        (
            {"c.json": f'{{"api_keys": [{{"key": "{CANARY}", "api_base": "https://own.test"}}]}}'},
            {"env": BASE_IN_ENV, **CONFIG},
        ),
    ],
)
def test_keys_and_address_from_one_place_need_no_word(told, files, more):
    assert told(files, **more) == {}
