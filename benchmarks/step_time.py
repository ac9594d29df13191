"""Time of one optimisation step (loss and gradient) on two networks, as a ratio within one run.

    python benchmarks/step_time.py [--size 512] [--repeats 5] [--baseline random]

The objective is the paper's: content at conv4_2, style at five layers, average pooling. `random`
has VGG-19's widths, and so its time. Repeats of the two are interleaved; medians are compared.
"""

import argparse
import json
import platform
import statistics
import time

import torch

import stylelab
from stylelab import gallery, images, networks
from stylelab.objective import Objective, Target, content_representation, style_representation


def build(name: str, content: torch.Tensor, style: torch.Tensor, device: torch.device) -> Objective:
    """The objective of figure 3 on the network of that name."""
    network = networks.load(name, device=device)
    one = torch.ones(1, device=device)
    features = content_representation(network, content, [stylelab.CONTENT_LAYER])
    grams = style_representation(network, style, stylelab.STYLE_LAYERS)
    return Objective(
        network,
        content={layer: Target(values, 1e-3 * one) for layer, values in features.items()},
        style={layer: Target(values, one / len(grams)) for layer, values in grams.items()},
    )


def seconds(objective: Objective, image: torch.Tensor) -> float:
    """Wall time of one evaluation of `objective` and its gradient."""
    began = time.perf_counter()
    _, gradient = objective.value_and_grad(image)
    gradient.sum().item()  # waits for the device
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--baseline", default="random")
    parser.add_argument("--network", default="vgg19-mini")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = networks.pick_device(options.device)
    content = images.resize(gallery.open("pagoda"), (options.size, options.size)).to(device)
    style = content.flip(3)
    names = (options.baseline, options.network)
    objectives = {name: build(name, content, style, device) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(options.repeats + 1):
        for name, objective in objectives.items():
            taken = seconds(objective, content)
            if repeat:  # the first is for warming up
                times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name in names:
        print(f"{name:<12} {medians[name]:8.3f} s a step")
    ratio = medians[options.baseline] / medians[options.network]
    print(f"{options.network} is {ratio:.1f} times as fast")
    machine = {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    machine |= {"python": platform.python_version(), "machine": platform.machine()}
    print(json.dumps({"size": options.size, "ratio": ratio, "seconds": times} | machine))


if __name__ == "__main__":
    main()
