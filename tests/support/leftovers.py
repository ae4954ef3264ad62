"""What this test process has made on the machine and not removed.

Test processes may run side by side. A name in shared memory that demonstrably belongs to another
one is left to that one.
"""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator

ANY_MARK = re.compile(rb"(?:^|\0)ATTNMON_TESTED_BY_\d+=1\0")
TEST_RUN = "ATTNMON_TEST_RUN"
"""Environment variable with the process whose descendants are the test processes of one run."""
CACHES = ("torchinductor_", "matplotlib-")
"""Libraries keep these in the temporary directory for their own later use."""
SHARED = (b" /dev/shm/", b" /memfd:")
"""How the paths of shared memory begin in a process's list of mappings."""
SEMAPHORE = "/dev/shm/sem."
"""torch.compile keeps one for its workers to the end of the process."""

PARENT, START_TIME = 1, 19
"""Positions in `Table`."""
Table = dict[int, list[bytes]]
"""By process: the fields of /proc/*/stat that follow its name."""


def mark() -> str:
    """Returns the variable of every process started from here, whoever becomes its parent later."""
    return f"ATTNMON_TESTED_BY_{os.getpid()}"


def everything() -> set[str]:
    """Returns a line for each thing that a test could leave behind."""
    return {
        *processes(), *descriptors(), *shared_memory(), *mappings(), *temporary_files(),
        *search_path(),
    }  # fmt: skip


def new_of(now: set[str], before: set[str]) -> set[str]:
    """Returns what is there now and was not before, without what others have made.

    Others are other test processes, and the processes that were there before: the renderer of a
    monitor that several tests share may start a worker at any time.
    """
    return {
        thing for thing in now - before
        if not is_held_by_another(thing) and not is_started_by_one_of(before, thing)
    }  # fmt: skip


def end_processes(left: Iterable[str]) -> Iterator[str]:
    """Kills the processes of the list, which would disturb later tests, and adds their commands."""
    for thing in left:
        kind, _, pid = thing.partition(" ")
        if kind != "process":
            yield thing
            continue
        yield f"{thing}: {read(f'/proc/{pid}/cmdline').replace(bytes(1), b' ').decode()}"
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


# Processes

_others = set[int]()
"""Processes that an earlier look has found not to be ours: they are not read again."""
_newest = 0
"""The last process id that was given when they were found."""


def processes() -> Iterator[str]:
    global _newest
    newest = int(read("/proc/loadavg").split()[-1])
    if newest < _newest:
        _others.clear()  # ids are given in turn: from here on some are given again
    _newest = newest
    table = process_table(_others)
    own = own_processes(table)
    _others.update(table.keys() - own - {os.getpid()})
    for pid in own:
        yield f"process {pid}"


def process_table(without: Collection[int] = ()) -> Table:
    numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    found = {
        pid: read(f"/proc/{pid}/stat").rpartition(b") ")[2].split(maxsplit=START_TIME + 1)
        for pid in numbers
        if pid not in without
    }
    return {pid: fields for pid, fields in found.items() if fields}


def own_processes(table: Table) -> set[int]:
    """Returns our descendants, and all that carry our mark."""
    since = int(table[os.getpid()][START_TIME])
    ours = f"{mark()}=1".encode()
    return {
        pid
        for pid, fields in table.items()
        if int(fields[START_TIME]) >= since  # none that is older was started from here
        and (os.getpid() in ancestors(pid, table) or ours in environment(pid))
    }


def ancestors(pid: int, table: Table) -> Iterator[int]:
    while pid in table and (pid := int(table[pid][PARENT])):
        yield pid


def is_started_by_one_of(before: set[str], thing: str) -> bool:
    """Whether this is a process, and one of these has started it."""
    kind, _, pid = thing.partition(" ")
    if kind != "process":
        return False
    return any(f"process {above}" in before for above in ancestors(int(pid), process_table()))


def environment(pid: int) -> bytes:
    """Returns the variables that the process was started with."""
    return read(f"/proc/{pid}/environ")


# Descriptors, memory and files

FONTS = (".ttf", ".ttc", ".otf", ".otc")
"""matplotlib keeps the fonts open that it has drawn with."""


def descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that made the listing
            continue
        if not target.removesuffix(" (deleted)").endswith(FONTS):
            yield f"file descriptor {number}: {target}"


def shared_memory() -> Iterator[str]:
    """Names in shared memory, whoever has made them."""
    for name in os.listdir("/dev/shm"):
        yield f"shared memory /dev/shm/{name}"


def mappings() -> Iterator[str]:
    """Shared memory that this process has mapped, whether it still has a name or not."""
    maps = read("/proc/self/maps")
    if not any(kind in maps for kind in SHARED):
        return  # as nearly always, and there are a thousand lines
    for line in maps.splitlines():
        if any(kind in line for kind in SHARED):
            _, _, _, _, inode, path = line.decode().split(maxsplit=5)
            if not path.startswith(SEMAPHORE):
                yield f"mapping of {path}, inode {inode}"


def temporary_files() -> Iterator[str]:
    for name in os.listdir(tempfile.gettempdir()):
        if not name.startswith(CACHES):
            yield f"temporary file {name}"


def search_path() -> Iterator[str]:
    """Where modules are searched for. With another path no renderer could be forked."""
    for folder in sys.path:
        yield f"search path {folder}"


# Other test processes

_of_another = set[tuple[str, int]]()
"""Names in shared memory, with their inodes, that a process of another test process has held."""


def is_held_by_another(thing: str) -> bool:
    """Whether this is a name in shared memory that another test process holds, or has held.

    A name that nobody holds is nobody's: each test process that finds it reports it.
    """
    kind, _, path = thing.partition("shared memory ")
    if kind or not path:
        return False
    try:
        key = (path, os.stat(path).st_ino)
    except FileNotFoundError:
        return True  # it has just been removed
    if key not in _of_another:
        table = process_table()
        holders = {pid for pid in table if holds(pid, path)}
        own = {os.getpid(), *own_processes(table)}
        if not holders & own and any(is_of_another(pid, table) for pid in holders):
            _of_another.add(key)
    return key in _of_another


def holds(pid: int, path: str) -> bool:
    """Whether the process has the file mapped or open."""
    mapped = (line.split(maxsplit=5)[-1] for line in read(f"/proc/{pid}/maps").splitlines())
    return path.encode() in mapped or any(path == opened for opened in open_files(pid))


def open_files(pid: int) -> Iterator[str]:
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            yield os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:  # it has ended, or is another user's
        pass


def is_of_another(pid: int, table: Table) -> bool:
    """Whether the process is a test process, or was started from one. For processes not ours."""
    test_run = int(os.environ.get(TEST_RUN, 0))
    return test_run in ancestors(pid, table) or bool(ANY_MARK.search(environment(pid)))


def read(path: str) -> bytes:
    """Returns the file's content; nothing when its process has ended or is another user's."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""
