"""What `check` says of media that would be made to fit: nothing is made, nothing is sent."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from omni_batch.cli.main import app
from omni_batch.config import parse_config
from omni_batch.errors import ConfigError
from omni_batch.fitting.limits import FitLimits
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.fitting.limits import fit_limits
from omni_batch.planning.plan import make_plan
from tests.conftest import write_csv
from tests.support.media_files import film, recording


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def config(folder: Path, rows: list[Any], **changes: Any) -> Any:
    manifest = write_csv(folder / "manifest.csv", [{"prompt": "Say.", **row} for row in rows])
    return parse_config(
        {
            "name": "test",
            "manifest": {"path": str(manifest)},
            "output": str(folder / "runs"),
            "media": {"fit": "fit"},
            **({} if "endpoints" in changes else {"endpoint": {"name": "simulator"}}),
            **changes,
        }
    )


async def checked(folder: Path, rows: list[Any], **changes: Any) -> CheckReport:
    return await check_manifest(make_plan(config(folder, rows, **changes)))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def an_image(folder: Path) -> list[Any]:
    Image.new("RGB", (1200, 800), "red").save(folder / "a.png")
    return [{"item_id": "a", "image": "a.png"}]


async def test_check_says_what_would_be_changed_and_what_it_saves(
    tmp_path: Path, cache: Path
) -> None:
    rows = an_image(tmp_path)
    plain = await checked(tmp_path, rows)
    small = await checked(tmp_path, rows, media={"fit": "fit", "max_image_tokens": 100})
    assert (plain.fitted_items, plain.image_tokens_saved, plain.cost_saved) == (0, 0, None)
    assert small.fitted_items == 1
    assert small.image_tokens_saved == plain.prompt.image - small.prompt.image > 800
    assert plain.cost is not None
    assert small.cost is not None
    assert small.cost_saved == pytest.approx(plain.cost - small.cost)
    (warning,) = [group for group in small.warnings if group.rule == "image-fitted"]
    assert (warning.rows, warning.item_id) == (1, "a")
    assert "1200 x 800 px scaled to" in warning.message
    assert not files_in(cache / "omni-batch" / "fitted")


def test_the_terminal_has_a_line_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = an_image(tmp_path)
    write_csv(tmp_path / "manifest.csv", [{"prompt": "Say.", **row} for row in rows])
    (tmp_path / "c.yaml").write_text(
        "manifest: {path: manifest.csv}\nendpoint: {name: simulator}\n"
        "media: {fit: fit, max_image_tokens: 100}\n"
    )
    shown = CliRunner().invoke(app, ["check", "c.yaml"]).output
    assert "made to fit" in shown
    assert "image tokens saved" in shown


async def test_recordings_and_videos_are_estimated_as_they_would_be_sent(tmp_path: Path) -> None:
    (tmp_path / "a.aiff").write_bytes(recording("aiff", "pcm_s16be", 3))
    (tmp_path / "b.wav").write_bytes(recording("wav", "pcm_s16le", 400, rate_hz=8_000))
    (tmp_path / "c.mkv").write_bytes(film("matroska", duration_s=50))
    rows = [
        {"item_id": "a", "audio": "a.aiff", "video": ""},
        {"item_id": "b", "audio": "b.wav", "video": ""},
        {"item_id": "c", "audio": "", "video": "c.mkv"},
    ]
    refused = await checked(tmp_path, rows, model="qwen-omni-turbo", media={"fit": "refuse"})
    fitted = await checked(tmp_path, rows, model="qwen-omni-turbo")
    assert refused.refused_items == 3
    assert (fitted.refused_items, fitted.fitted_items) == (0, 3)
    assert 25 * 403 < fitted.prompt.audio < 25 * 410  # the windows overlap
    rules = {group.rule for group in fitted.warnings}
    assert {"sound-fitted", "sound-in-windows", "video-fitted"} <= rules


def test_the_strictest_of_all_endpoints_counts(tmp_path: Path) -> None:
    def limits(*names: str) -> FitLimits:
        endpoints = [{"name": name} for name in names]
        rows, model = [{"item_id": "a"}], "qwen-omni-turbo"
        given = config(tmp_path, rows, model=model, endpoints=endpoints)
        return fit_limits(make_plan(given, needs_key=False))

    vendor = limits("dashscope-beijing")
    assert (vendor.sound_max_s, vendor.film_max_s, vendor.film_as) == (180, 40, "frames")
    assert (vendor.frames_min, vendor.frames_max) == (4, 80)
    assert vendor.image_formats == ("jpeg", "png", "webp", "bmp")
    assert vendor.sound_max_bytes == 10_485_760
    both = limits("dashscope-beijing", "openai")
    assert (both.sound_max_s, both.film_as) == (180, "cut")  # the other one takes no frames
    assert both.image_formats == ("jpeg", "png", "webp")
    assert both.sound_formats == ("mp3", "wav")


def test_options_of_fit_without_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_image_tokens needs media\.fit: fit"):
        config(tmp_path, [{"item_id": "a"}], media={"max_image_tokens": 100})
