"""A line that came back → Response, by the same way as a stream. Pure."""

import msgspec

from omni_batch.errors import (
    AnswerGone,
    EndpointError,
    OmniBatchError,
    StreamError,
    Unanswered,
    Unavailable,
)
from omni_batch.jobs.output import OutputLine
from omni_batch.providers.api_key import KeyRedactor
from omni_batch.stream.assemble import Assembler
from omni_batch.stream.reply import ReplyDecoder
from omni_batch.stream.service_errors import classify
from omni_batch.types import Response

_NOT_DONE = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})
"""OpenAI's codes (2026) for rows whose turn did not come."""


class Replies:
    """Reads the lines of one endpoint's jobs.

    Args:
        quota_is_transient: as of the dialect.
    """

    def __init__(self, redactor: KeyRedactor, *, quota_is_transient: bool) -> None:
        self._redactor, self._quota_is_transient = redactor, quota_is_transient

    def response(self, line: OutputLine, *, thinking: bool | None) -> Response:
        """The answer in a line.

        Args:
            thinking: what was asked for; None where that is not known any more.

        Raises:
            OmniBatchError: there is none.
        """
        if line.kind != "answer":
            raise self._failure(line)
        assembler = Assembler(
            wants_audio=False,
            thinking=thinking,
            words=self._redactor.text,
            answer_words=self._redactor.answer,
        )
        decoder = ReplyDecoder(self._error_of, self._redactor.raw)
        try:
            for chunk in (*decoder.feed(line.body), *decoder.end()):
                assembler.feed(chunk)
            response, _ = assembler.finish()
        except StreamError as exc:  # it is whole: asked again, it would be paid for again
            raise AnswerGone(f"the job's line for this row is no answer: {exc}") from exc
        return response

    def _failure(self, line: OutputLine) -> OmniBatchError:
        if line.kind == "damaged":
            return AnswerGone("the job's line for this row is damaged, and holds no whole answer")
        if line.kind == "nothing":
            return Unanswered("the job's line for this row has neither a response nor an error")
        if line.http_status is None and line.body == b"{}":
            return Unavailable("the job got no response for this row (status 0)")
        error = self._error_of(line.body, line.http_status or 200)
        if error.code and error.code.lower() in _NOT_DONE:
            return Unanswered(str(error), code=error.code)
        error.http_status = line.http_status
        error.request_id = error.request_id or line.request_id
        return error

    def _error_of(self, said: bytes, status: int = 200) -> EndpointError:
        return classify(
            status, self._redactor.raw(said), quota_is_transient=self._quota_is_transient
        )


def refusal_line(custom_id: str, code: str, message: str) -> bytes:
    """A line as of an error file, for what the service said of a row in another place."""
    error = {"code": code, "message": message}
    return msgspec.json.encode({"custom_id": custom_id, "response": None, "error": error}) + b"\n"
