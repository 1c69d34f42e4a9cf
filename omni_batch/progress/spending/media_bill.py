"""Was a row's picture or sound read? Its bill, held against the estimate, says so. Pure.

Servers count media by rules of their own, so a bill proves nothing by being smaller than estimated.
It does where it is no larger than the text alone explains.
"""

from collections import Counter
from collections.abc import Iterator

from omni_batch.catalogue.tokens import assumed_size
from omni_batch.doubts import Doubt
from omni_batch.errors import MediaIgnored
from omni_batch.types import Request, Result, Usage

MEDIA_NOT_BILLED = "media-not-billed"
ROWS_THAT_STOP = 5
"""So many such rows, before any whose media were billed, stop the run."""
_TEXT_SLACK = 1.1
_TEXT_SLACK_TOKENS = 4
_WORTH = 1.2
_WORTH_TOKENS = 12
"""Text is estimated up to a third too high, and a server may count media at a third of what the
vendor does: fewer tokens of media than this share of the text could hide in that."""


def media_were_billed(
    request: Request, prompt_tokens: int, text_tokens: int, usage: Usage
) -> bool | None:
    """Whether the bill contains the request's media; None where it can't be told.

    Args:
        prompt_tokens, text_tokens: as estimated, in all and the text of it.
    """
    media = request.media()
    if not media:
        return None
    if usage.prompt_image_tokens or usage.prompt_audio_tokens or usage.prompt_video_tokens:
        return True
    of_media = prompt_tokens - text_tokens
    if of_media < _WORTH * text_tokens + _WORTH_TOKENS:
        return None
    sure = not any(medium.duration_guessed or assumed_size(medium) for medium in media)
    most = _TEXT_SLACK * text_tokens + _TEXT_SLACK_TOKENS if sure else 0.9 * text_tokens
    return usage.prompt_tokens > most


def bill_doubts(
    request: Request, prompt_tokens: int, text_tokens: int, usage: Usage | None
) -> Iterator[Doubt]:
    """What the bill of an answer says against it."""
    if usage and media_were_billed(request, prompt_tokens, text_tokens, usage) is False:
        yield Doubt(
            MEDIA_NOT_BILLED,
            f"{usage.prompt_tokens:,} prompt tokens were billed where {prompt_tokens:,} were "
            f"expected, {prompt_tokens - text_tokens:,} of them for media: the service probably "
            "did not read them",
        )


class MediaBills:
    """Takes in the rows of a run, endpoint by endpoint, until one's media were billed."""

    def __init__(self) -> None:
        self._unbilled: Counter[str] = Counter()
        self._reads_media: set[str] = set()

    def item_ended(self, result: Result) -> None:
        """An item has its result. Raises MediaIgnored."""
        if not result.attempts or result.reused_from is not None or result.request is None:
            return
        endpoint = result.attempts[-1].endpoint or ""
        if endpoint in self._reads_media:
            return
        billed = _of_result(result, result.request)
        if billed:
            self._reads_media.add(endpoint)
        self._unbilled[endpoint] += billed is False
        if self._unbilled[endpoint] >= ROWS_THAT_STOP:
            raise MediaIgnored(
                f"endpoint {endpoint} billed no tokens for the media of {ROWS_THAT_STOP} rows: it "
                f"probably ignores them; look at their answers and warnings ({MEDIA_NOT_BILLED}), "
                "and check model and endpoint. Where it reads media and only does not count them, "
                "resume with: --set budget.unbilled_media=warn"
            )


def _of_result(result: Result, request: Request) -> bool | None:
    usage = result.answer.response.usage if result.answer else None
    prompt, text = result.estimated_prompt_tokens, result.estimated_text_tokens
    if usage is None or prompt is None or text is None:
        return None
    return media_were_billed(request, prompt, text, usage)
