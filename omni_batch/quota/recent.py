"""What was started within the last minute, and how long requests take. Pure."""

from collections import deque

_SECONDS = 60
_LATELY_S = 10
_A_SECOND_S = 1.02  # and the way there
_KEPT_S = 1.1  # a second, and what distance is kept from its edge
_SMOOTHING = 1 / 16


class LastSecond:
    """Tokens as the service comes to know of them: prompts at the start, answers at the end."""

    def __init__(self) -> None:
        self._known: deque[tuple[float, float]] = deque()
        self._tokens = 0.0
        self.busiest = 0.0
        """Of the busiest second in which something was let through."""

    def add(self, tokens: float, now_s: float) -> None:
        """So many more are known."""
        self.busiest = max(self.busiest, self.tokens(now_s))
        self._known.append((now_s, tokens))
        self._tokens += tokens

    def tokens(self, now_s: float) -> float:
        """Of the last second."""
        self._forget(now_s)
        return self._tokens

    def wait_s(self, most: float, now_s: float) -> float:
        """Seconds until fewer than so many were used within a second."""
        self._forget(now_s)
        left, wait_s = self._tokens, 0.0
        for at_s, tokens in self._known:
            if left < most:
                break
            left, wait_s = left - tokens, at_s + _A_SECOND_S - now_s
        return wait_s

    def _forget(self, now_s: float) -> None:
        while self._known and self._known[0][0] <= now_s - _A_SECOND_S:
            self._tokens -= self._known.popleft()[1]


class Recent:
    """Sixty sums of one second each."""

    def __init__(self) -> None:
        self._requests = [0] * _SECONDS
        self._tokens = [0.0] * _SECONDS
        self._second = 0
        self._starts_s: deque[float] = deque()
        self._busiest = [0, 0, 0]
        self.passed = 0
        """Requests since the last refusal."""
        self.usual_latency_s = 0.0

    def started(self, tokens: float, now_s: float) -> None:
        """A request starts that is taken to use so many tokens."""
        self._move(now_s)
        self._requests[self._second % _SECONDS] += 1
        self._tokens[self._second % _SECONDS] += tokens
        self.passed += 1
        self._starts_s.append(now_s)
        while self._starts_s[0] <= now_s - _KEPT_S:
            self._starts_s.popleft()
        self._busiest[2] = max(self._busiest[2], len(self._starts_s))

    def refused(self, started_s: float, now_s: float) -> None:
        """A request that started then was not let in after all."""
        self._move(now_s)
        self.passed = 0
        if started_s in self._starts_s:
            self._starts_s.remove(started_s)
        age = self._second - int(started_s)
        if age < _SECONDS:
            self._requests[int(started_s) % _SECONDS] -= 1
        if age < 2:
            self._busiest[2 - age] -= 1

    def start_before(self, number: int) -> float | None:
        """When the request started that so many ago was, if that is about a second."""
        return self._starts_s[-number] if len(self._starts_s) >= number else None

    def seconds(self, now_s: float) -> tuple[int, int]:
        """Requests within the last second, and within the busiest one long enough before it."""
        self._move(now_s)
        last_second = sum(started_s > now_s - 1 for started_s in self._starts_s)
        return last_second, self._busiest[0]

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
        for _ in range(min(second - self._second, 2)):
            self._busiest = [max(self._busiest[:2]), self._busiest[2], 0]
        self._second = max(self._second, second)
