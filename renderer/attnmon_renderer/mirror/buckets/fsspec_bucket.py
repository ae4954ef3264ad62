"""A folder of any file system that fsspec knows."""

import contextlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

from attnmon_renderer.mirror.buckets.bucket import (
    BLOCK_BYTES,
    BucketError,
    Changed,
    NoSuchObject,
    Version,
    first_line,
    get,
    refused,
)


class FsspecBucket:
    """A folder."""

    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = import_module("fsspec.core").url_to_fs(url)
            self._local = import_module("fsspec.implementations.local").LocalFileSystem
        except ImportError:
            raise
        except Exception as error:
            raise BucketError("refused", first_line(error)) from error

        goes_side_by_side = self._files.async_impl or isinstance(self._files, self._local)
        self._turn = contextlib.nullcontext() if goes_side_by_side else threading.Lock()
        """Most file systems talk over one connection, which takes one request at a time."""

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        path = f"{self._root}/{name}"
        try:
            with self._turn:
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._write(path, content)
        except Exception as error:
            raise refused(_of_file_system(error)) from error

    def _write(self, path: str, content: bytes | IO[bytes]) -> None:
        """Write a file. In a folder of this machine it is there whole or not at all."""
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        is_local = isinstance(self._files, self._local)
        writing = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp" if is_local else path
        with self._files.open(writing, "wb") as target:
            shutil.copyfileobj(source, target, BLOCK_BYTES)
        if is_local:
            os.replace(writing, path)

    def put_over(self, name: str, content: bytes, seen: Version | None) -> Version:
        if self.version(name) != seen:
            raise Changed(name)
        if seen is not None or not self._has_created(name, content):
            self.put(name, content)
        return {"content": content}

    def _has_created(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False where the file system says that it cannot."""
        path = f"{self._root}/{name}"
        self._try(self._files.makedirs, path.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(path, "xb") as target:
                target.write(content)
        except FileExistsError as error:
            raise Changed(name) from error
        except (ValueError, NotImplementedError):
            return False
        except Exception as error:
            raise _of_file_system(error) from error
        return True

    def version(self, name: str) -> Version | None:
        try:
            return {"content": get(self, name)}
        except NoSuchObject:
            return None

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
        except Exception as error:
            raise _of_file_system(error) from error


def _of_file_system(error: Exception) -> Exception:
    """Return what an error of a file system's means."""
    if isinstance(error, FileNotFoundError):
        return NoSuchObject(str(error))
    is_refused = isinstance(error, PermissionError)
    return BucketError("refused" if is_refused else "network", first_line(error))
