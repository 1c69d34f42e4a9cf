"""docs/python.md is a notebook: its blocks run in order, in one namespace, in a running loop."""

import ast
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import omni_batch as ob
from tests.conftest import ROOT, SAMPLE

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_examples_run_as_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SAMPLE / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    cells: dict[str, Any] = {}
    for block in BLOCKS:
        code = compile(block, "docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, cells)
        if inspect.iscoroutine(result):
            await result
    run, stopped = cells["run"], cells["stopped"]
    assert (run.counts.succeeded, run.counts.failed) == (2, 0)
    assert (stopped.record.state, stopped.counts.succeeded) == ("finished", 40)
    assert (cells["report"].items, cells["report"].refused_items) == (3, 1)
    assert cells["results"].loc["gone", "error_kind"] == "media_error"
    assert cells["spoken"].results()["audio_path"].notna().all()
    assert cells["page"].exists()
    assert cells["newest"].path.exists()
    assert len((tmp_path / "captions.jsonl").read_text().splitlines()) == 3


def test_the_page_names_everything_that_the_package_offers() -> None:
    names = [name for name in ob.__all__ if name not in ("__version__", "load_config", "RunHandle")]
    assert [name for name in names if f"ob.{name}" not in PAGE] == []
    methods = [name for name in vars(ob.RunHandle) if not name.startswith("_")]
    assert methods
    assert [name for name in methods if not re.search(rf"\.{name}\b", PAGE)] == []
