"""Who may import whom. The folders of the package in layers, from the ground up.

A part is a folder of the package, or one of the few modules beside them. It imports only from parts
on lower layers. Imports inside functions count; those that only a type checker sees do not.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    (
        "text",
        "format",
        "counts",
        "doubts",
        "changes",
        "endpoint_status",
        "interrupts",
        "_version",
    ),
    ("errors",),
    ("config", "types", "package_files", "annotation", "sources"),
    ("catalogue", "stream", "quota", "store"),
    ("requests", "progress"),
    ("providers", "analytics", "fitting"),
    ("planning", "jobs"),
    ("engine", "nights", "fleet"),
    ("flows", "api"),
    ("cli", "omni_batch"),
)
"""`omni_batch` is the package's own public face, `api` what is behind it; `flows` lies beside."""
ENGINE = ("stream", "quota", "store", "requests", "providers", "fitting", "planning", "engine")
SHOWS = ("analytics", "cli", "flows", "api")
"""Parts that only show what is there. The engine never needs them."""
PURE = (
    "text",
    "changes",
    "counts",
    "doubts",
    "format",
    "endpoint_status",
    "errors",
    "sources.address",
    "sources.fault",
    "sources.stores.faults",
    "stream",
    "catalogue.model",
    "catalogue.describe",
    "catalogue.tokens",
    "catalogue.prices",
    "requests.manifest.cells",
    "requests.manifest.columns",
    "requests.manifest.endings",
    "requests.manifest.formats.json_object",
    "requests.manifest.ids",
    "requests.manifest.item",
    "requests.manifest.names",
    "requests.manifest.notes",
    "requests.manifest.unread",
    "requests.messages",
    "requests.placeholders",
    "requests.prompt.language",
    "requests.prompt.spelling",
    "requests.build",
    "requests.request_options",
    "requests.fingerprint",
    "requests.validate",
    "requests.rules",
    "quota.policy",
    "quota.rate",
    "quota.pacer",
    "quota.slow_start",
    "quota.backoff",
    "quota.concurrency",
    "quota.circuit_breaker",
    "quota.recent",
    "store.columns",
    "fitting.decisions",
    "fitting.limits",
    "fitting.made",
    "fitting.sizes",
    "fitting.tasks",
    "fitting.windows",
    "planning.fitting.limits",
    "planning.fitting.turns",
    "progress.counters",
    "progress.eta",
    "progress.spending",
    "progress.phrases",
    "jobs.view",
    "jobs.lines",
    "jobs.output",
    "jobs.reply",
    "jobs.story",
    "jobs.coverage",
    "jobs.agenda",
    "fleet.split",
    "fleet.shares",
    "nights.night",
    "nights.days",
)
"""Modules and folders that touch no file, no network and no clock."""
OUTSIDE = (
    *("httpx", "httpx_aiohttp", "aiohttp", "aiofiles", "fsspec", "urllib.request", "socket"),
    *("soundfile", "av", "PIL", "pyarrow.parquet", "pyarrow.dataset", "filelock"),
    *("asyncio", "threading", "subprocess", "os", "shutil", "tempfile", "pathlib"),
)
"""What pure modules never import."""
HOMES = {
    "prefect": ("flows",),
    "tenacity": ("engine.sending.retry",),
    "httpx": ("providers.client", "providers.http_client", "providers.upload", "jobs.service"),
    "fsspec": ("requests.manifest",),
    "obstore": (
        "sources.stores.through_obstore",
        "sources.stores.writing",
        "sources.stores.opening",
    ),
    "botocore": ("sources.stores.through_botocore",),
    "datasets": ("requests.manifest.formats.hugging_face",),
    "huggingface_hub": ("sources.stores.hub",),
    "av": ("requests.media", "fitting.codecs", "analytics.report.thumbnails"),
    "pillow_heif": ("fitting.codecs",),
    "soundfile": ("store.audio",),
    "filelock": ("store.locks.lock", "sources.spool"),
    "croniter": ("nights.cron",),
    "yaml": ("config.yaml_values",),
    "jinja2": ("requests.prompt.language", "analytics.report.page"),
    "vl_convert": ("analytics.report.drawing",),
    "typer": ("cli",),
    "rich": ("cli",),
    "duckdb": ("analytics.sql",),
    "opentelemetry": ("progress.telemetry",),
}
"""Each outside thing is met in one place."""
LAYER_OF = {part: layer for layer, parts in enumerate(LAYERS) for part in parts}


@dataclass(frozen=True)
class Import:
    """One import, of a module of ours or of somebody else's."""

    name: str
    line: int
    lazy: bool
    """Inside a function."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for package in ("omni_batch", "flows")
    for path in sorted((ROOT / package).rglob("*.py"))
}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    return tuple(_imports(tree_of(module), module, lazy=False))


def _imports(node: ast.AST, module: str, *, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (Import(name, node.lineno, lazy) for name in _names(node, module))
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in children:
        yield from _imports(child, module, lazy=lazy)


def _names(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    home = str(node.module)
    if node.level:
        assert part_of(module) == "flows", "write imports with the full name of the module"
        home = f"flows.{node.module}" if node.module else "flows"
    inner = [f"{home}.{alias.name}" for alias in node.names]
    modules = [name for name in inner if name in FILES]
    # `from package import name` needs the package itself only where a name is not a module of it
    return modules if len(modules) == len(inner) else [home, *modules]


def part_of(module: str) -> str:
    package, _, inner = module.partition(".")
    return inner.split(".")[0] if inner and package == "omni_batch" else package


def ours(module: str) -> list[Import]:
    return [found for found in imports_of(module) if found.name in FILES]


def is_or_is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_in_any(module: str, places: tuple[str, ...]) -> bool:
    return any(is_or_is_in(module.removeprefix("omni_batch."), place) for place in places)


CLIENT = tuple(name for name in FILES if part_of(name) != "simulator")
SIMULATOR = tuple(name for name in FILES if part_of(name) == "simulator")


# --- layers ---


def test_every_part_has_its_layer() -> None:
    parts = {part_of(name) for name in CLIENT}
    # `python -m omni_batch` is the command line under another name
    assert parts - {"__main__"} == set(LAYER_OF)
    assert len(LAYERS) <= 10


def test_a_part_imports_only_from_lower_layers() -> None:
    upwards = [
        f"{module}, line {found.line}: {found.name}"
        for module in CLIENT
        if part_of(module) != "__main__"
        for found in ours(module)
        if part_of(found.name) not in (part_of(module), "simulator")
        and LAYER_OF[part_of(found.name)] >= LAYER_OF[part_of(module)]
    ]
    assert not upwards


def test_no_imports_run_in_a_ring() -> None:
    graph = {name: {found.name for found in ours(name)} for name in FILES}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the ring


def test_no_folder_is_crowded() -> None:
    folders: dict[Path, int] = {}
    for path in (path for name, path in FILES.items() if not path.name.startswith("__init__")):
        folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {str(folder): files for folder, files in folders.items() if files > 13} == {}


def test_the_engine_needs_nothing_that_only_shows() -> None:
    shown = [
        f"{module}, line {found.line}: {found.name}"
        for module in CLIENT
        if part_of(module) in ENGINE
        for found in ours(module)
        if part_of(found.name) in SHOWS
    ]
    assert not shown


# --- purity ---


@pytest.mark.parametrize("module", [name for name in CLIENT if is_in_any(name, PURE)])
def test_logic_touches_no_file_no_network_and_no_clock(module: str) -> None:
    touched = [
        f"{module}, line {found.line}: import {found.name}"
        for found in imports_of(module)
        if any(is_or_is_in(found.name, name) for name in OUTSIDE)
    ]
    calls = [
        f"{module}, line {call.lineno}: {called}()"
        for call in ast.walk(tree_of(module))
        if isinstance(call, ast.Call) and (called := _called(call)) in ("open", "sleep", "print")
    ]
    assert not touched + calls


def test_every_pure_place_exists() -> None:
    assert [place for place in PURE if not any(is_in_any(name, (place,)) for name in CLIENT)] == []


def _called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


@pytest.mark.parametrize("library", HOMES)
def test_each_outside_thing_is_met_in_one_place(library: str) -> None:
    users = {
        name
        for name in CLIENT
        if any(is_or_is_in(found.name, library) for found in imports_of(name))
    }
    assert users
    assert {name for name in users if not is_in_any(name, HOMES[library])} == set()


# --- simulator ---


@pytest.mark.parametrize("module", SIMULATOR)
def test_the_simulator_knows_nothing_of_the_client_side(module: str) -> None:
    """Its reading of the API is its own, so that one mistake can't hide on both sides."""
    foreign = [found for found in imports_of(module) if is_or_is_in(found.name, "omni_batch")]
    assert [found for found in foreign if part_of(found.name) != "simulator"] == []


def test_the_simulator_is_only_started_on_demand() -> None:
    users = [
        (module, found)
        for module in CLIENT
        for found in imports_of(module)
        if found.name in FILES and part_of(found.name) == "simulator"
    ]
    assert users
    for module, found in users:
        assert found.lazy, f"{module}, line {found.line}: import it inside a function"
        assert part_of(module) in ("engine", "cli"), f"{module} imports the simulator"


# --- weight ---


def imported_with(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_the_engine_needs_neither_prefect_nor_pandas_nor_decoders() -> None:
    loaded = imported_with("omni_batch.engine.pipeline")
    assert "pyarrow" in loaded
    assert loaded.isdisjoint(
        {"prefect", "pandas", "av", "PIL", "starlette", "uvicorn", "typer", "duckdb"}
        | {"opentelemetry"}
    )


def test_help_is_not_kept_waiting() -> None:
    heavy = {"pyarrow", "numpy", "httpx", "aiohttp", "pydantic", "prefect", "pandas", "av", "PIL"}
    assert imported_with("omni_batch.cli.main").isdisjoint(heavy)


def test_the_package_itself_weighs_nothing() -> None:
    assert imported_with("omni_batch").isdisjoint({"pydantic", "pyarrow", "httpx", "asyncio"})
