"""Templates that cost time or memory: each ends within its limits, with one line that says why."""

import gc
import os
import select
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.prompt import PromptTemplate
from omni_batch.requests.prompt.language import MAX_CHARS, compiled, filled_in, is_plain
from tests.support.bounded import check_in_bounds

ROW = {"x": "hello", "xs": ["a"] * 20_000}
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TIME = "takes more than 1 s of processor time"
MEMORY = "takes more than 512 MiB of memory"
LENGTH = f"longer than {MAX_CHARS:,} characters"


def refusal(text: str, row: dict[str, Any] = ROW) -> str:
    with pytest.raises((ConfigError, ManifestError)) as refused:
        PromptTemplate(text).render(row)
    said = str(refused.value)
    assert said.startswith("request.prompt")
    assert "\n" not in said
    assert len(said) < 400
    return said


# --- limits ---


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("{% set _bound = joiner %}" + ENDLESS, TIME),
        ("{% for i in range(99999) if range(99999)|sum < 0 %}{% endfor %}", TIME),
        ("{{ ([[0] * 1000] * 100000) | sum(start=[]) }}", TIME),
        ("{{ 2 ** (10 ** 9) == 3 }}", TIME),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(60) }}",
            TIME,
        ),
        (
            "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}" + ENDLESS + "{% endcall %}",
            TIME,
        ),
        ("{{ 'x' * 10 ** 10 }}", MEMORY),
        ("{{ ((x * 1000) * 1000) * 1000 }}", MEMORY),
        ("{% with a = [0] * 10 ** 9 %}{{ a | length }}{% endwith %}", MEMORY),
        ("{{ '%1000000000d' % 1 }}", MEMORY),
        ("{{ 'a' | center(10 ** 10) }}", MEMORY),
        ("{{ xs | join('x' * 10 ** 7) | length }}", MEMORY),
        ("{{ [1] | tojson(indent=10 ** 10) }}", MEMORY),
        (
            "{% set n = namespace(l='x') %}{% for i in range(99) %}{% set n.l = n.l ~ n.l %}"
            "{% endfor %}",
            MEMORY,
        ),
        ("".join(f"{{% set a{n} = [x] * 16777216 %}}" for n in range(60)), MEMORY),
        ("{% filter upper %}{% for x in xs %}{{ x * 10 ** 6 }}{% endfor %}{% endfilter %}", MEMORY),
        ("{% for i in xs %}{{ x * 1000 }}{% endfor %}", LENGTH),
        ("{{ x * 2 ** 22 }}", LENGTH),
    ],
)
def test_whatever_it_spends_ends_at_a_limit(text: str, limit: str) -> None:
    assert limit in refusal(text)


@pytest.mark.parametrize("text", [ENDLESS, "{{ [[['xxxx'] * 1000] * 1000] * 1000 }}"])
def test_a_check_ends_in_bounds_with_the_reason(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("item_id,a\nx,hi\n")
    said = check_in_bounds(
        tmp_path, f'manifest: {{path: rows.csv}}\nrequest: {{prompt: "{text}"}}\n'
    )
    assert TIME in said or MEMORY in said


def test_what_met_a_limit_once_is_not_tried_with_every_row() -> None:
    template = PromptTemplate("{% if x %}" + ENDLESS + "{% endif %}{% for y in xs %}{% endfor %}ok")
    assert template.render({"x": "", "xs": []}) == "ok"
    said = {_failure(template, {"x": "yes" * (n + 1), "xs": []}) for n in range(50)}
    assert len(said) == 1
    assert TIME in said.pop()


def _failure(template: PromptTemplate, row: dict[str, Any]) -> str:
    with pytest.raises(ManifestError) as refused:
        template.render(row)
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ x.__class__.__mro__[1].__subclasses__() }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{" * 5000,
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ x" + " | trim" * 3000 + " }}",
        "{% for y in xs %}" * 25 + "{% endfor %}" * 25,
        "{% if x %}" * 200 + "{% endif %}" * 200,
        "{{ " + "9" * 90_000 + " }}",
        "{{ 0x" + "f" * 90_000 + " }}",
        "{{ 10 ** 5000 }}",
    ],
)
def test_a_template_reaches_no_insides_and_no_files(text: str) -> None:
    gc.collect()  # what is cleared away in the depth of a recursion fails, and the test with it
    gc.disable()
    try:
        refusal(text)
    finally:
        gc.enable()


# --- what is plain ---


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Describe {{ subject }} in {{ d.language or 'English' }}.", True),
        ("{% if x is defined and x != '' %}{{ x | trim }}{% else %}{{ y[0] }}{% endif %}", True),
        ("{% raw %}{{ 9 ** 9 }}{% endraw %}{# {{ 9 ** 9 }} #}", True),
        ("{{ x | default('none', true) | length }}", True),
        ("{{ x * 2 }}", False),
        ("{{ x ~ x }}", False),
        ("{{ x in y }}", False),
        ("{{ x | upper }}", False),
        ("{{ x is divisibleby 3 }}", False),
        ("{{ range(3) }}", False),
        ("{{ x[1:2] }}", False),
        ("{{ [x, x] }}", False),
        ("{% set y = x %}{{ y }}", False),
        ("{% for y in x %}{{ y }}{% endfor %}", False),
        ("{% macro f() %}{% endmacro %}", False),
        ("{% filter trim %}{% endfilter %}", False),
        ("{{ x }}" * 500, False),
    ],
)
def test_names_and_conditions_alone_need_no_process(text: str, *, plain: bool) -> None:
    assert is_plain(text) is plain


CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.lists(CELLS, max_size=4))
def test_a_process_fills_in_what_would_be_filled_in_here(cells: list[Any]) -> None:
    assert _SHOWS_ALL.render({"cells": cells}) == filled_in(_HERE, {"cells": cells})


_TEXT = "{% for cell in cells %}{{ cell }};{{ [cell] }}{% endfor %}"
_SHOWS_ALL = PromptTemplate(_TEXT)
_HERE, _ = compiled(_TEXT)


def test_values_of_tables_and_lone_halves_of_characters_come_through() -> None:
    cells = [Decimal("1.50"), date(2026, 11, 26), datetime(2026, 11, 26, 7, tzinfo=UTC), "\ud800"]
    assert _SHOWS_ALL.render({"cells": cells}) == filled_in(_HERE, {"cells": cells})


# --- the process itself ---

PROGRAM = f"""
import os
from omni_batch.requests.prompt import PromptTemplate
template = PromptTemplate("{{% if x %}}{ENDLESS}{{% endif %}}")
children = "/proc/%d/task/%d/children" % (os.getpid(), os.getpid())
print(open(children).read().split()[0], flush=True)
template.render({{"x": True}})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_process_ends_with_ours_in_the_middle_of_a_row(number: signal.Signals) -> None:
    secret = {"DASHSCOPE_API_KEY": "Zz9-plural.z_alpha-42"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **secret},
    ) as ours:
        assert ours.stdout is not None
        pid = int(ours.stdout.readline())
        its = os.pidfd_open(pid)
        held = Path(f"/proc/{pid}/environ").read_text()
        ours.send_signal(number)
        assert ours.wait() == -number
    assert secret["DASHSCOPE_API_KEY"] not in held
    ended, _, _ = select.select([its], [], [], 60)
    os.close(its)
    assert ended
