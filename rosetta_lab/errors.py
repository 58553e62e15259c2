"""The one exception type that stands for a mistake the user can mend."""


class RosettaError(Exception):
    """Carries a message of one or two lines: what was wrong, what was expected, what to do.

    Entry points print it without a traceback and exit with a code other than 0.
    """
