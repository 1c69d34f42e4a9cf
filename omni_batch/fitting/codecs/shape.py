"""Pictures of a video as they are to be shown."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

TICKS = Fraction(1, 90_000)
"""A clock that all usual rates of pictures fit into."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What has to be done for a picture to be upright."""

    degrees: int
    """Counter-clockwise."""
    filters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, frame: Any) -> "Turn":
        """That of a picture, by its display matrix."""
        degrees = round(frame.rotation / 90) * 90 % 360
        mirrored = _is_mirrored(frame)
        turns = {0: (), 90: (("transpose", "cclock"),), 270: (("transpose", "clock"),)}
        filters = turns.get(degrees, (("hflip", ""), ("vflip", "")))
        return cls(degrees, (*((("hflip", ""),) if mirrored else ()), *filters))


def _is_mirrored(frame: Any) -> bool:
    """Whether its display matrix has a negative determinant (ISO 14496-12: a, b, u, c, d, …)."""
    data = next((side for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return False
    a, b, _, c, d = (int(number) for number in memoryview(bytes(data)).cast("i")[:5])
    return a * d - b * c < 0


class Shaper:
    """Pictures as they are to be shown, in one size; the filters are built anew where a picture
    differs from the one before."""

    def __init__(self, size_px: tuple[int, int], pixel_format: str) -> None:
        self._size_px, self._format = size_px, pixel_format
        self._key: object = None
        self._graph: Any = None

    def __call__(self, frame: Any) -> Any:
        """The picture as it is to be shown."""
        turn = Turn.of(frame)
        key = frame.width, frame.height, frame.format.name, turn
        if key != self._key:
            self._key, self._graph = key, self._built(frame, turn)
        self._graph.push(frame)
        return self._graph.pull()

    def _built(self, frame: Any, turn: Turn) -> Any:
        width_px, height_px = self._size_px
        graph = av.filter.Graph()
        last = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format.name,
            time_base=frame.time_base or TICKS,
        )
        steps = (
            *turn.filters,
            ("scale", f"{width_px}:{height_px}:flags=bicubic"),
            ("setsar", "1"),
            ("format", self._format),
            ("buffersink", ""),
        )
        for name, argument in steps:
            step = graph.add(name, argument) if argument else graph.add(name)
            last.link_to(step)
            last = step
        graph.configure()
        return graph
