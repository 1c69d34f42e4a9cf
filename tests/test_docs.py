"""What the pages say is what the code does."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import typer
import yaml
from pydantic import BaseModel

from omni_batch.cli.main import app
from omni_batch.config import Config, parse_config
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.profiles import PROFILES
from tests.docs_tables import PAGES, REFERENCE, ROOT, TABLES, config_keys, error_kinds, rewritten

ALL = (*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "SECURITY.md", "tests/FAULTS.md")))
TEXTS = {page: page.read_text(encoding="utf-8") for page in ALL}
NAMES = {page: page.relative_to(ROOT).as_posix() for page in ALL}
BLOCKS = [
    (NAMES[page], language, body)
    for page, text in TEXTS.items()
    for language, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.M | re.S)
]


# --- generated tables ---


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_tables_are_fresh(page: Path) -> None:
    assert rewritten(page) == TEXTS[page], "run: python -m tests.docs_tables --write"


def test_every_table_has_its_place() -> None:
    placed = {name for text in TEXTS.values() for name in re.findall(r"<!-- ([a-z:]+) -->", text)}
    assert placed - {"end"} == set(TABLES)


# --- configuration ---


def test_the_reference_config_lists_every_key_with_its_default() -> None:
    tree = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    listed = parse_config(tree).model_dump()
    default = Config(manifest={"path": "manifest.csv"}).model_dump()  # type: ignore[arg-type]
    assert listed == default
    assert _keys(tree) == _keys(default)


def _keys(tree: object) -> object:
    return {key: _keys(value) for key, value in tree.items()} if isinstance(tree, dict) else None


def test_every_key_is_described_with_all_of_its_values() -> None:
    described = {f"{key.group}.{key.name}".lstrip("."): key.text for key in config_keys()}
    choices = dict(_choices(Config))
    choices["endpoint.name"] = tuple(PROFILES)
    assert len(choices) > 5
    for key, values in choices.items():
        text = described.get(key) or described[key.partition(".")[0]]  # of a group that is null
        missing = [value for value in values if value not in text]
        assert not missing, f"{key}: {missing}"
    assert all(described.values())


def _choices(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, field in model.model_fields.items():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                if name != "endpoints":  # each of them has the keys of `endpoint`
                    yield from _choices(part, f"{name}.")
            elif get_origin(part) is Literal:
                yield f"{prefix}{name}", get_args(part)


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, type(int | str), tuple):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def test_the_page_of_endpoints_names_every_dialect() -> None:
    page = TEXTS[ROOT / "docs/endpoints.md"]
    assert [name for name in DIALECTS if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "text", [pytest.param(body, id=page) for page, language, body in BLOCKS if language == "yaml"]
)
def test_every_yaml_of_a_page_is_a_config(text: str) -> None:
    parse_config(yaml.safe_load(text))


# --- commands ---


def command_lines() -> Iterator[tuple[str, str]]:
    for name, language, body in BLOCKS:
        if language == "":
            for line in body.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|&& |\* {2})(omni-batch .*)$", line.strip()):
                    yield name, found[1]
    for page, text in TEXTS.items():
        for found in re.findall(r"`(omni-batch [^`]+)`", re.sub(r"\s+", " ", text)):
            yield NAMES[page], found


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=f"{page}: {line}") for page, line in command_lines()]
)
def test_every_command_of_a_page_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("…", "x").replace("\\|", "|"))[1:]
    group: Any = typer.main.get_command(app)
    name = next(word for word in words if not word.startswith("-"))
    assert name in group.commands or name == "COMMAND", line
    known = {"--help", *_options(group), *_options(group.commands.get(name))}
    assert {word for word in words if word.startswith("--")} <= known, line


def _options(command: Any) -> set[str]:
    params = command.params if command else ()
    return {option for param in params for option in (*param.opts, *param.secondary_opts)}


# --- errors ---


def test_every_error_has_a_meaning_and_a_remedy() -> None:
    kinds = error_kinds()
    assert len(kinds) > 15
    assert [e.kind for e in kinds if not (e.meaning and e.remedy)] == []


# --- links, paths, modules ---

LINKS = [
    (page, link)
    for page, text in TEXTS.items()
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
]


def test_relative_links_lead_to_files_and_headings() -> None:
    found = [(page, first or second) for page, (first, second) in LINKS]
    assert len(found) > 60
    assert [
        f"{NAMES[page]}: {link}" for page, link in found if not _leads_somewhere(page, link)
    ] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://")):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", outside, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_paths_that_are_named_exist() -> None:
    pattern = r"`((?:omni_batch|flows|tests|configs|data|docs)/[\w./<>-]*)`"
    named = [(page, path) for page, text in TEXTS.items() for path in re.findall(pattern, text)]
    assert len(named) > 20
    missing = [
        f"{NAMES[page]}: {path}"
        for page, path in named
        if "<" not in path and not path.startswith("data/runs") and not (ROOT / path).exists()
    ]
    assert not missing


def test_files_named_beside_a_path_exist() -> None:
    """In the README's table of what to touch: `a/b.py`, `c.py` means a/c.py or below."""
    rows = re.findall(r"^\| an? .*\|$", TEXTS[ROOT / "README.md"], re.M)
    assert len(rows) >= 7
    for row in rows:
        for short in re.findall(r"`(\w+\.(?:py|toml))`", row):
            assert any((ROOT / "omni_batch").rglob(short)), f"{short} in {row}"


def test_modules_that_are_run_exist() -> None:
    modules = {
        m for text in TEXTS.values() for m in re.findall(r"python -m ((?:tests|flows)[\w.]*)", text)
    }
    assert len(modules) > 8
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


# --- logs and telemetry ---


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        (r"`((?:run|endpoint|limit|item)_[a-z]+)`", "omni_batch/progress/events.py"),
        (r"`(?:omni_batch|gen_ai\.client)\.([a-z_.]+)`", "omni_batch/progress/telemetry.py"),
    ],
)
def test_events_and_metrics_that_are_named_are_made(pattern: str, source: str) -> None:
    code = (ROOT / source).read_text(encoding="utf-8")
    named = set(re.findall(pattern, TEXTS[ROOT / "docs/logs-and-telemetry.md"]))
    made = {name for name in named if re.search(rf'[".]{re.escape(name)}"', code)}
    states = {"run_finished", "run_stopped", "run_interrupted"}  # made of the state's name
    assert len(named) > 7
    assert named - made - states - {"run_id", "item_id"} == set()


# --- the README ---


def test_the_readme_is_short_and_has_its_two_commands() -> None:
    readme = TEXTS[ROOT / "README.md"]
    assert readme.count("\n") <= 200
    assert "\npip install -e . && omni-batch demo\n" in readme
    assert '\npip install -e ".[test]" && pytest\n' in readme


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omni_batch.cli.main", "demo", "--no-prefect"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (shown,) = (
        body for page, _, body in BLOCKS if page == "README.md" and "rows fail on purpose" in body
    )
    printed = {_timeless(line) for line in done.stdout.splitlines()}
    lines = [_timeless(line) for line in shown.splitlines() if line.strip() != "…"]
    assert len(lines) > 10
    assert [line for line in lines if line not in printed] == []


def _timeless(line: str) -> str:
    line = re.sub(r"demo-[0-9]{8}-[0-9]{6}", "demo-RUN", line)
    return re.sub(r"in [0-9.,]+ m?s$", "in a moment", line.rstrip())


def test_hooks_before_a_commit_fetch_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks["repos"][0]["hooks"]} == {"system"}


def test_the_index_lists_every_page() -> None:
    index = TEXTS[ROOT / "docs/index.md"]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()
