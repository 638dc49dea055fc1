"""How often a workspace may ask: so many requests a second and so many a minute, counted in this process.

Each of the two is a bucket that holds what is allowed in its period and fills up at that pace, so that a script may send its requests
at once as well as one by one. A bucket is kept as one number, the moment at which it would be full again (the generic cell rate
algorithm, ITU-T I.371): what is kept of a workspace is two numbers, however often it asks.
"""

import math
import time
from collections.abc import Callable

from app.errors import RateLimited
from app.settings import Settings

#: Workspaces that are counted at once, and as many that asked before these: who asks again is counted on.
COUNTED = 10_000
SECOND, MINUTE = 1.0, 60.0
#: A hair's breadth more than a bucket holds: a sum of fractions may exceed it by its last digit.
HAIR = 1e-6


class Rates:
    """Counts requests by workspace. One a process."""

    def __init__(self, settings: Settings, *, counted: int = COUNTED, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        #: Seconds of filling that one request takes from each bucket: none from one that is never empty.
        self._of_second = SECOND / settings.rate_per_second if settings.rate_per_second else 0.0
        self._of_minute = MINUTE / settings.rate_per_minute if settings.rate_per_minute else 0.0
        self._counted = counted
        self._clock = clock
        #: By workspace, the moments at which its two buckets are full again.
        self._full_at: dict[str, list[float]] = {}
        self._before: dict[str, list[float]] = {}

    def count(self, workspace: str) -> None:
        """Count a request, or raise RateLimited; what is refused is not counted."""
        now = self._clock()
        moments = self._full_at.get(workspace) or self._begin(workspace)
        second, minute = moments
        second = max(second, now) + self._of_second
        minute = max(minute, now) + self._of_minute
        if second - now > SECOND + HAIR or minute - now > MINUTE + HAIR:
            raise self._refusal(second - now - SECOND, minute - now - MINUTE)
        moments[:] = second, minute

    def _begin(self, workspace: str) -> list[float]:
        """Count a workspace from now on, or go on with one that has not asked for long; forget those that have not for longer."""
        if len(self._full_at) >= self._counted:
            self._before, self._full_at = self._full_at, {}
        found = self._full_at[workspace] = self._before.pop(workspace, [0.0, 0.0])
        return found

    def _refusal(self, second: float, minute: float) -> RateLimited:
        """Name the limit that is waited for longest, and the seconds until it lets a request through."""
        settings, waited = self._settings, max(second, minute)
        most = f"{settings.rate_per_second} requests a second" if second > minute else f"{settings.rate_per_minute} requests a minute"
        return RateLimited(most, max(1, math.ceil(waited)))
