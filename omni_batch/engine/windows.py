"""A recording that is too long for one request: its windows are asked one after the other, and
their answers become one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from omni_batch.changes import Window
from omni_batch.engine.sending.send import History, Sender
from omni_batch.errors import OmniBatchError
from omni_batch.planning.fitting.made import each_window
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.store.audio import WindowSpeech
from omni_batch.types import Answer, Response, Usage, WavFile


@dataclass(slots=True)
class WindowedAnswer:
    """The answers to the windows of one item, as they come."""

    windows: list[Window] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    async def ask(
        self, sender: Sender, plan: Plan, prepared: PreparedItem, history: History
    ) -> Answer:
        """Send every window; what has been answered stays here whatever comes after.

        Raises:
            OmniBatchError: a window was not answered; the message says which.
        """
        speech = WindowSpeech(sender.directory, prepared.item.name)
        for number, (medium, window) in enumerate(each_window(plan, prepared), 1):
            history.keep_last()
            try:
                answer = await sender.send(window, history)
            except OmniBatchError as exc:
                if not exc.stops_run:
                    exc.args = (f"window {number} of {len(prepared.windows)}: {exc}",)
                raise
            begin_s = medium.begin_s or 0.0
            end_s = begin_s + (medium.duration_s or 0.0)
            self.windows.append(Window(begin_s, end_s, answer.response.text, medium.size_bytes))
            self.answers.append(await speech.set_aside(answer))
        return self.joined(await speech.joined())

    def joined(self, wav: WavFile | None = None) -> Answer:
        """One answer of those that there are: each text below the time that it is about."""
        last = self.answers[-1]
        responses = [answer.response for answer in self.answers]
        response = replace(
            last.response,
            text="\n\n".join(map(_timed, self.windows)),
            reasoning="\n\n".join(filter(None, (each.reasoning for each in responses))) or None,
            finish_reason=_finish_reason(responses),
            usage=_sum([each.usage for each in responses]),
            speech=wav.speech if wav else None,
            doubts=tuple(dict.fromkeys(d for each in responses for d in each.doubts)),
        )
        return replace(last, response=response, wav=wav)


def _timed(window: Window) -> str:
    return f"[{_clock(window.begin_s)} - {_clock(window.end_s)}]\n{window.text}"


def _clock(seconds: float) -> str:
    """00:02:57.500"""
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths / 1000:06.3f}"


def _finish_reason(responses: Sequence[Response]) -> str:
    """That of the first one that did not end by itself."""
    reasons = [each.finish_reason for each in responses]
    return next((reason for reason in reasons if reason != "stop"), reasons[-1])


def _sum(usages: Sequence[Usage | None]) -> Usage | None:
    """All bills together; None where one is missing."""
    found = [usage for usage in usages if usage is not None]
    if len(found) < len(usages):
        return None
    counts: dict[str, Any] = {
        each.name: _added([getattr(usage, each.name) for usage in found]) for each in fields(Usage)
    }
    return Usage(**counts)


def _added(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
