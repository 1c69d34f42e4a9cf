"""Temporary storage behind oss:// (Model Studio, "get temporary file URLs", 2025-2026)."""

import base64
import hmac
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from omni_batch.simulator.checks.media import UNDECODABLE, fake_download
from omni_batch.simulator.checks.media_info import Medium
from omni_batch.simulator.checks.refusal import unprocessable
from omni_batch.simulator.options import SimulatorOptions

ROOT = "dashscope-instant"
"""First folder of every key that was stored here; other oss:// references are made up like URLs."""
MIB = 2**20
_ACCESS_KEY = "LTAI5tSimulated"
_SECRET = b"simulated"


class OssRefused(Exception):
    """The storage refuses an upload, in its own words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an uploaded file; its bytes are not kept."""

    model: str
    media: Mapping[str, Medium]
    """By the kinds of part that it can be used as."""
    sha256: str
    length_bytes: int
    expires_at_s: float
    """On the clock of time.time."""


class UploadStore:
    """Gives out policies, checks what is uploaded with them, and remembers what arrived."""

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._lock = threading.Lock()

    def grant(self, model: str, host: str, options: SimulatorOptions) -> dict[str, object]:
        """The permission to upload one model's file to `host`."""
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        folder = f"{ROOT}/{uuid.uuid4().hex}/{day}/{uuid.uuid4()}"
        policy = _policy(model, folder, time.time() + options.policy_valid_s, options)
        return {
            "policy": policy,
            "signature": _sign(policy),
            "upload_dir": folder,
            "upload_host": host,
            "expire_in_seconds": int(options.policy_valid_s),
            "max_file_size_mb": options.max_file_size_mb,
            "capacity_limit_mb": 999_999_999,
            "oss_access_key_id": _ACCESS_KEY,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }

    def keep(self, key: str, stored: Stored) -> None:
        """Remember an uploaded file."""
        with self._lock:
            self._stored[key] = stored

    def has(self, key: str) -> bool:
        """Whether there is a file of that name."""
        return key in self._stored

    @property
    def files(self) -> dict[str, Stored]:
        """Everything that was uploaded, by key."""
        with self._lock:
            return dict(self._stored)

    def find(self, kind: str, ref: str, model: str) -> Medium:
        """The file behind an oss:// reference.

        Raises:
            Refused: no such file (any more), or it is another model's, or of another kind.
        """
        key = ref.removeprefix("oss://")
        if not key.startswith(f"{ROOT}/"):
            return fake_download(kind, ref)
        found = self._stored.get(key)
        if found is None or found.expires_at_s < time.time():
            raise unprocessable(
                "Failed to find the requested media resource during the data inspection process."
            )
        if found.model != model:
            raise unprocessable(
                "Don't have authorization to access the media resource during the data inspection."
            )
        if kind not in found.media:
            raise unprocessable(UNDECODABLE[kind])
        return found.media[kind]


def _policy(model: str, folder: str, until_s: float, options: SimulatorOptions) -> str:
    until = datetime.fromtimestamp(until_s, UTC).isoformat()
    conditions = [
        ["content-length-range", 0, options.max_file_size_mb * MIB],
        ["starts-with", "$key", folder],
        # The service ties files to a model in some way of its own.
        {"x:model": model},
    ]
    document = {"expiration": until, "conditions": conditions}
    return base64.b64encode(msgspec.json.encode(document)).decode()


def _sign(policy: str) -> str:
    digest = hmac.new(_SECRET, policy.encode(), "sha1").digest()
    return base64.b64encode(digest).decode()


def permission(fields: Mapping[str, str]) -> tuple[str, int]:
    """For which model, and how many bytes, the fields of an upload permit.

    Raises:
        OssRefused: the policy is forged, expired, or for another folder.
    """
    policy = fields.get("policy", "")
    if fields.get("OSSAccessKeyId") != _ACCESS_KEY:
        message = "The OSS Access Key Id you provided does not exist in our records."
        raise OssRefused(403, "InvalidAccessKeyId", message)
    if not hmac.compare_digest(fields.get("Signature", ""), _sign(policy)):
        message = "The request signature we calculated does not match the signature you provided."
        raise OssRefused(403, "SignatureDoesNotMatch", message)
    document = msgspec.json.decode(base64.b64decode(policy))  # ours, as its signature shows
    if datetime.fromisoformat(document["expiration"]) < datetime.now(UTC):
        raise OssRefused(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    size, folder, model = document["conditions"]
    if not fields.get("key", "").startswith(f"{folder[2]}/"):
        message = 'Invalid according to Policy: Policy Condition failed: ["starts-with", "$key"]'
        raise OssRefused(403, "AccessDenied", message)
    return model["x:model"], size[2]
