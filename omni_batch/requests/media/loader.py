"""Reference → Media: files and data URIs are probed, URLs pass through."""

import asyncio
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError
from omni_batch.requests.media.data_uri import read_data_uri, refuse_bare_base64
from omni_batch.requests.media.find import FileFinder, FoundFile
from omni_batch.requests.media.open_medium import Depth
from omni_batch.text import BLANKS, display_name, is_data_uri, is_url
from omni_batch.types import Media

LARGEST_FILE_BYTES = 2 * 2**30
"""The largest medium that any model takes (Qwen3.5-Omni, by URL)."""
FORMAT_GUESSED = "format-guessed"
"""Rule of the doubt about a URL's format; it ends where the content tells."""
_AUDIO_FORMAT = "mp3"  # of a URL without a telling ending; the wire wants some value
_AUDIO_FORMATS = {
    **{name: name for name in ("mp3", "wav", "aac", "amr", "3gp", "ogg", "flac", "wma", "webm")},
    **{"m4a": "aac", "mp4": "aac", "3gpp": "3gp", "oga": "ogg", "opus": "ogg", "wave": "wav"},
    **{"mpga": "mp3", "mka": "mkv", "mkv": "mkv", "weba": "webm"},
}
"""Ending of a URL to `input_audio.format`; for .m4a the vendor's own command line sends aac."""


class MediaLoader:
    """Finds media for one run.

    Args:
        base: folder that relative references start from (the manifest's).
        roots: folders that files may lie in, relative to `base`.
        max_bytes: larger files are refused before a byte of them is read.
        keep_folders: as for `FileFinder`.
        known: media that were found before; they are not looked at again.
        depth: how media are looked at.

    Raises:
        ConfigError: a root does not exist.
    """

    def __init__(
        self,
        base: Path,
        roots: Iterable[str],
        max_bytes: int = LARGEST_FILE_BYTES,
        *,
        keep_folders: bool = False,
        known: Mapping[Media, Media] | None = None,
        depth: Depth = "to_send",
    ) -> None:
        self._max_bytes, self._known, self._depth = max_bytes, known or {}, depth
        self._files = FileFinder(base, roots, keep_folders=keep_folders)

    async def load(self, ref: Media) -> Media:
        """Probe one reference; files and data URIs are read in a thread.

        Raises:
            MediaError: missing, unreadable, outside the roots, too large, of another kind.
        """
        if (known := self._known.get(ref)) is not None:
            return known
        if is_url(ref.reference):
            return self.load_now(ref)
        return await asyncio.to_thread(self.load_now, ref)

    def load_now(self, ref: Media) -> Media:
        """The same, in this thread.

        Raises:
            MediaError: as of `load`.
        """
        if is_url(ref.reference):
            return _of_url(ref, ref.reference.strip(BLANKS))
        return self._written_out(ref) if is_data_uri(ref.reference) else self._load_file(ref)

    def find(self, reference: str) -> Path:
        """The file of a reference.

        Raises:
            MediaError: missing, too large, not a regular file, or outside the roots.
        """
        return self._find(reference).path

    def _find(self, reference: str) -> FoundFile:
        try:
            found = self._files.find(reference)
        except MediaError:
            refuse_bare_base64(reference)
            raise
        if found.size_bytes > self._max_bytes:
            raise MediaError(
                f"{display_name(reference)} has {found.size_bytes:,} bytes; the limit here is "
                f"{self._max_bytes:,}: give its http(s) URL, or make it smaller"
            )
        return found

    def _load_file(self, ref: Media) -> Media:
        # PyAV and Pillow: not paid for by text-only runs
        from omni_batch.requests.media.probe import probe_file

        found = self._find(ref.reference)
        media = probe_file(found.path, ref.kind, ref.reference, depth=self._depth)
        return replace(media, doubts=(*found.doubts, *media.doubts))

    def _written_out(self, ref: Media) -> Media:
        from omni_batch.requests.media.probe import probe

        written = read_data_uri(ref.reference, self._max_bytes)
        content = io.BytesIO(written.content)
        media = probe(content, ref.kind, ref.reference, depth=self._depth)
        return replace(
            media,
            url=written.url,
            sha256=hashlib.sha256(written.content).hexdigest(),
            doubts=(*written.doubts, *media.doubts),
        )


def _of_url(ref: Media, bare: str) -> Media:
    scheme, _, rest = bare.partition(":")
    url, name, doubts = f"{scheme.lower()}:{rest}", display_name(bare), []
    if bare != ref.reference:
        message = f"{name} has blanks around it: sent without them"
        doubts.append(Doubt("reference-read-otherwise", message))
    try:
        path = urlsplit(url).path
    except ValueError as exc:
        raise MediaError(f"{name} is not a URL ({exc}); correct it") from None
    form = Path(path.partition(";")[0]).suffix.lstrip(".").lower()
    if ref.kind == "audio":
        said = dict(ref.options).get("format")  # by the row's own words
        known = str(said) if said else _AUDIO_FORMATS.get(form)
        if known is None:
            message = f"{name} does not name its format: sent as {_AUDIO_FORMAT}"
            doubts.append(Doubt(FORMAT_GUESSED, message))
        form = known or _AUDIO_FORMAT
    return Media(ref.kind, ref.reference, url=url, format=form, doubts=tuple(doubts))
