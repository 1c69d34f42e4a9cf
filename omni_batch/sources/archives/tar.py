"""Members of tar archives, by an index that is made in one pass and lies on the disk."""

import io
import os
import sqlite3
import tarfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target

_LINKS_AT_MOST = 8
_PIECE_BYTES = 2**20
_END = bytes(tarfile.BLOCKSIZE)
"""What an archive ends with (POSIX.1: two blocks of zeros; one is enough for us)."""
_CUT = "is cut off or damaged"


class TarArchive:
    """One tar archive that lies here and is not packed.

    Args:
        name: what messages call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._lock = threading.Lock()
        # A private database on the disk, which goes with its connection: memory stays flat.
        self._index = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._index.close)
        self._index.execute("CREATE TABLE members (name BLOB PRIMARY KEY, place INT) WITHOUT ROWID")
        reader = TarReader(path, name)
        entries = ((_key(entry.name), place) for place, entry in reader)
        # A name that appears twice: the last one counts, as it does when tar extracts.
        self._index.executemany("INSERT OR REPLACE INTO members VALUES (?, ?)", entries)
        self._cut = reader.cut

    def copy(self, member: str, target: Target) -> None:
        """Write a member's content.

        Raises:
            SourceFault: it is not in the archive, is no file, or is cut off.
        """
        name = member
        for _ in range(_LINKS_AT_MOST):
            with closing(self._path.open("rb")) as file:
                archive, entry = self._found(file, name, member)
                if entry.isreg():
                    return self._copy(archive, entry, member, target)
            if not (entry.islnk() or entry.issym()):
                what = "a folder" if entry.isdir() else "not a file"
                raise SourceFault(f"{self._name}!/{member} is {what}; name a file in the archive")
            name = _target(entry)
        raise SourceFault(f"{self._name}!/{member} is a link that leads in a ring")

    def _found(
        self, file: BinaryIO, name: str, member: str
    ) -> tuple[tarfile.TarFile, tarfile.TarInfo]:
        """The archive as if it began with the member, and the member's header."""
        with self._lock:
            query = "SELECT place FROM members WHERE name = ?"
            found = self._index.execute(query, (_key(name),)).fetchone()
        if found is None:
            raise SourceFault(self._missing(name, member))
        file.seek(found[0])
        try:
            archive = tarfile.TarFile(fileobj=file)
            entry = archive.next()
        except tarfile.TarError:
            entry = None
        if entry is None or _key(entry.name) != _key(name):
            raise SourceFault(f"{self._name} was changed while it was read; run it again")
        return archive, entry

    def _missing(self, name: str, member: str) -> str:
        if name != member:
            return f"{self._name}!/{member} is a link to {name}, which is not in the archive"
        if self._cut:
            return f"{self._name} {self._cut}; {member} is not in what is left of it"
        return f"{self._name} has no member {member}; check the manifest"

    def _copy(
        self, archive: tarfile.TarFile, entry: tarfile.TarInfo, member: str, target: Target
    ) -> None:
        content, left = archive.extractfile(entry), entry.size
        try:
            while content and left and (data := content.read(min(left, _PIECE_BYTES))):
                left -= len(data)
                target.write(data)
        except tarfile.ReadError:
            pass
        if left:
            raise SourceFault(
                f"{self._name}!/{member} is cut off: not all of its {entry.size:,} bytes are "
                "there; make or download the archive again"
            )


class TarReader:
    """The members of a tar archive in their order; memory does not grow with it.

    Iterating gives the place of each member's header, in bytes, and the header.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._archive: tarfile.TarFile | None = None
        self.cut = ""
        """Known at the end: how the archive ends too early; empty where it is whole."""

    def __iter__(self) -> Iterator[tuple[int, tarfile.TarInfo]]:
        with closing(self._path.open("rb")) as file:
            try:
                self._archive = archive = tarfile.TarFile(fileobj=file)
            except tarfile.TarError as exc:
                raise SourceFault(
                    f"{self._name} is no tar archive that can be read ({exc}); make or download "
                    "it again"
                ) from exc
            yield from self._members(archive)
            self.cut = self.cut or self._how_it_ends(file, archive.offset)

    def content(self, entry: tarfile.TarInfo) -> bytes:
        """All of the member that iterating has just come to; empty for a link."""
        if self._archive is None or not entry.isreg():
            return b""
        content = self._archive.extractfile(entry)
        try:
            return content.read() if content else b""
        except tarfile.ReadError as exc:
            raise SourceFault(
                f"{self._name} {_CUT}, in {entry.name}; make or download it again"
            ) from exc

    def _members(self, archive: tarfile.TarFile) -> Iterator[tuple[int, tarfile.TarInfo]]:
        begins = 0
        try:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                yield begins, entry
                begins = archive.offset
        except (tarfile.TarError, EOFError):
            self.cut = _CUT

    def _how_it_ends(self, file: BinaryIO, offset: int) -> str:
        size_bytes = file.seek(0, io.SEEK_END)
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
        if block == _END or (not block and offset == size_bytes):
            return ""
        return _CUT


def _key(name: str) -> bytes:
    """Names as they are stored, but for `./` before them and what is not UTF-8."""
    return os.fsencode(plain_name(name))


def plain_name(name: str) -> str:
    """A member's name without `./` before it."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _target(entry: tarfile.TarInfo) -> str:
    """The member that a link names: a hard one from the root, a symbolic one from its folder."""
    if entry.islnk():
        return entry.linkname
    folder = os.path.dirname(plain_name(entry.name))  # noqa: PTH120
    return os.path.normpath(os.path.join(folder, entry.linkname))  # noqa: PTH118
