"""An event loop whose clock can be put forward, as if the process had been stopped meanwhile."""

import asyncio


class PausableLoop(asyncio.SelectorEventLoop):
    """Real time, and in addition what is put into `paused_s`."""

    paused_s = 0.0

    def time(self) -> float:
        """Seconds, as the system counts them."""
        return super().time() + self.paused_s
