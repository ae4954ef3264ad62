"""Upload a run's directory to a bucket, bring one back, or compare the two.

It sends, or brings, only what is missing, as `mirror=` does while a run goes on; it may be
interrupted and called again. Buckets are `s3://bucket/prefix`, `gs://…` and `az://…` (needs the
extra [cloud]) or any URL that fsspec opens; credentials come from the environment. The exit code
is 0; 1 where --check has found a difference; 2 where it could not be done.
"""

import argparse
import sys
from pathlib import Path

from attnmon.link.bucket_url import check_bucket_url, refuse_inside
from attnmon_renderer.storage import regular_files
from attnmon_renderer.terminal import harmless

SHOWN_DIFFERENCES = 20
_EXPECTED = "give a directory and a URL, such as `attnmon sync attention_logs s3://bucket/run`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="FROM", help="the run's directory, or the URL of a run in a bucket")
    add("target", metavar="TO", help="a URL, or a directory")
    add("--check", action="store_true", help="copy nothing: tell what differs")


def run(arguments: argparse.Namespace) -> int:
    from attnmon_renderer.mirror.buckets.bucket import BucketError, NoSuchObject
    from attnmon_renderer.mirror.journal import InUse

    source, target = arguments.source, arguments.target
    try:
        if ("://" in source) == ("://" in target):
            raise ValueError(_EXPECTED)
        upwards = "://" in target
        folder = regular_files.resolved(source if upwards else target)
        url = check_bucket_url(target if upwards else source)
        refuse_inside(url, folder)
        if arguments.check:
            return _check(folder, url)
        return _upload(folder, url) if upwards else _download(url, folder)
    except NoSuchObject as error:
        why = f"there is no run at this URL: {error}"
    except (BucketError, InUse, OSError, ValueError) as error:
        why = str(error)
    print(f"attnmon sync: {harmless(why)}", file=sys.stderr)
    return 2


def _upload(folder: Path, url: str) -> int:
    from attnmon_renderer.mirror.copying import runs_to_upload, upload_run

    for run, place in runs_to_upload(folder, url):
        copied = upload_run(run, place)
        print(f"{harmless(place)}: {copied.files} objects, {copied.size / 1e6:.1f} MB sent")
    return 0


def _download(url: str, folder: Path) -> int:
    from attnmon_renderer.mirror.copying import downloads

    regular_files.refuse_to_make_top_folder(folder)
    damages = []
    bringing = downloads(url, folder)
    for download in bringing:
        download.refuse_other_run()
    for download in bringing:
        copied = download.bring()
        print(f"{harmless(download.url)}: {copied.files} files, {copied.size / 1e6:.1f} MB brought")
        damages += copied.damages
    return _tell(damages)


def _check(folder: Path, url: str) -> int:
    from attnmon_renderer.mirror.copying import check_run, runs_to_upload

    runs = runs_to_upload(folder, url)
    differences = [line for run, place in runs for line in check_run(run, place)]
    if not differences:
        print(f"{harmless(url)} holds what {harmless(folder)} does")
    return _tell(differences)


def _tell(lines: list[str]) -> int:
    for line in lines[:SHOWN_DIFFERENCES]:
        print(f"attnmon sync: {harmless(line)}", file=sys.stderr)
    if len(lines) > SHOWN_DIFFERENCES:
        print(f"attnmon sync: and {len(lines) - SHOWN_DIFFERENCES} more", file=sys.stderr)
    return 1 if lines else 0
