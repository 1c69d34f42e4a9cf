"""What to do about each kind of failure. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "media_error": (
            "A file is missing, broken, too large or outside media.roots. Correct the file or the "
            "manifest's reference; omni-batch check finds all such rows without sending any."
        ),
        "manifest_error": (
            "The prompt could not be filled in from this row. Correct the row, or the template in "
            "request.prompt."
        ),
        "invalid_request": (
            "The request breaks a rule of the model and was not sent. The message names the value "
            "and the limit; shorten or convert the medium, or choose another model."
        ),
        "rejected": (
            "The service refuses this request and would refuse it again. Read its message; most "
            "often a medium or an option is not what the model takes."
        ),
        "content_refused": (
            "The service's moderation refused the input or the answer. Change the prompt or the "
            "medium, or leave the row out."
        ),
        "media_unreachable": (
            "The service could not download the medium. Check that the URL is public and has not "
            "expired, or set media.transport: upload."
        ),
        "rate_limited": (
            "The quota was used up. Lower quota.requests_per_minute or quota.tokens_per_minute to "
            "what the account really has, and run these rows again."
        ),
        "unavailable": (
            "The service was down or overloaded through every try. Run these rows again later; "
            "retry.max_attempts and retry.max_wait_s allow for longer outages."
        ),
        "no_response": (
            "The service took the request and never began to answer. Run these rows again; if it "
            "comes back, raise retry.first_byte_timeout_s or lower quota.max_in_flight."
        ),
        "item_timeout": (
            "All tries together took longer than retry.item_timeout_s. Ask for less at once, or "
            "raise it."
        ),
        "timed_out": (
            "The service gave up on the answer after its own time limit. Ask for less at once: "
            "shorter media, a smaller request.max_tokens."
        ),
        "stream_error": (
            "The reply broke off or made no sense at every try. Run these rows again; if it comes "
            "back, look for a proxy that cuts long connections, or raise retry.idle_timeout_s."
        ),
        "abnormal_finish": (
            "The answer ended for a reason that is no success, such as a filter. Read the message; "
            "asking again would cost again."
        ),
        "speech_missing": (
            "Text came without the speech that was asked for. Check that the model and the server "
            "speak, or set request.modalities: [text]."
        ),
        "account_error": (
            "The key, its access or the account's balance is at fault. Mend that, then resume."
        ),
        "internal_error": (
            "A fault in omni-batch itself; its log holds the traceback. Please report it."
        ),
    }
)
"""Error kind, as it stands in the column `error_kind` → what a person does about it."""

_UNKNOWN = "The message says what is known."


def remedy(kind: str) -> str:
    """What to do about a kind of failure."""
    return REMEDIES.get(kind, _UNKNOWN)
