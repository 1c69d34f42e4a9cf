"""Prompts over a row's columns, in a sandbox."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.prompt import PromptTemplate
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("Say {{ word }}.", {"word": "hi"}, "Say hi."),
        ("{{ n }} {{ f }} {{ b }}", {"n": 3, "f": 0.5, "b": False}, "3 0.5 False"),
        ("<{{ x }}>", {"x": None}, "<>"),
        ("{{ word | upper }}", {"word": "hi"}, "HI"),
        ("{% if x %}yes{% else %}no{% endif %}", {"x": None}, "no"),
        ("{% for x in xs %}{{ x }};{% endfor %}", {"xs": [1, 2]}, "1;2;"),
        ("{{ d.key }}{{ d['key'] }}{{ xs[1] }}", {"d": {"key": "v"}, "xs": [1, 2]}, "vv2"),
        ("{% set y = x %}{{ y }}", {"x": 1}, "1"),
        ("<b>{{ x }}</b>\n", {"x": "<&>"}, "<b><&></b>\n"),
        ("{{ x | default('-') }}", {"x": None}, ""),
        ("{{ xs | join(', ') }} {{ 1.26 | round(1) }}", {"xs": ["a", "b"]}, "a, b 1.3"),
        ("{{ xs | tojson ~ x }}", {"xs": ["<é>"], "x": "<&>"}, '["<é>"]<&>'),
        ("{{ '%s (%d)' | format(x, 3) }}", {"x": "a"}, "a (3)"),
        ("{{ xs | map(attribute='k') | list }}", {"xs": [{"k": 1}]}, "[1]"),
        ("{% for x in xs %}{{ loop.index }}{{ x }}{% endfor %}", {"xs": "ab"}, "1a2b"),
        ("{{ d.items }}{{ d.keys }}{{ d.get }}", {"d": {"items": 1, "keys": 2, "get": 3}}, "123"),
        ("{{ x | split | length }}{{ n | split('|') | length }}", {"x": "a b", "n": None}, "20"),
        ("{{ x | split(',') | map('trim') | join('+') }}", {"x": "a, b ,c"}, "a+b+c"),
        ("{{ (x | fromjson).k[0] }}", {"x": '{"k": ["é"]}'}, "é"),
    ],
)
def test_a_template_is_filled_in_from_a_row(text: str, row: dict[str, Any], expected: str) -> None:
    assert PromptTemplate(text).render(row) == expected


@given(st.text())
def test_a_rows_text_passes_unchanged(text: str) -> None:
    assert PromptTemplate("{{ x }}").render({"x": text}) == text


def test_a_rows_text_is_never_run_as_a_template() -> None:
    assert PromptTemplate("{{ x }}").render({"x": "{{ 1 + 1 }}"}) == "{{ 1 + 1 }}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ a.__class__ }}",
        "{{ a['__class__'] }}",
        "{{ a | attr('__class__') }}",
        "{{ a.upper() }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ xs.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_attributes_are_out_of_reach(text: str) -> None:
    with pytest.raises(ManifestError, match="unsafe"):
        PromptTemplate(text).render({"a": "x", "xs": []})


@pytest.mark.parametrize(
    "text",
    [
        "{{ nowhere }}",
        "{{ d.nowhere }}",
        "{{ 1 / zero }}",
        "{{ a + 1 }}",
        "{% include 'secret' %}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ a | fromjson }}",
        "{{ d | split }}",
    ],
)
def test_a_template_that_fails_on_a_row_is_the_rows_error(text: str) -> None:
    with pytest.raises(ManifestError, match=r"request\.prompt can't be filled in"):
        PromptTemplate(text).render({"a": "x", "d": {}, "zero": 0})


@pytest.mark.parametrize("text", ["{{ a", "{% if %}", "\n\n{{ a b }}", "{{ a | nofilter }}"])
def test_a_syntax_error_is_refused_with_its_line(text: str) -> None:
    line = text.count("\n") + 1
    with pytest.raises(ConfigError, match=f"request.prompt, line {line}: "):
        PromptTemplate(text)


@pytest.mark.parametrize("text", ["{{ schema.labels }}", "{{ schema.labels | join('; ') }}"])
def test_a_constant_is_no_column_and_gives_way_to_one(text: str) -> None:
    template = PromptTemplate(text, {"schema": {"labels": ["a", "b"]}, "unused": "x"})
    assert template.variables == set()
    template.check_columns([])
    assert "b" in template.render({"item_id": "1"})
    assert "b" not in template.render({"schema": {"labels": ["c"]}})


ROW_OF_PAGE = re.compile(r"^\| `(\{.+?)` \| `(.*?)` \|$", re.MULTILINE)
MANUAL = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
SHOWN = [tuple(cell.replace("\\|", "|") for cell in row) for row in ROW_OF_PAGE.findall(MANUAL)]


@pytest.mark.parametrize(("text", "expected"), SHOWN)
def test_the_page_shows_what_a_template_becomes(text: str, expected: str) -> None:
    (row,) = re.findall(r"^ *```jsonl\n(.*?)\n *```", MANUAL, re.MULTILINE | re.DOTALL)
    schema = {"properties": {"animal": {"enum": ["cat", "owl"]}}}
    template = PromptTemplate(text, {"schema": schema})
    assert template.render(json.loads(row)) == expected


def test_the_page_shows_some() -> None:
    assert len(SHOWN) >= 14


def test_a_template_knows_which_columns_it_needs() -> None:
    template = PromptTemplate("{{ a }}{% for x in range(n) %}{{ x }}{{ b | upper }}{% endfor %}")
    assert template.variables == {"a", "b", "n"}
    template.check_columns(["a", "b", "n", "z"])


def test_an_unknown_variable_is_refused_with_the_nearest_column() -> None:
    with pytest.raises(ConfigError, match=r"\{\{ lnaguage \}\}.*; did you mean language\?"):
        PromptTemplate("{{ lnaguage }}").check_columns(["item_id", "language"])


def test_an_unknown_variable_like_no_column_is_refused_with_all_of_them() -> None:
    with pytest.raises(ConfigError, match=r"not a column; columns: item_id, language"):
        PromptTemplate("{{ qqq }}").check_columns(["language", "item_id"])
