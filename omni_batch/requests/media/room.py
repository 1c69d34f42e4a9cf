"""How much all threads decode at once: pictures are far larger than their files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelRoom:
    """Lets in as many pixels as there is room for; one that takes more than all of it, alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many, and keep it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._inside or self._inside + pixels <= self._most)
            self._inside += pixels
        try:
            yield
        finally:
            with self._changed:
                self._inside -= pixels
                self._changed.notify_all()


MOST_PIXELS = 100_000_000
"""Of one picture; more is a decompression bomb. 400 MB at four bytes each."""
ROOM = PixelRoom(MOST_PIXELS)
