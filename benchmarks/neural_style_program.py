"""neural-style 0.5.7 (PyPI, MIT), a program as people use it, timed as a process.

Two runs of different lengths are timed; their difference is free of its start. It is given the
same images and VGG-19 with the same weights, average pooling and no total variation. Its losses
are normalised differently, which does not change how long a step takes.
"""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from stylelab import images
from stylelab.vgg import VGG

SHORT, LONG = 5, 15


def is_installed() -> bool:
    """Whether `pip install neural-style==0.5.7` was done here."""
    return importlib.util.find_spec("neural_style") is not None


def state_dict(network: VGG) -> dict[str, Tensor]:
    """The weights by torchvision's names, for BGR in 0..256 less the mean, as the program has it.

    The scale of `network.input` goes into the first layer's weights.
    """
    state, index = {}, 0
    for layer in network.layers:
        index += 1 if layer.endswith("_1") and layer != "conv1_1" else 0  # a pooling before it
        conv = network.get_submodule(layer)
        weight = conv.weight.cpu().contiguous()
        if layer == "conv1_1":
            scale = network.input.weight[:, :, 0, 0].diagonal().cpu() / 256
            weight = (weight * scale[:, None, None]).flip(1).contiguous()
        state |= {f"features.{index}.weight": weight, f"features.{index}.bias": conv.bias.cpu()}
        index += 2  # the convolution and its ReLU
    return state


class Program:
    """The program with its files in `folder`."""

    def __init__(self, folder: Path, size: int, device: torch.device) -> None:
        self.folder, self.size, self.device = folder, size, device

    def seconds(self, steps: int) -> float:
        """Wall time of the process.

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
            "save_iter": 0,
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

    def seconds_per_step(self) -> float:
        """The difference between a long and a short run, over that of their steps."""
        short = self.seconds(SHORT)
        return (self.seconds(LONG) - short) / (LONG - SHORT)


@contextmanager
def prepared(network: VGG, content: Tensor, style: Tensor) -> Iterator[Program]:
    """The program with `network` and the images in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state_dict(network), Path(folder) / "vgg19.pth")
        images.save_image(content.cpu(), Path(folder) / "content.png")
        images.save_image(style.cpu(), Path(folder) / "style.png")
        yield Program(Path(folder), max(content.shape[2:]), content.device)
