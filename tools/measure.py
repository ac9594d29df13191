"""Measure a small network, and how well it agrees with its teacher.

    python tools/measure.py [NETWORK]
    python tools/measure.py [NETWORK] --teacher vgg19_16x.pth --images FOLDER

The first form prints the file's size and hash, its filters, and the measurements in its header,
from when it was made. The second one also measures again, on the images that were held out of
training, and on images that optimisations on the teacher pass through when they start from those.
NETWORK is a name or a `.safetensors` file.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import safetensors
import torch

from stylelab import gallery, load, networks
from stylelab.distil import crops, readouts
from stylelab.distil.visited import COUNT, visit
from stylelab.files import local
from stylelab.images import save_image
from stylelab.vgg import STYLE_LAYERS, VGG


def table(errors: dict, agreement: dict) -> str:
    """The model card's table."""
    lines = ["| layer | error | correlation | ratio |", "| --- | --- | --- | --- |"]
    for layer, error in errors.items():
        style = "| | |"
        if layer in agreement:
            style = "| {correlation:.4f} | {ratio:.3f} |".format(**agreement[layer])
        lines.append(f"| `{layer}` | {error:.4f} {style}")
    return "\n".join(lines)


def align(student: VGG, teacher: VGG, files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The readouts of a finished student, turned to where they come nearest to the teacher's.

    A readout R is stored up to a rotation, which changes no distance. To predict the teacher's
    features themselves, Q R with the orthonormal Q that fits best on `files` is needed (orthogonal
    Procrustes problem): `(m, N_l + 1)` per layer.
    """
    aligned = {}
    for layer, matrix in readouts.moments(student, teacher, files).items():
        readout = student.readout(layer).cpu().double()
        n = readout.shape[1]
        u, _, v = torch.linalg.svd(matrix[n:, :n] @ readout.T, full_matrices=False)
        aligned[layer] = u @ v @ readout
    return aligned


def visited(teacher: VGG, files: Sequence[Path], folder: Path) -> list[Path]:
    """160 images that 32 optimisations on the teacher pass through, saved in `folder`."""
    source, saved = crops.Crops(files, 128), []
    for seed in range(4):
        contents, styles = source.plain(2 * COUNT, seed, 192).chunk(2)
        for image in visit(teacher, contents, styles, seed):
            saved.append(folder / f"{len(saved):03}.png")
            save_image(image / 255, saved[-1])
    return saved


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("network", nargs="?", default="vgg19-mini")
    parser.add_argument("--teacher", help="a network's name or weights file")
    parser.add_argument("--images", type=Path, help="the folder of training images")
    parser.add_argument("--pairs", type=int, default=200, help="pairs of images (default: 200)")
    options = parser.parse_args()
    named = options.network in networks.names()
    path = local.ASSETS / f"{options.network}.safetensors" if named else Path(options.network)
    network = load(options.network)
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["stylelab"])
    print(f"{path.name}: {path.stat().st_size:,} bytes, SHA-256 {network.sha256}")
    silent = {}
    for name in ("pagoda", "coffee"):
        for layer, features in network(gallery.open(name, 256), network.layers).items():
            quiet = features.amax((0, 2, 3)) <= 0
            silent[layer] = quiet & silent.get(layer, quiet)
    for layer, width in network.widths.items():
        print(f"{layer}: {width} filters, {int(silent[layer].sum())} silent on two photographs")
    print(f"recipe: {json.dumps(header['recipe'])}")
    print(f"held out: {len(header['held_out'])} images; as measured when the file was made:\n")
    print(table(header["relative_errors"], header["style_agreement"]))
    if options.teacher and options.images:
        teacher = load(options.teacher)
        files, held_out = crops.split(options.images)
        if [file.name for file in held_out] != header["held_out"]:
            raise SystemExit(f"{options.images} lacks the images held out in training")
        aligned = align(network, teacher, files[::4])
        errors = readouts.relative_errors(network, aligned, teacher, held_out)
        agreement = readouts.style_agreement(network, teacher, held_out, options.pairs)
        worst = min(agreement[layer]["correlation"] for layer in STYLE_LAYERS)
        print(f"\nmeasured now, {options.pairs} pairs (lowest correlation {worst:.4f}):\n")
        print(table(errors, agreement))
        with tempfile.TemporaryDirectory() as folder:
            passed = visited(teacher, held_out, Path(folder))
            errors = readouts.relative_errors(network, aligned, teacher, passed)
            agreement = readouts.style_agreement(network, teacher, passed, options.pairs)
        print(f"\non {len(passed)} images that optimisations on the teacher pass through:\n")
        print(table(errors, agreement))


if __name__ == "__main__":
    main()
