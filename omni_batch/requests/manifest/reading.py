"""Manifest: rows and items of one manifest, and what was decided while they were read."""

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from omni_batch.config import ManifestConfig
from omni_batch.doubts import Doubt
from omni_batch.requests.manifest.columns import Columns, doubts_of, understand
from omni_batch.requests.manifest.formats.source import read_rows
from omni_batch.requests.manifest.ids import NewIds
from omni_batch.requests.manifest.item import to_item
from omni_batch.requests.manifest.names import shown
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.requests.manifest.unread import Suspects, UnreadColumns
from omni_batch.sources import Sources
from omni_batch.types import Item

_HEADERS_KEPT = 256  # each row of JSON may have columns of its own


class Manifest:
    """Reads a manifest once, row by row; memory does not grow with it.

    Args:
        base: where relative references start.
        variables: names that the prompt's template uses.
        sources: where archives and stores are read; of its own by default.
    """

    def __init__(
        self,
        config: ManifestConfig,
        base: Path,
        variables: frozenset[str] = frozenset(),
        sources: Sources | None = None,
    ) -> None:
        self._config, self._variables = config, variables
        self._named = frozenset((*config.columns.values(), *config.free_columns, config.id_column))
        self._sources = sources or Sources()
        self._notes, self._new_ids = Notes(), NewIds()
        self._unread = UnreadColumns(lambda name: _is_file(base / name))
        self._columns = lru_cache(_HEADERS_KEPT)(self._understand)
        self._unmet = set(config.columns.values())

    def rows(self) -> Iterator[ManifestRow]:
        """Rows in order.

        Raises:
            ManifestError: the manifest can't be read; names file, line and reason.
        """
        return read_rows(self._config.path, self._notes, self._sources, self._named)

    def read(self, row: ManifestRow, number: int) -> tuple[Item, Suspects]:
        """The item of a row, and its cells in columns that nothing reads which look as if meant.

        Args:
            number: from 0.

        Raises:
            ManifestError: a cell can't be used; does not name the row.
        """
        columns = self._columns(tuple(row.cells))
        item = to_item(row, number, columns, self._config, self._new_ids, self._notes)
        return item, self._unread.suspects(row, columns.unread) if columns.unread else []

    def judge(self, row: ManifestRow, suspects: Suspects, given: Collection[str]) -> bool:
        """Hold suspicious cells of a row against what it has.

        Args:
            given: kinds of media, `prompt`, `system`, `voice`, `messages`.

        Returns:
            Whether all is well so far.
        """
        self._unread.judge(row, suspects, given)
        return not self._unread.refuses

    def refusals(self) -> list[str]:
        """Why the rows read so far can't be sent as they are, beside what single rows are."""
        missing = [
            f"manifest.columns: no row has a column {shown(name)}; correct its name"
            for name in sorted(self._unmet)
        ]
        return [*missing, *self._unread.refusals()]

    def doubts(self) -> tuple[Doubt, ...]:
        """What was decided for the user in the rows read so far."""
        unread = (Doubt("column-not-read", message) for message in self._unread.doubts())
        return (*self._notes.doubts(), *unread)

    def _understand(self, names: tuple[str, ...]) -> Columns:
        columns = understand(names, self._config, self._variables)
        self._unmet.difference_update(names, columns.read_as.values())
        for message in doubts_of(columns):
            self._notes.add("column-read-as", message)
        return columns


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False
