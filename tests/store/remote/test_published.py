"""What is known to be at a store."""

import os
from pathlib import Path

import pytest

from omni_batch.store.remote.published import Published, There, identity


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_a_file_is_there_in_the_form_in_which_it_was_sent(
    published: Published, tmp_path: Path
) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"one")
    assert not published.holds("part", path)
    published.put("part", There(3, "v1", identity(path)))
    assert published.holds("part", path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert not published.holds("part", path)
    path.unlink()
    assert not published.holds("part", path)


def test_it_is_remembered(tmp_path: Path) -> None:
    Published(tmp_path).put("audio/a.wav", There(3, "v1", None))
    assert Published(tmp_path).get("audio/a.wav") == There(3, "v1", None)


def test_a_listing_has_the_last_word(published: Published) -> None:
    for name in ("audio/same.wav", "audio/other.wav", "audio/gone.wav", "results/part"):
        published.put(name, There(3, "v1", "here"))
    found = [("audio/same.wav", 3, "v1"), ("audio/other.wav", 4, "v2"), ("audio/new.wav", 5, "v1")]
    published.listed("audio", found)
    assert published.get("audio/same.wav") == There(3, "v1", "here")
    assert published.get("audio/other.wav") == There(4, "v2", None)
    assert published.get("audio/new.wav") == There(5, "v1", None)
    assert published.get("audio/gone.wav") is None
    assert published.get("results/part") == There(3, "v1", "here")
