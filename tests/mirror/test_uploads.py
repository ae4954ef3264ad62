"""The log of uploads, its journal on disk and the index that is made from it."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from mirror.conftest import URL
from support.gcs_stub import GcsStub
from support.growing_run import GrowingRun

from attnmon_renderer.mirror.bucket_index import IndexReader, IndexWriter
from attnmon_renderer.mirror.buckets.bucket import BucketError, NoSuchObject
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.journal import NAME, InUse, Journal
from attnmon_renderer.mirror.upload_status import STOPPED, UploadStatus, write_status
from attnmon_renderer.mirror.uploaded_names import UploadedNames
from attnmon_renderer.mirror.uploads import Upload, read_upload, uploaded_files
from attnmon_renderer.storage.budget.quota import DiskQuota

PART = Upload("history.jsonl", 10, "00000000", "history.jsonl.parts/000000000000000")
NEXT = Upload("history.jsonl", 5, "00000001", "history.jsonl.parts/000000000000010", at=10)
PICTURE = Upload("step_1/encoder_layer0_self_attn.png", 7, "00000002", changed=3)


def test_parts_are_one_file_and_a_later_object_replaces_an_earlier_one() -> None:
    again = Upload(PICTURE.name, 9, "00000003")
    files = uploaded_files([PART, PICTURE, NEXT, again])
    assert {name: file.size for name, file in files.items()} == {PART.name: 15, PICTURE.name: 9}
    assert files[PART.name].parts == [PART, NEXT]


def test_a_part_from_the_beginning_begins_the_file_anew() -> None:
    assert uploaded_files([PART, NEXT, PART])[PART.name].parts == [PART]


def test_a_part_that_does_not_follow_is_left_out() -> None:
    gap = Upload(PART.name, 5, "0", "history.jsonl.parts/000000000000099", at=99)
    assert uploaded_files([PART, gap])[PART.name].parts == [PART]


OUTSIDE = (
    "../x",
    "/etc/passwd",
    "a//b",
    "a/../b",
    ".hidden",
    "a/" * 9 + "b",
    "",
    "a\\b",
    "a\nb",
    "~/x",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_run(name: str) -> None:
    line = Upload(name, 1, "0").line(for_index=True)
    with pytest.raises(ValueError, match="a file of a run"):
        read_upload(line)
    with pytest.raises(ValueError, match="a file of a run"):
        read_upload(Upload("a", 1, "0", object=name or "..").line(for_index=True))


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    journal = Journal(tmp_path, URL)
    journal.start_run("one")
    for upload in (PART, PICTURE):
        journal.add(upload)
    journal.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(NEXT.line(for_index=False)[:-9])  # it was killed amid a line
    journal = Journal(tmp_path, URL)
    assert journal.uploads == [PART, PICTURE]
    journal.add(NEXT)
    journal.close()
    journal = Journal(tmp_path, URL)
    assert (journal.run, journal.uploads) == ("one", [PART, PICTURE, NEXT])
    journal.close()


def test_nothing_is_known_of_another_url(tmp_path: Path) -> None:
    journal = Journal(tmp_path, URL)
    journal.add(PART)
    journal.close()
    other = Journal(tmp_path, "gs://other")
    assert other.uploads == []
    other.close()


def test_one_process_at_a_time_holds_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, URL)
    with pytest.raises(InUse, match="goes on by itself"):
        Journal(tmp_path, URL)
    journal.close()
    Journal(tmp_path, URL).close()


def test_an_index_names_all_uploads_in_few_segments(stub: GcsStub) -> None:
    chance, uploads = random.Random(1), list[Upload]()
    writer, reader = IndexWriter(open_bucket(URL), "one"), IndexReader(open_bucket(URL))
    sent = 0
    for update in range(600):
        for _ in range(chance.randint(1, 4)):
            uploads.append(Upload(f"step_{len(uploads)}/statistics.json", len(uploads), "0"))
        if update == 300:  # another process goes on
            writer = IndexWriter(open_bucket(URL), "one")
        sent += writer.write(uploads)
        if update % 50 == 0:
            assert reader.read() == uploaded_files(uploads)
    assert IndexReader(open_bucket(URL)).read() == reader.read() == uploaded_files(uploads)
    assert len(stub.objects) < 100
    lines = sum(len(upload.line(for_index=True)) for upload in uploads)
    assert sent < 4 * lines + 600 * 700


def test_an_index_is_gone_on_with_and_that_of_another_run_is_left_alone(stub: GcsStub) -> None:
    plain = [PART, NEXT, replace(PICTURE, changed=0)]
    IndexWriter(open_bucket(URL), "one").write(plain)
    assert IndexWriter(open_bucket(URL), "one").take() == plain
    with pytest.raises(BucketError, match="another run, one"):
        IndexWriter(open_bucket(URL), "two").take()
    assert IndexWriter(open_bucket(URL), "two").take({"one"}) == []


def test_a_journal_that_is_behind_the_index_begins_with_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, URL)
    journal.start_run("one")
    journal.add(PICTURE)
    plain = replace(PICTURE, changed=0)
    journal.agree([plain])
    assert journal.uploads == [PICTURE]
    journal.agree([PART, plain])
    assert journal.uploads == [PART, PICTURE]  # when it had changed is known still
    journal.close()
    journal = Journal(tmp_path, URL)
    assert (journal.run, journal.uploads) == ("one", [PART, PICTURE])
    journal.close()


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b"{", b'{"format":"attnmon-index 9","run":"a","segments":[]}',
     b'{"format":"attnmon-index 1","run":"../a","segments":[]}',
     b'{"format":"attnmon-index 1","run":"a","segments":[[1,2]]}',
     b'{"format":"attnmon-index 1","run":"a","segments":[[1,-2,3]]}'],
)  # fmt: skip
def test_what_is_no_index_is_refused(stub: GcsStub, index: bytes) -> None:
    bucket = open_bucket(URL)
    bucket.put("index.json", index)
    with pytest.raises(ValueError, match=r"\w"):
        IndexReader(bucket).read()


def test_a_place_without_an_index_is_none(stub: GcsStub) -> None:
    with pytest.raises(NoSuchObject):
        IndexReader(open_bucket(URL)).read()


def test_only_what_is_uploaded_makes_room(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path)
    for _ in range(6):
        run.capture(20_000)
    journal = Journal(tmp_path, URL)
    journal.start_run(run.identity)
    names = UploadedNames(tmp_path)
    quota = DiskQuota(tmp_path, 70_000, True, are_elsewhere=names.may_go)
    assert len(list(tmp_path.glob("step_*/*.png"))) == 6
    assert not quota.full
    for step in (1, 2, 3, 4, 5, 6):
        name = f"step_{step}/decoder_layer0_self_attn.png"
        journal.add(Upload(name, 20_000, "00000000", changed=1))
    quota.add("step_6")
    assert len(list(tmp_path.glob("step_*/*.png"))) < 4
    assert quota.account()["used"] <= 70_000
    journal.close()


def test_what_is_uploaded_of_an_earlier_run_makes_no_room_for_this_one(tmp_path: Path) -> None:
    names = UploadedNames(tmp_path)
    journal = Journal(tmp_path, URL)
    journal.start_run("earlier")
    journal.add(Upload("step_1/attention_weights.safetensors", 7, "00000000"))
    (tmp_path / "run.json").write_text(json.dumps({"id": "earlier"}))
    assert names.may_go({"step_1/attention_weights.safetensors": 7})
    (tmp_path / "run.json").write_text(json.dumps({"id": "later"}))
    assert not names.may_go({"step_1/attention_weights.safetensors": 7})
    journal.start_run("later")
    for step in range(9):  # as long as before
        journal.add(Upload(f"step_{step}/statistics.json", 7, "00000000"))
    assert not names.may_go({"step_1/attention_weights.safetensors": 7})
    assert names.may_go({"step_8/statistics.json": 7})
    journal.close()


def test_a_bucket_that_cannot_be_used_does_not_keep_the_disk_full(tmp_path: Path) -> None:
    names = UploadedNames(tmp_path)
    assert not names.may_go({"a": 1})
    write_status(tmp_path, UploadStatus(URL, STOPPED))
    assert names.may_go({"a": 1})
