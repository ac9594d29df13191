"""What is measured: each function does one measurement, and returns what goes into the JSON.

Raw seconds are returned, in the order measured; `benchmarks.report` takes medians and ratios.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch

import stylelab
from benchmarks import contenders
from benchmarks.contenders import NAMES, Stylelab, synchronise
from benchmarks.textbook import Textbook, TextbookLoss
from stylelab.description import Transfer
from stylelab.engine import heap
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.lbfgs import lbfgs
from stylelab.vgg import STYLE_LAYERS, resize

ROOT = Path(__file__).parents[1]
PANELS = tuple(f"conv{group}_2" for group in range(1, 6))
SUBSETS = tuple(STYLE_LAYERS[: count + 1] for count in range(5))
COARSE_LEVELS = 3


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, the device's part included."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def step(network: str, size: int, repeats: int, device: torch.device) -> dict:
    """Seconds of one step, loss, gradient and update, with a full history; repeats interleaved."""
    vgg, (content, style) = contenders.load(network, device), contenders.pair(size, device)
    both = {name: contenders.with_full_history(name, vgg, content, style) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for contender in both.values():  # for warming up
        contender.step()
    for _ in range(repeats):
        for name, contender in both.items():
            with contenders.at_work(contender):
                seconds[name].append(timed(contender.step, device))
    return {"pixels": list(content.shape[2:]), "seconds": seconds}


def to_loss(
    network: str, size: int, repeats: int, device: torch.device, steps: int, coarse_steps: int
) -> dict:
    """Seconds to the loss that the textbook's loop has after `steps` steps, from images to it.

    stylelab from the content image, and coarse to fine, with up to twice as many steps; null where
    the loss was not reached in them.
    """
    vgg, (content, style) = contenders.load(network, device), contenders.pair(size, device)
    settings = {"plain": 1, "coarse to fine": COARSE_LEVELS}
    runs, most = [], 2 * steps
    for _ in range(repeats):
        synchronise(device)
        began = time.perf_counter()
        loss = TextbookLoss(vgg, content, style, contenders.ALPHA_BETA)
        textbook = Textbook(loss, content)
        textbook.began = began
        records = textbook.run(steps)
        run = {"textbook": {"seconds": records[-1][0], "records": records}}
        del loss, textbook
        for name, levels in settings.items():
            run[name] = _until(records[-1][1], vgg, content, style, levels, coarse_steps, most)
        runs.append(run)
    return {
        "pixels": list(content.shape[2:]),
        "steps": steps,
        "most": most,
        "levels": COARSE_LEVELS,
        "coarse_steps": coarse_steps,
        "runs": runs,
    }


def _until(goal: float, vgg, content, style, levels: int, coarse_steps: int, most: int) -> dict:
    """stylelab until the loss is at most `goal`; coarse levels have `coarse_steps` steps each."""
    synchronise(content.device)
    began, start = time.perf_counter(), content
    if levels > 1:
        small = Transfer(
            *(resize(image, _half(image)) for image in (content, style)), contenders.ALPHA_BETA
        )
        result = transfer_coarse_to_fine(
            vgg, [small], levels=levels - 1, steps=coarse_steps, progress=False
        )
        start = resize(result.images, tuple(content.shape[2:])).to(content)
    before, records = time.perf_counter() - began, []
    objective = contenders.objective(vgg, content, style)
    with ExitStack() as on:
        for state in lbfgs(objective.value_and_grad, start):
            loss = float(state.best_loss)  # waits for the device
            records.append((time.perf_counter() - began, loss))
            if loss <= goal or state.step == most:
                break
            if len(records) == 1:
                on.enter_context(heap.freed_memory_kept())
    reached = records[-1][0] if loss <= goal else None
    return {"seconds": reached, "steps": state.step, "coarse_seconds": before, "records": records}


def _half(image: torch.Tensor) -> tuple[int, int]:
    return tuple(max(1, side // 2) for side in image.shape[2:])


def memory(network: str, size: int, device: torch.device) -> dict:
    """Bytes at the peak of three steps with a full history, above those of the loaded network.

    Each contender has a process of its own.
    """

    def peak(name: str) -> int:
        command = [sys.executable, "-m", "benchmarks.memory", name, network, str(size), str(device)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    loaded = peak("nothing")
    return {"loaded": loaded, "bytes": {name: peak(name) - loaded for name in NAMES}}


def finish(
    network: str, size: int, repeats: int, device: torch.device, levels: int, steps: int
) -> dict:
    """Seconds of a whole transfer, coarse to fine, as a user asks for it."""
    vgg, (content, style) = contenders.load(network, device), contenders.pair(size, device)
    seconds = []
    for _ in range(repeats):

        def work() -> None:
            nonlocal result
            asked = [Transfer(content, style, contenders.ALPHA_BETA)]
            result = transfer_coarse_to_fine(vgg, asked, levels=levels, steps=steps, progress=False)

        result = None
        seconds.append(timed(work, device))
    loss = float(result.losses.min())
    pixels = list(content.shape[2:])
    return {"pixels": pixels, "levels": levels, "steps": steps, "seconds": seconds, "loss": loss}


def paper(network: str, size: int, repeats: int, device: torch.device, steps: int) -> dict:
    """Seconds of a transfer with the paper's settings: one level, from the content image."""
    measured = finish(network, size, 1 + repeats, device, 1, steps)
    return measured | {"seconds": measured["seconds"][1:]}


def panels(network: str, size: int, repeats: int, device: torch.device, steps: int) -> dict:
    """Seconds of figure 1's ten panels, as two batches and one by one; repeats interleaved."""
    vgg, (content, style) = contenders.load(network, device), contenders.pair(size, device)

    def reconstruct(layers: tuple, subsets: tuple) -> None:
        options = {"steps": steps, "progress": False}
        if layers:
            stylelab.reconstruct_content(vgg, content, layers, **options)
        if subsets:
            stylelab.reconstruct_style(vgg, style, subsets, **options)

    def singly() -> None:
        for layer in PANELS:
            reconstruct((layer,), ())
        for subset in SUBSETS:
            reconstruct((), (subset,))

    reconstruct(PANELS[-1:], SUBSETS[-1:])  # for warming up
    seconds: dict[str, list[float]] = {"singles": [], "batch": []}
    for _ in range(repeats):
        seconds["singles"].append(timed(singly, device))
        seconds["batch"].append(timed(lambda: reconstruct(PANELS, SUBSETS), device))
    return {"pixels": list(content.shape[2:]), "steps": steps, "seconds": seconds}


def rival(size: int, repeats: int, device: torch.device) -> dict:
    """Seconds of one step of neural-style, of the textbook and of stylelab, early in a run."""
    from benchmarks import neural_style_program

    vgg, (content, style) = contenders.load("random", device), contenders.pair(size, device)
    loss = TextbookLoss(vgg, content, style, contenders.ALPHA_BETA)
    objective = contenders.objective(vgg, content, style)
    both = {
        "textbook": Textbook(loss, content, per_call=1),
        "stylelab": Stylelab(objective.value_and_grad, content),
    }
    seconds: dict[str, list[float]] = {"neural-style": [], "textbook": [], "stylelab": []}
    for contender in both.values():  # for warming up
        contender.step()
    with neural_style_program.prepared(vgg, content, style) as program:
        for _ in range(repeats):
            for name, contender in both.items():
                with contenders.at_work(contender):
                    seconds[name].append(timed(contender.step, device))
            seconds["neural-style"].append(program.seconds_per_step())
    return {"pixels": list(content.shape[2:]), "seconds": seconds}
