"""From a body to a reply: checks, media, tokens, words. Knows no netplan."""

from collections.abc import Mapping

from omni_batch.simulator.checks.chat import Chat, Part
from omni_batch.simulator.checks.media import Fetch, measure_part
from omni_batch.simulator.checks.media_info import Medium
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.replies.answer import compose_answer
from omni_batch.simulator.replies.reply_plan import ReplyPlan
from omni_batch.simulator.replies.tokens import ViewOptions, prompt_tokens


def compose(
    body: Mapping[str, object],
    uid: str,
    dialect: Dialect,
    *,
    text: str | None = None,
    oss: Fetch | None = None,
) -> ReplyPlan:
    """Check a request, measure its media, and decide what is answered.

    Args:
        body: the request's JSON.
        uid: id of the reply.
        dialect: how the request is read.
        text: says this instead of a description.
        oss: gives what oss:// references stand for; None refuses them.
    Raises:
        Refused: as the server would refuse it.
    """
    chat = dialect.read(body)
    last, looks = chat.turns[-1], list[tuple[Medium, ViewOptions]]()
    latest = []
    for turn in chat.turns:
        for part in turn.parts:
            if part.kind != "text":
                medium = measure_part(part, chat.model.rules, oss=oss)
                looks.append((medium, _view_options(part, chat)))
                latest += [medium] if turn is last else []
    prompt = prompt_tokens([turn.text for turn in chat.turns], looks, chat.model.rules)
    if prompt.total > chat.max_input_tokens:
        raise dialect.too_long(chat, prompt.total)
    return ReplyPlan(chat, prompt, compose_answer(chat, latest, text=text), uid)


def _view_options(part: Part, chat: Chat) -> ViewOptions:
    return ViewOptions(chat.high_resolution, part.fps, part.max_pixels)
