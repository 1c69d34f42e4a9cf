"""From a body to a reply: checks, media, tokens, words. Knows nothing of the network."""

from itertools import chain

from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.checks.media import Fetch, measure_part
from omni_batch.simulator.checks.media_info import NotDownloaded
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.replies.answer import compose_answer
from omni_batch.simulator.replies.reply_plan import ReplyPlan
from omni_batch.simulator.replies.tokens import prompt_tokens


def compose(
    body: Body, uid: str, dialect: Dialect, *, text: str | None = None, oss: Fetch | None = None
) -> ReplyPlan:
    """Check a request, measure its media, and decide what is answered.

    Args:
        body: the request's JSON.
        uid: id of the reply.
        dialect: how the request is read.
        text: answers this instead of a description.
        oss: gives the files behind oss:// references; None refuses them.
    Raises:
        Refused: as the server would refuse it.
    """
    chat = dialect.read(body)
    try:
        measured = [
            [(part, measure_part(part, chat.model.rules, oss=oss)) for part in turn.media]
            for turn in chat.turns
        ]
    except NotDownloaded as failure:
        raise dialect.not_downloaded(failure) from None
    prompt = prompt_tokens(chat, chain.from_iterable(measured))
    if prompt.total > chat.max_input_tokens:
        raise dialect.too_long(chat, prompt.total)
    latest = [medium for _, medium in measured[-1]]
    return ReplyPlan(chat, prompt, compose_answer(chat, latest, text=text), uid)
