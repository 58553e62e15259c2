"""Real photographs of faces for ``table1_null_faces``.

    pip install scikit-image
    python experiments/faces_photos.py FOLDER

scikit-image (BSD licence) carries 100 faces of Labeled Faces in the Wild, grey, cut to 25 x 25
pixels. The first COUNT are written as they are; whoever reads them brings them to their own size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from skimage.data import lfw_subset

from rosetta_lab.data.images import write_image

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=int, default=0, help="photographs to pass over")
    parser.add_argument("--count", type=int, default=24)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    faces = lfw_subset()[:100][asked.start : asked.start + asked.count]  # the other half shows none
    for number, face in enumerate(faces, start=asked.start):
        image = torch.from_numpy(face).float().expand(3, -1, -1)
        write_image(image, asked.folder / f"face_{number:03}.png")
