"""Members of zip archives, by the directory at their end."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target

_PIECE_BYTES = 2**20
_UNMARKED = ("utf-8", "gbk")
"""In what names are written that are not marked as UTF-8: Python reads them as `cp437`."""
_ENCRYPTED = 0x1  # of the flags of a member (APPNOTE 4.4.4)
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class ZipArchive:
    """One zip archive that lies here. Memory holds its directory.

    Args:
        name: what messages call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as exc:
            raise SourceFault(
                f"{name} has no directory at its end ({exc}): it is cut off or no whole zip; make "
                "or download it again"
            ) from exc

    def copy(self, member: str, target: Target) -> None:
        """Write a member's content, its checksum held against it.

        Raises:
            SourceFault: it is not in the archive, is no file, is locked or damaged.
        """
        entry = self._entry(member)
        try:
            with self._archive.open(entry) as content:
                while data := content.read(_PIECE_BYTES):
                    target.write(data)
        except NotImplementedError as exc:
            raise SourceFault(
                f"{self._name}!/{member} is packed in a way that is not known ({exc}): pack it by "
                "deflate"
            ) from exc
        except _DAMAGED as exc:
            raise SourceFault(
                f"{self._name}!/{member} is damaged ({exc}); make or download the archive again"
            ) from exc

    def _entry(self, member: str) -> zipfile.ZipInfo:
        known = self._archive.NameToInfo
        entry = next((known[name] for name in _readings(member) if name in known), None)
        if entry is None and f"{member}/" not in known:
            raise SourceFault(f"{self._name} has no member {member}; check the manifest")
        if entry is None or entry.is_dir():
            raise SourceFault(f"{self._name}!/{member} is a folder; name a file in the archive")
        if entry.flag_bits & _ENCRYPTED:
            raise SourceFault(
                f"{self._name}!/{member} is encrypted with a password; pack it without one"
            )
        return entry


def _readings(member: str) -> Iterator[str]:
    """The name as it may be known: marked as UTF-8, or by its bytes."""
    plain = member.removeprefix("./")
    yield plain
    for encoding in () if plain.isascii() else _UNMARKED:
        yield plain.encode(encoding, "replace").decode("cp437")
