"""SourceFault: why an archive, a member or an object can't be read, in our words. Pure."""


class SourceFault(Exception):
    """What can't be read, why, and what to do. Callers make it an error of their own.

    Args:
        for_all: it is not about one object: the bucket, its credentials or the host are at fault.
    """

    def __init__(self, message: str, *, for_all: bool = False) -> None:
        super().__init__(message)
        self.for_all = for_all
