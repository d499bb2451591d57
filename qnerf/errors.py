"""The one exception that a user is meant to read.

`qnerf.run` catches it, prints its message without a traceback, and leaves with exit code 2.
"""

import errno


class UserError(Exception):
    """Something that the user can correct: a setting, a file, a missing package or device.

    The message is one sentence: the file or key, what was found, what was expected, what to do.
    """


_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing is not permitted",
    errno.EPERM: "writing is not permitted",
}


def explain_os_error(error: OSError) -> str | None:
    """A sentence for a disk that cannot be written, or None for any other system error."""
    if error.errno not in _DISK:
        return None
    return (
        f"{error.filename or 'output_dir'}: {_DISK[error.errno]}; finished results are safe: free some space "
        "(qnerf store prune) or set another output_dir=…, and run the same command again"
    )
