"""The record that a picture is saved with, and the settings read back from one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from stylelab import __version__
from stylelab.engine.precision import precision_of
from stylelab.errors import ImageError
from stylelab.files.text import json_object
from stylelab.images import read_metadata
from stylelab.runs.settings import OPTIONS, Settings
from stylelab.vgg import VGG


def metadata(
    settings: Settings, images: Mapping[str, object], network: VGG, **outcome: object
) -> dict[str, str]:
    """The texts that a picture made with `settings` is saved with.

    Args:
        images: "content" and "style", and "start" if it is a file, each with the "file" it came
            from and its "sha256". Several styles are a list of such; "content_mask", "style_mask"
            and "strokes", where there are any, are lists, too.
        network: the network used.
        outcome: the losses, the steps done and the like. No times: the same command is to give
            the same bytes.
    """
    record = {
        **images,
        **settings.as_dict(),
        "network": network.name,  # its file's name alone, as that of the start
        "init": Path(settings.init).name,
        "network_sha256": network.sha256,
        "pooling_used": network.pooling,
        **outcome,
        "device": str(network.device),
        "precision": precision_of(network),
        "stylelab": __version__,
        "torch": torch.__version__,
    }
    return {"Software": f"stylelab {__version__}", "Comment": json.dumps(record)}


def read_settings(path: str | os.PathLike[str]) -> tuple[Settings, dict]:
    """The settings in a PNG saved with `metadata`, and the whole record.

    Settings that the record lacks have their defaults. If the start was a file, `init` is a file of
    that name in the current folder, whether it is there or not.

    Raises:
        ImageError: if the file is not a PNG, or holds no settings of a transfer.
        SettingError: if it holds a wrong value.
    """
    record = json_object(read_metadata(path).get("Comment", ""))
    if record is None or not {"network", "size", "alpha_beta", "init", "steps"} <= set(record):
        raise ImageError(
            f"{path} holds no settings; choose a PNG saved by the playground or by "
            "stylelab transfer"
        )
    values = {name: record[name] for name in OPTIONS if name in record}
    only = record.get("content_layer")
    if isinstance(only, str):  # of one layer, in older pictures
        values = {"content_layers": {only: 1.0}, **values}
    if "start" in record:  # or a file named "noise" would be taken for the noise
        values["init"] = f"./{Path(str(values['init'])).name}"
    return Settings(**values), record
