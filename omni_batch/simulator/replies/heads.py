"""Status and headers of a good reply, and how its body is packed."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from omni_batch.simulator.replies.writes import Write


@dataclass(frozen=True, slots=True)
class Head:
    """What a fault changes of the head of a reply."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Take the place of the usual ones."""
    gzip: bool = False
    """The body is packed."""
    both_framings: bool = False
    """A length is stated beside chunks."""

    def packed(self, writes: Iterable[Write]) -> Iterator[Write]:
        """The body as it goes out."""
        packer = zlib.compressobj(wbits=31)  # with gzip's own header
        for write in writes:
            if self.gzip:
                data = packer.compress(write.data) + packer.flush(zlib.Z_SYNC_FLUSH)
                yield replace(write, data=data)
            else:
                yield write
        if self.gzip:
            yield Write(packer.flush())


USUAL = Head()
_LONG_PAST_S = "1741305600"
"""Seconds since 1970: March 2025."""
HEADS: Mapping[str | None, Head] = {
    "partial_response": Head(headers={"x-dashscope-partialresponse": "true"}),
    "partial_proxied": Head(headers={"llm_provider-x-dashscope-partialresponse": "true"}),
    "sse_as_json": Head(headers={"content-type": "application/json"}),
    "status_201": Head(status=201),
    "gzip": Head(headers={"content-encoding": "gzip"}, gzip=True),
    "stale_gzip": Head(headers={"content-encoding": "gzip"}),
    "encoding_none": Head(headers={"content-encoding": "none"}),
    "length_and_chunks": Head(
        headers={"content-length": "5000", "transfer-encoding": "chunked"}, both_framings=True
    ),
    "past_reset": Head(
        headers={
            "x-ratelimit-limit-requests": "6000",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": _LONG_PAST_S,
        }
    ),
}
"""Kind of fault to the head that it gives; the others have the usual one."""
