"""Reference → Media: files and data URIs are probed, URLs pass through."""

import asyncio
import hashlib
import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from omni_batch.doubts import Doubt
from omni_batch.errors import CredentialsExpired, MediaError, OmniBatchError
from omni_batch.requests.manifest.endings import ending
from omni_batch.requests.media.data_uri import read_data_uri, refuse_bare_base64
from omni_batch.requests.media.find import FileFinder, FoundFile
from omni_batch.requests.media.known import KnownMedia
from omni_batch.requests.media.open_medium import Depth
from omni_batch.sources import Address, SourceFault, Sources, Spooled
from omni_batch.sources.address import beside, is_web, member_splits
from omni_batch.sources.kept import Kept
from omni_batch.sources.stores.faults import Expired
from omni_batch.sources.stores.object_store import Head
from omni_batch.text import BLANKS, display_name, is_data_uri, is_url
from omni_batch.types import Media, MediaKind

LARGEST_FILE_BYTES = 2 * 2**30
"""The largest medium that any model takes (Qwen3.5-Omni, by URL)."""
_PROBES_KEPT = 4096
"""What is known of media, about 1 kB each, so that a medium of many rows is looked at once."""
_MEMBER = "!/"
_ARCHIVES = (".tar", ".zip", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
"""Endings that tell an archive from an object whose name has `!/` in it."""
_TRIED_FOR_S = 60
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
        sources: where archives and stores are read; of its own by default.
        base_url: folder that relative references start from instead, where the manifest lies
            elsewhere; with its slash.
        signs: kinds of media in stores for which the service is given a signed address; others are
            read.
        signs_private: sign also for stores that the service does not seem to reach.
        kept: what earlier runs found out about files.
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
        sources: Sources | None = None,
        base_url: str | None = None,
        signs: frozenset[MediaKind] = frozenset(),
        signs_private: bool = False,
        depth: Depth = "to_send",
        kept: KnownMedia | None = None,
    ) -> None:
        self._kept = kept
        self._base_url, self._signs, self._signs_private = base_url, signs, signs_private
        self._max_bytes, self._known, self._depth = max_bytes, known or {}, depth
        self.sources = sources or Sources()
        self._probed: Kept[tuple[object, ...], Media] = Kept(_PROBES_KEPT)
        self._heads: Kept[Address, Head] = Kept(_PROBES_KEPT)
        self._files = FileFinder(base, roots, keep_folders=keep_folders)

    async def load(self, ref: Media) -> Media:
        """Probe one reference; files and data URIs are read in a thread.

        Raises:
            MediaError: missing, unreadable, outside the roots, too large, of another kind.
            CredentialsExpired: a store takes them no longer.
        """
        if (known := self._known.get(ref)) is not None:
            return known
        if self._is_passed_on(self._whole(ref.reference)):
            return self.load_now(ref)
        return await asyncio.to_thread(self.load_now, ref)

    def load_now(self, ref: Media) -> Media:
        """The same, in this thread.

        Raises:
            MediaError: as of `load`.
        """
        if is_data_uri(ref.reference):
            return self._written_out(ref)
        reference = self._whole(ref.reference)
        if self.sources.takes(reference) and not _in_archive(reference):
            return self._load_object(ref, Address.of(reference))
        return _of_url(ref, reference) if self._is_passed_on(reference) else self._load_file(ref)

    def _is_passed_on(self, reference: str) -> bool:
        """Whether the service gets a URL as it stands: it knows no members of archives."""
        return (
            is_url(reference) and not self.sources.takes(reference) and not _in_archive(reference)
        )

    def address(self, reference: str) -> Address | None:
        """The object that a reference names, or lies in; None where it is in no store."""
        whole = self._whole(reference)
        if is_data_uri(reference) or not self.sources.takes(whole):
            return None
        return Address.of(_in_archive(whole) or whole)

    def _whole(self, reference: str) -> str:
        """Relative to a manifest elsewhere: with its folder."""
        if self._base_url is None or "://" in reference[:40] or is_data_uri(reference):
            return reference
        if (whole := beside(self._base_url, reference)) is None:
            raise MediaError(
                f"{display_name(reference)} leads out of the manifest's folder; give its whole "
                "address"
            )
        return whole

    def find(self, reference: str) -> FoundFile:
        """The file of a reference; that of a member is there as long as it is held.

        Raises:
            MediaError: missing, too large, not a regular file, or outside the roots.
        """
        try:
            found = self._located(reference)
        except MediaError:
            refuse_bare_base64(reference)
            raise
        if found.size_bytes > self._max_bytes:
            raise MediaError(
                f"{display_name(reference)} has {found.size_bytes:,} bytes; the limit here is "
                f"{self._max_bytes:,}: give its http(s) URL, or make it smaller"
            )
        return found

    def _located(self, reference: str) -> FoundFile:
        """A file comes first; a name such as `a.tar!/b.jpg` may be that of a folder."""
        reference = self._whole(reference)
        if self.sources.takes(reference) or is_web(reference):
            return self._elsewhere(reference)
        if _MEMBER not in reference or self._files.has(reference):
            return self._files.find(reference)
        for archive, member in member_splits(reference):
            if (found := self._archive(archive)) is not None:
                return self._member(found, display_name(archive), member)
        return self._files.find(reference)

    def _archive(self, reference: str) -> FoundFile | None:
        with suppress(MediaError):
            return self._files.find(reference)
        return None

    def _elsewhere(self, reference: str) -> FoundFile:
        """An object, or a member of an archive that lies in a store or behind a URL."""
        archive = _in_archive(reference)
        most = None if archive else self._max_bytes
        name = archive or reference
        try:
            if is_web(name):
                file = self.sources.web_file(name.lstrip(BLANKS))
            else:
                file = self.sources.object(Address.of(name), most)
        except SourceFault as exc:
            raise _error_of(exc) from None
        if archive is None:
            return _of_spool(file)
        member = reference[len(archive) + len(_MEMBER) :]
        return self._member(_of_spool(file), display_name(archive), member)

    def _load_object(self, ref: Media, address: Address) -> Media:
        """An object is read as a file is, unless the service fetches it."""
        try:
            if ref.kind not in self._signs or not self._is_signed(address):
                return self._load_file(ref)
            head = self._heads.get(address, lambda: self.sources.head(address))
        except SourceFault as exc:
            raise _error_of(exc) from None
        media = _with_format(ref, str(address), ending(address.key))
        return replace(media, size_bytes=head.size_bytes, object_version=head.version)

    def _is_signed(self, address: Address) -> bool:
        reached = self._signs_private or self.sources.is_public(address)
        return reached and self.sources.signed(address, _TRIED_FOR_S) is not None

    def _member(self, archive: FoundFile, name: str, member: str) -> FoundFile:
        try:
            file = self.sources.member(archive.path, member, name)
        except SourceFault as exc:
            raise _error_of(exc) from None
        except OSError as exc:
            raise MediaError(f"{name} can't be read: {exc.strerror}") from exc
        return _of_spool(file, archive.doubts)

    def _load_file(self, ref: Media) -> Media:
        found = self.find(ref.reference)
        if found.identity is None:
            media = self._seen(found, ref)
        else:
            key = (ref.kind, ref.reference, *found.identity)
            media = self._probed.get(key, lambda: self._known_or_probed(key, found, ref))
        doubts = (*found.doubts, *media.doubts)
        return replace(media, path=found.path, held=found.held, doubts=doubts)

    def _known_or_probed(self, key: tuple[object, ...], found: FoundFile, ref: Media) -> Media:
        if self._kept is None:
            return self._seen(found, ref)
        if (known := self._kept.get(key)) is not None:
            return known
        media = self._seen(found, ref)
        self._kept.put(key, media)
        return media

    def _seen(self, found: FoundFile, ref: Media) -> Media:
        # PyAV and Pillow: not paid for by text-only runs
        from omni_batch.requests.media.probe import probe_file

        return probe_file(found.path, ref.kind, ref.reference, found.sha256, depth=self._depth)

    def _written_out(self, ref: Media) -> Media:
        from omni_batch.requests.media.probe import probe

        written = read_data_uri(ref.reference, self._max_bytes)
        sha256 = hashlib.sha256(written.content).hexdigest()
        media = self._probed.get(
            (ref.kind, "data", sha256),
            lambda: replace(
                probe(io.BytesIO(written.content), ref.kind, ref.reference, depth=self._depth),
                reference="",
            ),
        )
        return replace(
            media,
            reference=ref.reference,
            url=written.url,
            sha256=sha256,
            doubts=(*written.doubts, *media.doubts),
        )


def _error_of(fault: SourceFault) -> OmniBatchError:
    """Rows fail one by one, unless all of them would."""
    return (CredentialsExpired if isinstance(fault, Expired) else MediaError)(str(fault))


def _in_archive(reference: str) -> str | None:
    """The archive that a reference into a store leads into."""
    if _MEMBER not in reference:
        return None
    for archive, _ in member_splits(reference):
        name = archive.partition("?")[0] if is_web(archive) else archive
        if name.lower().endswith(_ARCHIVES):
            return archive
    return None


def _of_spool(file: Spooled, doubts: tuple[Doubt, ...] = ()) -> FoundFile:
    return FoundFile(file.path, file.size_bytes, doubts, (file.sha256,), file.sha256, file)


def _of_url(ref: Media, reference: str) -> Media:
    bare = reference.strip(BLANKS)
    scheme, _, rest = bare.partition(":")
    url, name, doubts = f"{scheme.lower()}:{rest}", display_name(bare), []
    if bare != reference:
        message = f"{name} has blanks around it: sent without them"
        doubts.append(Doubt("reference-read-otherwise", message))
    try:
        path = urlsplit(url).path
    except ValueError as exc:
        raise MediaError(f"{name} is not a URL ({exc}); correct it") from None
    form = Path(path.partition(";")[0]).suffix.lstrip(".").lower()
    media = _with_format(ref, url, form)
    return replace(media, doubts=(*doubts, *media.doubts))


def _with_format(ref: Media, url: str, form: str) -> Media:
    """What is fetched by the service, with what its ending says."""
    name, doubts = display_name(url), []
    if ref.kind == "audio":
        said = dict(ref.options).get("format")  # by the row's own words
        known = str(said) if said else _AUDIO_FORMATS.get(form)
        if known is None:
            message = f"{name} does not name its format: sent as {_AUDIO_FORMAT}"
            doubts.append(Doubt(FORMAT_GUESSED, message))
        form = known or _AUDIO_FORMAT
    return Media(ref.kind, ref.reference, url=url, format=form, doubts=tuple(doubts))
