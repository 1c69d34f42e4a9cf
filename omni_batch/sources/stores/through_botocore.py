"""S3 by botocore: its conventions for credentials, regions and endpoints; and any key there is."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target
from omni_batch.sources.stores import faults
from omni_batch.sources.stores.object_store import Head, StoreSettings
from omni_batch.text import display_name

_PIECE_BYTES = 2**18
_ASKED_AGAIN_AFTER = timedelta(minutes=5)
"""Credentials that end are asked for again so often; botocore renews them 10 to 15 minutes
before."""
_NO_REGION = "us-east-1"


class BotoSession:
    """What the environment says of S3, or of OSS, which talks like it.

    Raises:
        SourceFault: there are no credentials.
    """

    def __init__(self, bucket: str, settings: StoreSettings) -> None:
        """Read the environment.

        Args:
            bucket: `s3://bucket`, for messages.
        """
        self._session = botocore.session.get_session()
        self.is_anonymous = settings.anonymous
        scheme = bucket.partition(":")[0]
        given = _of_oss() if scheme == "oss" else {}
        style = "virtual" if scheme == "oss" and settings.addressing == "auto" else None
        style = style or (None if settings.addressing == "auto" else settings.addressing)
        config = Config(
            s3={"addressing_style": style} if style else None,
            signature_version=UNSIGNED if settings.anonymous else None,
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=20,
            max_pool_connections=32,
        )
        try:
            self._credentials = self._found(given)
            if self._credentials is None and not settings.anonymous:
                raise faults.without_credentials(bucket)
            self.client = self._session.create_client(
                "s3",
                region_name=given.get("region")
                or self._session.get_config_variable("region")
                or _NO_REGION,
                endpoint_url=given.get("endpoint"),
                config=config,
                **{name: given[key] for name, key in _KEYS.items() if given.get(key)},
            )
        except (BotoCoreError, ValueError) as exc:
            raise SourceFault(f"{bucket}: {exc}; correct the environment", for_all=True) from exc

    def _found(self, given: Mapping[str, str]) -> Any:
        if given:
            return given if given.get("access_key_id") else None
        return None if self.is_anonymous else self._session.get_credentials()

    @property
    def region(self) -> str:
        """What requests are signed for."""
        return str(self.client.meta.region_name)

    @property
    def endpoint(self) -> str:
        """Address of the store, without a bucket."""
        return str(self.client.meta.endpoint_url)

    @property
    def puts_bucket_in_host(self) -> bool:
        """Whether a bucket's name goes before the host; botocore's own rule by default."""
        style = (self.client.meta.config.s3 or {}).get("addressing_style") or "auto"
        return style == "virtual" or (style == "auto" and "amazonaws.com" in self.endpoint)

    def abort_uploads(self, bucket: str, prefix: str) -> None:
        """End uploads in parts that nobody goes on with.

        Raises:
            SourceFault: the store does not allow it.
        """
        try:
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for upload in page.get("Uploads", ()):
                    self.client.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
        except (BotoCoreError, ClientError) as exc:
            raise SourceFault(f"unfinished uploads can't be ended: {exc}") from exc

    def credential(self) -> dict[str, Any]:
        """As obstore asks for them."""
        if isinstance(self._credentials, Mapping):
            return {**_plain(self._credentials), "expires_at": None}
        frozen = self._credentials.get_frozen_credentials()
        ends = hasattr(self._credentials, "refresh_needed")
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _ASKED_AGAIN_AFTER if ends else None,
        }


_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "token",
}


def _plain(given: Mapping[str, str]) -> dict[str, str | None]:
    return {name: given.get(name) or None for name in _KEYS.values()}


def _of_oss() -> dict[str, str]:
    """By the names of Alibaba's own tools (ossutil, OSS SDK 2). OSS answers S3's protocol at the
    same host with `s3.` before it (OSS, "Use AWS SDKs to access OSS", 2026)."""
    endpoint = os.environ.get("OSS_ENDPOINT", "")
    scheme, _, host = endpoint.rpartition("://")
    if host.startswith("oss-"):
        host = f"s3.{host}"
    named = host.removeprefix("s3.").partition(".")[0].removesuffix("-internal")
    return {
        "endpoint": f"{scheme or 'https'}://{host.rstrip('/')}",
        "region": os.environ.get("OSS_REGION") or (named if named.startswith("oss-") else ""),
        "access_key_id": os.environ.get("OSS_ACCESS_KEY_ID", ""),
        "secret_access_key": os.environ.get("OSS_ACCESS_KEY_SECRET", ""),
        "token": os.environ.get("OSS_SESSION_TOKEN", ""),
    }


class BotoBucket:
    """One bucket through botocore: slower than obstore, and it takes any key.

    Args:
        name: `s3://bucket`.
    """

    def __init__(self, name: str, session: BotoSession, *, is_public: bool) -> None:
        self._name, self._bucket = name, name.partition("://")[2]
        self._session, self._client = session, session.client
        self.is_public = is_public

    def keys(self, prefix: str) -> Iterator[str]:
        """As of `ObjectStore`."""
        with self._faults(self._name):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield entry["Key"]

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """As of `ObjectStore`."""
        with self._faults(self._named(key)):
            found = self._client.get_object(Bucket=self._bucket, Key=key)
            faults.refuse_larger(self._named(key), found["ContentLength"], most_bytes)
        try:
            for piece in found["Body"].iter_chunks(_PIECE_BYTES):
                target.write(piece)
        except (BotoCoreError, OSError) as exc:
            raise faults.broke_off(self._named(key), str(exc)) from exc

    def head(self, key: str) -> Head:
        """As of `ObjectStore`."""
        with self._faults(self._named(key)):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
            return Head(int(found["ContentLength"]), str(found.get("ETag", "")))

    def signed(self, key: str, valid_s: int) -> str | None:
        """As of `ObjectStore`."""
        if self._session.is_anonymous:
            host = self._session.endpoint
            return f"{host}/{self._bucket}/{quote(key, safe='/~')}"
        with self._faults(self._named(key)):
            return str(
                self._client.generate_presigned_url(
                    "get_object", {"Bucket": self._bucket, "Key": key}, ExpiresIn=valid_s
                )
            )

    def _named(self, key: str) -> str:
        return display_name(f"{self._name}/{key}")

    @contextmanager
    def _faults(self, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as exc:
            said = exc.response.get("Error", {})
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            raise faults.of_code(
                name, self._name, said.get("Code", ""), said.get("Message", ""), str(status)
            ) from exc
        except NoCredentialsError as exc:
            raise faults.without_credentials(self._name) from exc
        except BotoCoreError as exc:
            raise faults.unreachable(name, self._name, str(exc)) from exc
