"""Chunks in, one Response out. No clock, no socket, no file."""

from collections.abc import Iterator

from omni_batch.doubts import Doubt
from omni_batch.errors import AbnormalFinish, ContentRefused, SpeechMissing, StreamError
from omni_batch.format import duration
from omni_batch.stream.pcm import SAMPLE_BYTES, PcmDecoder
from omni_batch.types import Chunk, Response, Speech, Usage

_COMPLETE = frozenset({"stop", "length"})
MAX_TEXT_CHARS = 8_000_000
"""Several times the longest output of any model (131,072 tokens): an endless stream stops here."""
MAX_AUDIO_S = 3 * 3600
MAX_AUDIO_BYTES = 2**30
"""The same at 48 kHz; a WAV file ends at four times that."""
_MOST_UTF8_BYTES = 4  # of a character
_SPEECH_SLACK = 0.2
_SPEECH_SLACK_S = 1.0


class Assembler:
    """Feed it every chunk, write the sound it returns, then ask it for the Response.

    Args:
        wants_audio: speech was requested; a reply without it fails.
        audio_tokens_per_s: the model's rate, to compare the sound with the bill.
    """

    def __init__(self, *, wants_audio: bool, audio_tokens_per_s: float | None = None) -> None:
        self._wants_audio = wants_audio
        self._audio_tokens_per_s = audio_tokens_per_s
        # UTF-8, not a list of pieces: one of a single character would take seventy bytes there.
        self._text, self._transcript, self._reasoning = bytearray(), bytearray(), bytearray()
        self._pcm = PcmDecoder()
        self._finish_reason: str | None = None
        self._done = False
        self.response_id: str | None = None
        self.usage: Usage | None = None
        self.text_chars = 0

    @property
    def audio_s(self) -> float:
        """Seconds of sound so far."""
        return self._pcm.samples / self._pcm.sample_rate_hz

    @property
    def sample_rate_hz(self) -> int:
        """Known once `feed` has returned sound."""
        return self._pcm.sample_rate_hz

    def arrived(self, most_chars: int) -> str | None:
        """The beginning of the answer so far, or of the thinking where it has not begun yet."""
        whole = self._text or self._transcript or self._reasoning
        beginning = whole[: most_chars * _MOST_UTF8_BYTES].decode(errors="ignore")
        return beginning[:most_chars] or None

    def feed(self, chunk: Chunk) -> bytes:
        """Take one chunk; return the sound to write, whole 16-bit samples (often none).

        Raises:
            OmniBatchError: the chunk is an error sent inside the stream.
            StreamError: the reply exceeds a bound.
        """
        if chunk.error is not None:
            raise chunk.error
        for text, pieces in (
            (chunk.text, self._text),
            (chunk.transcript, self._transcript),
            (chunk.reasoning, self._reasoning),
        ):
            if text:
                pieces += text.encode()
                self.text_chars += len(text)
        self._finish_reason = _worse_reason(self._finish_reason, chunk.finish_reason)
        self.usage = chunk.usage or self.usage
        self.response_id = self.response_id or chunk.response_id
        self._done = self._done or chunk.done
        sound = self._pcm.feed(chunk.audio_base64) if chunk.audio_base64 else b""
        self._check_bounds()
        return sound

    def finish(self) -> tuple[Response, bytes]:
        """The whole reply and its last samples.

        Raises:
            StreamError: the stream was cut.
            AbnormalFinish: it ended in an unknown way.
            ContentRefused: moderation ended it.
            SpeechMissing: no speech came although it was requested.
        """
        reason = self._check_end()
        last, doubts = self._pcm.finish()
        speech = Speech(self._pcm.samples, self._pcm.sample_rate_hz) if self._pcm.samples else None
        if self._wants_audio and speech is None:
            raise SpeechMissing(
                "speech was requested, but the reply contains none; does the server support speech?"
            )
        doubts += self._doubts(reason, speech)
        response = Response(
            text=(self._text or self._transcript).decode(),
            reasoning=self._reasoning.decode() or None,
            finish_reason=reason,
            usage=self.usage,
            speech=speech,
            response_id=self.response_id,
            doubts=tuple(doubts),
        )
        return response, last

    def _check_bounds(self) -> None:
        if self.text_chars > MAX_TEXT_CHARS:
            raise StreamError(f"the reply exceeded {MAX_TEXT_CHARS} characters without an end")
        if self.audio_s > MAX_AUDIO_S:
            raise StreamError(f"the speech exceeded {MAX_AUDIO_S} seconds without an end")
        if self._pcm.samples * SAMPLE_BYTES > MAX_AUDIO_BYTES:
            raise StreamError(f"the speech exceeded {MAX_AUDIO_BYTES} bytes without an end")

    def _check_end(self) -> str:
        if self._finish_reason is None:
            raise StreamError("the stream ended without a finish_reason: the reply was cut")
        if self._finish_reason == "content_filter":
            raise ContentRefused("moderation ended the reply (finish_reason content_filter)")
        if self._finish_reason not in _COMPLETE:
            raise AbnormalFinish(f"the reply ended with finish_reason {self._finish_reason[:60]!r}")
        if not self._done:
            raise StreamError("the stream ended without its end mark [DONE]: it was cut")
        return self._finish_reason

    def _doubts(self, reason: str, speech: Speech | None) -> Iterator[Doubt]:
        if reason == "length":
            message = "the reply was cut at the output limit (finish_reason length)"
            yield Doubt("reply-at-output-limit", message)
        if self.usage is None:
            message = "the service sent no usage; tokens and cost are unknown"
            yield Doubt("usage-missing", message)
        billed = self.usage.completion_audio_tokens if self.usage else None
        if speech and billed and self._audio_tokens_per_s:
            expected_s = billed / self._audio_tokens_per_s
            if abs(speech.duration_s - expected_s) > _SPEECH_SLACK_S + _SPEECH_SLACK * expected_s:
                yield Doubt(
                    "speech-unlike-bill",
                    f"{duration(speech.duration_s)} of speech came for {billed:,} audio tokens, "
                    f"which correspond to {duration(expected_s)}",
                )


def _worse_reason(before: str | None, now: str | None) -> str | None:
    """Of two reasons the one that is less of a success: stop, length, any other; the first of them.

    Servers that speak send one for the text and one for the sound.
    """
    if before is None or (before == "stop" and now) or (before == "length" and now != "stop"):
        return now or before
    return before
