"""What a check says where the vendor's editions disagree: only what concerns the rows at hand."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from omni_batch import run_batch
from omni_batch.config import parse_config
from omni_batch.doubts import DoubtGroup
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.simulator import Simulator, SimulatorOptions
from tests.conftest import KEY, KEY_ENV, read_table, write_csv
from tests.support.media_files import clip, picture, sound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(picture("PNG", 320, 320))
    (tmp_path / "word.wav").write_bytes(sound("WAV", 0.4))
    (tmp_path / "talk.wav").write_bytes(sound("WAV", 4.0))
    clip(tmp_path / "small.mp4", width=64, height=64, duration_s=3.0)
    clip(tmp_path / "large.mp4", width=640, height=360, duration_s=3.0)
    return tmp_path


def doubts(folder: Path, *rows: dict[str, Any], **changes: Any) -> list[DoubtGroup]:
    manifest = folder / "rows.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    tree = {
        "manifest": {"path": str(manifest)},
        "request": {"prompt": "Describe it."},
        "same_question": "send",  # rows that look alike count each
    }
    plan = make_plan(parse_config({**tree, **changes}), needs_key=False)
    return asyncio.run(check_manifest(plan)).warnings


def test_a_small_video_costs_more_by_the_editions_of_2025(folder: Path) -> None:
    (doubt,) = doubts(folder, {"video": "small.mp4"})
    assert (doubt.rule, doubt.rows) == ("editions-differ", 0)
    assert "video: 194 tokens by the edition used (guide of 2026" in doubt.message
    assert "434 by another (guide of 2025" in doubt.message
    assert "USD more" in doubt.message


@pytest.mark.parametrize(
    ("model", "edition", "billed"),
    [
        ("qwen3-omni-flash", "latest", 194),
        ("qwen3-omni-flash", "2025-12", 434),
        ("qwen-omni-turbo", "latest", 434),
        ("qwen-omni-turbo", "2025-12", 332),
    ],
)
async def test_both_numbers_are_what_a_service_of_that_edition_bills(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: str, edition: str, billed: int
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    write_csv(folder / "rows.csv", [{"video": "small.mp4"}])
    with Simulator(SimulatorOptions(edition=edition, api_key=KEY)) as server:
        tree = {
            "manifest": {"path": str(folder / "rows.csv")},
            "output": str(folder / "runs"),
            "model": model,
            "endpoint": {"name": "custom", "base_url": server.base_url, "api_key_env": KEY_ENV},
            "request": {"prompt": "Describe it."},
        }
        done = await run_batch(parse_config(tree))
    (row,) = read_table(folder / "runs" / done.record.run_id)
    assert row["prompt_video_tokens"] == billed
    (doubt,) = await asyncio.to_thread(doubts, folder, {"video": "small.mp4"}, model=model)
    assert f"{billed:,}" in doubt.message


def test_all_rows_are_added_up_in_one_line(folder: Path) -> None:
    rows = [{"item_id": str(number), "video": "small.mp4"} for number in range(70)]
    (doubt,) = doubts(folder, *rows)
    assert f"{70 * 194:,} tokens" in doubt.message
    assert f"{70 * 434:,} by another" in doubt.message


def test_a_list_of_small_frames_counts_as_a_video(folder: Path) -> None:
    (folder / "dot.png").write_bytes(picture("PNG", 64, 64))
    (doubt,) = doubts(folder, {"frames": ["dot.png"] * 4})
    assert doubt.message.startswith("video: ")


def test_nothing_is_said_of_rows_that_cost_the_same_by_all_editions(folder: Path) -> None:
    same = ({"video": "large.mp4"}, {"image": "cat.png"}, {"audio": "talk.wav"}, {"prompt": "Hi"})
    assert doubts(folder, *same) == []


def test_a_very_short_sound_may_cost_less(folder: Path) -> None:
    (doubt,) = doubts(folder, {"audio": "word.wav"})
    assert "audio: 13 tokens by the edition used" in doubt.message
    assert "5 by another" in doubt.message
    assert doubts(folder, {"audio": "word.wav"}, model="qwen-omni-turbo") == []


def test_every_video_of_turbo_has_two_prices(folder: Path) -> None:
    (doubt,) = doubts(folder, {"video": "large.mp4"}, model="qwen-omni-turbo")
    assert "28 x 28 pixels" in doubt.message
    assert "32 x 32 pixels" in doubt.message
    assert "less" in doubt.message


def test_a_server_of_your_own_has_no_editions(folder: Path) -> None:
    own = {"name": "vllm", "base_url": "http://127.0.0.1:9/v1"}
    assert doubts(folder, {"video": "small.mp4"}, endpoint=own) == []


def test_an_overlay_that_settles_a_point_silences_it(folder: Path) -> None:
    overlay = folder / "mine.toml"
    overlay.write_text("[models.qwen3-omni-flash.disputes.video-constants]\nreadings = []\n")
    assert doubts(folder, {"video": "small.mp4"}, catalogue=str(overlay)) == []


def test_a_cost_leaves_out_the_free_quota_and_says_so(folder: Path) -> None:
    (doubt,) = doubts(folder, {"prompt": "Hi"}, endpoint={"name": "dashscope-beijing"})
    assert doubt.rule == "free-quota-not-counted"
    assert "1,000,000 tokens in 90 days" in doubt.message
    assert doubts(folder, {"prompt": "Hi"}) == []
    newer = {"endpoint": {"name": "dashscope-beijing"}, "model": "qwen3.5-omni-plus"}
    assert doubts(folder, {"prompt": "Hi"}, **newer) == []


def test_a_voice_of_the_config_is_doubted_once(folder: Path) -> None:
    speech = {"prompt": "Say it.", "modalities": ["text", "audio"], "voice": "Chery"}
    rows = [{"subject": "a"}, {"subject": "b"}, {"subject": "c", "voice": "Serena"}]
    run, row = doubts(folder, *rows, request=speech)
    assert (run.rule, run.rows) == ("voice-not-listed", 0)
    assert (row.rule, row.rows) == ("voice-of-one-edition", 1)


def test_text_alone_has_no_doubt_about_voices(folder: Path) -> None:
    (doubt,) = doubts(folder, {"prompt": "Hi", "voice": "Nobody"})
    assert doubt.rule == "voice-without-speech"


def test_thinking_about_media_is_doubted_in_the_rows_that_have_some(folder: Path) -> None:
    rows = {"prompt": "Hi"}, {"image": "cat.png"}, {"image": "cat.png", "item_id": "c"}
    thinking = {"prompt": "Why?", "thinking": True}
    (doubt,) = doubts(folder, *rows, request=thinking)
    assert (doubt.rule, doubt.rows) == ("thinking-with-media", 2)
