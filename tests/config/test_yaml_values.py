"""YAML that means two things, none, or too much: refused in one line, in bounded time."""

import os
from pathlib import Path
from typing import Any

import pytest

from omni_batch.config import load_config
from omni_batch.errors import ConfigError
from tests.support.bounded import check_in_bounds

MANIFEST = "manifest: {path: rows.csv}\n"


def loaded(folder: Path, text: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(MANIFEST + text, encoding="utf-8")
    return load_config(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(folder, text)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


def laughs(levels: int) -> str:
    """A list that stands for 10 ** levels values."""
    lists = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lists += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "{" + ", ".join(lists) + "}"


# --- too much ---


@pytest.mark.parametrize(
    "text",
    [
        f"request: {{extra: {laughs(9)}}}",
        f"reuse: {laughs(9)}\nlimit: *x8",
        f"media: {laughs(9)}\nmodel: *x8",
    ],
)
def test_aliases_count_as_all_that_they_stand_for(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("item_id,prompt\na,hi\n")
    said = check_in_bounds(tmp_path, MANIFEST + text)
    assert "more than 100,000 values" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limit: " + "[" * 5_000, "nested more than 100 levels deep"),
        ("limit: " + "[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        ("limit: " + "{a: " * 3_000, "nested more than 100 levels deep"),
        ("limit: &a [*a]", "nested more than 100 levels deep"),
        ("limit: " + "9" * 90_000, "line 2: a number of 90,000 digits"),
        ("limit: 0b" + "1" * 90_000, "line 2: a number of 90,002 digits"),
        ("name: " + "x" * 2**20, "more than 1,048,576 characters"),
        ("request: {stop: [" + "{}," * 3_000 + "]}", "and 2,996 more"),
        ("x" * 900 + ": 1", "unknown key x"),
        ("limit: [" + "[]," * 110_000 + "]", "more than 100,000 values"),
    ],
)
def test_what_is_too_deep_too_long_or_too_many_is_refused(
    text: str, said: str, tmp_path: Path
) -> None:
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("limit=" + "[" * 5_000, "nested more than 100 levels deep"),
        ("limit=" + "9" * 90_000, "a number of 90,000 digits"),
        ("quota={max_in_flight: 1, max_in_flight: 2}", "duplicate key max_in_flight"),
        ("request.extra.a=.nan", "extra.a is nan"),
        (".".join("a" * 3_000) + "=1", "unknown key a"),
    ],
)
def test_an_override_is_read_as_a_file_is(override: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MANIFEST)
    with pytest.raises(ConfigError) as refused:
        load_config(path, [override])
    assert said in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_pipe_is_not_waited_for_and_a_device_not_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="is a pipe; write it to a file first"):
        load_config(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="more than 1,048,576 characters"):
        load_config("/dev/zero")


# --- two meanings, or none ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: x\nmodel: y", "line 3: duplicate key model; keep one"),
        ("media:\n  fit: refuse\n  fit: refuse", "line 4: duplicate key fit; keep one"),
        ("request: {extra: {1: a, '1': b}}", "line 2: duplicate key 1; keep one"),
        ("request: {extra: {<<: {a: 1}, <<: {a: 2}}}", "line 2: duplicate key <<; keep one"),
        ("request: {extra: {<<: 5}}", "line 2: << takes over 5; expected keys: values"),
        ("request: {extra: {true: 1}}", "line 2: a key is True; expected a text"),
        ("request: {extra: {[1]: 2}}", "line 2: a key is [1]; expected a text"),
        ("a: !!python/object/apply:os.getcwd []", "line 2: the tag !!python/object/apply:os"),
        ("a: !!binary aGk=", "line 2: the tag !!binary is not understood"),
        ("a: !!set {b}", "line 2: the tag !!set is not understood"),
        ("a: !mine b", "line 2: the tag !mine is not understood"),
        ("a: *nobody", "undefined alias"),
        ("a: [1", "can't be read as YAML: line "),
        ("a: \0", "control character '\\x00'"),
        ("request: {extra: {a: on}}", "extra.a is on, which is true or false to some readers"),
        ("request: {extra: {a: [{b: No}]}}", "extra.a.0.b is No, which is true or false to some"),
        ("request: {extra: {a: .inf}}", "extra.a is inf, which JSON has no number for"),
        ("request: {extra: {a: [1, {b: .nan}]}}", "extra.a.1.b is nan, which JSON has no number"),
        ("request: {extra: {a: 99999999999999999999}}", "extra.a is a number of more than 64 bits"),
        ("limit: .inf", "limit = inf: input should be a finite number"),
        ("name: 5", "name = 5: input should be a valid string; put it in quotes"),
        ("name: 1e3", "name = 1000.0: input should be a valid string; put it in quotes"),
        ("name: true", "name = True: input should be a valid string; put it in quotes"),
    ],
)
def test_what_means_two_things_or_nothing_is_refused(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("name: no", "name", "no"),
        ("name: 2026-11-26", "name", "2026-11-26"),
        ("name: 0777", "name", "0777"),
        ("limit: 0777", "limit", 777),
        ("limit: 1_000", "limit", 1000),
        ("limit: 0x10", "limit", 16),
        ("media: {probe_urls: off}", "media.probe_urls", "off"),
        ("request: {thinking: Off}", "request.thinking", False),
        ("request: {stop: [yes, no]}", "request.stop", ("yes", "no")),
        ("request: {temperature: 1e-1}", "request.temperature", 0.1),
        (
            "request: {extra: {a: 1e-3, b: 16:9, c: 007, d: 'on', e: ~, f: =, g: {5: -1}}}",
            "request.extra",
            {"a": 0.001, "b": "16:9", "c": "007", "d": "on", "e": None, "f": "=", "g": {5: -1}},
        ),
        (
            "request: {extra: {m: &m {a: 1, b: 2}, n: {<<: [{b: 0}, *m], a: 3}}}",
            "request.extra",
            {"m": {"a": 1, "b": 2}, "n": {"a": 3, "b": 0}},
        ),
    ],
)
def test_a_scalar_is_what_its_key_expects(
    text: str, key: str, value: object, tmp_path: Path
) -> None:
    found = loaded(tmp_path, text)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
