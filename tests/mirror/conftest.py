"""A bucket behind a real HTTP server, which fails on wish."""

import json
from collections.abc import Iterator

import pytest
from support.gcs_stub import GcsStub, serving

from attnmon_renderer.mirror.buckets.bucket import NoSuchObject, get
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket

URL = "gs://bucket/runs/one"


def service_account(url: str) -> str:
    """Return the credentials that lead obstore to a server of ours."""
    return json.dumps({"gcs_base_url": url, "disable_oauth": True, "client_email": "",
                       "private_key": "", "private_key_id": ""})  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def started_library() -> None:
    """Have obstore start its threads before a test looks what is open."""
    with pytest.MonkeyPatch.context() as patch, serving(server := GcsStub()):
        patch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", service_account(server.url))
        with pytest.raises(NoSuchObject):
            get(open_bucket(URL), "nothing")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsStub]:
    """Google's storage, as far as it is used, with one bucket of the name "bucket"."""
    server = GcsStub()
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", service_account(server.url))
    with serving(server):
        yield server
