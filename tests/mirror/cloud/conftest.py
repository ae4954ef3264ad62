"""Services of others, behind a proxy that fails on wish: moto for S3, azurite for Azure.

`make test-cloud` installs both; where one is missing its tests skip themselves by name.
"""

import base64
import hashlib
import hmac
import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from mirror.conftest import service_account
from support.gcs_stub import FaultyProxy, FaultyServer, GcsStub, serving
from support.processes import free_port
from support.project import PROJECT

SERVICES = PROJECT / "build" / "cloud"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every azurite; published by its makers."""
PATIENCE = 60.0


@contextmanager
def started(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a service until the block ends."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        try:
            deadline = time.monotonic() + PATIENCE
            while not answers(port):
                assert process.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < deadline, f"{command[0]} does not answer"
                time.sleep(0.1)
            yield
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except OSError:
        return False
    finally:
        connection.close()
    return True


@contextmanager
def s3(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyServer, str]]:
    python = SERVICES / "venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("moto is not installed: make test-cloud")
    port = free_port()
    with started([str(python), "-m", "moto.server", "-p", str(port)], port, folder):
        proxy = FaultyProxy(port)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": proxy.url,
        }.items():  # fmt: skip
            patch.setenv(name, value)
        with serving(proxy):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("PUT", "/bucket")
            assert connection.getresponse().status == 200
            connection.close()
            yield proxy, "s3://bucket/runs/one"


@contextmanager
def azure(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyServer, str]]:
    azurite = SERVICES / "node_modules" / ".bin" / "azurite-blob"
    if not azurite.exists() or shutil.which("node") is None:
        pytest.skip("azurite is not installed: make test-cloud")
    port = free_port()
    command = [str(azurite), "--blobPort", str(port), "--location", str(folder), "--silent",
               "--skipApiVersionCheck", "--disableProductStyleUrl"]  # fmt: skip
    with started(command, port, folder):
        proxy = FaultyProxy(port)
        for name, value in {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"{proxy.url}/{ACCOUNT}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        with serving(proxy):
            create_container(port)
            yield proxy, "az://bucket/runs/one"


def create_container(port: int) -> None:
    """Make the container "bucket", by a request that is signed as Azure's documents say."""
    signed = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = [f"{name}:{value}" for name, value in signed.items()]
    resource = f"/{ACCOUNT}/{ACCOUNT}/bucket\nrestype:container"
    text = "PUT" + "\n" * 12 + "\n".join([*lines, resource])
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    signature = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {**signed, "Authorization": signature, "Content-Length": "0"}
    connection.request("PUT", f"/{ACCOUNT}/bucket?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()


@contextmanager
def google(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyServer, str]]:
    server = GcsStub()
    patch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", service_account(server.url))
    with serving(server):
        yield server, "gs://bucket/runs/one"


@pytest.fixture(scope="module", params=[s3, azure, google], ids=["s3", "az", "gs"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FaultyServer, str]]:
    """A service, and the URL of a place in its bucket."""
    with (
        pytest.MonkeyPatch.context() as patch,
        request.param(tmp_path_factory.mktemp("service"), patch) as served,
    ):
        yield served
