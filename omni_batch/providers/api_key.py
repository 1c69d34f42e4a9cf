"""The one secret of a run, in a shape that nothing shows."""

from dataclasses import dataclass

from omni_batch.text import MASK


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is handed around: no repr, log or traceback with its locals shows it."""

    value: str

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {self.value}"

    def cut_out_of(self, said: bytes) -> bytes:
        """What a server said, without the key that it may have echoed."""
        return said.replace(self.value.encode(), MASK.encode())


def api_key_of(given: ApiKey | str | None) -> ApiKey | None:
    """A key in its shape, whichever it came in."""
    return ApiKey(given) if isinstance(given, str) else given
