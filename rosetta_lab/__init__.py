"""Rosetta neurons: the units that vision models of every kind have in common."""

import signal
import sys

__version__ = "0.1.0"

# Under `python -m rosetta_lab.COMMAND`, Ctrl-C ends what is imported for seconds without a
# traceback; once the command begins, it has a word for it (rosetta_lab/run/ending.py).
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
