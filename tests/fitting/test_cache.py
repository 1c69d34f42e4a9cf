"""What was changed once is kept, within a bound, and is the same question to the next run."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image

import omni_batch
from omni_batch.errors import ConfigError
from omni_batch.fitting.cache import FitCache
from omni_batch.fitting.made import Made, MadeFile
from omni_batch.simulator import Simulator
from tests.conftest import MakeConfig, read_table
from tests.fitting.sent import MAKES_FIT, sent_by_fit

ROWS = [{"item_id": f"row-{number}", "image": f"{number}.png"} for number in range(3)]


@pytest.fixture(autouse=True)
def images(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGBA", (60, 40), (number, 9, 9, 128)).save(tmp_path / f"{number}.png")


def entries(cache: Path) -> dict[Path, int]:
    """Files that were made, and when."""
    return {path: path.stat().st_mtime_ns for path in cache.glob("*/*/0.*")}


async def test_a_second_run_makes_nothing_anew(
    simulator: Simulator, make_config: MakeConfig, cache: Path
) -> None:
    first = await sent_by_fit(make_config, simulator, ROWS)
    made = entries(cache)
    second = await sent_by_fit(make_config, simulator, ROWS)
    assert len(made) == 3
    assert entries(cache) == made
    assert [sent.only for sent in second.values()] == [sent.only for sent in first.values()]


async def test_one_image_of_many_rows_is_changed_once(
    simulator: Simulator, make_config: MakeConfig, cache: Path
) -> None:
    rows = [{"item_id": f"row-{number}", "image": "0.png"} for number in range(40)]
    found = await sent_by_fit(make_config, simulator, rows)
    assert len(entries(cache)) == 1
    assert len({sent.only for sent in found.values()}) == 1


async def test_a_damaged_entry_is_made_anew(
    simulator: Simulator, make_config: MakeConfig, cache: Path
) -> None:
    before = (await sent_by_fit(make_config, simulator, ROWS))["row-0"].only
    for path in entries(cache):
        path.write_bytes(b"")
    assert (await sent_by_fit(make_config, simulator, ROWS))["row-0"].only == before


async def test_answers_are_reused_by_the_original_and_what_is_made_of_it(
    simulator: Simulator, make_config: MakeConfig, cache: Path, tmp_path: Path
) -> None:
    async def asked(run_id: str, **media: object) -> int:
        before = simulator.counters.requests
        rows = [
            {**row, "prompt": "Say."} for row in [*ROWS, {"item_id": "x", "image": "plain.png"}]
        ]
        reuse = [str(tmp_path / "runs" / "*")]
        await omni_batch.run_batch(make_config(rows, media=media, reuse=reuse), run_id=run_id)
        return simulator.counters.requests - before

    Image.new("RGB", (60, 40)).save(tmp_path / "plain.png")
    assert await asked("as-it-is") == 4
    assert await asked("fit", **MAKES_FIT) == 3  # what fits is the same as before
    made = entries(cache)
    for path in made:
        path.unlink()
    assert await asked("again", **MAKES_FIT) == 0
    assert entries(cache) == {}  # an answer that is reused needs no medium
    assert await asked("smaller", **MAKES_FIT, max_image_tokens=8) == 0  # it has 8 already
    Image.new("RGBA", (600, 400), (1, 1, 1, 9)).save(tmp_path / "1.png")
    assert await asked("other", **MAKES_FIT) == 1
    assert await asked("small", **MAKES_FIT, max_image_tokens=50) == 1
    rows = read_table(tmp_path / "runs" / "again")
    assert [row["reused_from"] for row in rows] == ["fit"] * 3 + ["as-it-is"]
    assert rows[0]["warnings"][0].startswith("image-fitted: ")


async def test_a_folder_that_cant_be_written_is_found_before_anything_is_sent(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"can't be written .*: set XDG_CACHE_HOME"):
        await sent_by_fit(make_config, simulator, ROWS)
    assert simulator.counters.requests == 0


def keep(cache: FitCache, key: str, size_bytes: int) -> None:
    with cache.draft() as folder:
        (folder / "0.png").write_bytes(bytes(size_bytes))
        file = MadeFile("0.png", "png", "image/png", size_bytes, "")
        cache.keep(key, folder, Made((file,)))


def used_before(cache: Path, key: str, seconds: float) -> None:
    now = time.time() - seconds
    os.utime(cache / key[:2] / key / "made.json", (now, now))


def test_what_was_used_longest_ago_goes_first(cache: Path) -> None:
    kept = FitCache(cache, 10_000)
    for place, key in enumerate(("aa1", "bb2", "cc3")):
        keep(kept, key, 3_000)
        used_before(cache, key, 1000 - place)
    assert kept.find("aa1")
    keep(kept, "dd4", 3_000)
    assert [bool(kept.find(key)) for key in ("aa1", "bb2", "cc3", "dd4")] == [
        True,
        False,
        True,
        True,
    ]


def test_what_is_in_use_stays_and_so_does_what_another_process_has_just_used(cache: Path) -> None:
    other, ours = FitCache(cache, 1_000), FitCache(cache, 1_000)
    keep(other, "aa1", 900)
    with ours.in_use(("bb2",)):
        keep(ours, "bb2", 900)
        keep(ours, "cc3", 900)
        assert all(ours.find(key) for key in ("aa1", "bb2", "cc3"))
    used_before(cache, "aa1", 2 * 3600)
    fresh = FitCache(cache, 1_000)
    keep(fresh, "dd4", 900)
    assert [(cache / key[:2] / key).exists() for key in ("aa1", "dd4")] == [False, True]


def test_drafts_that_a_dead_process_left_go_after_a_day(cache: Path) -> None:
    FitCache(cache, 1_000)
    for name, age_s in ((".old.part", 2 * 86_400), (".new.part", 60)):
        (cache / name).mkdir()
        os.utime(cache / name, (time.time() - age_s,) * 2)
    FitCache(cache, 1_000)
    assert [path.name for path in cache.iterdir()] == [".new.part"]
