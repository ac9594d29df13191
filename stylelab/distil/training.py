"""Training a small network that stands in for a large one: how `vgg19-mini` was made.

The student is a narrow VGG-19 with the paper's average pooling. From random weights it learns to
predict the teacher's feature maps at every layer that both have (see `stylelab.distil.matching`).
Training has two parts. First each layer is fed the teacher's features, so that no layer waits for
the ones before it; only after a pooling it gets the student's own, since average pooling must learn
to do what the teacher's max pooling does. Then the student is fed its own features throughout, and
all layers learn together.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab import networks
from stylelab.distil import readouts
from stylelab.distil.crops import Crops, split
from stylelab.distil.matching import FeatureMatching, build_student
from stylelab.distil.recipe import Recipe
from stylelab.engine.devices import pick_device
from stylelab.errors import SettingError
from stylelab.files.local import atomic
from stylelab.images import load_image
from stylelab.vgg import VGG

Curve = list[dict[str, float]]  # {"step": ..., target: its error on held-out images, ...}


@torch.no_grad()
def held_out_errors(
    matching: FeatureMatching, files: list[Path], size: int = 256
) -> dict[str, float]:
    """Errors of `matching` averaged over whole held-out images, longer side `size` pixels."""
    totals: dict[str, float] = {}
    matching.eval()
    for file in files:
        image = load_image(file, size).to(matching.student.device)
        for target, error in matching.errors(image).items():
            totals[target] = totals.get(target, 0.0) + float(error) / len(files)
    return totals


def schedule(step: int, recipe: Recipe) -> float:
    """Share of `recipe.learning_rate` at a step: per part, a warm-up of 50 steps and a cosine."""
    if step < recipe.forced_steps:
        top, done, steps = 1.0, step, recipe.forced_steps
    else:
        top = recipe.second_learning_rate / recipe.learning_rate
        done, steps = step - recipe.forced_steps, recipe.steps - recipe.forced_steps
    return top * min(1.0, (done + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))


def train(
    teacher: VGG, images: Path, output: Path, recipe: Recipe, device: torch.device
) -> Iterator[tuple[VGG, Curve]]:
    """Train; at each checkpoint yield the averaged student and its learning curve so far.

    A checkpoint in `output` is resumed. The resumed run ends as an uninterrupted one does: the
    crops of a step depend on the seed and the step alone.

    Raises:
        SettingError: if that checkpoint has another recipe, another teacher or other images.
    """
    checkpoint = output / "checkpoint.pt"
    files, held_out = split(images)
    settings = asdict(recipe) | {"teacher": f"{teacher.name} {teacher.sha256} {teacher.pooling}"}
    settings |= {"files": [file.name for file in files]}
    crops = Crops(files, recipe.crop_size)
    student = build_student(recipe.seed).to(device, memory_format=torch.channels_last)
    matching = FeatureMatching(student, teacher, crops.batch(64, seed=-1).to(device)).to(device)
    if recipe.start_from:
        earlier = networks.load(recipe.start_from, device=device)
        if earlier.widths != student.widths:
            raise SettingError(f"{recipe.start_from} is no student of this program: other widths")
        student.load_state_dict(earlier.state_dict(), strict=False)  # all but its readouts
        matching.revive_silent_filters(crops.batch(64, seed=-2).to(device), recipe.seed)
    groups = matching.parameter_groups(recipe.learning_rate)
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, recipe))

    def average(mean: Tensor, new: Tensor, count: Tensor) -> Tensor:
        decay = min(recipe.average_decay, (1 + int(count)) / (3 + int(count)))  # forgets the start
        return mean.lerp(new, 1 - decay)

    averaged = torch.optim.swa_utils.AveragedModel(matching, avg_fn=average)
    parts = {"matching": matching, "averaged": averaged, "optimiser": optimiser, "rates": rates}
    start, curve = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        before = saved.get("settings", {})
        if other := [key for key, value in settings.items() if before.get(key) != value]:
            raise SettingError(
                f"{checkpoint} began with other {', '.join(other)}; use another --output"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        start, curve = saved["step"], saved["curve"]
    for step in tqdm(range(start + 1, recipe.steps + 1), initial=start, total=recipe.steps):
        batch = crops.batch(recipe.batch_size, recipe.seed * 10**7 + step - 1).to(device)
        errors = matching.errors(batch, teacher_forcing=step <= recipe.forced_steps)
        optimiser.zero_grad()
        # log(1 + error) is nearly a small error, and tames the Gram errors of unusual crops.
        sum(torch.log1p(error) for error in errors.values()).backward()
        optimiser.step()
        rates.step()
        averaged.update_parameters(matching)
        if step % 50 == 0 and step <= recipe.revive_share * recipe.steps:
            matching.revive_silent_filters(batch, step)
        if step % recipe.checkpoint_every == 0 or step == recipe.steps:
            curve.append({"step": step} | held_out_errors(averaged.module, held_out))
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic(checkpoint) as path:
                torch.save(state | {"step": step, "curve": curve, "settings": settings}, path)
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


def train_and_export(
    teacher: str, pooling: str | None, images: Path, output: Path, recipe: Recipe, device: str
) -> int:
    """Train or resume, write `curve.json` and `network.safetensors` to `output`, report; returns 0.

    Args:
        teacher: a network's name or weights file.
        pooling: the teacher's, "avg" or "max"; None is its own.
        images: a folder of at least 40 JPEG or PNG images.
        device: as `pick_device` takes it.
    """
    picked = pick_device(device)
    network = networks.load(teacher, pooling=pooling, device=picked)
    for student, curve in train(network, images, output, recipe, picked):  # noqa: B007
        with atomic(output / "curve.json") as path:
            path.write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
        step, *errors = curve[-1].items()
        report = ", ".join(f"{target} {error:.3f}" for target, error in errors)
        tqdm.write(f"step {step[1]}: held-out error {report}")
    path = output / "network.safetensors"
    measured = export(student, network, images, path, recipe)
    for layer, error in measured["relative_errors"].items():
        print(f"{layer}: relative error {error:.4f}")
    print(path)
    return 0
