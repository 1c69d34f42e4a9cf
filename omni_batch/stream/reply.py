"""The body of a reply: bytes in, chunks out, however it is framed. Pure.

The first bytes say what it is; heads often lie.
"""

from collections.abc import Callable
from functools import partial

from omni_batch.doubts import Doubt
from omni_batch.errors import OmniBatchError, StreamError, UnsupportedReply
from omni_batch.stream.chunks import decode_frame
from omni_batch.stream.forgiving import PASSED_OVER, decode_any, quoted
from omni_batch.stream.service_errors import classify
from omni_batch.stream.sse import Event, SseDecoder
from omni_batch.types import Chunk

_START_BYTES = 1_000
_BOM = b"\xef\xbb\xbf"
_error_of = partial(classify, 200)


class ReplyDecoder:
    """Any split of the bytes gives the same chunks.

    Args:
        error_of: makes an error of what the service says went wrong.
        words: makes what the service said fit to be shown.
    """

    def __init__(
        self,
        error_of: Callable[[bytes], OmniBatchError] = _error_of,
        words: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._error_of, self._words = error_of, words
        self._sse = SseDecoder()
        self._start = b""
        self._has_events = False
        self.done = False
        """The end mark has come."""
        self.torn = False
        """The last event breaks off."""

    @property
    def is_whole_reply(self) -> bool:
        """True while one JSON text is coming in, of which nothing can be read before its end."""
        return self._sse.holds_bare_json

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that are complete now, up to the end mark: what follows it is not part of it.

        Raises:
            StreamError: an event may hold a part of the answer, and can't be read.
            UnsupportedReply: it holds one in a form that is not understood.
        """
        if not self._has_events:
            self._look_at(data)
        return self._decode(self._sse.feed(data))

    def end(self) -> list[Chunk]:
        """The chunks of a last event that lacks its line end; none if it was torn."""
        try:
            chunks = self._decode(self._sse.close())
        except UnsupportedReply:
            raise
        except StreamError:
            self.torn = True
            return []
        if not self._has_events and (start := self._start.strip()):
            message = (
                f"the service answered with no event of a stream: {quoted(start, self._words)}"
            )
            chunks.append(Chunk(doubts=(Doubt(PASSED_OVER, message),)))
        return chunks

    def _look_at(self, data: bytes) -> None:
        """Before the first event: a page is none, and its beginning says what it is."""
        self._start = (self._start + data[:_START_BYTES])[:_START_BYTES]
        if self._start.removeprefix(_BOM).lstrip().startswith(b"<"):
            page = quoted(self._start, self._words)
            raise StreamError(f"the service answered with a page, not with a stream: {page}")

    def _decode(self, events: list[Event]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for event in events:
            if self.done:
                break
            self._has_events = True
            chunk = None if event.name else decode_frame(event.data)
            if chunk is not None:
                chunks.append(chunk)
            else:
                found = decode_any(event, self._error_of, self._words)
                chunks += found
                self.done = any(chunk.done for chunk in found)
        return chunks
