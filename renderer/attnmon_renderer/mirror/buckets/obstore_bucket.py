"""A bucket of S3, Google Cloud Storage or Azure, through obstore."""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import IO, Any
from urllib.parse import quote

from attnmon_renderer.mirror.buckets.bucket import (
    BLOCK_BYTES,
    BucketError,
    Changed,
    NoSuchObject,
    Version,
    first_line,
    refused,
)

REQUEST_SECONDS = 300
CONNECT_SECONDS = 20


class ObstoreBucket:
    """A bucket, or a folder in one."""

    def __init__(self, url: str) -> None:
        self._obstore: Any = import_module("obstore")
        self._errors: Any = import_module("obstore.exceptions")
        from_url = import_module("obstore.store").from_url
        options = {
            "timeout": f"{REQUEST_SECONDS}s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "user_agent": "attnmon",
            "allow_http": True,  # an http:// endpoint is only ever the user's own choice
        }
        try:
            self._store: Any = _unpanicked(
                from_url, _quoted(url), client_options=options, retry_config={"max_retries": 0}
            )
        except Exception as error:
            raise _meaning(error) from error

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        try:
            _unpanicked(self._obstore.put, self._store, name, content)
        except Exception as error:
            raise refused(_meaning(error)) from error

    def put_over(self, name: str, content: bytes, seen: Version | None) -> Version:
        mode = "create" if seen is None else seen
        try:
            written = _unpanicked(
                self._obstore.put, self._store, name, content, mode=mode, use_multipart=False
            )
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError) as error:
            raise Changed(name) from error
        except Exception as error:
            if seen != {} and not _knows_no_conditions(error):
                raise refused(_meaning(error)) from error
            if self.version(name) != seen:
                raise Changed(name) from error
            self.put(name, content)
            return self.version(name) or {}
        return _version(written)

    def version(self, name: str) -> Version | None:
        try:
            found = self._try(self._obstore.head, name)
        except NoSuchObject:
            return None
        return _version(found)

    def blocks(self, name: str) -> Iterator[bytes]:
        found = self._try(self._obstore.get, name)
        blocks = iter(found.stream(min_chunk_size=BLOCK_BYTES))
        while block := self._try(lambda store: next(blocks, b"")):
            yield bytes(block)

    def names(self) -> Iterator[tuple[str, int]]:
        for batch in self._try(self._obstore.list):
            for found in batch:
                yield found["path"], found["size"]

    def delete(self, name: str) -> None:
        try:
            self._try(self._obstore.delete, name)
        except NoSuchObject:
            pass

    def _try(self, verb: Any, *given: Any) -> Any:
        try:
            return _unpanicked(verb, self._store, *given)
        except Exception as error:
            raise _meaning(error) from error


def _quoted(url: str) -> str:
    """Return a URL that obstore, which decodes paths, takes as it stands."""
    scheme, _, rest = url.partition("://")
    bucket, slash, prefix = rest.partition("/")
    return f"{scheme}://{bucket}{slash}{quote(prefix)}"


class _Panicked(Exception):
    """obstore gave up, as over an endpoint that is no address."""


def _unpanicked(verb: Any, *given: Any, **options: Any) -> Any:
    """Call obstore, whose panic is no `Exception` and would end the process."""
    try:
        return verb(*given, **options)
    except Exception:
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise _Panicked(str(error)) from error


_CLOCK = re.compile("RequestTimeTooSkewed|RequestExpired|date header.*too old", re.I)
_CREDENTIALS = re.compile(
    "ExpiredToken|TokenRefreshRequired|InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch"
    "|InvalidAuthenticationInfo|AuthenticationFailed|credential|401 Unauthorized",
    re.I,
)
_BUSY = re.compile("SlowDown|429|50[0-9]")
_ODD_REQUEST = ("400", "405", "501")
_SERVER_TIME = re.compile(r"<ServerTime>([^<]+)</ServerTime>")
_STATUS = re.compile(r"status code: (\d+)")


def _version(found: Mapping[str, Any]) -> Version:
    """Return what a service has told of a version; nothing if it tells none."""
    return {name: found[name] for name in ("e_tag", "version") if found[name] is not None}


def _knows_no_conditions(error: Exception) -> bool:
    """Return whether a service, such as an old one like S3, takes no condition for writing."""
    text = str(error)
    status = _STATUS.search(text)
    is_odd = isinstance(error, NotImplementedError) or bool(status and status[1] in _ODD_REQUEST)
    return is_odd and not (_CLOCK.search(text) or _CREDENTIALS.search(text))


def _meaning(error: Exception) -> Exception:
    """Return what an error of obstore's means. Its text holds the service's answer."""
    text = str(error)
    if isinstance(error, _Panicked):
        return BucketError(
            "refused",
            f"obstore gave up: {first_line(error)}; are the variables of the endpoint, such as "
            "AWS_ENDPOINT_URL=http://…, and of the credentials right?",
        )
    if _CLOCK.search(text):
        told = _SERVER_TIME.search(text)
        return BucketError("clock", f"its clock says {told[1]}" if told else first_line(error))
    status = _STATUS.search(text)
    if status and _BUSY.fullmatch(status[1]):
        return BucketError("network", first_line(error))
    if _CREDENTIALS.search(text):
        return BucketError("credentials", first_line(error))
    if (status and status[1] == "403") or "NoSuchBucket" in text or "ContainerNotFound" in text:
        return BucketError("refused", first_line(error))
    if isinstance(error, FileNotFoundError):
        return NoSuchObject(first_line(error))
    return BucketError("network", first_line(error))
