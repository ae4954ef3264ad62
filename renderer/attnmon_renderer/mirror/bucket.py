"""The five verbs on a bucket, and what their errors mean.

`s3://`, `gs://` and `az://` go through obstore, any other scheme through fsspec. Neither retries:
`patience` decides how long to wait.
"""

import io
import os
import re
import shutil
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any, Literal, Protocol

from attnmon.link.bucket_url import BUCKET_SCHEMES

REQUEST_SECONDS = 300
CONNECT_SECONDS = 20
BLOCK_BYTES = 1 << 20
MOST_BYTES = 1 << 28
"""The largest object that is in memory as a whole."""

Kind = Literal["network", "credentials", "clock", "refused", "taken"]
"""Why a request failed: the network or a busy service; credentials that are missing or have
expired; a clock that is off; a bucket that is not there or may not be used; a place that holds
something else."""


class BucketError(Exception):
    """A request failed; `kind` says what to do about it."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind


class NoSuchObject(Exception):
    """There is no object of this name."""


class Bucket(Protocol):
    """A bucket, or a folder in one; names are relative to it. Each raises `BucketError`."""

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        """Write an object, in place of one that is there."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of an object. Raises `NoSuchObject`."""

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield the name and size of each object. For a check only: readers go by the index."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""


def get(bucket: Bucket, name: str, most: int = MOST_BYTES) -> bytes:
    """Return an object. Raises `BucketError`, `NoSuchObject`, and ValueError for a larger one."""
    content = bytearray()
    for block in bucket.blocks(name):
        content += block
        if len(content) > most:
            raise ValueError(f"{name} has more than {most:,} bytes")
    return bytes(content)


def open_bucket(url: str) -> Bucket:
    """Return the bucket of a URL; its credentials come from the environment.

    Raises `BucketError` where it cannot be, as without credentials.
    """
    try:
        return _Obstore(url) if url.partition("://")[0] in BUCKET_SCHEMES else _Fsspec(url)
    except ImportError as error:
        raise BucketError("refused", f"{error}: it is installed where the training runs") from error


class _Obstore:
    def __init__(self, url: str) -> None:
        self._obstore: Any = import_module("obstore")
        from_url = import_module("obstore.store").from_url
        options = {
            "timeout": f"{REQUEST_SECONDS}s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "user_agent": "attnmon",
            "allow_http": True,  # an http:// endpoint is only ever the user's own choice
        }
        try:
            self._store: Any = from_url(
                url, client_options=options, retry_config={"max_retries": 0}
            )
        except Exception as error:
            raise _meaning(error) from error

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        try:
            self._try(self._obstore.put, name, content)
        except NoSuchObject as error:  # some services say no more where there is no bucket
            raise BucketError("refused", str(error)) from error

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
            return verb(self._store, *given)
        except Exception as error:
            raise _meaning(error) from error


class _Fsspec:
    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = import_module("fsspec.core").url_to_fs(url)
            self._local = import_module("fsspec.implementations.local").LocalFileSystem
        except ImportError:
            raise
        except Exception as error:
            raise BucketError("refused", _first_line(error)) from error

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        path = f"{self._root}/{name}"
        try:
            self._try(self._files.makedirs, path.rpartition("/")[0], exist_ok=True)
            self._try(self._write, path, content)
        except NoSuchObject as error:
            raise BucketError("refused", str(error)) from error

    def _write(self, path: str, content: bytes | IO[bytes]) -> None:
        """Write a file. In a folder of this machine it is there whole or not at all."""
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        is_local = isinstance(self._files, self._local)
        writing = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp" if is_local else path
        with self._files.open(writing, "wb") as target:
            shutil.copyfileobj(source, target, BLOCK_BYTES)
        if is_local:
            os.replace(writing, path)

    def blocks(self, name: str) -> Iterator[bytes]:
        with self._try(self._files.open, f"{self._root}/{name}", "rb") as file:
            while block := self._try(file.read, BLOCK_BYTES):
                yield block

    def names(self) -> Iterator[tuple[str, int]]:
        found = self._try(self._files.find, self._root, detail=True)
        for path, about in found.items():
            yield path.removeprefix(self._root).lstrip("/"), about["size"]

    def delete(self, name: str) -> None:
        try:
            self._try(self._files.rm_file, f"{self._root}/{name}")
        except NoSuchObject:
            pass

    def _try(self, verb: Any, *given: Any, **options: Any) -> Any:
        try:
            return verb(*given, **options)
        except FileNotFoundError as error:
            raise NoSuchObject(str(error)) from error
        except PermissionError as error:
            raise BucketError("refused", _first_line(error)) from error
        except Exception as error:
            raise BucketError("network", _first_line(error)) from error


_CLOCK = re.compile("RequestTimeTooSkewed|RequestExpired|date header.*too old", re.I)
_CREDENTIALS = re.compile(
    "ExpiredToken|TokenRefreshRequired|InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch"
    "|InvalidAuthenticationInfo|AuthenticationFailed|credential|401 Unauthorized",
    re.I,
)
_BUSY = re.compile("SlowDown|429|50[0-9]")
_SERVER_TIME = re.compile(r"<ServerTime>([^<]+)</ServerTime>")
_STATUS = re.compile(r"status code: (\d+)")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def _meaning(error: Exception) -> Exception:
    """Return what an error of obstore's means. Its text holds the service's answer."""
    text = str(error)
    if _CLOCK.search(text):
        told = _SERVER_TIME.search(text)
        return BucketError("clock", f"its clock says {told[1]}" if told else _first_line(error))
    status = _STATUS.search(text)
    if status and _BUSY.fullmatch(status[1]):
        return BucketError("network", _first_line(error))
    if _CREDENTIALS.search(text):
        return BucketError("credentials", _first_line(error))
    if (status and status[1] == "403") or "NoSuchBucket" in text or "ContainerNotFound" in text:
        return BucketError("refused", _first_line(error))
    if isinstance(error, FileNotFoundError):
        return NoSuchObject(_first_line(error))
    return BucketError("network", _first_line(error))


def _first_line(error: Exception) -> str:
    """Return what an error says in short: the service's code, or else its first line.

    Addresses may hold a signature, and are left out.
    """
    text = str(error)
    code = _CODE.search(text)
    line = code[1] if code else text.strip().partition("\n")[0]
    return re.sub(r"https?://\S+", "the service", line)[:200] or type(error).__name__
