"""What a worker is asked, and what it answers: one line of JSON each."""

import msgspec

from omni_batch.changes import Change, FilmTraits, ImageTraits, SoundTraits
from omni_batch.fitting.made import Made


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Take a closer look at a medium."""

    source: str
    """A path, or a data URI of base64."""
    kind: str


class Make(msgspec.Struct, frozen=True, tag="make"):
    """Change a medium."""

    source: str
    """As of `Look`."""
    change: Change
    folder: str
    """Where the files go; it exists and is empty."""
    sha256: str | None = None
    """What the content has to be: the outcome is kept under that name. None: any."""


Task = Look | Make


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a task: one of these."""

    image: ImageTraits | None = None
    sound: SoundTraits | None = None
    film: FilmTraits | None = None
    made: Made | None = None
    failed: str | None = None
    """Why the medium can't be used."""
    no_disk: str | None = None
    """Why nothing can be written."""
