"""The consoles that all words for people go through."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from omni_batch import interrupts
from omni_batch.cli.streams import to_nowhere
from omni_batch.text import visible


class SafeConsole(Console):
    """The one way to a terminal, which obeys nothing that others have written.

    Shows control characters and signs that turn the writing around as escapes (`\\x1b`).

    What Rich itself writes to move and to colour stays. Square brackets are no markup.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **how)

    def on_broken_pipe(self) -> None:
        """The reader has seen enough; the exit code is the command's own all the same."""
        self.quiet = True
        to_nowhere(sys.stdout)

    def render_str(self, text: str, **how: Any) -> Text:
        """Strings become what is shown before they are measured, so that columns fit them."""
        return super().render_str(visible(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """All that is printed passes here, each cell of a table by itself, before it is fitted."""
        if isinstance(renderable, Text):  # before its lines are broken
            renderable = self._escaped(renderable)
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable():
                yield segment
            else:
                yield Segment(visible(text), style)

    def _escaped(self, text: Text) -> Text:
        if text.plain.isprintable():
            return text
        copy = text.blank_copy()
        for plain, style, _ in text.render(self):
            copy.append(visible(plain), style)
        return copy


out = SafeConsole()
err = SafeConsole(stderr=True)


def _show_cursor() -> None:
    """A display that is cut off has hidden it. Past the console, which another thread may hold."""
    if err.is_terminal and not err.is_dumb_terminal:
        os.write(sys.stderr.fileno(), b"\x1b[?25h")


interrupts.before_leaving(_show_cursor)
