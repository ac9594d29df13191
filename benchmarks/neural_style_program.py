"""neural-style 0.5.7 (PyPI, MIT), a program as people use it, timed as a process.

Two runs of different lengths are timed; their difference is free of its start. It is given the
same images and VGG-19 with the same weights, average pooling and no total variation. Its losses
are normalised differently, which does not change how long a step takes. Where its pictures are
compared, filters are scaled so that its losses are the same (`same_loss`).
"""

import importlib.util
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from stylelab import images
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG, VGG19_WIDTHS

SHORT, LONG = 5, 15


def is_installed() -> bool:
    """Whether `pip install neural-style==0.5.7` was done here."""
    return importlib.util.find_spec("neural_style") is not None


def takes(network: VGG) -> bool:
    """Whether the program can have this network: a whole VGG-19 without readouts."""
    return network.widths == VGG19_WIDTHS and not network.readouts and network.padding == "zeros"


def same_loss(network: VGG) -> dict[str, float]:
    """Factors for `state_dict` with which the program minimises 500 times stylelab's loss.

    With its own weights, 5 for content and 100 for each style layer, that is alpha/beta = 1e-2.
    """
    widths, units = network.widths, network.units
    scales = {layer: widths[layer] / math.sqrt(units[layer]) for layer in STYLE_LAYERS}
    return scales | {CONTENT_LAYER: math.sqrt(widths[CONTENT_LAYER] / units[CONTENT_LAYER])}


def state_dict(network: VGG, scales: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """The weights by torchvision's names, for BGR in 0..256 less the mean, as the program has it.

    The scale of `network.input` goes into the first layer's weights.

    Args:
        scales: by what the activations of some layers are multiplied; the others' stay.
    """
    state, index, before = {}, 0, 1.0
    for layer in network.layers:
        index += 1 if layer.endswith("_1") and layer != "conv1_1" else 0  # a pooling before it
        conv = network.get_submodule(layer)
        weight = conv.weight.cpu().contiguous()
        if layer == "conv1_1":
            scale = network.input.weight[:, :, 0, 0].diagonal().cpu() / 256
            weight = (weight * scale[:, None, None]).flip(1).contiguous()
        scale = (scales or {}).get(layer, 1.0)
        weight, bias, before = weight * (scale / before), conv.bias.cpu() * scale, scale
        state |= {f"features.{index}.weight": weight, f"features.{index}.bias": bias}
        index += 2  # the convolution and its ReLU
    return state


class Program:
    """The program with its files in `folder`."""

    def __init__(self, folder: Path, size: int, device: torch.device) -> None:
        self.folder, self.size, self.device = folder, size, device

    def seconds(self, steps: int, every: int = 0) -> float:
        """Wall time of the process, with a picture `every` so many steps.

        Raises:
            RuntimeError: if it fails, with what it said.
        """
        on_gpu = self.device.type == "cuda"
        options = {
            "model_file": "vgg19.pth",
            "content_image": "content.png",
            "style_image": "style.png",
            "output_image": "out.png",
            "image_size": self.size,
            "num_iterations": steps,
            "gpu": self.device.index or 0 if on_gpu else "c",
            "backend": "cudnn" if on_gpu else "nn",
            "init": "image",
            "pooling": "avg",
            "tv_weight": 0,
            "print_iter": 0,
            "save_iter": every,
        }
        command = [sys.executable, "-m", "neural_style.neural_style", "-disable_check"]
        for name, value in options.items():
            command += [f"-{name}", str(value)]
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        taken = time.perf_counter() - began
        if done.returncode or not (self.folder / "out.png").exists():
            raise RuntimeError(f"neural-style failed ({done.returncode}):\n{done.stdout[-2000:]}")
        return taken

    def pictures(self, checkpoints: Sequence[int]) -> Iterator[tuple[int, float, Tensor]]:
        """Steps, seconds and the picture at each checkpoint of one run, by its files' times.

        The program saves pictures in equal distances, and the first distance is taken to last as
        long as the second: its start does not count. Writing the files does, some milliseconds
        each. A picture is written before its step's update: it has one update less than others.
        """
        every = math.gcd(*checkpoints)
        self.seconds(max(checkpoints) + 2 * every, every)  # the last of all has no number

        def file(step: int) -> Path:
            return self.folder / f"out_{step}.png"

        first, second = (file(step).stat().st_mtime for step in (every, 2 * every))
        for step in checkpoints:
            taken = file(step).stat().st_mtime - first + (second - first)
            yield step, taken, images.load_image(file(step))

    def seconds_per_step(self) -> float:
        """The difference between a long and a short run, over that of their steps."""
        short = self.seconds(SHORT)
        return (self.seconds(LONG) - short) / (LONG - SHORT)


@contextmanager
def prepared(
    network: VGG, content: Tensor, style: Tensor, scales: Mapping[str, float] | None = None
) -> Iterator[Program]:
    """The program with `network`, its activations scaled, and the images in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state_dict(network, scales), Path(folder) / "vgg19.pth")
        images.save_image(content.cpu(), Path(folder) / "content.png")
        images.save_image(style.cpu(), Path(folder) / "style.png")
        yield Program(Path(folder), max(content.shape[2:]), content.device)
