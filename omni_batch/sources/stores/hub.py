"""Files of the Hugging Face Hub, by its own file system for fsspec."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from omni_batch.errors import OmniBatchError
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target
from omni_batch.sources.stores import faults
from omni_batch.sources.stores.object_store import Head

_PIECE_BYTES = 2**18
_NAME = "hf://"


class HubFiles:
    """All of the Hub that the user's token may read. Keys are `datasets/owner/name/path`."""

    is_public = False

    def __init__(self, *, anonymous: bool) -> None:
        endpoint = os.environ.get("HF_ENDPOINT")
        self._files = HfFileSystem(endpoint=endpoint, token=False if anonymous else None)

    def keys(self, prefix: str) -> Iterator[str]:
        """As of `ObjectStore`."""
        folder = prefix[: prefix.rfind("/")]
        with self._faults(prefix):
            found = self._files.find(folder)
        yield from (key for key in sorted(found) if key.startswith(prefix))

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """As of `ObjectStore`."""
        faults.refuse_larger(f"{_NAME}{key}", self.head(key).size_bytes, most_bytes)
        with self._faults(key), self._files.open(key, "rb", block_size=0) as file:
            while data := file.read(_PIECE_BYTES):
                target.write(data)

    def head(self, key: str) -> Head:
        """As of `ObjectStore`."""
        with self._faults(key):
            found: dict[str, Any] = self._files.info(key)
            if found["type"] != "file":
                raise SourceFault(f"{_NAME}{key} is a folder; name a file")
            return Head(int(found["size"]), str(found.get("blob_id") or ""))

    def signed(self, key: str, valid_s: int) -> str | None:
        """None: the Hub signs nothing."""
        return None

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        name = f"{_NAME}{key}"
        try:
            yield
        except FileNotFoundError:
            raise SourceFault(
                f"{name} does not exist, or may not be read; check it and HF_TOKEN"
            ) from None
        except HfHubHTTPError as exc:
            status = str(exc.response.status_code) if exc.response is not None else ""
            raise faults.of_code(name, _NAME, status, "", status) from exc
        except (SourceFault, OmniBatchError):
            raise
        except Exception as exc:  # of whatever HTTP client this version has
            raise faults.unreachable(name, _NAME, f"{type(exc).__name__}: {exc}") from exc
