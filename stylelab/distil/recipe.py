"""The settings of a training run; free of PyTorch, so that the command line lists them at once."""

from dataclasses import dataclass, field


def _setting(default: object, text: str):
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """What the result of a training run depends on, besides the teacher and the images."""

    steps: int = _setting(5000, "training steps in all")
    forced_steps: int = _setting(1000, "first steps, in which each layer gets the teacher's input")
    batch_size: int = _setting(12, "crops in a step")
    crop_size: int = _setting(128, "side of a crop in pixels")
    learning_rate: float = _setting(
        0.05, "learning rate of the forced steps, over the deviation of a layer's initial weights"
    )
    second_learning_rate: float = _setting(0.025, "the same for the steps after them")
    average_decay: float = _setting(0.998, "decay of the running average of weights, the result")
    revive_share: float = _setting(0.6, "share of the steps in which silent filters are revived")
    visit_every: int = _setting(
        0, "steps from one visit to what optimisation passes through to the next; 0 for none"
    )
    checkpoint_every: int = _setting(250, "steps from one checkpoint to the next")
    seed: int = _setting(0, "seed of the weights and the crops")
    start_from: str = _setting("", "weights file of an earlier student, to train it further")
