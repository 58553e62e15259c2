"""What a process that is asked to end does: ``kill``, ``timeout`` and schedulers send SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from commands import words
from PIL import Image


def test_asked_to_end_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "navy.png")
    command = words(
        "invert",
        *("images=navy.png", "label=7", "matches=dino_resnet_fashion", "steps=1000000"),
        *("hydra.run.dir=run", "trainer.accelerator=cpu", "trainer.enable_progress_bar=true"),
    )
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + 200
            while time.monotonic() < deadline and process.poll() is None:
                if b"activation=" in (tmp_path / "said").read_bytes():  # the bar counts steps
                    break
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert not (tmp_path / "run" / "results" / "navy").exists()
