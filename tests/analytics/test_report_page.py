"""The page in a real Chromium, from disk, without a network."""

import asyncio
import csv
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.analytics.report import write_report
from omni_batch.config import load_config, parse_config
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir
from tests.conftest import KEY, KEY_ENV, SAMPLE, prompts, write_csv
from tests.support.pages import chromium, opened

HOSTILE = (
    "</script><script>document.title='caught'</script><!-- <img src=x onerror=alert(1)> {{ 7*7 }}"
)
WIDTHS_PX = (320, 1920)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run over all sample media, with hostile texts and enough rows for two pages."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    with (SAMPLE / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"item_id": HOSTILE, "prompt": HOSTILE}
    rows.append({"item_id": "lost", "image": f"{HOSTILE}.jpg"})
    write_csv(folder / "manifest.csv", [*rows, *prompts(28)])
    with Simulator(SimulatorOptions(api_key=KEY)) as simulator, pytest.MonkeyPatch.context() as env:
        env.setenv(KEY_ENV, KEY)
        endpoint = {"base_url": simulator.base_url, "api_key_env": KEY_ENV}
        config = parse_config(
            {
                "manifest": {"path": str(folder / "manifest.csv")},
                "output": str(folder / "runs"),
                "endpoint": {"name": "simulator", **endpoint},
                "request": load_config("configs/demo.yaml").request.model_dump(),
                "quota": {"requests_per_minute": 1000, "tokens_per_minute": 1_000_000},
            }
        )
        record = asyncio.run(omni_batch.run_batch(config)).record
    return write_report(RunDir(folder / "runs" / record.run_id))[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Any]:
    with opened(browser, page) as tab:
        yield tab


class Tags(HTMLParser):
    """Attributes of every element, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_and_lets_nothing_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags = Tags(text).found
    policy = next(a["content"] or "" for _, a in tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert tag not in ("iframe", "object", "embed", "base")
        assert not (attributes.get("src") or "").startswith(("http", "//"))
    assert not re.search(r"@import|url\((?!#)", text)
    assert HOSTILE not in text
    assert str(page.parents[2]) not in text.replace(f"resume {page.parent}", "").replace(
        f"<td>{page.parents[2]}/manifest.csv</td>", ""
    ), "links are relative, so that the folder can move"


def test_hostile_texts_are_shown_as_texts(tab: Any) -> None:
    assert tab.title().startswith("run-")
    assert tab.locator("#list b").first.inner_text() == HOSTILE
    assert HOSTILE in tab.locator("#list .prompt").first.inner_text()
    assert tab.locator("#failures code", has_text="lost").count() == 1
    assert tab.evaluate("document.querySelectorAll('#list script, #failures script').length") == 0


def test_what_happened_is_said_at_the_top(tab: Any) -> None:
    verdict = tab.locator(".verdict").inner_text()
    assert "Finished." in verdict
    assert "38 succeeded, 3 failed of 41 items" in verdict
    assert tab.locator(".chart svg").count() == 12, "six charts, each wide and narrow"
    assert "media_error" in tab.locator("#failures").inner_text()


def test_items_are_searched_and_filtered(tab: Any) -> None:
    from playwright.sync_api import expect

    found, ids = tab.locator("#found"), tab.locator("#list b")
    tab.keyboard.press("/")
    tab.keyboard.type("COFFEE 512")
    expect(found).to_contain_text("of 1 items, chosen from 41")
    expect(ids).to_have_text(["photo-coffee"])
    tab.fill("#search", "nothing of the kind")
    expect(found).to_contain_text("No item fits")
    tab.fill("#search", "")
    tab.select_option("#modality", "video")
    expect(ids).to_have_text(["video-with-sound"])
    tab.select_option("#modality", "")
    tab.click("#failures .show")
    expect(ids).to_have_text(["broken-image", "missing-file", "lost"])
    assert tab.input_value("#kind") == "media_error"
    tab.select_option("#status", "succeeded")
    expect(ids).to_have_count(0)


def test_pages_are_turned_by_buttons_and_keys(tab: Any) -> None:
    page_number, ids = tab.locator("#page"), tab.locator("#list b")
    assert page_number.inner_text() == "Page 1 of 2"
    assert ids.count() == 25
    tab.keyboard.press("ArrowRight")
    assert page_number.inner_text() == "Page 2 of 2"
    assert ids.count() == 16
    assert tab.locator("#next").is_disabled()
    tab.keyboard.press("ArrowRight")
    assert page_number.inner_text() == "Page 2 of 2"
    tab.click("#previous")
    assert page_number.inner_text() == "Page 1 of 2"
    tab.focus("#next")
    tab.keyboard.press("End")
    assert page_number.inner_text() == "Page 2 of 2"
    tab.focus("#search")
    tab.keyboard.press("ArrowLeft")
    assert page_number.inner_text() == "Page 2 of 2", "keys belong to the field that is typed in"


def test_speech_sound_video_and_pictures_play(tab: Any) -> None:
    assert tab.evaluate(_PLAYS, "[aria-label^='spoken answer']") > 0
    assert tab.evaluate(_PLAYS, "[aria-label^='sent: audio/announcement']") > 0
    assert tab.locator("video[poster^='data:image/jpeg']").count() == 1
    pictures = "[...document.querySelectorAll('#list img')]"
    tab.evaluate(f"Promise.all({pictures}.map(i => (i.loading = 'eager', i.decode())))")
    assert tab.evaluate(f"{pictures}.length") >= 6


_PLAYS = """async (label) => {
    const audio = document.querySelector(`audio${label}`);
    audio.muted = true;
    await audio.play();
    await new Promise((resolve) => audio.addEventListener("timeupdate", () => {
        if (audio.currentTime > 0) resolve();
    }));
    return audio.currentTime;
}"""


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_nothing_is_wider_than_the_screen(browser: Any, page: Path, width_px: int) -> None:
    with opened(browser, page, viewport={"width": width_px, "height": 800}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width_px
        tab.click("#next")
        assert tab.evaluate("document.documentElement.scrollWidth") == width_px


def test_colours_follow_the_system_and_the_choice(browser: Any, page: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, page, color_scheme="dark") as tab:
        dark = tab.evaluate(paper)
        tab.select_option("#theme", "light")
        light = tab.evaluate(paper)
        assert (dark, light) == ("rgb(20, 23, 28)", "rgb(255, 255, 255)")
        # Chromium hands what a file stores to its next process a moment later.
        kept = ((tab.reload(), tab.evaluate(paper))[1] == light for _ in range(20))
        assert any(kept), "the choice is kept"
        tab.select_option("#theme", "")
        assert tab.evaluate(paper) == dark


def test_every_control_has_a_name_and_is_reached_in_order(tab: Any) -> None:
    nameless = """[...document.querySelectorAll("input, select, button, audio, video, img")].filter(
        (e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim() || e.alt)
    ).length"""
    assert tab.evaluate(nameless) == 0
    reached = []
    for _ in range(4):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
    assert reached == ["Skip to the content", "as the system", "Failures", "Cost and tokens"]
