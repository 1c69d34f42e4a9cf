"""Pages in a real Chromium, from disk, without a network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page was not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def opened(
    browser: Any, page: Path, *, ready: str = "html[data-loaded=yes]", **options: Any
) -> Iterator[Any]:
    """The page from disk, offline; whatever the console says fails the test.

    Args:
        ready: selector of what is there when the page is.
        options: of the browser's context, such as its viewport.
    """
    context = browser.new_context(offline=True, **options)
    tab = context.new_page()
    said: list[str] = []

    def note(request: Any) -> None:
        if request.url.startswith("http"):
            said.append(request.url)

    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", note)
    tab.goto(page.resolve().as_uri())
    tab.wait_for_selector(ready)
    try:
        yield tab
        assert said == []
    finally:
        context.close()
