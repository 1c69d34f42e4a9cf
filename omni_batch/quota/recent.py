"""What was started within the last minute, and how long requests take. Pure."""

_SECONDS = 60
_LATELY_S = 10
_SMOOTHING = 1 / 16


class Recent:
    """Sixty sums of one second each."""

    def __init__(self) -> None:
        self._requests = [0] * _SECONDS
        self._tokens = [0.0] * _SECONDS
        self._second = 0
        self.usual_latency_s = 0.0

    def started(self, tokens: float, now_s: float) -> None:
        """A request starts that is taken to use so many tokens."""
        self._move(now_s)
        self._requests[self._second % _SECONDS] += 1
        self._tokens[self._second % _SECONDS] += tokens

    def corrected(self, tokens: float) -> None:
        """It used so many tokens more, or fewer."""
        self._tokens[self._second % _SECONDS] += tokens

    def ended(self, latency_s: float) -> None:
        """A request has ended."""
        gap_s = latency_s - self.usual_latency_s
        self.usual_latency_s += gap_s * (_SMOOTHING if self.usual_latency_s else 1.0)

    def last_minute(self, now_s: float) -> tuple[int, float]:
        """(requests, tokens)."""
        self._move(now_s)
        return sum(self._requests), max(0.0, sum(self._tokens))

    def lately_per_s(self, now_s: float) -> tuple[float, float]:
        """(requests, tokens) a second, over the last ten whole seconds."""
        self._move(now_s)
        seconds = [second % _SECONDS for second in range(self._second - _LATELY_S, self._second)]
        requests = sum(self._requests[second] for second in seconds)
        tokens = sum(self._tokens[second] for second in seconds)
        return requests / _LATELY_S, max(0.0, tokens) / _LATELY_S

    def _move(self, now_s: float) -> None:
        second = int(now_s)
        for passed in range(max(self._second + 1, second - _SECONDS + 1), second + 1):
            self._requests[passed % _SECONDS], self._tokens[passed % _SECONDS] = 0, 0.0
        self._second = max(self._second, second)
