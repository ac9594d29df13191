"""Training a small network that stands in for a large one: how `vgg19-mini` was made.

The student is a narrow VGG-19 with the paper's average pooling. From random weights it learns to
predict the teacher's feature maps at every layer the two share, and at the teacher's readouts the
features these stand for. A layer as wide as the teacher's predicts it filter by filter, a wider one
with its first filters, a narrower one through a linear *tap*. Training has two parts: first each
layer is fed the teacher's features, so that no layer waits for the ones before it (except after a
pooling, where the layer before learns with it, since average pooling must do what the teacher's max
pooling does); then the student is fed its own, and all layers learn together.

    python -m stylelab.distil.training --teacher FILE_OR_NETWORK --images FOLDER --output build/distill

trains, or resumes from the checkpoint in the output folder, and exports a `.safetensors` network.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab import networks
from stylelab.cli import exits
from stylelab.distil import readouts
from stylelab.distil.crops import Crops, split
from stylelab.distil.lesson import Lesson, build_student
from stylelab.errors import SettingError
from stylelab.files.local import atomic
from stylelab.images import load_image
from stylelab.vgg import VGG


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on; a checkpoint resumes only under the recipe it began with."""

    steps: int = 5000
    forced: int = 1000  # of these steps, how many feed each layer the teacher's features
    batch: int = 12
    size: int = 128  # side of a training crop, pixels
    rate: float = 0.05  # learning rate of a layer, as a share of its weights' initial deviation
    second_rate: float = 0.025  # the same for the second part
    average: float = 0.998  # decay of the running average of weights that is exported
    revival: float = 0.6  # share of the steps during which silent free filters are revived
    every: int = 250  # steps between checkpoints
    seed: int = 0
    start: str = ""  # weights file of an earlier student of the same teacher to begin with


@torch.no_grad()
def held_out_errors(lesson: Lesson, files: list[Path], size: int = 256) -> dict[str, float]:
    """Errors of `lesson` averaged over whole held-out images, longer side `size` pixels."""
    totals: dict[str, float] = {}
    lesson.eval()
    device = lesson.student.input.weight.device
    for file in files:
        for name, error in lesson.errors(load_image(file, size).to(device)).items():
            totals[name] = totals.get(name, 0.0) + float(error) / len(files)
    return totals


def schedule(step: int, recipe: Recipe) -> float:
    """Learning rate over `recipe.rate`: in each part 50 steps of warming up, a half cosine."""
    if step < recipe.forced:
        top, done, steps = 1.0, step, recipe.forced
    else:
        top = recipe.second_rate / recipe.rate
        done, steps = step - recipe.forced, recipe.steps - recipe.forced
    return top * min(1.0, (done + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))


def train(
    teacher: VGG, images: Path, output: Path, recipe: Recipe, device: torch.device
) -> Iterator[tuple[VGG, list[dict[str, float]]]]:
    """Train and yield the averaged student and its learning curve so far at each checkpoint.

    The curve has `{"step": ..., target: error on held-out images, ...}` for each checkpoint.

    A checkpoint in `output` under the same recipe is resumed; under another one SettingError is
    raised; the same holds for another teacher or other images. The course of a resumed run is that
    of an uninterrupted one: a step's crops depend on the seed and the step alone.
    """
    checkpoint = output / "checkpoint.pt"
    files, held_out = split(images)
    origin = asdict(recipe) | {"teacher": f"{teacher.name} {teacher.sha256} {teacher.pooling}"}
    origin |= {"files": [file.name for file in files]}
    crops = Crops(files, recipe.size)
    student = build_student(recipe.seed).to(device, memory_format=torch.channels_last)
    teacher.to(memory_format=torch.channels_last)
    lesson = Lesson(student, teacher, crops.batch(64, seed=-1).to(device)).to(device)
    if recipe.start:
        lesson.adopt(networks.load(recipe.start, device=device), crops.batch(64, -1).to(device))
        lesson.revive(crops.batch(64, -2).to(device), recipe.seed)
    optimiser = torch.optim.Adam(lesson.groups(recipe.rate), betas=(0.9, 0.99))
    sched = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, recipe))

    def average(mean: Tensor, new: Tensor, count: Tensor) -> Tensor:
        decay = min(recipe.average, (1 + int(count)) / (3 + int(count)))  # soon forgets the start
        return mean.lerp(new, 1 - decay)

    averaged = torch.optim.swa_utils.AveragedModel(lesson, avg_fn=average)
    parts = {"lesson": lesson, "averaged": averaged, "optimiser": optimiser, "schedule": sched}
    start, curve = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if other := [key for key, value in origin.items() if saved["origin"].get(key) != value]:
            raise SettingError(
                f"{checkpoint} began with other {', '.join(other)}; use another --output"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        start, curve = saved["step"], saved["curve"]
    for done in tqdm(range(start + 1, recipe.steps + 1), initial=start, total=recipe.steps):
        batch = crops.batch(recipe.batch, recipe.seed * 10**7 + done - 1).to(device)
        errors = lesson.errors(batch, forced=done <= recipe.forced)
        optimiser.zero_grad()
        # The logarithm is an error of 1 or less, nearly; it tames Gram errors of strange crops.
        sum(torch.log1p(error) for error in errors.values()).backward()
        optimiser.step()
        sched.step()
        averaged.update_parameters(lesson)
        if done % 50 == 0 and done <= recipe.revival * recipe.steps:
            lesson.revive(batch, done)
        if done % recipe.every == 0 or done == recipe.steps:
            curve.append({"step": done} | held_out_errors(averaged.module, held_out))
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic(checkpoint) as path:
                torch.save(state | {"step": done, "curve": curve, "origin": origin}, path)
            yield averaged.module.student, curve
    if start >= recipe.steps:
        yield averaged.module.student, curve


def export(student: VGG, teacher: VGG, images: Path, path: Path, recipe: Recipe) -> dict:
    """Fit the student's readouts, write it to `path`, and return what was measured on it."""
    files, held_out = split(images)
    student.half().float()  # as it is stored: what is measured is what is shipped
    fitted = readouts.fit(student, teacher, files[::4])
    readouts.attach(student, fitted, teacher.units)
    # Least squares shrinks what it cannot predict; distances shall be the teacher's on average.
    shrunk = readouts.style_agreement(student, teacher, files[::4], pairs=1000)
    fitted |= {layer: fitted[layer] / shrunk[layer]["ratio"] ** 0.5 for layer in shrunk}
    readouts.attach(student, fitted, teacher.units)
    measured = {
        "relative_errors": readouts.relative_errors(student, fitted, teacher, held_out),
        "style_agreement": readouts.style_agreement(student, teacher, held_out),
        "held_out": [file.name for file in held_out],
    }
    readouts.save(student, path, {"recipe": asdict(recipe), "teacher": teacher.name} | measured)
    return measured


def main(arguments: list[str] | None = None) -> int:
    """The command line, `python -m stylelab.distil.training --help`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stylelab.distil.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--teacher", required=True, help="a network's name or weights file")
    parser.add_argument(
        "--pooling", choices=("avg", "max"), help="the teacher's (default: its own)"
    )
    parser.add_argument("--images", required=True, type=Path, help="folder of training images")
    parser.add_argument("--output", default=Path("build/distill"), type=Path)
    parser.add_argument("--device", default="auto")
    for name, default in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = vars(parser.parse_args(arguments))
    return exits.guarded(lambda: _run(options))


def _run(options: dict) -> int:
    recipe = Recipe(**{name: options[name] for name in asdict(Recipe())})
    device = networks.pick_device(options["device"])
    teacher = networks.load(options["teacher"], pooling=options["pooling"], device=device)
    for student, curve in train(  # noqa: B007 (the last student is exported below)
        teacher, options["images"], options["output"], recipe, device
    ):
        with atomic(options["output"] / "curve.json") as path:
            path.write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
        last = {target: error for target, error in curve[-1].items() if target != "step"}
        said = ", ".join(f"{target} {error:.3f}" for target, error in last.items())
        tqdm.write(f"step {curve[-1]['step']}: held-out error {said}")
    path = options["output"] / "network.safetensors"
    for layer, error in export(student, teacher, options["images"], path, recipe)[
        "relative_errors"
    ].items():
        print(f"{layer}: relative error {error:.4f}")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
