"""Rosetta neurons: the units that vision models of every kind have in common.

import rosetta_lab as rl
d = rl.load("embedded")
d.concepts[3].show(images)
"""

import signal
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosetta_lab.api.dictionary import Concept as Concept
    from rosetta_lab.api.dictionary import Dictionary as Dictionary
    from rosetta_lab.api.dictionary import Neuron as Neuron
    from rosetta_lab.api.dictionary import load as load
    from rosetta_lab.api.editing import Edited as Edited
    from rosetta_lab.api.editing import edit as edit
    from rosetta_lab.api.inversion import Inversions as Inversions
    from rosetta_lab.api.inversion import invert as invert
    from rosetta_lab.api.mining import mine as mine
    from rosetta_lab.api.objects import as_generator as as_generator
    from rosetta_lab.api.objects import as_model as as_model
    from rosetta_lab.edit.edits import Amplify as Amplify
    from rosetta_lab.edit.edits import CopyPaste as CopyPaste
    from rosetta_lab.edit.edits import Shift as Shift
    from rosetta_lab.edit.edits import Suppress as Suppress
    from rosetta_lab.edit.edits import Zoom as Zoom
    from rosetta_lab.models.preprocess import Preprocess as Preprocess

__version__ = "0.1.0"

# What ``rl.NAME`` is, imported when it is first asked for: PyTorch takes seconds.
PLACES = {
    "Concept": "api.dictionary",
    "Dictionary": "api.dictionary",
    "Neuron": "api.dictionary",
    "load": "api.dictionary",
    "Inversions": "api.inversion",
    "Edited": "api.editing",
    "as_generator": "api.objects",
    "as_model": "api.objects",
    "Amplify": "edit.edits",
    "CopyPaste": "edit.edits",
    "Shift": "edit.edits",
    "Suppress": "edit.edits",
    "Zoom": "edit.edits",
    "Preprocess": "models.preprocess",
}
# These are packages too, ``python -m rosetta_lab.mine``.
CALLED = {"mine": "api.mining", "invert": "api.inversion", "edit": "api.editing"}


class Command(ModuleType):
    """A command's package, which can be called: ``rl.mine(...)`` is the function of this name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"rosetta_lab.{CALLED[name]}"), name)(*arguments, **options)


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
    if name in CALLED:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *PLACES, *CALLED])


# Under `python -m rosetta_lab.COMMAND`, Ctrl-C ends what is imported for seconds without a
# traceback; once the command begins, it has a word for it (rosetta_lab/run/ending.py).
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
