"""What a person sees of a run, at the widths of real terminals."""

import io
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from omni_batch.cli.render import run as render_run
from omni_batch.cli.render.run import progress, progress_line, summary
from omni_batch.counts import Counts, Projection
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import write_record

FAILURES = {"media_error": 20, "rejected": 12, "timed_out": 9, "unavailable": 2, "a": 1, "b": 1}
COUNTS = Counts(
    succeeded=12_301,
    failed=45,
    reused=1_200,
    requests=11_300,
    retries=120,
    rate_limited=15,
    prompt_tokens=8_123_456,
    completion_tokens=2_345_678,
    audio_s=45_000.0,
    cost={"CNY": 123.456},
    estimated_tokens=12_000,
    estimated_cost={"CNY": 0.5},
    elapsed_s=7_300.0,
    failures=FAILURES,
)
BUSY = EndpointStatus(
    "dashscope-singapore",
    requests_per_minute=60,
    tokens_per_minute=100_000,
    requests_last_minute=58,
    tokens_last_minute=40_000,
    in_flight=16,
    waiting=12,
    rate_limited={"requests": 12, "tokens": 3},
    learned=Learned(requests_per_minute=588),
    stated_requests_per_minute=1200,
)
RUN = RunRecord(
    run_id="captions-20261121-031534",
    state="running",
    items=40_000,
    shard_size=500,
    created_at=datetime(2026, 11, 21, tzinfo=UTC),
    counts=COUNTS,
    projection=Projection(58, 52, 13_260.0, {"CNY": 402.5}),
    endpoints=(BUSY,),
    config={"model": "qwen3-omni-flash", "endpoint": {"name": "dashscope-singapore"}},
)


def shown(picture: RenderableType, width: int, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_budget_is_shown_with_its_currency_beside_what_is_spent() -> None:
    limited = replace(RUN, config={**RUN.config, "budget": {"max_cost": "500 CNY"}})
    assert "budget 500 CNY" in " ".join(shown(progress(limited), 100))
    assert "budget 500 CNY" in progress_line(limited)
    tokens = replace(RUN, config={**RUN.config, "budget": {"max_tokens": 3_000_000}})
    assert "budget 3,000,000 tokens" in " ".join(shown(progress(tokens), 100))
    assert "budget" not in progress_line(RUN)


def paced(**changes: Any) -> RunRecord:
    return replace(RUN, endpoints=(EndpointStatus(**{"name": "e", **changes}),))


def test_a_run_under_way_at_80_columns() -> None:
    lines = shown(progress(RUN), 80)
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if "━" not in line] == [
        "captions-20261121-031534  qwen3-omni-flash at dashscope-singapore",
        "12,301 succeeded (1,200 reused), 45 failed, 120 retries",
        "58 items a minute (52 on average)",
        "  16 in flight, 12 waiting; 429: requests 12, tokens 3",
        "8,123,456 tokens in, 2,345,678 out, 12:30 h of speech",
        "123.96 CNY so far, about 402.50 CNY in all (without a bill: 0.5000 CNY)",
        "failed: 20 media_error, 12 rejected, 9 timed_out, 2 unavailable, 2 others",
    ]
    bar, quota = (line for line in lines if "━" in line)
    assert bar.endswith("12,346 of 40,000  31%  3:41 h left")
    assert quota.endswith("58 of 60 requests a minute")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_wraps_and_none_is_wider_than_is_good_to_read(width: int) -> None:
    several = replace(
        RUN,
        endpoints=(
            BUSY,
            EndpointStatus("x" * 64, closed="an error " * 20),
            EndpointStatus("third"),
        ),
    )
    heights = {len(shown(progress(several), wide)) for wide in (width, 100)}
    assert len(heights) == 1
    assert max(len(line) for line in shown(progress(several), width)) <= min(width, 100)


def test_colours_are_never_needed() -> None:
    assert not any("\x1b" in line for line in shown(progress(RUN), 80, no_color=True))
    plain = shown(progress(RUN), 80, force_terminal=True, no_color=True, color_system=None)
    assert "12,346 of 40,000" in "".join(plain)


STANDING: dict[str, dict[str, Any]] = {
    "closed: no such key": {"closed": "no such key"},
    "down for 35 s, tried again and again": {"down_s": 35.0},
    "paused for 4 s after 429": {"paused_s": 3.2, "paused_after_429": True},
    "paused for 4 s as the server says its limit is used up": {"paused_s": 3.2},
}


@pytest.mark.parametrize("words", STANDING)
def test_what_stands_in_the_way_is_said_in_plain_words(words: str) -> None:
    from flows.artifacts import progress_text

    record = paced(**STANDING[words])
    assert f"0 in flight; {words}" in "\n".join(shown(progress(record), 80))
    assert words in progress_line(record)
    assert words in progress_text(record)


def test_the_bar_is_that_of_the_nearer_limit() -> None:
    limits = {"requests_per_minute": 60.0, "tokens_per_minute": 1000.0}
    tokens = paced(**limits, requests_last_minute=30, tokens_last_minute=900.0)
    assert "900 of 1,000 tokens a minute" in "\n".join(shown(progress(tokens), 80))
    assert "no limit known" in "\n".join(shown(progress(paced()), 80))


def test_the_last_ones_have_no_time_left() -> None:
    late = replace(RUN, counts=Counts(succeeded=39_990))
    assert "the last 10 under way" in "\n".join(shown(progress(late), 80))


def test_a_line_of_a_log_says_the_same() -> None:
    line = progress_line(RUN)
    for fact in (
        "12,346 of 40,000 items (31%)",
        "45 failed (20 media_error",
        "58 items a minute",
        "16 in flight",
        "about 402.50 CNY in all",
        "3:41 h left",
        "429: requests 12, tokens 3",
    ):
        assert fact in line


def test_prefect_shows_the_same(tmp_path: Path) -> None:
    from flows.artifacts import progress_text, summary_markdown

    text = progress_text(RUN)
    for fact in (
        "12,346 of 40,000 items",
        "3:41 h left",
        "58 of 60 requests a minute",
        "about 402.50 CNY in all",
        r"20 media\_error",
    ):
        assert fact in text
    summary = summary_markdown(RunDir(tmp_path), RUN, [])
    assert (
        "| dashscope-singapore | requests 12, tokens 3 | 588 requests a minute (stated 1,200) |"
        in summary
    )


def test_a_finished_run_says_what_it_learned(tmp_path: Path) -> None:
    tokens = EndpointStatus("b", learned=Learned(None, 5000.0, 4.0))
    one = replace(RUN, state="finished", counts=Counts(succeeded=40_000))
    write_record(RunDir(tmp_path).record, one)
    alone = shown(summary(RunDir(tmp_path), one), 80)
    assert "learned: 588 requests a minute (stated 1,200)" in alone
    several = replace(one, endpoints=(BUSY, tokens, EndpointStatus("quiet")))
    lines = shown(summary(RunDir(tmp_path), several), 120)
    assert [line for line in lines if "learned" in line] == [
        "dashscope-singapore learned: 588 requests a minute (stated 1,200)",
        "b learned: 5,000 tokens a minute (none stated), starts may double in 4 s",
    ]


def test_status_says_when_a_run_that_is_held_is_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=200)
    monkeypatch.setattr(render_run, "out", console)
    write_record(tmp_path / "run.json", RUN)
    with RunDir(tmp_path).owned():
        render_run.show(RunDir(tmp_path))
        assert "No update" not in capsys.readouterr().out
        os.utime(tmp_path / "run.json", (1e9, 1e9))
        render_run.show(RunDir(tmp_path))
        assert "No update for" in capsys.readouterr().out


def test_a_run_whose_process_died_is_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_run, "out", Console(width=200))
    write_record(tmp_path / "run.json", RUN)
    render_run.show(RunDir(tmp_path))
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "interrupted: 0 succeeded, 0 failed of 40,000 items" in shown
    assert f"omni-batch resume {tmp_path}" in shown


def test_watching_a_run_that_has_ended_ends_at_once(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", replace(RUN, state="finished"))
    render_run.watch(RunDir(tmp_path))


def test_a_run_stays_in_sight_from_its_begin_to_the_end_of_the_display(tmp_path: Path) -> None:
    view = render_run.LiveView(RunDir(tmp_path), "waiting")
    assert view.now() == "waiting"
    write_record(tmp_path / "run.json", replace(RUN, state="interrupted"))  # it is resumed
    assert view.now() == "waiting"
    for state in ("running", "finished"):
        write_record(tmp_path / "run.json", replace(RUN, state=state))
        assert view.now() != "waiting"
