"""The one secret of a run, in a type that never shows it."""

from dataclasses import dataclass

from omni_batch.text import MASK


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that no repr, log or traceback with its locals shows."""

    value: str

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {self.value}"

    def cut_out_of(self, reply: bytes) -> bytes:
        """A server's reply, without the key that it may have echoed."""
        return reply.replace(self.value.encode(), MASK.encode())
