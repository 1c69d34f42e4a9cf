"""A check tells good rows from bad ones, counts the tokens, and sends nothing."""

import asyncio
import functools
import json
import socket
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from omni_batch.config import parse_config
from omni_batch.errors import ConfigError, ManifestError
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.plan import make_plan
from tests.support.media_files import clip, picture, sound


@pytest.fixture
def address() -> Iterator[str]:
    """An endpoint that fails the test when anybody knocks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(picture("PNG", 320, 320))
    (tmp_path / "cut.jpg").write_bytes(picture("JPEG")[:-400])
    (tmp_path / "speech.wav").write_bytes(sound("WAV", 4.0))
    clip(tmp_path / "clip.mp4", with_sound=True, duration_s=2.0)
    return tmp_path


def check(folder: Path, base_url: str, rows: list[dict[str, Any]], **changes: Any) -> CheckReport:
    manifest = folder / "rows.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    tree = {
        "manifest": {"path": str(manifest)},
        "endpoint": {"name": "dashscope-beijing", "base_url": base_url},
        "request": {"prompt": "Describe it."},
    }
    plan = make_plan(parse_config({**tree, **changes}), needs_key=False)
    return asyncio.run(check_manifest(plan))


@pytest.fixture
def media_host(folder: Path) -> Iterator[str]:
    """A web server on loopback with the files of the folder."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_media_behind_urls_are_counted_by_what_their_host_tells(
    folder: Path, address: str, media_host: str
) -> None:
    rows = [
        {"item_id": "known", "image": f"{media_host}/cat.png"},
        {"item_id": "gone", "image": f"{media_host}/gone.png"},
        {"item_id": "wrong", "image": f"{media_host}/speech.wav"},
    ]
    report = check(folder, address, rows, media={"allow_private_downloads": True})
    assert report.prompt.image == 102 + 882, "320 x 320, and 720p for the one nobody knows"
    assert [
        (row.item_id, "put it in the column audio" in row.message) for row in report.refused
    ] == [("wrong", True)]
    rules = {group.rule: (group.rows, group.item_id) for group in report.warnings}
    assert rules["url-not-probed"] == rules["media-size-guessed"] == (1, "gone")
    unseen = check(
        folder, address, rows, media={"allow_private_downloads": True, "probe_urls": "off"}
    )
    assert (unseen.prompt.image, unseen.refused_items) == (3 * 882, 0)
    assert {group.rule: group.rows for group in unseen.warnings}["media-size-guessed"] == 3


def test_good_rows_and_bad_ones_are_both_reported(folder: Path, address: str) -> None:
    report = check(
        folder,
        address,
        [
            {"item_id": "good", "image": "cat.png"},
            {"item_id": "cut", "image": ["cat.png", "cut.jpg"]},
            {"item_id": "gone", "audio": "gone.wav"},
            {"item_id": "outside", "image": "/etc/passwd"},
            {"item_id": "url", "image": "https://example.com/cat.jpg"},
            {"item_id": "wrong", "video": "speech.wav"},
        ],
    )
    assert report.items == 6
    assert [(row.item_id, row.row_number) for row in report.refused] == [
        ("cut", 1),
        ("gone", 2),
        ("outside", 3),
        ("wrong", 5),
    ]
    assert {row.error_kind for row in report.refused} == {"media_error"}
    for row, reason in zip(
        report.refused,
        ["cut.jpg", "gone.wav does not exist", "media.roots", "put it in the column audio"],
        strict=True,
    ):
        assert reason in row.message


def test_tokens_are_told_by_modality(folder: Path, address: str) -> None:
    def prompt(**row: Any) -> Any:
        return check(folder, address, [{"item_id": "a", **row}]).prompt

    text, image = prompt(prompt="x" * 400), prompt(image="cat.png")
    heard, seen = prompt(audio="speech.wav"), prompt(video="clip.mp4")
    assert (text.image, text.audio, text.video) == (0, 0, 0)
    assert text.text >= 100
    assert (image.image, image.audio, image.video) == (10 * 10 + 2, 0, 0)  # 320 px are 10 patches
    assert (heard.audio, heard.image, heard.video) == (50, 0, 0)  # 12.5 a second
    assert seen.video > 0
    assert seen.audio >= 25
    both = check(
        folder,
        address,
        [{"item_id": "a", "image": "cat.png"}, {"item_id": "b", "audio": "speech.wav"}],
    ).prompt
    assert (both.image, both.audio) == (image.image, heard.audio)
    assert both.total == image.total + heard.total


def test_refused_rows_cost_no_tokens(folder: Path, address: str) -> None:
    good: list[dict[str, Any]] = [{"item_id": "good", "image": "cat.png"}]
    bad = [{"item_id": f"bad-{n}", "image": "cut.jpg"} for n in range(70)]
    alone, together = check(folder, address, good), check(folder, address, [*bad, *good])
    assert together.prompt == alone.prompt
    assert (together.items, together.refused_items) == (71, 70)


def test_cost_and_time_follow_from_price_and_quota(folder: Path, address: str) -> None:
    rows = [{"item_id": str(n), "prompt": f"{n}" + "x" * 3999} for n in range(10)]
    report = check(
        folder, address, rows, quota={"requests_per_minute": 5, "tokens_per_minute": 1e9}
    )
    assert report.shortest_time_s == pytest.approx(120)
    assert report.currency == "CNY"
    assert report.cost
    by_tokens = check(
        folder, address, rows, quota={"requests_per_minute": 1e9, "tokens_per_minute": 100}
    )
    assert by_tokens.shortest_time_s == pytest.approx(
        60 * (by_tokens.prompt.total + by_tokens.completion_tokens) / 100
    )


def test_a_limit_holds_for_a_check_as_well(folder: Path, address: str) -> None:
    rows = [{"item_id": "a"}, {"item_id": "b"}, {"item_id": "a"}]
    assert check(folder, address, rows, limit=2).items == 2


@pytest.mark.parametrize(
    ("rows", "error", "reason"),
    [
        ([], ManifestError, "has no rows"),
        ([{"item_id": "a"}, {"item_id": "b"}, {"item_id": "a"}], ManifestError, "rows 1 and 3"),
        ([{"item_id": "a", "prompt": 5}], ManifestError, "line 1: prompt is 5"),
        ([{"item_id": "a", "messages": "no"}], ManifestError, "line 1: messages"),
    ],
)
def test_what_would_refuse_the_run_refuses_the_check(
    folder: Path, address: str, rows: list[dict[str, Any]], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        check(folder, address, rows)


def test_a_variable_that_is_no_column_refuses_the_check(folder: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="did you mean subject"):
        check(
            folder,
            address,
            [{"item_id": "a", "subject": "x"}],
            request={"prompt": "{{ subjekt }}"},
        )


def test_a_report_is_plain_values(folder: Path, address: str) -> None:
    report = check(folder, address, [{"item_id": "a", "image": "cut.jpg"}])
    assert json.loads(json.dumps(report.as_dict()))["refused"][0]["item_id"] == "a"


def test_all_rules_that_rows_break_are_listed_in_one_pass(folder: Path, address: str) -> None:
    """And the run would go on with the rest."""
    (folder / "tiny.png").write_bytes(picture("PNG", 5, 5))
    (folder / "thin.png").write_bytes(picture("PNG", 4000, 12))
    rows: list[dict[str, Any]] = [
        {"item_id": "good", "prompt": "Say hello."},
        {"item_id": "tiny", "image": "tiny.png"},
        {"item_id": "two-wrongs", "image": ["tiny.png", "thin.png"]},
        {"item_id": "mixed", "image": "cat.png", "audio": "speech.wav"},
        {"item_id": "few", "frames": ["cat.png"]},
        {"item_id": "many", "frames": ["cat.png"] * 129},
        {"item_id": "long", "prompt": "word " * 80_000},
    ]
    report = check(folder, address, rows)
    broken: dict[str, set[str | None]] = {}
    for row in report.refused:
        broken.setdefault(row.item_id, set()).add(row.rule)
    assert broken == {
        "tiny": {"image-too-small"},
        "two-wrongs": {"image-too-small", "image-too-narrow"},
        "mixed": {"one-media-kind"},
        "few": {"frames-too-few"},
        "many": {"frames-too-many"},
        "long": {"input-too-long"},
    }
    assert (report.items, report.refused_items) == (7, 6)


def test_rows_that_ask_the_same_are_counted_once(folder: Path, address: str) -> None:
    """But what is doubted of a row is said of each, as the run will say it."""
    once = [
        {"item_id": "cat", "image": "cat.png"},
        {"item_id": "talk", "audio": "speech.wav"},
    ]
    again = [{"item_id": f"again-{n}", "image": "cat.png"} for n in range(3)]
    alone = check(folder, address, once)
    report = check(folder, address, [*once, *again])
    assert (report.items, report.same_items, alone.same_items) == (5, 3, 0)
    assert (report.prompt, report.cost, report.completion_tokens) == (
        *(alone.prompt, alone.cost, alone.completion_tokens),
    )
    assert same_question_rules(report) == ["same-question-reused"]
    assert same_question_rules(alone) == []
    greedy = {"prompt": "Describe it.", "temperature": 0}
    assert same_question_rules(check(folder, address, [*once, *again], request=greedy)) == []
    sent = check(folder, address, [*once, *again], same_question="send")
    assert (sent.same_items, same_question_rules(sent)) == (0, [])
    assert sent.prompt.image == 4 * alone.prompt.image
    silent = [{"item_id": str(n), "prompt": "Hi", "voice": "Nobody"} for n in range(3)]
    rows = {group.rule: group.rows for group in check(folder, address, silent).warnings}
    assert rows["voice-without-speech"] == 3


def same_question_rules(report: CheckReport) -> list[str]:
    return [group.rule for group in report.warnings if group.rule.startswith("same-question")]
