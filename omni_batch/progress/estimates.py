"""What items will take, learned from what they took. Pure.

Media follow published rules, text does not: no tokenizer is public. So the text estimate gets a
factor, and the length of answers is their mean so far.
"""

from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.types import Usage

FIRST_GUESS_TOKENS = {False: 250.0, True: 600.0}
"""Completion tokens of one item before any answer has come: text only, with speech."""
_MEMORY = 50  # answers that the mean looks back on
_FACTOR_BOUNDS = (0.25, 4.0)  # beyond them something else was counted as text


class TokenEstimates:
    """Feed it what was billed; ask it what to expect."""

    def __init__(self) -> None:
        self._completion_tokens = dict(FIRST_GUESS_TOKENS)
        self._answers = dict.fromkeys(FIRST_GUESS_TOKENS, 0)
        self._estimated_text = 0
        self._billed_text = 0

    @property
    def text_factor(self) -> float:
        """Billed over estimated text tokens, 1 before anything is known."""
        if not self._estimated_text:
            return 1.0
        least, most = _FACTOR_BOUNDS
        return min(max(self._billed_text / self._estimated_text, least), most)

    def tokens(self, estimate: PromptEstimate, *, spoken: bool) -> float:
        """Of an item to come, prompt and answer together."""
        media, text = estimate.total - estimate.text, estimate.text * self.text_factor
        return media + text + self._completion_tokens[spoken]

    def learn(self, estimated_text_tokens: int | None, usage: Usage, *, spoken: bool) -> None:
        """Take in the bill of one answer."""
        self._answers[spoken] += 1
        gap = usage.completion_tokens - self._completion_tokens[spoken]
        self._completion_tokens[spoken] += gap / min(self._answers[spoken], _MEMORY)
        if estimated_text_tokens and usage.prompt_text_tokens:
            self._estimated_text += estimated_text_tokens
            self._billed_text += usage.prompt_text_tokens
