"""Address → its store: which library talks to it, opened once for each bucket."""

import ipaddress
import os
import re
import socket
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omni_batch.sources.address import Address
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.kept import Kept
from omni_batch.sources.stores import faults
from omni_batch.sources.stores.object_store import ObjectStore, StoreSettings, WritableStore
from omni_batch.text import display_name

if TYPE_CHECKING:
    from omni_batch.sources.stores.through_botocore import BotoSession

_BUCKETS_KEPT = 1000
_OF_STORES = re.compile("AWS_|OSS_|GOOGLE_|STORAGE_")
_WRITABLE: Kept[Hashable, WritableStore] = Kept(8)
_LOCAL_NAMES = (".local", ".internal", ".localhost", ".lan")
_EMULATOR = "STORAGE_EMULATOR_HOST"
"""Where Google's own client libraries look for a store in place of theirs."""


class Stores:
    """Stores of one run."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._opened: Kept[tuple[str, str], ObjectStore] = Kept(_BUCKETS_KEPT)

    def of(self, address: Address) -> ObjectStore:
        """The store of an address.

        Raises:
            SourceFault: a package or credentials are missing.
        """
        key = address.scheme, address.bucket
        return self._opened.get(key, lambda: _open(address, self._settings))


def open_for_writing(address: Address, settings: StoreSettings) -> WritableStore:
    """The bucket of an address, to be written to; opened once, as that takes botocore 0.2 s.

    Raises:
        SourceFault: a package or credentials are missing.
    """
    name = f"{address.scheme}://{address.bucket}"
    environment = ((key, os.environ[key]) for key in sorted(os.environ) if _OF_STORES.match(key))
    return _WRITABLE.get((name, settings, *environment), lambda: _open_writer(name, settings))


def _open_writer(name: str, settings: StoreSettings) -> WritableStore:
    try:
        from omni_batch.sources.stores.writing import ObstoreWriter

        if name.startswith("gs:"):
            return ObstoreWriter(name, _gcs_store(name, settings)[0])
        store, session = _s3_store(name, settings)
        return ObstoreWriter(name, store, session.abort_uploads)
    except ImportError as exc:
        raise faults.without_extra(name, str(exc.name).partition(".")[0], "stores") from exc


def _open(address: Address, settings: StoreSettings) -> ObjectStore:
    if address.scheme == "hf":
        return _hub(settings)
    name = f"{address.scheme}://{address.bucket}"
    if "@" in address.bucket:
        raise SourceFault(
            f"{display_name(name)}: an address holds no credentials; leave them to the environment",
            for_all=True,
        )
    try:
        return _gcs(name, settings) if address.scheme == "gs" else _s3(name, settings)
    except ImportError as exc:
        raise faults.without_extra(name, str(exc.name).partition(".")[0], "stores") from exc


def _s3(name: str, settings: StoreSettings) -> ObjectStore:
    # Libraries that only runs over stores need.
    from omni_batch.sources.stores.through_botocore import BotoBucket
    from omni_batch.sources.stores.through_obstore import ObstoreBucket

    store, session = _s3_store(name, settings)
    public = is_public(session.endpoint)
    odd = BotoBucket(name, session, is_public=public)
    return ObstoreBucket(name, store, is_public=public, odd=odd)


def _s3_store(name: str, settings: StoreSettings) -> "tuple[Any, BotoSession]":
    from obstore.store import S3Store

    from omni_batch.sources.stores.through_botocore import BotoSession
    from omni_batch.sources.stores.through_obstore import RETRY, client_options

    session = BotoSession(name, settings)
    bucket = name.partition("://")[2]
    in_host = session.puts_bucket_in_host and not ("." in bucket and "https:" in session.endpoint)
    credential: Any = None if settings.anonymous else session.credential
    config: Any = {
        # Of all names for it the one that comes before those in the environment.
        "aws_endpoint_url_s3": _with_bucket(session.endpoint, bucket if in_host else ""),
        "region": session.region,
        "virtual_hosted_style_request": in_host,
        "skip_signature": settings.anonymous,
    }
    store = S3Store(
        bucket,
        config=config,
        client_options=client_options(allow_http=session.endpoint.startswith("http:")),
        retry_config=RETRY,
        credential_provider=credential,
    )
    return store, session


def _with_bucket(endpoint: str, bucket: str) -> str:
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}" if bucket else endpoint


def _gcs(name: str, settings: StoreSettings) -> ObjectStore:
    from omni_batch.sources.stores.through_obstore import ObstoreBucket

    store, emulator = _gcs_store(name, settings)
    return ObstoreBucket(name, store, is_public=not emulator)


def _gcs_store(name: str, settings: StoreSettings) -> tuple[Any, str]:
    from obstore.store import GCSStore

    from omni_batch.sources.stores.through_obstore import RETRY, client_options

    config: Any = {"skip_signature": True} if settings.anonymous else {}
    emulator = os.environ.get(_EMULATOR, "")
    if emulator:
        emulator = emulator if "://" in emulator else f"http://{emulator}"
        config = {"base_url": emulator, "skip_signature": True}
    store = GCSStore(
        name.partition("://")[2],
        config=config,
        client_options=client_options(allow_http=emulator.startswith("http:")),
        retry_config=RETRY,
    )
    return store, emulator


def _hub(settings: StoreSettings) -> ObjectStore:
    try:
        from omni_batch.sources.stores.hub import HubFiles
    except ImportError as exc:
        raise faults.without_extra("hf://", "huggingface_hub", "hub") from exc
    return HubFiles(anonymous=settings.anonymous)


def is_public(endpoint: str) -> bool:
    """Whether a host belongs to the open Internet, by its name and its addresses."""
    host = (urlsplit(endpoint).hostname or "").lower()
    if "." not in host or host.endswith(_LOCAL_NAMES) or "-internal." in host:
        return False
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_global for address in found)
