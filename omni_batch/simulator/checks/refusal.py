"""Errors as the service words them (Model Studio error codes, 2025 and 2026 editions)."""

from dataclasses import dataclass, replace

import msgspec

from omni_batch.simulator.checks.media_info import NotDownloaded

ENGINE = "<400> InternalError.Algo.InvalidParameter: "
"""Prefix of messages that come from the inference engine and not from the gateway."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error answer."""

    status: int
    code: str | None
    message: str
    type: str
    framed: bool = False
    """The body is an SSE frame although the status is an error (content moderation)."""
    retry_after_s: float | None = None
    param: str | None = None

    def body(self, uid: str) -> bytes:
        """JSON of the error; `uid` is the request's id without a prefix."""
        if self.framed:
            return b"data: " + msgspec.json.encode({"error": self.members(uid)}) + b"\n\n"
        error = {"code": self.code, "param": self.param, "message": self.message, "type": self.type}
        whole = {"error": error, "id": f"chatcmpl-{uid}", "request_id": uid}
        return msgspec.json.encode(whole)

    def members(self, uid: str) -> dict[str, object]:
        """The error object inside a stream."""
        return {
            "code": self.code,
            "param": self.param,
            "message": self.message,
            "type": self.type,
            "id": f"chatcmpl-{uid}",
        }


class Refused(Exception):
    """Raised by every check; the chat handler turns it into an HTTP answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def invalid(message: str, *, code: str = "invalid_parameter_error") -> Refused:
    """400: the request itself is wrong."""
    return Refused(Refusal(400, code, message, "invalid_request_error"))


def unprocessable(message: str) -> Refused:
    """400 from the engine: what the request carries can't be processed."""
    return invalid(ENGINE + message)


_DOWNLOADS = {
    "missing": "Failed to find the requested media resource during the data inspection process.",
    "denied": "Don't have authorization to access the media resource during the data inspection.",
    "slow": "Download multimodal file timed out",
    "unreachable": "Failed to download multimodal content",
    "down": "Failed to download multimodal content",
    "mistyped": "Wrong Content-Type of multimodal url",
}


def not_downloaded(failure: NotDownloaded) -> Refused:
    """400: the service could not fetch a medium."""
    return unprocessable(_DOWNLOADS[failure.why])


def inspection_failed(what: str, *, framed: bool = False) -> Refusal:
    """400 of content moderation; `what` is "Input text", "Input" or "Output"."""
    code = "data_inspection_failed"
    message = f"{what} data may contain inappropriate content."
    return Refusal(400, code, message, code, framed=framed)


def status(code: int, name: str, message: str) -> Refusal:
    """An answer whose type repeats its code, as most do."""
    return Refusal(code, name, message, name)


BAD_KEY = Refusal(401, "invalid_api_key", "Incorrect API key provided.", "invalid_request_error")
NO_KEY = Refusal(
    401,
    "invalid_api_key",
    "You didn't provide an API key. Provide it in an Authorization header using Bearer auth.",
    "invalid_request_error",
)
RATE = status(
    429, "limit_requests", "You exceeded your current requests list. Please try again later."
)
BURST = status(
    429,
    "limit_burst_rate",
    "Request rate increased too quickly. To ensure system stability, please adjust your client "
    "logic to scale requests more smoothly over time.",
)
QUOTA = status(
    429,
    "insufficient_quota",
    "Allocated quota exceeded, please increase your quota limit.",
)
INTERNAL = status(500, "internal_error", "An internal error has occured, please try again later.")
OVERLOADED = status(
    503, "ModelServingError", "Request throttled due to system capacity limits, try again later."
)
"""Refusals that need no detail of the request."""

CONFLICT = status(409, "conflict", "The engine is currently overloaded, please try again later.")
NO_MONEY = Refusal(402, "invalid_request_error", "Insufficient Balance", "unknown_error")
NO_USER_QUOTA = Refusal(
    403, "insufficient_user_quota", "The user's quota is not enough.", "new_api_error"
)
NO_BUDGET = Refusal(
    429,
    "budget_exceeded",
    "Budget has been exceeded! Current cost: 26.0, Max budget: 0.25",
    "budget_exceeded",
)
"""Errors of resellers and gateways."""

ARREARS = status(
    400, "Arrearage", "Access denied, please make sure your account is in good standing."
)
DENIED = status(403, "access_denied", "Access denied.")
TIMED_OUT = status(500, "RequestTimeOut", "Request timed out, please try again later.")
FREE_TIER = status(
    403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."
)
THROTTLED = status(429, "Throttling", "Requests throttling triggered.")
BATCH_FULL = status(429, "Throttling", "Batch requests are being throttled, please try later.")
NAMED = (
    *(BAD_KEY, RATE, BURST, QUOTA, INTERNAL, OVERLOADED),
    *(ARREARS, DENIED, TIMED_OUT, FREE_TIER, THROTTLED),
    inspection_failed("Input", framed=True),
)
"""Those that a script may name by status or code; the first of a status is its usual one."""


def usual(http_status: int, code: str | None) -> Refusal:
    """The error of a status and code; where none is known, one with a plain message."""
    for refusal in NAMED:
        if refusal.code == code or (code is None and refusal.status == http_status):
            return replace(refusal, status=http_status)
    name = code or ("invalid_parameter_error" if http_status < 500 else "internal_error")
    return status(http_status, name, f"The request failed with {name}.")


def unknown_model(name: str) -> Refused:
    """404 for a model that does not exist, or not for this account."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Refused(Refusal(404, "model_not_found", message, "invalid_request_error"))
