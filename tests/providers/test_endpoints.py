"""Whole runs against a simulator that speaks each dialect."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.config import Config, parse_config
from omni_batch.errors import ConfigError
from omni_batch.providers.dialects import DIALECTS
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunRecord
from tests.conftest import KEY, KEY_ENV, SAMPLE, read_table, write_csv
from tests.providers.test_delivery import web
from tests.support.media_files import sound

ROWS: list[Mapping[str, str]] = [
    {"item_id": "text", "prompt": "Say hello."},
    {"item_id": "photo", "prompt": "What is this?", "image": "coffee.jpg"},
    {"item_id": "sound", "prompt": "What is said?", "audio": "announcement.mp3"},
    {"item_id": "clip", "prompt": "What happens?", "video": "espresso.mp4"},
]
SPEAKS = {"dashscope": True, "vllm": False, "vllm-omni": True, "sglang-omni": True, "openai": True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(KEY_ENV, KEY)
    for name in ("photos/coffee.jpg", "audio/announcement.mp3", "video/espresso.mp4"):
        shutil.copy(SAMPLE / name, tmp_path)
    write_csv(tmp_path / "rows.csv", ROWS)
    return tmp_path


def config(folder: Path, base_url: str, dialect: str, **more: Any) -> Config:
    return parse_config(
        {
            "manifest": {"path": str(folder / "rows.csv")},
            "output": str(folder / "runs"),
            "model": "qwen3-omni-flash",
            "endpoint": {
                "name": "custom", "base_url": base_url, "dialect": dialect, "api_key_env": KEY_ENV,
            },
            "retry": {"first_wait_s": 0, "max_attempts": 2},
            "quota": {"requests_per_minute": 1e9, "tokens_per_minute": 1e12},
            **more,
        }
    )  # fmt: skip


async def run(folder: Path, settings: Config) -> tuple[dict[str, dict[str, Any]], RunRecord]:
    record = (await omni_batch.run_batch(settings)).record
    rows = read_table(folder / "runs" / record.run_id)
    return {row["item_id"]: row for row in rows}, record


@pytest.mark.parametrize("dialect", SPEAKS)
async def test_a_run_in_each_dialect(folder: Path, dialect: str) -> None:
    speech: dict[str, Any] = {"modalities": ["text", "audio"]} if SPEAKS[dialect] else {}
    if SPEAKS[dialect] and DIALECTS[dialect].takes_voice:
        speech["voice"] = "Ethan"  # whom all of them have
    with Simulator(SimulatorOptions(dialect=dialect, api_key=KEY)) as server:
        rows, _ = await run(folder, config(folder, server.base_url, dialect, request=speech))
    refused = {"clip"} if dialect == "openai" else set()
    assert {name for name, row in rows.items() if row["status"] == "failed"} == refused
    for name in rows.keys() - refused:
        assert rows[name]["text"]
        assert rows[name]["total_tokens"] > 0
        assert bool(rows[name]["audio_path"]) == SPEAKS[dialect]
        assert rows[name]["voice"] == speech.get("voice")
        left_to_server = SPEAKS[dialect] and "voice" not in speech
        assert [w.partition(":")[0] for w in rows[name]["warnings"]] == [
            "voice-left-to-server"
        ] * left_to_server
    assert "512 x 341" in rows["photo"]["text"]
    assert "5.7 seconds" in rows["sound"]["text"]
    if refused:
        assert rows["clip"]["error_kind"] == "invalid_request"
        assert rows["clip"]["attempts"] == 0


async def test_the_voice_of_a_row_is_sent_and_stands_in_its_row(folder: Path) -> None:
    spoken: list[Mapping[str, str]] = [
        {"item_id": "a", "voice": "Ethan"}, {"item_id": "b", "voice": ""},
    ]  # fmt: skip
    write_csv(folder / "rows.csv", spoken)
    speech = {"modalities": ["text", "audio"], "voice": "Cherry", "prompt": "Hi"}
    with Simulator(SimulatorOptions(dialect="vllm-omni", api_key=KEY)) as server:
        found, _ = await run(folder, config(folder, server.base_url, "vllm-omni", request=speech))
        sent = sorted(str(request.body["voice"]) for request in server.requests)
    assert sent == ["Cherry", "Ethan"]
    assert (found["a"]["voice"], found["b"]["voice"]) == ("Ethan", "Cherry")


async def test_a_voice_that_nobody_would_speak_in_is_refused(folder: Path) -> None:
    speech = {"modalities": ["text", "audio"], "voice": "Cherry"}
    with Simulator(SimulatorOptions(dialect="sglang-omni", api_key=KEY)) as server:
        settings = config(folder, server.base_url, "sglang-omni", request=speech)
        with pytest.raises(ConfigError, match="no place for a voice, and Cherry is asked for"):
            await run(folder, settings)
        assert not server.requests


async def test_a_server_without_its_talker_fails_the_items_and_is_not_asked_again(
    folder: Path,
) -> None:
    request = {"modalities": ["text", "audio"]}
    with Simulator(SimulatorOptions(dialect="sglang-omni", api_key=KEY, talker=False)) as server:
        settings = config(folder, server.base_url, "sglang-omni", request=request)
        rows, record = await run(folder, settings)
        assert server.counters.requests == len(rows)
    assert {row["error_kind"] for row in rows.values()} == {"speech_missing"}
    assert record.counts.retries == 0


async def test_batch_chat_runs_unchanged(folder: Path) -> None:
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        settings = config(folder, server.batch_base_url, "dashscope-batch-chat")
        rows, _ = await run(folder, settings.model_copy(update={"model": "qwen3.5-omni-plus"}))
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    assert "512 x 341" in rows["photo"]["text"]


async def test_every_file_may_be_uploaded_first_and_is_uploaded_once(folder: Path) -> None:
    twice = [*ROWS, {"item_id": "again", "prompt": "And now?", "image": "coffee.jpg"}]
    write_csv(folder / "rows.csv", twice)
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        settings = config(folder, server.base_url, "dashscope", media={"transport": "upload"})
        rows, _ = await run(folder, settings)
        assert len(server.files) == 3
        sent = [request for request in server.requests if b"oss://" in repr(request.body).encode()]
        assert len(sent) == 4
        assert all(r.headers["x-dashscope-ossresourceresolve"] == "enable" for r in sent)
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    assert "512 x 341" in rows["again"]["text"]
    assert rows["photo"]["media"] == ["coffee.jpg"]


async def test_a_file_over_the_cap_of_a_data_uri_is_uploaded(folder: Path) -> None:
    (folder / "long.wav").write_bytes(sound("WAV", 180, 24_000))  # 8.6 MB, 11.5 as base64
    write_csv(folder / "rows.csv", [{"item_id": "long", "prompt": "What?", "audio": "long.wav"}])
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        rows, _ = await run(folder, config(folder, server.base_url, "dashscope"))
        assert len(server.files) == 1
    assert rows["long"]["status"] == "succeeded"
    assert "180.0 seconds" in rows["long"]["text"]


async def test_estimates_learn_from_what_is_billed(folder: Path) -> None:
    write_csv(folder / "rows.csv", [{"prompt": f"Say the word {n} slowly."} for n in range(30)])
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        _, record = await run(folder, config(folder, server.base_url, "dashscope"))
    assert record.text_factor != 1
    assert 0.5 < record.text_factor < 2


async def test_a_plain_text_model_answers_rows_of_text(folder: Path) -> None:
    write_csv(folder / "rows.csv", ROWS[:2])
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        settings = config(folder, server.base_url, "dashscope")
        rows, _ = await run(folder, settings.model_copy(update={"model": "qwen3.5-plus"}))
        assert all("modalities" not in asked.body for asked in server.requests)
    assert rows["text"]["status"] == "succeeded"
    # That it takes text only is marked as unverified: a warning, and the service decides.
    assert "not sure of this limit" in rows["photo"]["warnings"][0]
    assert rows["photo"]["error_kind"] == "rejected"


async def test_thinking_has_its_own_column(folder: Path) -> None:
    write_csv(folder / "rows.csv", ROWS[:1])
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        settings = config(folder, server.base_url, "dashscope", request={"thinking": True})
        rows, _ = await run(folder, settings)
        assert server.requests[0].body["enable_thinking"] is True
    assert rows["text"]["reasoning"]
    assert rows["text"]["reasoning_tokens"] > 0
    assert rows["text"]["audio_path"] is None


async def test_what_the_service_can_not_fetch_is_fetched_by_us_for_the_third_try(
    folder: Path,
) -> None:
    async with web({"/timeout/coffee.jpg": folder / "coffee.jpg"}) as address:
        row = {"item_id": "far", "prompt": "What?", "image": f"{address}/timeout/coffee.jpg"}
        write_csv(folder / "rows.csv", [row])
        with Simulator(SimulatorOptions(api_key=KEY)) as server:
            media, retry = {"allow_private_downloads": True}, {"first_wait_s": 0}
            settings = config(folder, server.base_url, "dashscope", media=media, retry=retry)
            rows, _ = await run(folder, settings)
    assert "512 x 341" in rows["far"]["text"]
    assert (rows["far"]["attempts"], rows["far"]["media"]) == (3, [f"{address}/timeout/coffee.jpg"])
