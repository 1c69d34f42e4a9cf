"""Addresses of outputs, and the local folders that their runs are worked on in."""

from pathlib import Path

import pytest

from omni_batch.errors import ConfigError
from omni_batch.store.remote.copies import (
    address_of,
    below,
    made_runs_folder,
    output_address,
    output_problem,
    runs_folder,
    shown,
)


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNI_BATCH_COPIES", str(tmp_path / "copies"))
    return tmp_path / "copies"


@pytest.mark.parametrize("output", ["data/runs", "/abs", "a:b", "s3", ""])
def test_a_folder_is_its_own_place(output: str) -> None:
    assert output_problem(output) is None
    assert runs_folder(output) == Path(output)


@pytest.mark.parametrize("output", ["s3://b", "s3://b/", "gs://b/a/b", "oss://b/p", "S3://b/x"])
def test_an_address_has_a_folder_of_its_own(output: str, copies: Path) -> None:
    folder = made_runs_folder(output)
    assert folder.parent == copies
    assert address_of(folder / "run-1") is not None
    assert shown(folder / "run-1") == str(below(output_address(output), "run-1"))
    assert runs_folder(output.rstrip("/")) == folder


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("https://host/out", "s3://BUCKET/PREFIX"),
        ("hf://datasets/a/b", "s3://BUCKET/PREFIX"),
        ("file:///data", "s3://BUCKET/PREFIX"),
        ("oss://dashscope-instant/x", "s3://BUCKET/PREFIX"),
        ("s3://", "without //"),
        ("s3:///out", "without //"),
        ("s3://b/a//c", "without //"),
        ("s3://b/../c", "without //"),
    ],
)
def test_where_no_run_can_be_kept_is_said(output: str, words: str) -> None:
    assert words in (output_problem(output) or "")
    with pytest.raises(ConfigError, match="output = "):
        made_runs_folder(output)


def test_a_note_elsewhere_means_nothing(tmp_path: Path) -> None:
    """Whoever hands on a run directory does not decide where it is published."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "address").write_text("s3://theirs/out")
    assert address_of(tmp_path / "theirs" / "run") is None
    assert shown(tmp_path / "theirs" / "run") == str(tmp_path / "theirs" / "run")
