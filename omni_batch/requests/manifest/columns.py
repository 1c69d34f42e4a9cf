"""Names of a row's cells → Columns: what each is read as. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from omni_batch.config import ManifestConfig, Target
from omni_batch.requests.manifest.names import (
    ID_COLUMN,
    TARGETS,
    NearMiss,
    canonical,
    near_miss,
    shown,
)
from omni_batch.requests.prompt.spelling import spelling


@dataclass(frozen=True, slots=True)
class Columns:
    """How the cells of rows with these names are read."""

    read: Mapping[Target, str]
    """Columns with a meaning → their names in the manifest."""
    id_name: str | None
    """Name of the column with the ids, where there is one."""
    free: tuple[str, ...]
    """All others, carried into the results."""
    unread: tuple[tuple[str, NearMiss], ...]
    """Free ones that no prompt uses, and that nobody has declared free."""
    read_as: Mapping[str, str]
    """Names that were taken for a known one, although they are spelt otherwise."""


def understand(
    names: tuple[str, ...], config: ManifestConfig, variables: frozenset[str]
) -> Columns:
    """What the columns of a manifest mean.

    Args:
        variables: those of the prompt's template.
    """
    alike = _alike(names)
    mapped = set(config.columns.values())
    read: dict[Target, str] = {}
    for target in TARGETS:
        wanted = config.columns.get(target, target)
        found = _find(wanted, names, alike)
        if found in (None, *config.free_columns) or (found in mapped and found != wanted):
            continue
        read[target] = str(found)
    id_name = _find(config.id_column, names, alike)
    taken = {*read.values(), *([id_name] if config.id_column == ID_COLUMN else [])}
    free = tuple(name for name in names if name not in taken)
    kept = {canonical(name) for name in config.free_columns}
    return Columns(
        read=read,
        id_name=id_name,
        free=free,
        unread=tuple(
            (name, near_miss(name))
            for name in free
            if canonical(name) not in kept
            and name != id_name
            and variables.isdisjoint((name, spelling(name)))
        ),
        read_as={
            name: wanted
            for wanted, name in [
                *((config.columns.get(target, target), name) for target, name in read.items()),
                *([(config.id_column, id_name)] if id_name else []),
            ]
            if name != wanted
        },
    )


def doubts_of(columns: Columns) -> list[str]:
    """What to say about names that were read although they are spelt otherwise."""
    return [f"column {shown(name)} is read as {known}" for name, known in columns.read_as.items()]


def _alike(names: tuple[str, ...]) -> dict[str, str]:
    """Names by what they have in common with others; those that only one has."""
    counts = Counter(map(canonical, names))
    return {canonical(name): name for name in names if counts[canonical(name)] == 1}


def _find(wanted: str, names: tuple[str, ...], alike: Mapping[str, str]) -> str | None:
    return wanted if wanted in names else alike.get(canonical(wanted))
