"""Tables of the pages that the code knows.  python -m tests.docs_tables [--write]

A page marks the place of a table: `<!-- columns:results -->` … `<!-- end -->`. Names the pages that
are stale and exits with 1; with --write it rewrites them.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

from omni_batch import simulator
from omni_batch.analytics.majority import MAJORITY_COLUMNS
from omni_batch.analytics.sql import RUN_COLUMNS
from omni_batch.catalogue import Model, catalogue
from omni_batch.catalogue.describe import (
    audio_limits,
    frame_limits,
    image_limits,
    mixing,
    video_limits,
)
from omni_batch.cli.main import app
from omni_batch.errors import OmniBatchError, item_kinds, remedy_of
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.profiles import PROFILES, Profile
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.simulator import SimulatorOptions
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, Column

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "configs" / "reference.yaml"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(<!-- ([a-z]+(?::[a-z]+)?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Rewrite the stale pages, or name them."""
    stale = [page for page in PAGES if rewritten(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        print(f"{page.relative_to(ROOT)} is stale")
        if "--write" in arguments:
            page.write_text(rewritten(page), encoding="utf-8")
    return 1 if stale and "--write" not in arguments else 0


def rewritten(page: Path) -> str:
    """The page with its tables as they are now."""

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}{TABLES[found[2]]()}\n{found[4]}"

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; pipes in cells are escaped."""
    heads = list(heads)
    lines = [heads, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    first, *others = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, "|" + "---|" * len(heads), *others])


# --- columns ---


def columns(table: tuple[Column, ...]) -> str:
    """The columns of `results` or `attempts`."""
    rows = ([f"`{c.name}`", _type(c), c.description + _unit(c)] for c in table)
    return markdown(["column", "type", "holds"], rows)


_TYPES = {
    "timestamp[us, tz=UTC]": "timestamp",
    "list<item: string>": "list of string",
    "map<string, int64>": "map of int64",
}


def _type(column: Column) -> str:
    return _TYPES.get(str(column.type), str(column.type))


def _unit(column: Column) -> str:
    return f" ({column.unit})" if column.unit and column.unit not in column.description else ""


def view(fields: pa.Schema) -> str:
    """The columns of a view."""
    rows = (
        [f"`{field.name}`", _TYPES.get(str(field.type), str(field.type)), _description(field)]
        for field in fields
    )
    return markdown(["column", "type", "holds"], rows)


def _description(field: pa.Field) -> str:
    return str(field.metadata[b"description"].decode())


# --- commands ---


def commands() -> str:
    """Each command with what it needs and the first sentence of its help."""
    group: Any = typer.main.get_command(app)
    rows = (
        [f"`{_usage(name, command)}`", _first_sentence(command.help or "")]
        for name, command in group.commands.items()
        if not command.hidden
    )
    return markdown(["command", "does"], rows)


def _usage(name: str, command: Any) -> str:
    needed = (
        f"{param.opts[0]} {param.name.upper()}"
        if param.param_type_name == "option"
        else (param.metavar or param.name.upper())
        for param in command.params
        if param.required or param.param_type_name == "argument"
    )
    return " ".join(["omni-batch", name, *needed])


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


# --- configuration ---


@dataclass(frozen=True)
class Key:
    """One key of the configuration."""

    group: str
    """Its group; "" for keys at the top."""
    name: str
    default: str
    text: str


_LINE = re.compile(r"^( *)([a-z_]+):(?: +(\S.*?))??(?: +# (.*))?$")
_MORE = re.compile(r"^ +# (.*)$")


def config_keys() -> list[Key]:
    """Every key of configs/reference.yaml with its default and its comment."""
    found: list[Key] = []
    group = ""
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if more := _MORE.match(line):
            _continue(found, more[1])
        elif key := _LINE.match(line):
            group = "" if not key[1] else group
            if key[3] is None:
                group = key[2]
            else:
                found.append(Key(group, key[2], key[3], key[4] or ""))
    return found


def _continue(found: list[Key], text: str) -> None:
    last = found[-1]
    found[-1] = Key(last.group, last.name, last.default, f"{last.text} {text.strip()}".strip())


def config(group: str) -> str:
    """The keys of one group."""
    prefix = f"{group}." if group else ""
    rows = (
        [f"`{prefix}{key.name}`", f"`{key.default}`", key.text.rstrip(":")]
        for key in config_keys()
        if key.group == group
    )
    return markdown(["key", "default", "what it is"], rows)


def configs() -> str:
    """Every config of the repository with its first comment; two files are Prefect's."""
    of_prefect = {ROOT / "configs" / name for name in ("automation.yaml", "prefect.yaml")}
    paths = sorted(set((ROOT / "configs").glob("*.yaml")) - of_prefect)
    rows = ([f"[{path.name}](../configs/{path.name})", _first_comment(path)] for path in paths)
    return markdown(["config", "for"], rows)


def _first_comment(path: Path) -> str:
    """Its first sentence, or what of it is on the first line."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").split(". ")[0].rstrip(".")


# --- endpoints and models ---


def endpoints() -> str:
    """Every profile with what its server takes and gives."""
    heads = ["`endpoint.name`", "also needs", "key from", "input beside text", "speech", "files"]
    return markdown([*heads, "URLs it fetches"], map(_endpoint, PROFILES.values()))


def _endpoint(profile: Profile) -> list[str]:
    dialect = profile.dialect
    kinds = [kind for kind in ("image", "audio", "video", "frames") if kind in dialect.takes]
    fetched = [kind for kind in kinds if kind in dialect.fetches or kind == "frames"]
    return [
        f"`{profile.name}`",
        _needs(profile),
        f"`{profile.api_key_env}`" if profile.api_key_env else "none",
        ", ".join(kinds),
        "yes" if dialect.speaks else "no",
        "inline or uploaded" if dialect.uploads else _inline(dialect.inline_max_bytes),
        "all" if fetched == kinds else ", ".join(fetched) or "none",
    ]


def options() -> str:
    """What becomes of each option at each kind of server."""
    known = [*REQUEST_OPTIONS, "thinking", "voice", "response_format"]
    rows = [
        [f"`{name}`", *(_fate(name, dialect) for dialect in DIALECTS.values())] for name in known
    ]
    return markdown(["option", *(f"`{name}`" for name in DIALECTS)], rows)


def _fate(option: str, dialect: Dialect) -> str:
    places = {"thinking": dialect.thinking_switch, "voice": dialect.takes_voice}
    if option == "voice" and not dialect.speaks:
        return "-"
    if option == "response_format":  # of `annotation`
        return "sent" if dialect.holds_to_schema else "-"
    if option in places:
        return "sent" if places[option] else "refused"
    if option in dialect.doubted_parameters:
        return "sent, warned of"
    if dialect.parameters is not None and option not in dialect.parameters:
        return "refused"
    lacking = sorted(REQUEST_OPTIONS[option].beside & dialect.no_options_beside)
    return f"sent, not for {' or '.join(lacking)}" if lacking else "sent"


def _needs(profile: Profile) -> str:
    if profile.name == "dashscope-workspace":
        return "`workspace`, `region`"
    return "" if profile.base_url or profile.embedded else "`base_url`"


def _inline(cap_bytes: int | None) -> str:
    return f"inline, up to {cap_bytes / 2**20:.3g} MB" if cap_bytes else "inline"


def inputs() -> str:
    """What each model takes of each kind; unverified numbers are marked."""
    heads = ["model", "tokens in", "one image", "sound", "video", "frames", "kinds in one message"]
    models = [model for model in catalogue().models.values() if "video" in model.inputs]
    return markdown(heads, map(_input, models))


def _input(model: Model) -> list[str]:
    return [
        f"`{model.name}`",
        f"{model.max_input_tokens:,}" if model.max_input_tokens else "unknown",
        image_limits(model),
        audio_limits(model),
        video_limits(model),
        frame_limits(model),
        mixing(model),
    ]


# --- errors ---


@dataclass(frozen=True)
class ErrorKind:
    """What a user may read about one kind of error."""

    kind: str
    meaning: str
    retried: str
    remedy: str


def error_kinds() -> list[ErrorKind]:
    """Every kind that fails an item or stops a run, with what to do about it."""
    classes = {_kind(found): found for found in _subclasses(OmniBatchError)}
    wanted = item_kinds() | {kind for kind, found in classes.items() if found.stops_run}
    known = [_error(kind, found) for kind, found in classes.items() if kind in wanted]
    bug = "A fault in omni-batch itself."
    return [*known, ErrorKind("internal_error", bug, "no", remedy_of("internal_error"))]


def _error(kind: str, found: type[OmniBatchError]) -> ErrorKind:
    meaning = " ".join((inspect.getdoc(found) or "").split("\n\n")[0].split())
    return ErrorKind(kind, meaning, _retried(found), found.remedy)


def _retried(found: type[OmniBatchError]) -> str:
    if not found.retryable:
        return "no"
    if not found.uses_attempt:
        return "yes, until it succeeds"
    return f"yes, {found.attempts_at_most} attempts at most" if found.attempts_at_most else "yes"


def _subclasses(base: type[OmniBatchError]) -> Iterator[type[OmniBatchError]]:
    for child in base.__subclasses__():
        if child.__module__ == OmniBatchError.__module__:
            yield child
            yield from _subclasses(child)


def _kind(found: type[OmniBatchError]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", found.__name__).lower()


def _stops_run(kind: str) -> bool:
    return kind not in item_kinds() and kind != "internal_error"


def item_errors() -> str:
    """Errors that fail an item."""
    rows = (
        [f"`{e.kind}`", e.meaning, e.retried, e.remedy]
        for e in error_kinds()
        if not _stops_run(e.kind)
    )
    return markdown(["`error_kind`", "what it means", "retried", "what to do"], rows)


def run_errors() -> str:
    """Errors that stop a run."""
    rows = ([f"`{e.kind}`", e.meaning, e.remedy] for e in error_kinds() if _stops_run(e.kind))
    return markdown(["kind", "what it means", "what to do"], rows)


# --- simulator ---


def simulator_faults() -> str:
    """Every fault that `simulate --fault` knows."""
    rows = ([f"`{kind}`", meaning] for kind, meaning in simulator.FAULTS.items())
    return markdown(["fault", "what the client sees"], rows)


def simulator_editions() -> str:
    """What the simulator can be told to play where the guide contradicts itself."""
    rows = ([f"`{name}`", meaning] for name, meaning in simulator.EDITIONS.items())
    return markdown(["edition", "what holds"], rows)


def simulator_lines() -> str:
    """What may happen to a line of a job."""
    rows = ([f"`{fault}`", meaning] for fault, meaning in simulator.LINE_FAULTS.items())
    return markdown(["fault of a line", "what becomes of it"], rows)


def simulator_options() -> str:
    """Every option that `simulate --set` knows."""
    texts = attribute_docstrings(SimulatorOptions)
    rows = (
        [f"`{option.name}`", f"`{_default(option)}`", _with_choices(texts.get(option.name, ""))]
        for option in fields(SimulatorOptions)
    )
    return markdown(["option", "default", "what it is"], rows)


def _default(option: Any) -> str:
    value = {} if option.default is MISSING else option.default
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)


def _with_choices(text: str) -> str:
    """`One of FRAMINGS` with the names that it means."""
    found = re.fullmatch(r"One of `([A-Z_0-9]+)`\.", text)
    return f"One of `{'`, `'.join(getattr(simulator, found[1]))}`." if found else text


def attribute_docstrings(described: type) -> dict[str, str]:
    """The text below each attribute of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(described))).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts


_GROUPS = ("manifest", "endpoint", "request", "media", "stores", "quota", "retry", "budget")
TABLES: dict[str, Callable[[], str]] = {
    "columns:results": partial(columns, RESULT_COLUMNS),
    "columns:attempts": partial(columns, ATTEMPT_COLUMNS),
    "columns:runs": partial(view, RUN_COLUMNS),
    "columns:majority": partial(view, MAJORITY_COLUMNS),
    "commands": commands,
    "config:top": partial(config, ""),
    **{f"config:{group}": partial(config, group) for group in _GROUPS},
    "configs": configs,
    "endpoints": endpoints,
    "endpoints:options": options,
    "inputs": inputs,
    "errors:items": item_errors,
    "errors:run": run_errors,
    "simulator:editions": simulator_editions,
    "simulator:faults": simulator_faults,
    "simulator:lines": simulator_lines,
    "simulator:options": simulator_options,
}
"""Name of a block in a page → its table."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
