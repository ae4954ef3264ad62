"""The URLs that a run can be mirrored to."""

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BUCKET_SCHEMES = ("s3", "gs", "az")
"""Schemes of the URLs that obstore opens; fsspec opens others."""
LOCAL_SCHEMES = ("file", "local")


def check_bucket_url(given: str) -> str:
    """Return a URL without a slash at its end.

    Raises ValueError where it is none, holds credentials, or nothing is installed that opens it.
    """
    try:
        parts = urlsplit(given)
        is_plain = bool(parts.scheme) and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        is_plain = False
    if not is_plain or "://" not in given or not (parts.netloc or parts.path.strip("/")):
        raise ValueError(
            "give a URL such as 's3://bucket/prefix', 'gs://…' or 'az://…', without credentials, "
            "'?' or '#': credentials come from the environment"
        )
    if not given.isprintable() or not (parts.scheme in LOCAL_SCHEMES or _is_plain(parts.path)):
        raise ValueError(f"{given!r}: give a path without '//', '.', '..' and control characters")
    _refuse_unknown(given, parts.scheme)
    return f"{parts.scheme}://{given.partition('://')[2]}".rstrip("/")


def _is_plain(path: str) -> bool:
    """Return whether a path is the name of an object, and not one that a service would change."""
    return not {"", ".", ".."} & set(path.strip("/").split("/")) or not path.strip("/")


def _refuse_unknown(given: str, scheme: str) -> None:
    library = "obstore" if scheme in BUCKET_SCHEMES else "fsspec"
    if importlib.util.find_spec(library) is None:
        package = "'attnmon[cloud]'" if library == "obstore" else "fsspec"
        raise ValueError(f"{given}: needs {library}, which `pip install {package}` installs")
    if library == "fsspec":
        registry: Any = importlib.import_module("fsspec.registry")
        if scheme not in {*registry.known_implementations, *registry.registry}:
            known = ", ".join(BUCKET_SCHEMES)
            raise ValueError(f"{given}: fsspec knows no {scheme!r}; obstore opens {known}")


def refuse_inside(url: str, folder: Path) -> None:
    """Raise ValueError where a URL leads to a directory that is to be uploaded, or into it."""
    scheme, _, path = url.partition("://")
    if scheme not in LOCAL_SCHEMES:
        return
    target, source = (os.path.realpath(os.path.expanduser(each)) for each in (path, folder))
    if os.path.commonpath([target, source]) == source:
        raise ValueError(
            f"{url} is {source}, or lies inside it: a run cannot be uploaded into its own "
            "directory. Give a place outside it"
        )
