"""Mining: from models and what they are shown to a dictionary.

``rl.mine(...)`` from Python is :func:`rosetta_lab.api.mining.mine`.
"""

import sys

from rosetta_lab import Command

sys.modules[__name__].__class__ = Command
