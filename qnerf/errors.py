"""The one exception that a user is meant to read.

`qnerf.run` catches it, prints its message without a traceback, and leaves with exit code 2.
"""

import errno
import os
import re
import sys
from collections.abc import Callable

USER_ERROR = 2
"""The exit code of an error that the user can correct."""
CLOSED_PIPE = 141
"""That of a process whose reader has gone, as a shell tells it (SIGPIPE)."""


class UserError(Exception):
    """Something that the user can correct: a setting, a file, a missing package or device.

    The message is one sentence: the file or key, what was found, what was expected, what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text that any file and terminal takes: half a character, which JSON can name (`"\\ud800"`),
    as its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation", "could not create a primitive")


def explain_memory_error(error: BaseException) -> str | None:
    """A sentence for memory that the machine or its GPU does not have, as torch says it, or None
    for any other error."""
    text = str(error).strip()
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and any(each in text for each in _MEMORY)):
        return None
    asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", text)
    return (
        f"there is too little memory{f' for another {asked[1]}' if asked else ''}; finished stages are kept: set a smaller "
        "chunk_size, editor.source_cache_gib or scene.views, or backbone.dtype=float16 on a GPU, and run the command again"
    )


_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing is not permitted",
    errno.EPERM: "writing is not permitted",
    errno.EFBIG: "a file would be larger than this system or `ulimit -f` allows",
}
_PATHS = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of this path is a file, expected a folder",
    errno.EISDIR: "this is a folder, expected a file",
    errno.EEXIST: "a file is in this place, expected none or a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
}
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


def explain_os_error(error: OSError, elsewhere: str = "set another output_dir=…") -> str | None:
    """A sentence for a disk that cannot be written, or None for any other system error. elsewhere:
    how another place is chosen."""
    if error.errno not in _DISK:
        return None
    return (
        f"{error.filename or 'output_dir'}: {_DISK[error.errno]}; finished results are safe: free some space "
        f"(qnerf store prune --max-gib …) or {elsewhere}, and run the same command again"
    )


def told_in_a_sentence(work: Callable[[], int], elsewhere: str = "set another output_dir=…") -> int:
    """The exit code of a command: what `work` returns, or `USER_ERROR` and one sentence where the
    user can correct the error: a disk that cannot be written, and a path that leads nowhere, among
    them. `CLOSED_PIPE` where nobody reads on. elsewhere: as of `explain_os_error`."""
    try:
        code = work()
        sys.stdout.flush()
        return code
    except UserError as error:
        sentence = str(error)
    except BrokenPipeError:  # its reader has seen enough, such as `head`
        # what is left in the buffer is flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        if (found := explain_os_error(error, elsewhere)) is not None:
            sentence = found
        elif error.errno in _PATHS and error.filename:
            sentence = f"{error.filename}: {_PATHS[error.errno]}: correct the path"
        else:
            raise
    print(f"qnerf: {sentence}", file=sys.stderr)
    return USER_ERROR


def explain_lock(error: Exception, place: object, key: str) -> str | None:
    """A sentence for a folder in which no file can be locked, such as some NFS mounts; None for any
    other error. key: the setting that chooses the folder."""
    known = isinstance(error, OSError) and error.errno in _NO_LOCKS
    if not known and not isinstance(error, NotImplementedError):  # which is filelock's word for ENOSYS
        return None
    return (
        f"{place}: files cannot be locked on this file system ({error}), so that two processes could write one result; expected "
        f"one with flock (a local disk, NFS 4, Lustre with -o flock): set another {key}=…"
    )
