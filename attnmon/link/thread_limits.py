"""Environment variables that keep numeric libraries to one thread.

Each is read when the library is loaded. A renderer that ran on many threads would take processors
from the training, and forked children would inherit locks of threads that they do not have.
"""

SINGLE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Name → value of each variable."""
