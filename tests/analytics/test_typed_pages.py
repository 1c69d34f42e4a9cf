"""Typed answers on the pages of a report, a comparison and a truth, in a real Chromium."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omni_batch.analytics.report import write_report
from omni_batch.cli.main import app
from omni_batch.errors import AnnotationError
from omni_batch.store import RunDir
from omni_batch.store.record import read_record, write_record
from tests.conftest import SAMPLE
from tests.support.pages import chromium, opened
from tests.support.written_runs import Written, write_run

EVIL = "</script><script>document.title='caught'</script><b>x"
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["cat", "dog", EVIL]},
        "sure": {"type": "boolean"},
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
    },
}
MEDIA = ({"image": ("photos/coffee.jpg",)}, {"audio": "audio/announcement.mp3"})


CAPTIONS = count()


def answer(label: str | None, **members: Any) -> dict[str, Any]:
    free = f"A caption like no other: {next(CAPTIONS)}"
    return {"label": label, "sure": True, "score": 0.5, "tags": ["a"], "note": free} | members


def run_of(folder: Path, answers: Mapping[str, list[Any]]) -> RunDir:
    """A run with these answers to each item; None is one that broke the schema."""
    rows = [
        Written(
            item_id,
            None if said is None else "said so",
            said,
            error=AnnotationError("label: 'lion' is not one of cat, dog") if said is None else None,
            columns=MEDIA[number % 2] | ({"sample": sample} if len(answers[item_id]) > 1 else {}),
        )
        for number, item_id in enumerate(answers)
        for sample, said in enumerate(answers[item_id], start=1)
    ]
    return write_run(folder, rows, items=len(rows), schema=SCHEMA, base_folder=SAMPLE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with two samples of each item."""
    said: dict[str, list[Any]] = {
        "same": [answer("cat"), answer("cat", tags=["a", "b"])],
        "differs": [answer("dog"), answer("cat")],
        "in-score": [answer("dog", score=0.1), answer("dog", sure=None)],
        "half": [answer("cat"), None],
        "evil": [answer(EVIL), answer(None, tags=[])],
    }
    return write_report(run_of(tmp_path_factory.mktemp("runs") / "sampled", said))[0]


def lists(tab: Any, *ids: str) -> None:
    """The list comes to hold these items alone."""
    from playwright.sync_api import expect

    expect(tab.locator("#list b")).to_have_text(list(ids))


def test_samples_of_an_item_are_side_by_side_with_its_medium(browser: Any, sampled: Path) -> None:
    with opened(browser, sampled) as tab:
        lists(tab, "same", "differs", "in-score", "half", "evil")
        card = tab.locator("#list > li").nth(1)
        assert card.locator("thead th").all_inner_texts() == ["sample 1", "sample 2"]
        label = card.locator("tbody tr").first
        assert label.locator("td").all_inner_texts() == ["dog", "cat"]
        assert card.locator("tr.differs").count() == 1
        assert card.locator("audio").count() == 1
        assert tab.locator("#list > li").first.locator(".pictures img").count() == 1
        # Tags differ there, and a free text that differs says nothing.
        assert tab.locator("#list > li").first.locator("tr.differs th").all_inner_texts() == [
            "tags"
        ]
        failed = tab.locator("#list > li").nth(3).locator("tr", has_text="state")
        assert failed.locator("td").all_inner_texts() == ["succeeded", "failed: annotation_error"]


def test_items_are_chosen_by_label_and_by_samples_that_differ(browser: Any, sampled: Path) -> None:
    with opened(browser, sampled) as tab:
        tab.select_option("#field-0", "=dog")
        lists(tab, "differs", "in-score")
        tab.select_option("#differ-variant", label="any label")
        lists(tab, "differs")
        tab.select_option("#field-0", "")
        lists(tab, "differs")
        tab.select_option("#differ-variant", label="score")
        lists(tab, "in-score")
        tab.select_option("#differ-variant", "")
        tab.select_option("#field-3", "=b")
        lists(tab, "same")
        tab.select_option("#field-3", "")
        tab.select_option("#field-1", "missing")
        lists(tab, "in-score")


def test_a_label_of_the_summary_leads_to_its_items(browser: Any, sampled: Path) -> None:
    with opened(browser, sampled) as tab:
        summary = tab.locator("#annotation")
        assert "9 answers fit the schema, 1 does not" in summary.inner_text()
        summary.get_by_role("link", name=EVIL).click()
        lists(tab, "evil")
        assert tab.title().startswith("sampled")


@pytest.mark.parametrize("width_px", [320, 1280])
def test_typed_answers_fit_the_screen(browser: Any, sampled: Path, width_px: int) -> None:
    with opened(browser, sampled, viewport={"width": width_px, "height": 800}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width_px


# --- two runs, and a truth ---


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, RunDir]:
    folder = tmp_path_factory.mktemp("pair")
    left = {"a": [answer("cat")], "b": [answer("cat")], "c": [answer(EVIL)], "d": [answer(None)]}
    right = left | {"a": [answer("dog", tags=["x", EVIL])], "b": [answer("cat", sure=False)]}
    right["d"] = [answer("dog")]
    return run_of(folder / "left", left), run_of(folder / "right", right)


def invoked(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "80"})


def test_items_on_which_two_runs_disagree_are_shown_and_chosen_by_field(
    browser: Any, pair: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    html = tmp_path / "page.html"
    done = invoked("compare", pair[0].root, pair[1].root, "--html", html)
    assert done.exit_code == 0, done.output
    with opened(browser, html, ready="#differing") as tab:
        pairs = tab.locator("article.pair:visible")
        assert pairs.locator("h3").all_inner_texts() == ["a", "b"]
        first = pairs.first
        assert first.locator("tr.differs th").all_inner_texts() == ["label", "tags"]
        assert first.locator("tr.differs td").all_inner_texts()[:2] == ["cat", "dog"]
        assert EVIL in first.inner_text()
        assert first.locator("img").evaluate("image => image.decode().then(() => true)")
        assert pairs.nth(1).locator("audio").get_attribute("src").endswith("announcement.mp3")
        tab.select_option("#differing", label="sure")
        assert pairs.locator("h3").all_inner_texts() == ["b"]
        assert tab.locator("#found").inner_text() == "1 item"


def test_a_page_with_media_of_a_strangers_run_needs_consent(
    pair: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    strange = run_of(tmp_path / "strange", {"a": [answer("dog")]})
    record = read_record(strange.record)
    record.config["media"] = {"roots": ["/"]}
    write_record(strange.record, record)
    html = tmp_path / "page.html"
    refused = invoked("compare", pair[0].root, strange.root, "--html", html)
    assert type(refused.exception).__name__ == "UntrustedRun"
    assert not html.exists()
    assert invoked("compare", pair[0].root, strange.root).exit_code == 0
    trusted = invoked("compare", pair[0].root, strange.root, "--html", html, "--trust")
    assert trusted.exit_code == 0
    assert html.exists()


def test_a_truth_has_a_page_with_its_confusion(
    browser: Any, pair: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    truth, html = tmp_path / "truth.csv", tmp_path / "truth.html"
    truth.write_text("item_id,label\na,cat\nb,cat\nd,dog\n")
    run = pair[1].root
    done = invoked("compare", run, "--truth", truth, "--field", "label", "--html", html)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(html)
    with opened(browser, html, ready=".confusion") as tab:
        rows = tab.locator(".confusion tbody tr")
        assert [row.split() for row in rows.all_inner_texts()] == [
            ["cat", "1", "1"],
            ["dog", "0", "1"],
        ]
        assert "66.7 %" in tab.locator(".tiles").inner_text()
