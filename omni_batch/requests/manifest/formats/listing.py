"""A bucket, a prefix of one, or a pattern of keys → rows: one for each object with media in it."""

import re
from collections import Counter
from collections.abc import Iterator

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.endings import KIND_OF_ENDING, ending
from omni_batch.requests.manifest.ids import NewIds
from omni_batch.requests.manifest.names import ID_COLUMN
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.sources import Address, Sources

_WILDCARDS = re.compile(r"[*?\[]")
_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]/]+\]|[^*?\[]+|\[")


def is_listed(path: str) -> bool:
    """Whether the path of a store names several objects: a bucket, a folder, or a pattern."""
    key = Address.of(path).key
    return not key or key.endswith("/") or bool(_WILDCARDS.search(key))


def matching(address: Address, sources: Sources) -> Iterator[str]:
    """Keys of a folder or a pattern, to the letter, as the store lists them."""
    fixed = _WILDCARDS.split(address.key, maxsplit=1)[0]
    keys = sources.keys(Address(address.scheme, address.bucket, fixed))
    if fixed == address.key:
        return keys
    pattern = re.compile(_expression(address.key), re.DOTALL)
    return (key for key in keys if pattern.fullmatch(key))


def read_listing(address: Address, sources: Sources, notes: Notes) -> Iterator[ManifestRow]:
    """Read page by page; memory holds 16 bytes for each object.

    Args:
        address: of a folder, whose hidden files are left out, or a pattern.

    Raises:
        ManifestError: there are no media in it.
    """
    ids, skipped, found = NewIds(), Counter[str](), False
    base = len(address.key[: address.key.rfind("/", 0, _first_sign(address.key)) + 1])
    for key in matching(address, sources):
        name = key[base:]
        kind = KIND_OF_ENDING.get(ending(key))
        if name.startswith(".") or "/." in name:
            continue
        if kind is None:
            if not key.endswith("/"):  # what consoles make in place of folders
                skipped[f".{ending(key)}" if ending(key) else "no ending"] += 1
            continue
        found = True
        whole = str(Address(address.scheme, address.bucket, key))
        own = next(each for each in (name.rpartition(".")[0], name) if ids.take(each))
        yield ManifestRow(whole, {ID_COLUMN: own, kind: whole})
    if skipped:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in skipped.most_common(8))
        notes.add("files-skipped", f"{skipped.total():,} objects in {address} are skipped: {kinds}")
    if not found:
        known = ", ".join(sorted(KIND_OF_ENDING))
        raise ManifestError(f"{address} has no media; their endings are {known}")


def _first_sign(key: str) -> int:
    found = _WILDCARDS.search(key)
    return found.start() if found else len(key)


def _expression(pattern: str) -> str:
    """A pattern of a shell as a regular expression: `*` ends at a slash, `**` does not."""
    return "".join(map(_part, _PARTS.findall(pattern)))


def _part(sign: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if sign in known:
        return known[sign]
    if sign[0] == "[" and len(sign) > 1:
        inner = re.sub(r"([\\^\[])", r"\\\1", sign[1:-1])
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(sign)
