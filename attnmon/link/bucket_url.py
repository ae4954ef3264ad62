"""The URLs that a run can be mirrored to."""

import importlib.util
import os
from pathlib import Path
from urllib.parse import urlsplit

BUCKET_SCHEMES = ("s3", "gs", "az")
"""Schemes of the URLs that obstore opens; fsspec opens others."""


def check_bucket_url(given: str) -> str:
    """Return a URL without a slash at its end.

    Raises ValueError where it is none, holds credentials, or the library for it is not installed.
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
    library = "obstore" if parts.scheme in BUCKET_SCHEMES else "fsspec"
    if importlib.util.find_spec(library) is None:
        package = "'attnmon[cloud]'" if library == "obstore" else "fsspec"
        raise ValueError(f"{given}: needs {library}, which `pip install {package}` installs")
    return given.rstrip("/")


def refuse_inside(url: str, folder: Path) -> None:
    """Raise ValueError where a URL leads to a directory that is to be uploaded, or into it."""
    scheme, _, path = url.partition("://")
    if scheme not in ("file", "local"):
        return
    target, source = (os.path.realpath(os.path.expanduser(each)) for each in (path, folder))
    if os.path.commonpath([target, source]) == source:
        raise ValueError(
            f"{url} is {source}, or lies inside it: a run cannot be uploaded into its own "
            "directory. Give a place outside it"
        )
