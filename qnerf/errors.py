"""The one exception that a user is meant to read.

`qnerf.run` catches it, prints its message without a traceback, and leaves with exit code 2.
"""


class UserError(Exception):
    """Something the user can mend: a setting, a file, a missing package or device.

    The message is one sentence: the file or key, what was found, what was expected, what to do.
    """
