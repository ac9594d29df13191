"""Training a small network that stands in for a large one: how `vgg19-mini` was made.

The student is a narrow VGG-19 with its teacher's pooling. From random weights it learns to predict
the teacher's feature maps at every layer that both have. At first each layer is fed the teacher's
features, so that no layer waits for the ones before it. Later the student is fed its own features
throughout, and all layers learn together.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab import networks
from stylelab.distil import readouts
from stylelab.distil.crops import Crops, split
from stylelab.distil.matching import FeatureMatching, build_student, inherit
from stylelab.distil.recipe import Recipe
from stylelab.distil.visited import Visited
from stylelab.engine.devices import pick_device
from stylelab.errors import SettingError
from stylelab.files.local import atomic
from stylelab.images import load_image
from stylelab.vgg import VGG


@torch.no_grad()
def held_out_errors(matching: FeatureMatching, files: list[Path]) -> dict[str, float]:
    """Errors of `matching`, by target, averaged over whole held-out images."""
    matching.eval()
    images = (load_image(file, readouts.SIZE).to(matching.student.device) for file in files)
    errors = [matching.errors(image) for image in images]
    return {name: float(sum(each[name] for each in errors)) / len(files) for name in errors[0]}


def schedule(step: int, recipe: Recipe) -> float:
    """Share of `recipe.learning_rate` at a step: per part, a warm-up of 50 steps and a cosine."""
    top, done, steps = 1.0, step, recipe.forced_steps
    if step >= recipe.forced_steps:
        top = recipe.second_learning_rate / recipe.learning_rate
        done, steps = step - recipe.forced_steps, recipe.steps - recipe.forced_steps
    return top * min(1.0, (done + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))


def train(teacher: VGG, images: Path, output: Path, recipe: Recipe) -> VGG:
    """Train a student of `teacher` on its device, or resume the checkpoint in `output`.

    The result has the running average of the weights. `output` also gets `curve.json`, the held-out
    errors at each checkpoint. A resumed run ends as an uninterrupted one does: the crops of a step
    depend on the seed and the step alone.

    Raises:
        SettingError: if the checkpoint has another recipe, another teacher or other images.
    """
    checkpoint, device = output / "checkpoint.pt", teacher.device
    files, held_out = split(images)
    settings = asdict(recipe) | {"teacher": f"{teacher.name} {teacher.sha256} {teacher.pooling}"}
    settings |= {"files": [file.name for file in files]}
    crops = Crops(files, recipe.crop_size)
    student = build_student(teacher.pooling, recipe.seed).to(
        device, memory_format=torch.channels_last
    )
    matching = FeatureMatching(student, teacher, crops.batch(64, seed=-1).to(device))
    if recipe.start_from:
        earlier = networks.load(recipe.start_from, device=device)
        inherit(student, earlier)
        matching.revive_silent_filters(crops.batch(64, seed=-2).to(device), recipe.seed)
    optimiser = torch.optim.Adam(matching.parameter_groups(recipe.learning_rate), betas=(0.9, 0.99))
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, recipe))

    def average(mean: Tensor, new: Tensor, count: Tensor) -> Tensor:
        decay = ((1 + count) / (3 + count)).clamp(max=recipe.average_decay)  # forgets the start
        return mean.lerp(new, 1 - decay)

    averaged = torch.optim.swa_utils.AveragedModel(matching, avg_fn=average)
    parts = {"matching": matching, "averaged": averaged, "optimiser": optimiser, "rates": rates}
    start, curve = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if other := [key for key in settings if saved["settings"].get(key) != settings[key]]:
            raise SettingError(f"{checkpoint} has other {', '.join(other)}; use another --output")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        start, curve = saved["step"], saved["curve"]
    visits = range(1, recipe.steps + 1, recipe.visit_every) if recipe.visit_every else range(0)
    visited = Visited(teacher, output / "visited", [step for step in visits if step <= start])
    for step in tqdm(range(start + 1, recipe.steps + 1), initial=start, total=recipe.steps):
        if step in visits:
            visited.update(step, crops, averaged.module.student, files)
        seed = recipe.seed * 10**7 + step - 1
        batch = crops.batch(recipe.batch_size, seed, visited.images).to(device)
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
            errors = held_out_errors(averaged.module, held_out)
            curve.append({"step": step} | errors)
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic(checkpoint) as path:
                torch.save(state | {"step": step, "curve": curve, "settings": settings}, path)
            with atomic(output / "curve.json") as path:
                path.write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
            report = ", ".join(f"{target} {error:.3f}" for target, error in errors.items())
            tqdm.write(f"step {step}: held-out error {report}")
    return averaged.module.student


def train_and_export(
    teacher: str, pooling: str | None, images: Path, output: Path, recipe: Recipe, device: str
) -> int:
    """Train or resume, fit readouts, and write `network.safetensors` to `output`; returns 0.

    The teacher is a network's name or weights file; `pooling` None is its own, `images` a folder of
    at least 40 JPEG or PNG images, and `device` as `pick_device` takes it.
    """
    network = networks.load(teacher, pooling=pooling, device=pick_device(device))
    student, path = train(network, images, output, recipe), output / "network.safetensors"
    student.half().float()  # as it is stored: what is measured is what is shipped
    files, held_out = split(images)
    fitted = readouts.fit(student, network, files[::4])
    readouts.attach(student, fitted, network.units)
    # Least squares shrinks what it cannot predict; distances shall be the teacher's on average.
    shrunk = readouts.style_agreement(student, network, files[::4], pairs=1000)
    fitted |= {layer: fitted[layer] / shrunk[layer]["ratio"] ** 0.5 for layer in shrunk}
    readouts.attach(student, fitted, network.units)
    errors = readouts.relative_errors(student, fitted, network, held_out)
    told = asdict(recipe) | {"start_from": Path(recipe.start_from).name}  # no folder of a machine
    notes = {"recipe": told, "teacher": network.name, "relative_errors": errors}
    notes["style_agreement"] = readouts.style_agreement(student, network, held_out)
    notes["held_out"] = [file.name for file in held_out]
    readouts.save(student, path, notes)
    for layer, error in errors.items():
        print(f"{layer}: relative error {error:.4f}")
    print(path)
    return 0
