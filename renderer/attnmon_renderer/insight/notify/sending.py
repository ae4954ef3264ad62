"""Posts messages: three tries of ten seconds each, and ten messages an hour at most."""

import http.client
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.notify.attachment import Attachment
from attnmon_renderer.insight.notify.payloads import Payload, payload

SECONDS = 10.0
"""How long a try may take."""
TRIES = 3
PAUSE_SECONDS = 2.0
"""Before the second try; twice as long before the third."""
MOST_AN_HOUR = 10
HOUR = 3600.0


class Sender:
    """Sends alerts to one address; what cannot be sent is given up.

    Args:
        run: The run's name, as messages call it.
    """

    def __init__(
        self,
        address: str,
        run: str,
        *,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._run = run
        self._pause = pause
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=MOST_AN_HOUR)

    def send(self, alert: Alert, picture: Attachment | None = None) -> str:
        """Send an alert; returns why it was not received, without the address. Raises nothing.

        Where it is refused with a picture, it is sent without.
        """
        now = self._clock()
        if len(self._sent) == MOST_AN_HOUR and now - self._sent[0] < HOUR:
            return f"{MOST_AN_HOUR} messages within an hour are the most that are sent"
        self._sent.append(now)
        why, is_refused = self._try(payload(self._address, alert, self._run, picture))
        if picture is not None and is_refused:
            why, _ = self._try(payload(self._address, alert, self._run))
        return why

    def _try(self, content: Payload) -> tuple[str, bool]:
        """Return why it was not received, and whether its server refused it for good."""
        why = ""
        for number in range(TRIES):
            if number:
                self._pause(PAUSE_SECONDS * number)
            why, may_help = self._post(content)
            if not may_help:
                return why, bool(why)
        return why, False

    def _post(self, content: Payload) -> tuple[str, bool]:
        """Return why it was not received, and whether another try may help."""
        request = urllib.request.Request(self._address, content.body, content.headers)
        try:
            with _OPENER.open(request, timeout=SECONDS):
                return "", False
        except urllib.error.HTTPError as error:
            error.close()
            return f"its server answers {error.code}", error.code == 429 or error.code >= 500
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"its server is out of reach ({type(error).__name__})", True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the message is for the address that the user gave."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)
