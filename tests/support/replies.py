"""Replies as the client reads them: bytes in, chunks or a Response out."""

from typing import Any

from omni_batch.stream.assemble import Assembler, Ending
from omni_batch.stream.reply import ReplyDecoder
from omni_batch.types import Chunk, Response


def chunks_of(*pieces: bytes) -> list[Chunk]:
    """All chunks of a body that came in these pieces and ended in order."""
    decoder = ReplyDecoder()
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    return chunks if decoder.done else chunks + decoder.end()


def chunk_of(payload: str | bytes) -> Chunk:
    """The only chunk of an event with this data."""
    data = payload.encode() if isinstance(payload, str) else payload
    (chunk,) = ReplyDecoder().feed(b"data: %s\n\n" % data)
    return chunk


def read_reply(
    *pieces: bytes, wants_audio: bool = False, ending: Ending = "orderly", **how: Any
) -> tuple[Response, bytes]:
    """The answer and its sound.

    Args:
        ending: how the body ended behind these pieces; one that is torn shows it by itself.
        how: more of what an `Assembler` knows of the request.
    """
    assembler, decoder = Assembler(wants_audio=wants_audio, **how), ReplyDecoder()
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    chunks += [] if decoder.done else decoder.end()
    sound = b"".join(map(assembler.feed, chunks))
    torn = decoder.torn and ending == "orderly"
    response, last = assembler.finish("torn" if torn else ending)
    return response, sound + last


def events(*payloads: str | bytes) -> bytes:
    """A stream of these payloads, each an event of its own."""
    return b"".join(
        b"data: %s\n\n" % (payload.encode() if isinstance(payload, str) else payload)
        for payload in payloads
    )
