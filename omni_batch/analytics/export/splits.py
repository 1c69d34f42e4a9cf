"""`--split train=0.9,test=0.1`: exact shares of the rows, by a hash of each item's id and a seed.

So neither shards nor the order of rows decide where an item goes, rows of one item stay together,
and the same seed gives the same again. Two readings of the ids find where the cuts are; memory does
not grow with the rows.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from omni_batch.errors import ConfigError

_NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
"""What `datasets` takes as the name of a split, and every system as that of a file."""
_BUCKET_BITS = 16
_SHIFT = np.uint64(64 - _BUCKET_BITS)

Hashes = npt.NDArray[np.uint64]
Ids = Callable[[], Iterable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Shares:
    """Names of the splits and their shares, which are 1 together."""

    shares: dict[str, Decimal]
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they were given."""
        return tuple(self.shares)

    def sizes(self, rows: int) -> list[int]:
        """Rows of each split: those left by rounding down go where most was cut off."""
        exact = [share * rows for share in self.shares.values()]
        sizes = [int(share) for share in exact]
        by_remainder = sorted(range(len(exact)), key=lambda each: sizes[each] - exact[each])
        for each in by_remainder[: rows - sum(sizes)]:
            sizes[each] += 1
        return sizes


def read_shares(text: str, seed: int = 0) -> Shares:
    """Shares as the command line has them.

    Raises:
        ConfigError: they can't be read, a name appears twice, or they are not 1 together.
    """
    shares: dict[str, Decimal] = {}
    for part in text.split(","):
        name, equals, share = (piece.strip() for piece in part.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise ConfigError(f"--split {text}: {part!r} is not name=share, such as train=0.9")
        if name in shares:
            raise ConfigError(f"--split {text}: {name} appears twice")
        shares[name] = _share(share, text)
    if sum(shares.values()) != 1:
        raise ConfigError(f"--split {text}: the shares are {sum(shares.values())} together, not 1")
    return Shares(shares, seed)


def _share(share: str, text: str) -> Decimal:
    try:
        found = Decimal(share)
    except InvalidOperation:
        found = Decimal("NaN")
    if not (found.is_finite() and 0 < found <= 1):
        raise ConfigError(f"--split {text}: {share!r} is not a share between 0 and 1, such as 0.9")
    return found


class Splits:
    """Tells in which split an item is.

    Args:
        ids: gives the ids of all rows, in any order; called twice.
    """

    def __init__(self, shares: Shares, ids: Ids) -> None:
        self._seed = str(shares.seed).encode()
        counts = np.zeros(2**_BUCKET_BITS, np.int64)
        for some in ids():
            counts += np.bincount(self._hashes(some) >> _SHIFT, minlength=len(counts))
        before = np.concatenate([[0], np.cumsum(counts)])
        rows = int(before[-1])
        cuts = list(accumulate(shares.sizes(rows)[:-1]))
        buckets = [int(np.searchsorted(before, cut, side="right")) - 1 for cut in cuts]
        near = self._in_buckets(ids, {bucket for bucket in buckets if bucket < len(counts)})
        self._cuts = np.array(
            [
                near[bucket][cut - before[bucket]] if cut < rows else np.iinfo(np.uint64).max
                for cut, bucket in zip(cuts, buckets, strict=True)
            ],
            np.uint64,
        )

    def numbers(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """The number of each item's split, from 0."""
        return np.searchsorted(self._cuts, self._hashes(ids), side="right")

    def _in_buckets(self, ids: Ids, buckets: Iterable[int]) -> dict[int, Hashes]:
        """All hashes of some buckets, sorted."""
        found: dict[int, list[Hashes]] = {bucket: [] for bucket in buckets}
        for some in ids():
            hashes = self._hashes(some)
            of = hashes >> _SHIFT
            for bucket, known in found.items():
                known.append(hashes[of == bucket])
        return {bucket: np.sort(np.concatenate(known)) for bucket, known in found.items()}

    def _hashes(self, ids: Sequence[str]) -> Hashes:
        key = self._seed + b"\n"
        digests = (blake2b(key + each.encode(), digest_size=8).digest() for each in ids)
        return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
