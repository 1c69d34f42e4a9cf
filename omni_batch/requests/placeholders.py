"""Texts that speak of a medium which was to stand in their place. Pure.

Training sets for models of text and pictures write `<image>` where the picture comes, and give the
picture in a column of its own; once the column is lost, the sign is all that is left.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from omni_batch.errors import ManifestError
from omni_batch.types import Message, Modality, kind_of

_SIGNS: dict[Modality, str] = {"image": "image", "audio": "audio|sound|speech", "video": "video"}
_NUMBER = r"[ _]?\d{0,3}"
_FORMS = {
    kind: rf"""
        <(?:{names}){_NUMBER}>                                      # LLaVA, ShareGPT, ms-swift
        | <\|(?:{names})(?:_pad|_bos|_start)?{_NUMBER}\|>           # Qwen2-Audio, Qwen-VL, Phi
        | <(?:start_of_)?(?:{names})(?:_placeholder|_soft_token|here)?>    # Gemma, DeepSeek-VL
        | <(?:{names}{"|img" if kind == "image" else ""})>[^<>]{{1,4096}}</  # Qwen-VL, Qwen-Audio
    """
    for kind, names in _SIGNS.items()
}
_FORM = re.compile(
    "|".join(f"(?P<{kind}>{form})" for kind, form in _FORMS.items())
    + r"| (?P<any><\|vision_(?:start|bos)\|>)",
    re.IGNORECASE | re.VERBOSE,
)
_HTML = re.compile(
    r"</?(?:html|body|div|p|a|span|br|script|head|ul|li|table)\b|\b(?:html|xml|tags?|markup)\b",
    re.IGNORECASE,
)
"""A text about markup, in which `<video>` is an element."""
_SERVED_BY: Mapping[str, frozenset[Modality]] = {
    "image": frozenset({"image", "frames"}),
    "audio": frozenset({"audio", "video"}),
    "video": frozenset({"video", "frames"}),
    "any": frozenset({"image", "frames", "video"}),
}
"""What may stand for it: a list of frames is a video, and a video has its sound."""


def refuse_lost_media(turns: Iterable[Message]) -> None:
    """Hold the user's texts against the media of all turns.

    Raises:
        ManifestError: a text names a place for a medium, and there is none of its kind.
    """
    turns = tuple(turns)
    kinds = {kind_of(part) for turn in turns for part in turn.parts}
    for turn in turns:
        for part in turn.parts if turn.role == "user" else ():
            if isinstance(part, str) and "<" in part:
                _check(part, kinds)


def _check(text: str, kinds: Collection[Modality]) -> None:
    for found in _FORM.finditer(text):
        kind = str(found.lastgroup)
        if _SERVED_BY[kind].isdisjoint(kinds) and not _HTML.search(text):
            column = "image" if kind == "any" else kind
            medium = "image or video" if kind == "any" else kind
            raise ManifestError(
                f"the text says {found[0][:40]!r}, but the row has no {medium}: give it in the "
                f"column {column}, or take the sign out of the text"
            )
