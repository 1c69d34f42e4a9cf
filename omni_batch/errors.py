"""Every error of omni-batch. Callers ask two questions, they never list classes.

OmniBatchError
├── ConfigError            the configuration can't be used; nothing was sent
├── ManifestError          the manifest can't be used; nothing was sent
├── QueryError             a question about finished work can't be answered
├── MediaError             one medium can't be sent; its item fails
├── InvalidRequest         the request breaks rules of the model; nothing was sent
├── EndpointError          the service answered no
│   ├── RateLimited          come back later (uses up no attempt)
│   ├── Unavailable          it is down, overloaded or unreachable
│   │   ├── NoResponse         it did not begin to answer in time
│   │   └── TimedOut           its own time limit passed (worth two more tries)
│   ├── MediaUnreachable     it could not download the item's media
│   ├── Rejected             this request can't succeed
│   ├── ContentRefused       moderation said no
│   ├── AccountError         key, arrears or access: no request can succeed
│   ├── Unanswered           a job ended without an answer to this row
│   ├── JobRefused           a whole job was refused: the run stops
│   ├── JobInDoubt           nobody can say whether a job exists: the run stops
│   └── Outage               it has not answered for long: the run stops
├── StreamError            the reply was cut or made no sense
│   ├── UnsupportedReply     it came in a form that isn't understood, and would again
│   └── AnswerGone           it was paid for, and can't be had any more
├── AbnormalFinish         the reply is whole, but its finish reason is not a success
├── SpeechMissing          the reply is whole, but without the speech that was asked for
├── AnnotationError        the answer is whole, but not what `annotation` asks for
├── ItemTimeout            the item's attempts took too long together
├── BudgetReached          the run has spent what it may
├── NothingBought          the answers so far are all of no use
├── MediaIgnored           the service does not read the media that it is sent
├── CredentialsExpired     a store takes the credentials no longer
├── Interrupted            somebody asked the run to stop
├── OutOfMemory            this process got no more memory or threads
└── StorageError           the run directory can't be written or read
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from omni_batch.text import redacted


class OmniBatchError(Exception):
    """Base of all errors. The message says what, the value, and what to do."""

    retryable: ClassVar[bool] = False
    """Would the same request succeed later?"""
    stops_run: ClassVar[bool] = False
    """Is every other item doomed too?"""
    uses_attempt: bool = True
    """Does it count against `retry.max_attempts`? An outage that is waited out does not."""
    attempts_at_most: ClassVar[int | None] = None
    """A cap of the class's own, below `retry.max_attempts`."""
    remedy: ClassVar[str] = "The message says what is known."
    """What a person does about it."""

    @property
    def kind(self) -> str:
        """The class in snake case, as in the column `error_kind`."""
        return _snake_case(type(self).__name__)


class ConfigError(OmniBatchError):
    """The configuration can't be used. Raised before anything is sent."""


class UntrustedRun(ConfigError):
    """A run directory that somebody else made asks for keys and files. Nothing was sent."""


class RunAtWork(ConfigError):
    """Another process works on the run, or on one whose answers it would reuse."""


class ManifestError(OmniBatchError):
    """The manifest, or one row of it, can't be used. Nothing of it is sent."""

    remedy = (
        "The prompt could not be filled in from this row, or speaks of a picture, sound or video "
        "that the row has not. Correct the row, or the template in request.prompt."
    )


class QueryError(OmniBatchError):
    """A query over the tables of runs is wrong, or asks for more than reading."""


class MediaError(OmniBatchError):
    """A medium is missing, broken, forbidden or over a limit."""

    remedy = (
        "A file is missing, broken, too large or outside media.roots. Correct the file or the "
        "manifest's reference; omni-batch check finds all such rows without sending any."
    )


class BrokenRule(Protocol):
    """A rule that a request breaks."""

    @property
    def rule(self) -> str:
        """Its stable id."""

    @property
    def message(self) -> str:
        """What, the value, the limit, what to do."""


class InvalidRequest(OmniBatchError):
    """The request breaks a rule of the model or the server, so it is not sent."""

    remedy = (
        "The request breaks a rule of the model and was not sent. The message names the value and "
        "the limit; shorten or convert the medium, or choose another model."
    )

    def __init__(self, broken: Sequence[BrokenRule]) -> None:
        super().__init__("; ".join(violation.message for violation in broken))
        self.broken = tuple(broken)
        self.code = broken[0].rule
        """The first rule's id, as in the column `error_code`."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server says of its limits with an answer (`x-ratelimit-*`)."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    wait_s: float | None = None
    """Until there is something left again; None where there is."""


class EndpointError(OmniBatchError):
    """The service refused or failed. Holds what it said."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        server_limits: ServerLimits | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.server_limits = server_limits
        """What the service said of its limits."""


Limit = Literal["requests", "tokens", "burst", "unknown"]


class RateLimited(EndpointError):
    """A quota is used up for now. Waiting for it costs the item no attempt."""

    remedy = (
        "The quota was used up. Lower quota.requests_per_minute or quota.tokens_per_minute to "
        "what the account really has, and run these rows again."
    )
    retryable = True
    uses_attempt = False
    limit: Limit = "unknown"
    """Which of the service's rules fired."""


class Unavailable(EndpointError):
    """The service is down, overloaded or can't be reached."""

    remedy = (
        "The service was down or overloaded through every attempt. Run these rows again later; "
        "retry.max_attempts and retry.max_wait_s allow for longer outages."
    )
    retryable = True
    unanswered = False
    """The connection was closed before the first byte of an answer, as servers do between two."""
    not_sent = False
    """No connection came about, so that the service knows nothing of the request."""


class NoResponse(Unavailable):
    """The service took the request and did not begin to answer in time."""

    remedy = (
        "The service took the request and never began to answer. Run these rows again; if it "
        "happens again, raise retry.first_byte_timeout_s or lower quota.max_in_flight."
    )


class TimedOut(Unavailable):
    """The service stopped at its own time limit. Attempts take minutes, so there are few."""

    remedy = (
        "The service gave up on the answer after its own time limit. Ask for less at once: "
        "shorter media, a smaller request.max_tokens."
    )
    attempts_at_most = 3


class MediaUnreachable(EndpointError):
    """The service could not download the media. Worth two more attempts (its error codes)."""

    remedy = (
        "The service could not download the medium. Check that the URL is public and has not "
        "expired, or set media.transport: upload."
    )
    retryable = True
    attempts_at_most = 3


class Rejected(EndpointError):
    """The service refused the request and would refuse it again."""

    remedy = (
        "The service rejects this request and would reject it again. Read its message; most often "
        "a medium or an option is not what the model takes."
    )


class ContentRefused(EndpointError):
    """Moderation refused the input or the output."""

    remedy = (
        "The service's moderation refused the input or the answer. Change the prompt or the "
        "medium, or leave the row out."
    )


class AccountError(EndpointError):
    """The key, the account or its access is at fault: no item can succeed there."""

    remedy = "The key, its access or the account's balance is at fault. Mend that, then resume."
    stops_run = True


class Unanswered(EndpointError):
    """A job ended without an answer to this row: it expired, was cancelled or left it out."""

    remedy = (
        "The job ended without an answer to this row, which costs nothing. Run these rows again "
        "with `omni-batch retry`, or set endpoint.fallback: live."
    )
    retryable = True


class JobRefused(EndpointError):
    """The service refused a whole job. Nothing of it is paid for."""

    remedy = "Mend what the reason names, then resume: the rows go into another job."
    stops_run = True


class JobInDoubt(EndpointError):
    """A job may have been made, and the service does not show it; or it does not end."""

    remedy = "Do what the reason says, then resume. Nothing is asked twice until you say so."
    stops_run = True


class Outage(EndpointError):
    """The service has not answered for `retry.outage_timeout_s`. The run can be resumed."""

    remedy = "Wait until the service is back, then resume."
    stops_run = True


class StreamError(OmniBatchError):
    """The reply was cut, stalled or invalid. It never counts as a success."""

    remedy = (
        "The reply broke off or was not valid at every attempt. Run these rows again; if it "
        "happens again, look for a proxy that cuts long connections, or raise "
        "retry.idle_timeout_s."
    )
    retryable = True


class UnsupportedReply(StreamError):
    """The reply came in a form that is not understood; the next one would have the same."""

    remedy = (
        "The server answers in a form that is not understood, and is not asked again, as that "
        "would cost again. Read the message: most often the server, or a gateway before it, needs "
        "another setting."
    )
    retryable = False


class AnswerGone(StreamError):
    """A job's answer was most likely paid for, and can't be had any more. It is not asked again."""

    remedy = (
        "The service does not give out the answer of a job any more, or gave it out damaged. It "
        "was most likely paid for, so it is not asked again by itself: `omni-batch retry` does."
    )
    retryable = False


class AbnormalFinish(OmniBatchError):
    """The answer ended with a finish_reason other than stop or length."""

    remedy = (
        "The answer ended for a reason that is not a success, such as a filter. Read the message; "
        "a retry would cost again."
    )


class SpeechMissing(OmniBatchError):
    """Text came, speech did not. Another attempt would cost again, so there is none."""

    remedy = (
        "Text came without the speech that was asked for. Check that the model and the server "
        "speak, or set request.modalities: [text]."
    )


class AnnotationError(OmniBatchError):
    """The answer is whole, but the schema does not accept it. Its text is kept."""

    remedy = (
        "The answer is not what the schema asks for, also when it was asked again. Look at `text`: "
        "change the schema and use `omni-batch reparse`, or the prompt and `omni-batch retry`."
    )


class BudgetReached(OmniBatchError):
    """A limit of `budget` is reached. Requests in flight may end."""

    remedy = "Raise the limit with `--set budget.max_cost='5 USD'` when you resume."
    stops_run = True


class NothingBought(OmniBatchError):
    """The first items all failed in one way, or all that was paid for can't be used."""

    remedy = "Mend what the reason names, then resume. The run starts counting anew."
    stops_run = True


class MediaIgnored(OmniBatchError):
    """Rows with media were billed as if they had none, so the service probably ignores them."""

    remedy = (
        "Check that the model and the endpoint take such media, then resume. Where they are read "
        "and only not counted: `--set budget.unbilled_media=warn`."
    )
    stops_run = True


class ItemTimeout(OmniBatchError):
    """All attempts of the item together took `retry.item_timeout_s`."""

    remedy = (
        "All attempts together took longer than retry.item_timeout_s. Ask for less at once, or "
        "raise it."
    )


class CredentialsExpired(OmniBatchError):
    """A store takes the credentials no longer: no item whose media lie there can be read."""

    remedy = "Renew the credentials in the environment, then resume."
    stops_run = True


class Interrupted(OmniBatchError):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM, SIGHUP). It can be resumed."""

    remedy = "Resume when you like."
    stops_run = True


class OutOfMemory(OmniBatchError):
    """The system gave this process no more memory or threads. No item is at fault."""

    remedy = "Lower quota.max_in_flight, or free memory, then resume."
    stops_run = True


class StorageError(OmniBatchError):
    """The run directory can't be read or written (disk full, permissions)."""

    remedy = "Free space or mend the permissions, then resume."
    stops_run = True


_NO_ITEMS = {"omni_batch_error", "endpoint_error", "config_error", "query_error", "moved"}
_NO_ITEMS |= {"untrusted_run", "run_at_work", "postponed"}


def item_kinds() -> set[str]:
    """All kinds of errors that fail an item and not the run."""
    return _kinds(OmniBatchError) - _NO_ITEMS


def remedy_of(kind: str) -> str:
    """What a person does about failures of a kind, by its name in the column `error_kind`."""
    if kind == "internal_error":
        return "A fault in omni-batch itself; its log holds the traceback. Please report it."
    return _remedies(OmniBatchError).get(kind, OmniBatchError.remedy)


def _remedies(base: type[OmniBatchError]) -> dict[str, str]:
    remedies = {_snake_case(base.__name__): base.remedy}
    for child in base.__subclasses__():
        remedies |= _remedies(child)
    return remedies


def _kinds(base: type[OmniBatchError]) -> set[str]:
    below = (_kinds(child) for child in base.__subclasses__() if not child.stops_run)
    return {_snake_case(base.__name__)}.union(*below)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def own_error(exc: BaseException | None) -> OmniBatchError | None:
    """An error of ours that a library met while it read a body of ours, and wrapped."""
    while exc is not None and not isinstance(exc, OmniBatchError):
        exc = exc.__cause__ or exc.__context__
    return exc


def out_of_memory(exc: Exception) -> OutOfMemory | None:
    """An error of the interpreter as one of ours, where it means that memory has run out."""
    # A thread needs memory for its stack; this is all that Python says when there is none.
    if isinstance(exc, MemoryError) or "can't start new thread" in str(exc):
        what = "memory" if isinstance(exc, MemoryError) else "threads"
        return OutOfMemory(
            f"the system gives this process no more {what}; lower quota.max_in_flight, or raise "
            "the limit (ulimit -v, ulimit -u), then resume"
        )
    return None


def error_kind(error: Exception | None) -> str | None:
    """The class in snake case; a bug of ours is an `internal_error`."""
    if error is None:
        return None
    return error.kind if isinstance(error, OmniBatchError) else "internal_error"


def error_message(error: Exception | None) -> str | None:
    """The message a person reads; a bug of ours names its class."""
    if error is None or isinstance(error, OmniBatchError):
        return redacted(str(error)) if error else None
    return redacted(f"{type(error).__name__}: {error}; this is a bug, please report it")
