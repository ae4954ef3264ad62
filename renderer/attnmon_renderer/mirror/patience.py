"""How long an uploader waits after an error, by what kind it was."""

import random
from dataclasses import dataclass, field

from attnmon_renderer.mirror.buckets.bucket import Kind

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0
NEW_CREDENTIALS_SECONDS = 60.0
"""How soon credentials are read anew: whoever renews them does so in minutes."""


@dataclass(slots=True)
class Patience:
    """Grows with each error of the network in a row, and starts anew after a success."""

    errors: int = 0
    """Errors in a row."""
    _random: random.Random = field(default_factory=random.Random)

    def wait_after(self, kind: Kind) -> float:
        """Return the seconds to wait after one more error.

        After one of the network: twice as long each time, up to five minutes, and between half
        and the whole of that, so that many runs do not come back at one moment.
        """
        self.errors += 1
        if kind in ("credentials", "clock"):
            return NEW_CREDENTIALS_SECONDS
        longest = min(FIRST_SECONDS * 2.0 ** min(self.errors - 1, 20), LONGEST_SECONDS)
        return longest * self._random.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """Note that a request has succeeded."""
        self.errors = 0
