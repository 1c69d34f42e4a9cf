"""Who may import whom. A new module is placed in the table on purpose.

A module imports only from its own layer and from those above it in the table. Imports inside
functions count; those that only a type checker sees do not.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "nouns": """omni_batch omni_batch.types omni_batch.errors omni_batch.config omni_batch.counts
        omni_batch.pace omni_batch.catalogue omni_batch.catalogue.loader
        omni_batch.catalogue.model""",
    "logic": """omni_batch.agreement omni_batch.assemble omni_batch.bill omni_batch.columns
        omni_batch.conversation omni_batch.failures
        omni_batch.fingerprint omni_batch.forecast omni_batch.json_object omni_batch.outlook
        omni_batch.rules omni_batch.rules.case
        omni_batch.rules.length omni_batch.rules.media omni_batch.rules.turns
        omni_batch.rules.wishes omni_batch.validate omni_batch.pcm omni_batch.prices
        omni_batch.redact omni_batch.report.breakdown omni_batch.report.distribution
        omni_batch.report.estimates omni_batch.report.exchanges omni_batch.report.facts
        omni_batch.report.figures omni_batch.report.remedies omni_batch.report.timeline
        omni_batch.report.troubles omni_batch.request omni_batch.sandbox
        omni_batch.sse omni_batch.told
        omni_batch.quota.breaker omni_batch.quota.limits omni_batch.quota.pacer
        omni_batch.quota.pause omni_batch.quota.ramp omni_batch.quota.rate
        omni_batch.quota.recent omni_batch.quota.room omni_batch.template
        omni_batch.tokens omni_batch.usage omni_batch.word_diff""",
    "edges": """omni_batch.manifest omni_batch.media omni_batch.probe omni_batch.quota
        omni_batch.quota.line omni_batch.retry omni_batch.endpoints
        omni_batch.endpoints.body omni_batch.endpoints.client omni_batch.endpoints.api_key
        omni_batch.endpoints.download omni_batch.endpoints.upload
        omni_batch.endpoints.files omni_batch.endpoints.form
        omni_batch.endpoints.dialect omni_batch.endpoints.dialects
        omni_batch.endpoints.dialects.batch_chat omni_batch.endpoints.dialects.dashscope
        omni_batch.endpoints.dialects.litellm omni_batch.endpoints.dialects.openai
        omni_batch.endpoints.dialects.sglang_omni omni_batch.endpoints.dialects.vllm
        omni_batch.endpoints.dialects.vllm_omni omni_batch.endpoints.encoding
        omni_batch.endpoints.wire omni_batch.endpoints.profiles omni_batch.rundir
        omni_batch.rundir.again omni_batch.rundir.disk omni_batch.rundir.earlier
        omni_batch.rundir.items omni_batch.rundir.journal omni_batch.rundir.layout
        omni_batch.rundir.parts omni_batch.rundir.record omni_batch.rundir.shards
        omni_batch.rundir.speech""",
    "the way": """omni_batch.again
        omni_batch.analytics omni_batch.attempt omni_batch.budget omni_batch.check
        omni_batch.deliver omni_batch.fleet omni_batch.learned omni_batch.plan
        omni_batch.reuse omni_batch.route
        omni_batch.question omni_batch.transport
        omni_batch.pipeline omni_batch.prepare omni_batch.run omni_batch.supervise
        omni_batch.report omni_batch.report.charts omni_batch.report.collect
        omni_batch.report.drawing
        omni_batch.report.gallery omni_batch.report.local_media omni_batch.report.page
        omni_batch.report.thumbnails omni_batch.tally omni_batch.compare
        omni_batch.query omni_batch.flat omni_batch.wording
        omni_batch.observers omni_batch.run_log omni_batch.telemetry
        omni_batch.export omni_batch.export.card omni_batch.export.draft
        omni_batch.export.hugging_face omni_batch.export.rows omni_batch.export.shards
        omni_batch.export.web_dataset omni_batch.export.write""",
    "doors": """omni_batch.cli omni_batch.cli_service omni_batch.cli_tables
        omni_batch.display omni_batch.logs
        omni_batch.display_compare omni_batch.display_run omni_batch.display_tables
        omni_batch.report.terminal
        flows flows.artifacts flows.batch flows.door flows.keys""",
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names.split()}
HEIGHT = {layer: height for height, layer in enumerate(LAYERS)}

OUTSIDE = (
    *("httpx", "httpx_aiohttp", "aiohttp", "aiofiles", "fsspec", "urllib.request", "socket"),
    *("soundfile", "av", "PIL", "pyarrow.parquet", "pyarrow.dataset", "filelock"),
    *("asyncio", "threading", "subprocess", "os", "shutil", "tempfile", "pathlib"),
)
"""What logic never touches: files, network, processes, waiting."""


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
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports_of(module: str) -> list[Import]:
    return list(_imports(TREES[module], lazy=False))


def _imports(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (Import(name, node.lineno, lazy) for name in _names(node))
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in children:
        yield from _imports(child, lazy=lazy)


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "write imports with the full name of the module"
    inner = [f"{node.module}.{alias.name}" for alias in node.names]
    modules = [name for name in inner if name in FILES]
    # `from package import name` needs the package itself only where a name is no module of it
    return modules if len(modules) == len(inner) else [str(node.module), *modules]


def ours(module: str) -> list[Import]:
    return [found for found in imports_of(module) if found.name in FILES]


def is_or_is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def in_simulator(name: str) -> bool:
    return is_or_is_in(name, "omni_batch.simulator")


CLIENT_SIDE = tuple(name for name in FILES if not in_simulator(name))
SIMULATOR = tuple(name for name in FILES if in_simulator(name))


# --- layers ---


def test_every_module_has_its_place_in_the_table() -> None:
    assert set(LAYER_OF) == set(CLIENT_SIDE)
    assert sum(len(names.split()) for names in LAYERS.values()) == len(LAYER_OF)


@pytest.mark.parametrize("module", CLIENT_SIDE)
def test_a_module_imports_from_its_own_layer_or_a_lower_one(module: str) -> None:
    height = HEIGHT[LAYER_OF[module]]
    upwards = [
        f"{module}, line {found.line}: {found.name} ({LAYER_OF[found.name]})"
        for found in ours(module)
        if not in_simulator(found.name) and HEIGHT[LAYER_OF[found.name]] > height
    ]
    assert not upwards


def test_no_imports_run_in_a_ring() -> None:
    graph = {name: {found.name for found in ours(name)} for name in FILES}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the ring


def test_edges_do_not_know_one_another() -> None:
    """But for files of one package, and media, whose files are probed."""
    strangers = [
        f"{module}, line {found.line}: {found.name}"
        for module in LAYERS["edges"].split()
        for found in ours(module)
        if LAYER_OF[found.name] == "edges"
        and _edge(module) != _edge(found.name)
        and (module, found.name) != ("omni_batch.media", "omni_batch.probe")
    ]
    assert not strangers


def _edge(module: str) -> str:
    return module.split(".")[1]


# --- purity ---


@pytest.mark.parametrize("module", LAYERS["logic"].split())
def test_logic_has_no_world(module: str) -> None:
    touched = [
        f"{module}, line {found.line}: import {found.name}"
        for found in imports_of(module)
        if any(is_or_is_in(found.name, name) for name in OUTSIDE)
    ]
    calls = [
        f"{module}, line {call.lineno}: {called}()"
        for call in ast.walk(TREES[module])
        if isinstance(call, ast.Call) and (called := _called(call)) in ("open", "sleep", "print")
    ]
    assert not touched + calls


def _called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def importers(library: str) -> set[str]:
    return {
        name
        for name in FILES
        if any(is_or_is_in(found.name, library) for found in imports_of(name))
    }


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("prefect", ("flows",)),
        ("tenacity", ("omni_batch.retry",)),
        ("httpx", ("omni_batch.endpoints.client", "omni_batch.endpoints.upload")),
        ("fsspec", ("omni_batch.manifest",)),
        ("av", ("omni_batch.probe", "omni_batch.report.thumbnails")),
        ("soundfile", ("omni_batch.rundir.speech",)),
        ("filelock", ("omni_batch.rundir.layout",)),
        ("yaml", ("omni_batch.config",)),
        ("jinja2", ("omni_batch.template", "omni_batch.sandbox", "omni_batch.report.page")),
        ("vl_convert", ("omni_batch.report.drawing",)),
        ("typer", ("omni_batch.cli", "omni_batch.cli_service", "omni_batch.cli_tables")),
        ("duckdb", ("omni_batch.query",)),
        ("opentelemetry", ("omni_batch.telemetry",)),
    ],
)
def test_each_outside_thing_is_met_in_one_place(library: str, homes: tuple[str, ...]) -> None:
    found = {name for name in importers(library) if not in_simulator(name)}
    assert found
    assert {name for name in found if not any(is_or_is_in(name, home) for home in homes)} == set()


# --- simulator ---


@pytest.mark.parametrize("module", SIMULATOR)
def test_the_simulator_knows_nothing_of_the_client_side(module: str) -> None:
    """Its reading of the API is its own, so that one mistake can't hide on both sides."""
    foreign = [found for found in imports_of(module) if is_or_is_in(found.name, "omni_batch")]
    assert [found for found in foreign if not in_simulator(found.name)] == []


def test_the_simulator_is_only_started_on_demand() -> None:
    found = [(module, found) for module in CLIENT_SIDE for found in imports_of(module)]
    users = [(module, found) for module, found in found if in_simulator(found.name)]
    assert users
    for module, found in users:
        assert found.lazy, f"{module}, line {found.line}: import it inside a function"
        assert LAYER_OF[module] in ("the way", "doors"), f"{module} imports the simulator"


# --- weight ---


def imported_with(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_the_engine_needs_neither_prefect_nor_pandas_nor_decoders() -> None:
    loaded = imported_with("omni_batch.pipeline")
    assert "pyarrow" in loaded
    assert loaded.isdisjoint(
        {"prefect", "pandas", "av", "PIL", "starlette", "uvicorn", "typer", "opentelemetry"}
    )


def test_help_is_not_kept_waiting() -> None:
    heavy = {"pyarrow", "numpy", "httpx", "aiohttp", "pydantic", "prefect", "pandas", "av", "PIL"}
    assert imported_with("omni_batch.cli").isdisjoint(heavy)


def test_the_package_itself_weighs_nothing() -> None:
    assert imported_with("omni_batch").isdisjoint({"pydantic", "pyarrow", "httpx", "asyncio"})
