"""A terminal obeys nothing that a service, a file's name or another's run.json says."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omni_batch.cli.render.console import SafeConsole
from omni_batch.cli.render.pages import pairs_table
from omni_batch.cli.render.table import answer_table
from omni_batch.text import visible

HOSTILE = "\x1b]2;T\x07\x1b[31mRED\x1b]52;c;Y2xp\x07\x9b7m\u202eturned\u2067\x7f\x00\u061c\r\x08"
_OWN = re.compile(r"\x1b\[[0-9;]*m")  # of Rich's styles


def shown(what: RenderableType) -> str:
    file = io.StringIO()
    SafeConsole(file=file, width=400, force_terminal=True, color_system="standard").print(what)
    return file.getvalue()


def table_of(name: str) -> Table:
    table = Table(name, name, expand=True)
    table.add_row(name, Text(name, style="red", overflow="fold"), style="red")
    return table


@pytest.mark.parametrize(
    "what",
    [
        HOSTILE,
        Text(HOSTILE, style="bold"),
        Group(Text.assemble((HOSTILE, "red"), HOSTILE)),
        table_of(HOSTILE),
        pairs_table([(HOSTILE, HOSTILE)]),
        answer_table(pa.schema({HOSTILE: pa.list_(pa.string())}), [{HOSTILE: [HOSTILE]}]),
        answer_table(
            pa.schema({HOSTILE: pa.struct({HOSTILE: pa.string()})}),
            [{HOSTILE: {HOSTILE: HOSTILE}}],
        ),
    ],
)  # fmt: skip
def test_whatever_is_printed_is_shown_and_not_obeyed(what: RenderableType) -> None:
    said = _OWN.sub("", shown(what).replace("\x1b[31m\\", "\\"))
    assert all(sign == "\n" or sign.isprintable() for sign in said)
    assert r"\x1b]2;T" in said
    assert r"\u202eturned" in said
    assert r"\x9b7m" in said


def test_what_rich_writes_itself_stays() -> None:
    assert shown(Text("red", style="red")) == "\x1b[31mred\x1b[0m\n"


def test_square_brackets_are_no_markup() -> None:
    assert shown("[red]a[/red] [/x] :smile:") == "[red]a[/red] [/x] :smile:\n"


@pytest.mark.parametrize("text", ["plain", "中文 e\u0301 \u00a0", "two\nlines", "👩\u200d🚀"])
def test_what_is_no_control_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_lacks_a_character_gets_another(encoding: str, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    rows = tmp_path / "行.csv"
    rows.write_text("item_id,image\n中文,没有.png\n", encoding="utf-8")
    config.write_text(f"manifest: {{path: {rows}}}\nmodel: qwen3-omni-flash\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "omni_batch", "check", str(config)],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"??: " in done.stdout
