"""Inverting images: latents whose images are like given ones.

``rl.invert(...)`` from Python is :func:`rosetta_lab.api.inversion.invert`.
"""

import sys

from rosetta_lab import Command

sys.modules[__name__].__class__ = Command
