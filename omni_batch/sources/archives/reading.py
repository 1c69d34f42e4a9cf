"""Archives that lie on this machine: told by their content, indexed once, read by member."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from omni_batch.sources.archives.tar import TarArchive
from omni_batch.sources.archives.zip import ZipArchive
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.kept import Kept
from omni_batch.sources.spool import Spool, Spooled, Target

_OPEN_AT_MOST = 16
_HEAD_BYTES = 6
_PIECE_BYTES = 2**20
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # a member, the end of an empty one, a spanned one
_PACKED: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_UNREADABLE = {b"\x28\xb5\x2f\xfd": "packed with zstd", b"Rar!": "a RAR archive", b"7z": "7-Zip"}
_UNPACKS_TO_BYTES = 2**30
_UNPACKS_TO_TIMES = 200
"""What a packed archive may unpack to, whichever is more: media do not shrink to a hundredth."""
Identity = tuple[str, int, int, int, int]
"""Path, size, number and times of a file: another content has another one."""


class Archive(Protocol):
    """What all kinds of archives can do."""

    def copy(self, member: str, target: Target) -> None:
        """Write a member's content."""


class Archives:
    """Reads members. A few archives stay open, with an index each.

    Args:
        spool: takes the members, and archives that have to be unpacked.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._open: Kept[Identity, tuple[Archive, Spooled | None]] = Kept(_OPEN_AT_MOST)

    def member(self, path: Path, member: str, name: str) -> Spooled:
        """A member's content as a file of its own.

        Args:
            path: of the archive.
            name: what messages call the archive.

        Raises:
            SourceFault: the archive or the member can't be read.
            StorageError: the local disk is full.
        """
        identity = identity_of(path)
        archive, _ = self._open.get(identity, lambda: self._opened(path, name, identity))
        key = ("member", *identity, member)
        return self._spool.hold(key, lambda target: archive.copy(member, target))

    def plain_tar(self, path: Path, name: str) -> tuple[Path, object]:
        """A tar archive as a file that is not packed, and what to hold while it is used."""
        unpacked = self._unpacked(path, name, identity_of(path))
        return (unpacked.path, unpacked) if unpacked else (path, None)

    def _opened(self, path: Path, name: str, identity: Identity) -> tuple[Archive, Spooled | None]:
        """The archive, and what to hold as long as it is open."""
        head = _head(path)
        for start, what in _UNREADABLE.items():
            if head.startswith(start):
                raise SourceFault(f"{name} is {what}, which is not read; make a tar or zip of it")
        if head.startswith(_ZIP):
            return ZipArchive(path, name), None
        unpacked = self._unpacked(path, name, identity)
        return TarArchive(unpacked.path if unpacked else path, name), unpacked

    def _unpacked(self, path: Path, name: str, identity: Identity) -> Spooled | None:
        head = _head(path)
        opened = next((opener for start, opener in _PACKED.items() if head.startswith(start)), None)
        if opened is None:
            return None
        most = max(_UNPACKS_TO_BYTES, _UNPACKS_TO_TIMES * path.stat().st_size)
        return self._spool.hold(
            ("unpacked", *identity), lambda target: _unpack(opened, path, name, target, most)
        )


def identity_of(path: Path) -> Identity:
    """What tells whether a file is the one that was read before."""
    status = path.stat()
    times = status.st_mtime_ns, status.st_ctime_ns
    return str(path), status.st_size, status.st_ino, *times


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _unpack(
    opened: Callable[[Path], Any], path: Path, name: str, target: Target, most: int
) -> None:
    """Unpack an archive, once: there is no other way to a place in it."""
    left = most
    try:
        with opened(path) as packed:
            # `read` would drop what came before an early end.
            while data := packed.read1(_PIECE_BYTES):
                left -= len(data)
                if left < 0:
                    raise SourceFault(
                        f"{name} unpacks to more than {most:,} bytes; give the archive unpacked"
                    )
                target.write(data)
    except EOFError:
        return  # what came is whole; that the archive is cut, its index will tell
    except (OSError, zlib.error, lzma.LZMAError) as exc:
        raise SourceFault(
            f"{name} can't be unpacked ({exc}): it is cut off or damaged; make or download it again"
        ) from exc
