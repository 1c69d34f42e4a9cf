"""Which run directories this user has prepared, or has consented to: run.json carries a mark.

A mark is an HMAC over what decides where a run sends keys and files: its configuration, the folder
that references start from, and where folders of it that are links lead. It goes with a directory
that is moved or copied, and is void as soon as one of these is changed by any other means.
"""

import hashlib
import hmac
import logging

import msgspec

from omni_batch.store.record import RunRecord
from omni_batch.store.run_dir import RunDir
from omni_batch.store.trust.secret import own_secrets, secret_to_mark_with

log = logging.getLogger("omni_batch")

_MOST_MARKS = 16
"""Of users who work on the same run."""
_PURPOSE = b"omni-batch run 1\n"


def is_known(directory: RunDir, record: RunRecord) -> bool:
    """Whether this user has prepared the run as it stands, or has consented to it."""
    claims = _claims(directory, record)
    marks = [_mark(secret, claims) for secret in own_secrets()]
    return any(hmac.compare_digest(mark, held) for mark in marks for held in record.marks)


def vouched(directory: RunDir, record: RunRecord) -> RunRecord:
    """The record with this user's mark; marks of others stay, which a changed record voids."""
    secret, why_not = secret_to_mark_with()
    if why_not:
        log.warning(
            "%s: once this process has ended, the run is not known to be yours; go on with it "
            "with --trust, or set XDG_STATE_HOME to a folder that can be written",
            why_not,
        )
    mark = _mark(secret, _claims(directory, record))
    kept = [held for held in record.marks if held != mark][-_MOST_MARKS + 1 :]
    return msgspec.structs.replace(record, marks=(*kept, mark))


def claims_digest(directory: RunDir, record: RunRecord) -> str:
    """What a mark vouches for, in short: to be handed to another machine of the same user."""
    return hashlib.sha256(_PURPOSE + _claims(directory, record)).hexdigest()


def links_of(directory: RunDir) -> dict[str, str]:
    """Where parts of a run directory lead that are links, by their names."""
    parts = (directory.items, directory.results(0).parent, directory.attempts(0).parent)
    places = (*parts, directory.speech("").parent, directory.journals, directory.partitions)
    return {path.name: str(path.readlink()) for path in places if path.is_symlink()}


def _mark(secret: bytes, claims: bytes) -> str:
    return hmac.digest(secret, _PURPOSE + claims, "sha256").hex()


def _claims(directory: RunDir, record: RunRecord) -> bytes:
    config = msgspec.json.decode(msgspec.json.encode(record.config))  # as the next reader finds it
    claims = {
        "base_folder": record.base_folder,
        "config": config,
        "links": links_of(directory),
    }
    return msgspec.json.encode(claims, order="sorted")
