"""The matrix that decorrelates colours, from a folder of images.

    python tools/colours.py FOLDER

prints the nine numbers that `stylelab.parametrisation` holds: the symmetric square root of the
covariance of red, green and blue, averaged over every second image of the folder by name, each less
its mean colour, over the root's largest singular value.
"""

import sys
from pathlib import Path

import torch

from stylelab.images import load_image


def colour_matrix(folder: Path) -> torch.Tensor:
    """`(3, 3)`, float64; its largest singular value is 1."""
    covariance = torch.zeros(3, 3, dtype=torch.float64)
    for file in sorted(folder.glob("*.jpg"))[::2]:
        covariance += torch.cov(load_image(file)[0].double().flatten(1))
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag((values / values[-1]).sqrt()) @ vectors.T


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    for row in colour_matrix(Path(sys.argv[1])):
        print(", ".join(f"{value:.3f}" for value in row))
