"""The line of turns in a shared folder."""

import time
from pathlib import Path

import pytest

from omni_batch.errors import StorageError
from omni_batch.store.locks.line import take_turn
from omni_batch.store.locks.lock import locked


def test_turns_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    first, second, third = (take_turn(tmp_path / "turns", 2.0) for _ in range(3))
    assert first == pytest.approx(time.time(), abs=1)
    assert [second, third] == [first + 2.0, first + 4.0]


def test_a_moment_that_is_past_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "free-from").write_text("12.5")
    assert take_turn(tmp_path, 1.0) == pytest.approx(time.time(), abs=1)


@pytest.mark.parametrize("text", ["", "\0\0\0", "tomorrow", "1e12"])
def test_a_number_that_cannot_be_is_not_waited_for(tmp_path: Path, text: str) -> None:
    (tmp_path / "free-from").write_text(text)
    assert take_turn(tmp_path, 1.0) == pytest.approx(time.time(), abs=1)


def test_a_folder_that_cannot_be_used_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file can't be used"):
        take_turn(tmp_path / "file", 1.0)


def test_whoever_does_not_give_the_lock_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_batch.store.locks.line._WAIT_S", 0.0)
    with locked(tmp_path), pytest.raises(StorageError, match="locked by somebody"):
        take_turn(tmp_path, 1.0)
