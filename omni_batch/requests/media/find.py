"""Reference → file: inside the roots, and found in the spellings that travel between systems."""

import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError, MediaError
from omni_batch.text import BLANKS, display_name

_FOLDERS_KEPT = 4096
_NAMES_SEEN = 100_000
_LOCAL_HOSTS = ("", "localhost")
_TIME_TELLS_AFTER_S = 2.0
"""File systems keep times in steps: of ms, and of 2 s on FAT."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """Where a reference leads."""

    path: Path
    """Without links."""
    size_bytes: int
    doubts: tuple[Doubt, ...] = ()
    """How it was read, where it was not read as it stands."""
    identity: tuple[object, ...] | None = None
    """Another content has another one; None where that can't be told yet."""
    sha256: str | None = None
    held: object = None
    """What keeps the file there, where it is not the user's own."""


class FileFinder:
    """Finds files for one manifest.

    Args:
        base: folder that relative references start from (the manifest's).
        roots: folders that files may lie in, relative to `base`.
        keep_folders: remember where folders lead, which is faster for files that are only shown; a
            folder that becomes a link later would go unnoticed.

    Raises:
        ConfigError: a root does not exist.
    """

    def __init__(self, base: Path, roots: Iterable[str], *, keep_folders: bool = False) -> None:
        self._base = base.resolve()
        self._roots = tuple((self._base / root).resolve() for root in roots)
        self._folder = lru_cache(_FOLDERS_KEPT if keep_folders else 0)(self._look_up)
        self._names = lru_cache(16)(_names)
        for root in self._roots:
            if not root.is_dir():
                raise ConfigError(f"media.roots: {root} is not a folder")

    def find(self, reference: str) -> FoundFile:
        """The file of a reference.

        As it stands it comes first. Where nothing has that name, the other spellings of it are
        tried that blanks, other systems and URLs make of it.

        Raises:
            MediaError: missing, not a regular file, or outside the roots.
        """
        name = display_name(reference)
        written = reference
        try:
            if _has_scheme(reference):
                written = _path_of_url(reference)
            return self._find(reference, written)
        except FileNotFoundError:
            hint = self._hint(reference, written)
            raise MediaError(f"{_visible(name)} does not exist; {hint}") from None
        except OSError as exc:
            raise MediaError(f"{_visible(name)} can't be opened: {exc.strerror}") from exc
        except (ValueError, RuntimeError) as exc:  # no name of a file; a ring of links
            raise MediaError(f"{_visible(name)} can't be opened: {exc}") from exc

    def has(self, reference: str) -> bool:
        """Whether a file has that very name and may be used."""
        try:
            written = _path_of_url(reference) if _has_scheme(reference) else reference
            path, inside = self._locate(written)
            return inside and path.is_file()
        except (MediaError, OSError, ValueError, RuntimeError):
            return False

    def _find(self, reference: str, written: str) -> FoundFile:
        path, inside = self._locate(written)
        if not inside:
            raise MediaError(self._outside(reference, written, path))
        try:
            return self._regular(reference, path)
        except (FileNotFoundError, NotADirectoryError):
            for spelling, how in self._spellings(written):
                path, inside = self._locate(spelling)
                if inside and path.exists():
                    message = f"{display_name(reference)} does not exist as written: read {how}"
                    doubt = Doubt("reference-read-otherwise", message)
                    return self._regular(reference, path, doubt)
            raise FileNotFoundError from None

    def _regular(self, reference: str, path: Path, *doubts: Doubt) -> FoundFile:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{display_name(reference)} is a folder; name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{display_name(reference)} is not a regular file; name one")
        return FoundFile(path, status.st_size, doubts, _identity(path, status))

    # --- roots ---

    def _locate(self, reference: str) -> tuple[Path, bool]:
        """The path without links, and whether it is inside the roots."""
        # Texts: folders of thousands of references are the same few, and `Path` takes longer.
        folder, name = os.path.split(os.path.join(self._base, reference))  # noqa: PTH118
        resolved, inside = self._folder(folder)
        path = resolved / name
        if not path.is_symlink():
            return path, inside
        path = path.resolve()
        return path, self._is_inside(path)

    def _look_up(self, folder: str) -> tuple[Path, bool]:
        path = Path(folder).resolve()
        return path, self._is_inside(path)

    def _is_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)

    def _outside(self, reference: str, written: str, resolved: Path) -> str:
        name = display_name(reference)
        plain = Path(os.path.normpath(self._base / written))
        parts = (*reversed(plain.parents), plain) if self._is_inside(plain) else ()
        if (link := next((part for part in parts if part.is_symlink()), None)) is not None:
            what = "is a link" if link == plain else f"leads through the link {link.name}"
            return (
                f"{name} {what} to {resolved}, outside media.roots; add the folder "
                f"{resolved.parent} there"
            )
        return f"{name} lies outside media.roots; add its folder there"

    def _hint(self, reference: str, written: str) -> str:
        if reference.startswith("~"):
            return "write the folder in place of ~"
        if reference.lower().startswith(("www.", "//", "http:", "https:")):
            return "for a web address write https://"
        folder, name = os.path.split(os.path.join(self._base, written))  # noqa: PTH118
        _, inside = self._folder(folder)
        near = self._names(folder).get(name.casefold()) if inside else None
        return f"there is {near}: correct the manifest" if near else "check the manifest"

    # --- spellings ---

    def _spellings(self, written: str) -> Iterator[tuple[str, str]]:
        """Other ways to write the same, and what they are."""
        bare = written.strip(BLANKS)
        changes: tuple[tuple[Callable[[str], str], str], ...] = (
            (lambda text: text, "without the blanks around it"),
            (lambda text: text.replace("\\", "/"), "with / for \\"),
            (unquote, "with its percent signs decoded"),
        )
        readings = [(written, "")] + [(change(bare), how) for change, how in changes]
        seen = {written}
        for reading, how in readings:
            for spelling in (reading, self._normalised(reading)):
                if spelling is not None and spelling not in seen:
                    seen.add(spelling)
                    form = "in the other Unicode form of its letters"
                    yield spelling, how if spelling == reading else f"{how} {form}".strip()

    def _normalised(self, reading: str) -> str | None:
        """The path with each name as it is on the disk, composed or decomposed; None where no
        name has two forms, or none of them is there."""
        if reading.isascii():
            return None
        found = self._base
        for part in Path(reading).parts:
            forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
            existing = (found / form for form in forms if (found / form).exists())
            if (next_one := next(existing, None)) is None:
                return None
            found = next_one
        return str(found)


def _identity(path: Path, status: os.stat_result) -> tuple[object, ...] | None:
    """None for a file that has just been written: its time would not tell the next change."""
    if time.time() - status.st_mtime < _TIME_TELLS_AFTER_S:
        return None
    # The last one is when it was written or put there, which nobody can set.
    times = status.st_mtime_ns, status.st_ctime_ns
    return str(path), status.st_size, status.st_ino, *times


def _has_scheme(reference: str) -> bool:
    return "://" in reference or reference.lstrip(BLANKS).lower().startswith("file:")


def _names(folder: str) -> dict[str, str]:
    """The names in a folder without their case, of a folder that is not huge."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name.casefold(): entry.name for entry in islice(entries, _NAMES_SEEN)}
    except OSError:
        return {}


def _path_of_url(reference: str) -> str:
    """The path of a file URL.

    Raises:
        MediaError: it is another URL.
    """
    url = urlsplit(reference.strip(BLANKS))
    name = display_name(reference)
    if url.scheme != "file":
        raise MediaError(
            f"{name} can't be fetched: give an http(s) URL (a signed one, if it is private), an "
            "s3://, gs://, oss:// or hf:// address, or a file"
        )
    if url.netloc.lower() not in _LOCAL_HOSTS:
        raise MediaError(f"{name} names the host {url.netloc}; write file:///… for a file here")
    return unquote(url.path)


def _visible(name: str) -> str:
    """In quotes where it has blanks that nobody would see."""
    plain = name.isprintable() and name == name.strip(BLANKS)
    return name if plain else repr(name)
