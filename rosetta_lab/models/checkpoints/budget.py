"""How much may be made of a file, of which a few bytes can ask for terabytes."""

from __future__ import annotations

from rosetta_lab.errors import RosettaError

# A checkpoint is not compressed, so what it holds is about as large as the file. Some tools that
# pack archives anew do compress them.
MAX_EXPANSION = 10
ALLOWANCE = 16 << 20  # bytes, for small files full of small objects


class Budget:
    """Counts the bytes that a file of ``size`` bytes is turned into."""

    def __init__(self, size: int) -> None:
        self.limit = ALLOWANCE + MAX_EXPANSION * size
        self.spent = 0

    def spend(self, size: int) -> None:
        """Count ``size`` bytes that are about to be made.

        Raises:
            RosettaError: they are too many for the file.
        """
        self.spent += size
        if self.spent > self.limit:
            raise RosettaError(
                f"refused: the file claims to unpack to more than {self.limit:,} bytes.\n"
                "No checkpoint shrinks like that; get it from its official source."
            )
