"""Pictures of a video as they are to be shown."""

from fractions import Fraction
from typing import Any

import av

TICKS = Fraction(1, 90_000)
"""A clock that all usual rates of pictures fit into."""


Filters = tuple[tuple[str, str], ...]
"""Names and arguments of FFmpeg's filters."""
_MIRROR, _FLIP = ("hflip", ""), ("vflip", "")
_TURNS: dict[tuple[int, int, int, int], Filters] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): (_MIRROR,),
    (1, 0, 0, -1): (_FLIP,),
    (-1, 0, 0, -1): (_MIRROR, _FLIP),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}
"""By a, b, c, d of a display matrix (ISO 14496-12, 8.3.2): x' = a x + c y and y' = b x + d y. No
camera writes others, and they turn nothing."""
_ONE = 1 << 16


def turn_of(frame: Any) -> Filters:
    """What has to be done for a picture to be upright."""
    matrix = next((s for s in frame.side_data if s.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return ()
    a, b, _, c, d = (round(number / _ONE) for number in memoryview(bytes(matrix)).cast("i")[:5])
    return _TURNS.get((a, b, c, d), ())


def is_quarter(turn: Filters) -> bool:
    """Whether width and height change places."""
    return any(name == "transpose" for name, _ in turn)


class Shaper:
    """Pictures as they are to be shown, in one size; the filters are built anew where a picture
    differs from the one before."""

    def __init__(self, size_px: tuple[int, int], pixel_format: str) -> None:
        self._size_px, self._format = size_px, pixel_format
        self._key: object = None
        self._graph: Any = None

    def __call__(self, frame: Any) -> Any:
        """The picture as it is to be shown."""
        turn = turn_of(frame)
        key = frame.width, frame.height, frame.format.name, turn
        if key != self._key:
            self._key, self._graph = key, self._built(frame, turn)
        self._graph.push(frame)
        return self._graph.pull()

    def _built(self, frame: Any, turn: Filters) -> Any:
        width_px, height_px = self._size_px
        graph = av.filter.Graph()
        last = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format.name,
            time_base=frame.time_base or TICKS,
        )
        steps = (
            *turn,
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
