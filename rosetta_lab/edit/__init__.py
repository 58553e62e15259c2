"""Editing images through their Rosetta units' target maps.

``rl.edit(...)`` from Python is :func:`rosetta_lab.api.editing.edit`.
"""

import sys

from rosetta_lab import Command

sys.modules[__name__].__class__ = Command
