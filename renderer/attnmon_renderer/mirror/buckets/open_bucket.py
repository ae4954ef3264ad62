"""Opens the bucket of a URL: `s3://`, `gs://` and `az://` by obstore, any other by fsspec."""

from attnmon.link.bucket_url import BUCKET_SCHEMES
from attnmon_renderer.mirror.buckets.bucket import Bucket, BucketError
from attnmon_renderer.mirror.buckets.fsspec_bucket import FsspecBucket
from attnmon_renderer.mirror.buckets.obstore_bucket import ObstoreBucket


def open_bucket(url: str) -> Bucket:
    """Return the bucket of a URL; its credentials come from the environment.

    Raises `BucketError` where it cannot be, as without credentials.
    """
    try:
        return (
            ObstoreBucket(url) if url.partition("://")[0] in BUCKET_SCHEMES else FsspecBucket(url)
        )
    except ImportError as error:
        raise BucketError("refused", f"{error}: it is installed where the training runs") from error
