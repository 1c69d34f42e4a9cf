"""What stores answer when they refuse → SourceFault. Pure.

Codes: Amazon S3 API Reference, "Error responses"; those of OSS are the same or stand beside them.
"""

import re

from omni_batch.sources.fault import SourceFault
from omni_batch.text import one_line

_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{0,500})</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_CREDENTIALS = frozenset(
    {
        *("AccessDenied", "AllAccessDisabled", "AccountProblem", "AuthorizationHeaderMalformed"),
        *("InvalidAccessKeyId", "InvalidSecurityToken", "InvalidToken", "NotSignedUp"),
        *("RequestTimeTooSkewed", "SignatureDoesNotMatch", "UnauthorizedAccess"),
    }
)
_EXPIRED = frozenset(
    ("ExpiredToken", "RequestExpired", "SecurityTokenExpired", "TokenRefreshRequired")
)
_BUCKET = frozenset(("NoSuchBucket", "InvalidBucketName"))
_ELSEWHERE = frozenset(("PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraint"))
_MISSING = frozenset(("NoSuchKey", "NotFound", "404"))
_CHANGED = frozenset(("PreconditionFailed", "412"))
_LATER = frozenset(("SlowDown", "429", "RequestTimeout"))
CREDENTIALS_OF = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the AWS profile",
    "oss": "OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}
"""Where each store's credentials are by its own convention."""


class Expired(SourceFault):
    """The credentials were good once, and are no longer."""


class BrokeOff(SourceFault):
    """The object was not read to its end, or became another one meanwhile. Another try may do."""


class Unreachable(SourceFault):
    """Nobody answered, for as long as it is worth waiting."""


def refuse_larger(name: str, size_bytes: int, most_bytes: int | None) -> None:
    """Raise SourceFault where an object is larger than what is to be read."""
    if most_bytes is not None and size_bytes > most_bytes:
        raise SourceFault(
            f"{name} has {size_bytes:,} bytes; the limit here is {most_bytes:,}: make it smaller"
        )


def of_answer(name: str, bucket: str, answer: str, done: str = "read") -> SourceFault:
    """The fault in what a library says of a refused request.

    Args:
        name: address of what was asked for.
        bucket: address of its bucket.
        answer: with status and XML of the store somewhere in it. None of it is quoted but the
            store's code and message: the rest may hold parts of signatures.
        done: what was to be done with it.
    """
    code, message = _CODE.search(answer), _MESSAGE.search(answer)
    status = _STATUS.search(answer)
    if code is None and "redirect without LOCATION" in answer:
        return of_code(name, bucket, "PermanentRedirect", "", "301", done)
    if code is None and status is None:
        return unreachable(name, bucket, answer)
    number = status[1] if status else ""
    said = message[1] if message else ""
    return of_code(name, bucket, code[1] if code else number, said, number, done)


def of_code(
    name: str, bucket: str, code: str, message: str, status: str, done: str = "read"
) -> SourceFault:
    """The fault of a store's error code, or HTTP status where it gave none."""
    scheme = bucket.partition(":")[0]
    said = f"{code}: {message}" if message and message != code else code
    said = one_line(said)
    if code in _BUCKET:
        return SourceFault(
            f"{bucket}: there is no such bucket ({said}); check its name", for_all=True
        )
    if code in _EXPIRED:
        what = f"{name} may not be {done} ({said})"
        return Expired(f"{what}: renew {CREDENTIALS_OF[scheme]}", for_all=True)
    if code in _CREDENTIALS or status in ("401", "403"):
        what = f"{name} may not be {done} ({said})"
        return SourceFault(f"{what}: check {CREDENTIALS_OF[scheme]}", for_all=True)
    if code in _ELSEWHERE or status in ("301", "307"):
        what = f"{bucket} lies in another region ({said})"
        return SourceFault(f"{what}: set AWS_REGION to it", for_all=True)
    if code in _MISSING or status == "404":
        return SourceFault(f"{name} does not exist ({said}); check the manifest")
    if code in _CHANGED:
        return BrokeOff(f"{name} was changed while it was read; run it again")
    if status.startswith("5") or code in _LATER:
        return SourceFault(
            f"{name} can't be {done} now ({said}), also when it was tried again; run it again later"
        )
    return SourceFault(f"{name} can't be {done} ({said})", for_all=status == "400")


def broke_off(name: str, reason: str) -> SourceFault:
    """The fault of an answer that ended too early."""
    why = one_line(reason.partition("\n")[0])[:200]
    return BrokeOff(f"{name} broke off while it was read, or was changed ({why}); run it again")


def unreachable(name: str, bucket: str, reason: str) -> SourceFault:
    """The fault of a host that does not answer."""
    lines = reason.partition("\n")[0].rpartition(" - ")[2]
    return Unreachable(
        f"{name}: the store does not answer ({one_line(lines)[:200]}); check the address of "
        f"{bucket} and the network",
        for_all=True,
    )


def without_credentials(bucket: str) -> SourceFault:
    """The fault where none are there."""
    scheme = bucket.partition(":")[0]
    return SourceFault(
        f"{bucket}: there are no credentials; set {CREDENTIALS_OF[scheme]}, or stores.anonymous "
        "where everybody may read it",
        for_all=True,
    )


def without_extra(bucket: str, package: str, extra: str) -> SourceFault:
    """The fault where a library is missing."""
    return SourceFault(
        f"{bucket} is read with {package}, which is not installed; pip install "
        f"'omni-batch[{extra}]'",
        for_all=True,
    )
