"""What the documents say is what the code does."""

import re
from pathlib import Path

import yaml

from omni_batch.cli.main import app
from omni_batch.config import Config, parse_config
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, Column

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_reference_config_lists_every_key_with_its_default() -> None:
    tree = yaml.safe_load((ROOT / "configs" / "reference.yaml").read_text(encoding="utf-8"))
    listed = parse_config(tree).model_dump()
    default = Config(manifest={"path": "manifest.csv"}).model_dump()  # type: ignore[arg-type]
    assert listed == default
    assert _keys(tree) == _keys(default)


def _keys(tree: object) -> object:
    return {key: _keys(value) for key, value in tree.items()} if isinstance(tree, dict) else None


def test_readme_lists_every_column() -> None:
    for table in (RESULT_COLUMNS, ATTEMPT_COLUMNS):
        assert columns_markdown(table) in README


def columns_markdown(columns: tuple[Column, ...]) -> str:
    """The table of a README; after a change of columns, paste what this returns."""
    rows = [
        f"| `{column.name}` | {_type(column)} | {column.description}{_unit(column)} |"
        for column in columns
    ]
    return "\n".join(["| column | type | holds |", "|---|---|---|", *rows])


def _type(column: Column) -> str:
    names = {"timestamp[us, tz=UTC]": "timestamp", "list<item: string>": "list of string"}
    return names.get(str(column.type), str(column.type))


def _unit(column: Column) -> str:
    return f" ({column.unit})" if column.unit and column.unit not in column.description else ""


def test_readme_shows_every_command() -> None:
    shown = set(re.findall(r"^\| `omni-batch (\w+)", README, re.MULTILINE))
    commands = {c.name or (c.callback and c.callback.__name__) for c in app.registered_commands}
    assert shown == commands
