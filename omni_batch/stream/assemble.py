"""Chunks in, one Response out. No clock, no socket, no file."""

from collections.abc import Callable, Iterator
from typing import Literal

from omni_batch.doubts import EMPTY_ANSWER, Doubt
from omni_batch.errors import (
    AbnormalFinish,
    ContentRefused,
    SpeechMissing,
    StreamError,
    UnsupportedReply,
)
from omni_batch.format import duration
from omni_batch.stream.forgiving import OTHER_PROTOCOL, PASSED_OVER
from omni_batch.stream.pcm import SAMPLE_BYTES, PcmDecoder
from omni_batch.stream.texts import AnswerText, is_blank, split_thought
from omni_batch.stream.usage import Bill, vouched_for
from omni_batch.text import one_line
from omni_batch.types import Chunk, Response, Speech, Usage

Ending = Literal["orderly", "torn", "silent", "broken"]
"""How the body of a reply ended: as HTTP says; inside an event; it went silent; it broke off."""
_HOW_IT_ENDED: dict[Ending, str] = {
    "orderly": "the stream ended",
    "torn": "the stream ended inside an event,",
    "silent": "the stream fell silent",
    "broken": "the connection broke off",
}
_COMPLETE = frozenset({"stop", "length"})
MAX_TEXT_CHARS = 8_000_000
"""Several times the longest output of any model (131,072 tokens): an endless stream stops here."""
MAX_AUDIO_S = 3 * 3600
MAX_AUDIO_BYTES = 2**30
"""The same at 48 kHz; a WAV file ends at four times that."""
_BILLED_TEXT_WAIT_S = 1.0
"""For the end mark, where reason and bill have come: nothing else is missing."""
_WAIT_S = 10.0
"""For the bill; and for more sound, as some servers give the reason of the text before it."""
_WORDS_CHARS = 600
_SPEECH_SLACK = 0.2
_SPEECH_SLACK_S = 1.0


class Assembler:
    """Feed it every chunk, write the sound it returns, then ask it for the Response.

    Args:
        wants_audio: speech was requested; a reply without it fails.
        audio_tokens_per_s: the model's rate, to compare the sound with the bill.
        thinking: what the request says of it; None leaves it to the model.
        thinks_aloud: the server may leave a thought in the text, with its closing tag only.
        bill_proves_end: without a bill of its own kind the end was made up by a gateway.
        words: makes what the service says beside the answer fit to be shown and kept.
        answer_words: the same for the answer.
    """

    def __init__(
        self,
        *,
        wants_audio: bool,
        audio_tokens_per_s: float | None = None,
        thinking: bool | None = None,
        thinks_aloud: bool = False,
        bill_proves_end: bool = False,
        words: Callable[[str], str] = str,
        answer_words: Callable[[str], str] = str,
    ) -> None:
        self._wants_audio = wants_audio
        self._audio_tokens_per_s = audio_tokens_per_s
        self._thinking, self._thinks_aloud = thinking, thinks_aloud
        self._bill_proves_end = bill_proves_end
        self._words, self._answer_words = words, answer_words
        self._text, self._transcript, self._reasoning = AnswerText(), AnswerText(), AnswerText()
        self._pcm = PcmDecoder()
        self._finish_reason: str | None = None
        self._done = False
        self._bill = Bill()
        self._billed_at_end = False  # with the finish_reason or after it, and after all sound
        self._sound_open = False  # sound has come, and nothing since that ends it
        self._refusal = ""
        self._found: dict[str, Doubt] = {}
        self.response_id: str | None = None
        self.text_chars = 0

    @property
    def usage(self) -> Usage | None:
        """What was billed so far; None where nothing was said that can be a bill."""
        return self._bill.usage(of_answer=self._has_answer)

    @property
    def ends_within_s(self) -> float | None:
        """How long the end may take to come before the reply is whole without it; None: it isn't.

        Some servers send no end mark and leave the connection open.
        """
        if self._finish_reason is None or (self._wants_audio and not self._billed_at_end):
            return None
        billed_text = self._billed_at_end and not self._wants_audio
        return _BILLED_TEXT_WAIT_S if billed_text else _WAIT_S

    @property
    def _has_answer(self) -> bool:
        return bool(self.text_chars or self._pcm.samples)

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
        return self._answer_words(whole.beginning(most_chars)) or None

    def feed(self, chunk: Chunk) -> bytes:
        """Take one chunk; return the sound to write, whole 16-bit samples (often none).

        Raises:
            OmniBatchError: the chunk is an error sent inside the stream.
            StreamError: the reply exceeds a bound, or its sound is no base64.
            UnsupportedReply: its sound is in a format that is not understood.
        """
        if chunk.error is not None:
            raise chunk.error
        if chunk.text:
            self._add(self._text, chunk.text, chunk)
        if chunk.transcript:
            self._add(self._transcript, chunk.transcript, chunk)
        if chunk.reasoning:
            self._add(self._reasoning, chunk.reasoning, chunk)
        sound = self._hear(chunk) if chunk.audio_base64 else b""
        if chunk.finish_reason:
            self._finish_reason = _worse_reason(self._finish_reason, chunk.finish_reason)
            self._sound_open = False
        self._take_rest(chunk)
        self._check_bounds()
        return sound

    def _add(self, text: AnswerText, piece: str, chunk: Chunk) -> None:
        is_last = chunk.finish_reason is not None
        if chunk.whole:
            text.add_whole(piece, is_last=is_last)
        else:
            text.add(piece, is_last=is_last)
        self.text_chars += len(piece)

    def _hear(self, chunk: Chunk) -> bytes:
        if chunk.whole and self._pcm.samples:
            return b""  # all of it has come in pieces
        self._sound_open, self._billed_at_end = True, False
        return self._pcm.feed(chunk.audio_base64)

    def _take_rest(self, chunk: Chunk) -> None:
        """What few chunks hold."""
        if chunk.usage is not None:
            self._bill.add(chunk.usage, chunk.doubts)
            if self._finish_reason and chunk.usage.total_tokens:
                self._billed_at_end, self._sound_open = True, False
        elif chunk.doubts:
            self._found |= {doubt.rule: doubt for doubt in chunk.doubts}
        if chunk.refusal:
            self._refusal = (self._refusal + chunk.refusal)[:MAX_TEXT_CHARS]
        if self.response_id is None and chunk.response_id:
            self.response_id = self._words(chunk.response_id)
        self._done = self._done or chunk.done

    def finish(self, ending: Ending = "orderly") -> tuple[Response, bytes]:
        """The whole reply and its last samples.

        Args:
            ending: how its body ended; behind an end mark that makes no difference.

        Raises:
            StreamError: the stream was cut.
            UnsupportedReply: it was in another protocol, or its sound in another format.
            AbnormalFinish: it ended in an unknown way.
            ContentRefused: moderation ended it, or the model refused.
            SpeechMissing: no speech came although it was requested.
        """
        reason = self._check_end(ending)
        last, doubts = self._pcm.finish()
        speech = Speech(self._pcm.samples, self._pcm.sample_rate_hz) if self._pcm.samples else None
        if self._wants_audio and speech is None:
            raise SpeechMissing(
                "speech was requested, but the reply contains none; does the server support speech?"
            )
        text, reasoning, found = self._texts()
        doubts += found
        doubts += self._doubts(reason, text, reasoning, speech)
        response = Response(
            text=self._answer_words(text),
            reasoning=self._answer_words(reasoning) or None,
            finish_reason=reason,
            usage=self.usage,
            speech=speech,
            response_id=self.response_id,
            doubts=tuple(Doubt(doubt.rule, self._words(doubt.message)) for doubt in doubts),
        )
        return response, last

    def _texts(self) -> tuple[str, str, list[Doubt]]:
        """The answer, the thought before it, and what was guessed of them."""
        answer = self._text or self._transcript
        text, half = answer.decoded()
        doubts = [*answer.doubts()]
        if half:
            message = "half a character came alone and was replaced by \ufffd"
            doubts.append(Doubt("half-character", message))
        text, reasoning, found = split_thought(
            text,
            self._reasoning.decoded()[0],
            asked_for=self._thinking is True,
            closing_only=self._thinking is True
            or (self._thinks_aloud and self._thinking is not False),
        )
        return text, reasoning, doubts + found

    def _check_bounds(self) -> None:
        if self.text_chars > MAX_TEXT_CHARS:
            raise StreamError(f"the reply exceeded {MAX_TEXT_CHARS} characters without an end")
        if self.audio_s > MAX_AUDIO_S:
            raise StreamError(f"the speech exceeded {MAX_AUDIO_S} seconds without an end")
        if self._pcm.samples * SAMPLE_BYTES > MAX_AUDIO_BYTES:
            raise StreamError(f"the speech exceeded {MAX_AUDIO_BYTES} bytes without an end")

    def _check_end(self, ending: Ending) -> str:
        if self._refusal.strip():
            said = one_line(self._words(self._refusal))
            raise ContentRefused(f"the model refused: {said[:_WORDS_CHARS]}")
        reason = self._finish_reason and self._words(self._finish_reason)
        if reason is None:
            raise self._cut(ending)
        if reason == "content_filter":
            raise ContentRefused("moderation ended the reply (finish_reason content_filter)")
        if reason not in _COMPLETE:
            raise AbnormalFinish(f"the reply ended with finish_reason {reason[:60]!r}")
        if not self._done and self._may_be_a_part(ending):
            how = _HOW_IT_ENDED[ending]
            raise StreamError(f"{how} without its end mark [DONE]: the speech may be cut")
        if self._bill_proves_end and not vouched_for(self.usage):
            raise StreamError(
                "the usage has no details, as whole replies through this gateway have: it made up "
                "the end of a reply that was cut"
            )
        return reason

    def _cut(self, ending: Ending) -> StreamError:
        if (other := self._found.get(OTHER_PROTOCOL)) and not self._has_answer:
            return UnsupportedReply(other.message)
        said = self._found.get(PASSED_OVER)
        more = f"; {said.message}" if said else ""
        how = _HOW_IT_ENDED[ending]
        return StreamError(f"{how} without a finish_reason: the reply was cut{more}")

    def _may_be_a_part(self, ending: Ending) -> bool:
        """The reason of a text says that it is whole; that of speech may come before its end."""
        if not self._wants_audio:
            return False
        return self._sound_open if ending == "orderly" else not self._billed_at_end

    def _doubts(
        self, reason: str, text: str, reasoning: str, speech: Speech | None
    ) -> Iterator[Doubt]:
        yield from self._found.values()
        if is_blank(text) and speech is None:
            yield Doubt(EMPTY_ANSWER, _emptiness(reason, reasoning, self.usage))
        if reason == "length":
            message = "the reply was cut at the output limit (finish_reason length)"
            yield Doubt("reply-at-output-limit", message)
        yield from self._bill.doubts(of_answer=self._has_answer)
        usage = self.usage
        billed = usage.completion_audio_tokens if usage else None
        if speech and billed and self._audio_tokens_per_s:
            expected_s = billed / self._audio_tokens_per_s
            if abs(speech.duration_s - expected_s) > _SPEECH_SLACK_S + _SPEECH_SLACK * expected_s:
                yield Doubt(
                    "speech-unlike-bill",
                    f"{duration(speech.duration_s)} of speech came for {billed:,} audio tokens, "
                    f"which correspond to {duration(expected_s)}",
                )


def _emptiness(reason: str, reasoning: str, usage: Usage | None) -> str:
    thought = bool(reasoning) or bool(usage and usage.reasoning_tokens)
    if reason == "length" and thought:
        return "the answer is empty: thinking took the whole output limit; raise request.max_tokens"
    return "the answer is empty: it was paid for and holds no text"


def _worse_reason(before: str | None, now: str) -> str:
    """Of two reasons the one that is less of a success: stop, length, any other; the first of them.

    Servers that speak send one for the text and one for the sound.
    """
    if before is None or before == "stop" or (before == "length" and now != "stop"):
        return now
    return before
