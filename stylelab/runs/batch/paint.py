"""One picture of a batch, on whichever worker: bytes in, bytes out.

Nothing is asked of the worker but the package and the network, so that none of its files matter.
"""

import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from stylelab import images, networks
from stylelab.engine.coarse_to_fine import balanced, transfer_coarse_to_fine
from stylelab.engine.devices import pick_device
from stylelab.errors import SettingError, StylelabError
from stylelab.figures import measures
from stylelab.optimisation import Result
from stylelab.runs import calls
from stylelab.runs.collect import check_file
from stylelab.runs.executors import worker_name
from stylelab.runs.metadata import metadata
from stylelab.runs.settings import Settings
from stylelab.vgg import VGG, resize

THUMBNAIL = 256  # pixels on the longer side


@dataclass(frozen=True)
class Order:
    """A picture to paint.

    Attributes:
        settings: as JSON; `init` is "content" if there is a start.
        images: the files by their roles, "content", "style" and perhaps "start".
        record: how the picture's metadata name these files.
        device: by name, as `pick_device` takes it.
        weights: the SHA-256 of the network's file, if it is a file of the user's.
    """

    settings: str
    images: dict[str, bytes]
    record: dict[str, dict[str, str]]
    device: str = "auto"
    weights: str = ""


@dataclass(frozen=True)
class Painted:
    """A picture as the bytes of a PNG, a small one as those of a JPEG, and what is known of it."""

    png: bytes
    thumbnail: bytes
    found: dict[str, object]


def paint(order: Order) -> Painted:
    """Paint a picture.

    Raises:
        StylelabError: if it cannot be done.
        KeyboardInterrupt: if it was interrupted.
    """
    began, settings = time.perf_counter(), Settings.from_json(order.settings)
    if order.weights:
        check_file(settings.network, order.weights)
    loading = tuple(calls.loading(settings).items())
    network = _network(settings.network, loading, order.device, order.weights)
    with TemporaryDirectory(prefix="stylelab-") as scratch:
        sizes = {"content": settings.size, "style": settings.style_size, "start": settings.size}
        loaded = {
            role: _load(content, order.record[role]["file"], Path(scratch, role), sizes[role])
            for role, content in order.images.items()
        }
        content, style = loaded["content"], loaded["style"]
        if "start" not in loaded and settings.init != "noise" and torch.equal(content, style):
            raise SettingError(
                "content and style are the same picture, which is the result already"
            )
        asked = calls.as_transfer(settings, content, style)
        if "start" in loaded:
            asked = replace(asked, init=loaded["start"])
        asked = balanced(network, asked)
        how = {"steps": settings.steps, "levels": settings.levels, **calls.how(settings)}
        result = transfer_coarse_to_fine(network, [asked], progress=False, **how)
        if result.interrupted:
            raise KeyboardInterrupt
        if result.stuck:
            raise StylelabError(f"no step led to a finite loss after step {result.steps}")
        used = {"alpha_beta_used": asked.alpha_beta, "steps_done": result.steps}
        if "start" in loaded:
            settings = replace(settings, init=f"./{order.record['start']['file']}")
        texts = metadata(settings, order.record, network, **used, **_losses(result))
        path = Path(scratch, "picture.png")
        images.save_image(result.images, path, metadata=texts)
        layers = settings.layer_weights
        found = used | _losses(result) | _quality(network, layers, result.images, content, style)
        found |= {"seconds": round(time.perf_counter() - began, 3), "worker": worker_name()}
        found |= {"device": str(network.device), "threads": torch.get_num_threads()}
        height, width = result.images.shape[2:]
        found |= {"width": width, "height": height, "torch": torch.__version__}
        found |= {"pooling_used": network.pooling, "network_sha256": network.sha256}
        return Painted(path.read_bytes(), _thumbnail(result.images), found)


@lru_cache(maxsize=2)
def _network(name: str, loading: tuple, device: str, weights: str) -> VGG:
    """A network, kept for the next picture; `weights` tells files of one name apart."""
    return networks.load(name, device=pick_device(device), **dict(loading))


def _load(content: bytes, name: str, folder: Path, size: int) -> Tensor:
    """The image in a file of this name, whose errors name it alone."""
    folder.mkdir()
    path = folder / name
    path.write_bytes(content)
    try:
        return images.load_image(path, size)
    except StylelabError as error:
        raise type(error)(str(error).replace(str(path), name)) from None


def _losses(result: Result) -> dict[str, float]:
    """The first and the lowest loss, and that of the picture as saved, whole and by kind."""
    final = {name: float(loss) for name, loss in result.final.items()}
    found = {"first_loss": float(result.losses[0]), "best_loss": float(result.losses.min())}
    found["saved_loss"] = sum(final.values())
    for kind in ("content", "style"):
        found[f"saved_{kind}"] = sum(loss for name, loss in final.items() if name.startswith(kind))
    return found


def _quality(
    network: VGG, layers: Iterable[str], picture: Tensor, content: Tensor, style: Tensor
) -> dict[str, float]:
    """Measures that are not the loss; `stylelab.figures.measures` defines them."""
    photograph = resize(content, tuple(picture.shape[2:]))
    return {
        "edges": measures.edge_agreement(picture, photograph),
        "ssim": measures.ssim(picture, photograph),
        "style_distance": measures.style_distance(network, picture, style, layers),
        "colour_distance": measures.colour_distance(picture, style),
        "rim": measures.rim(picture),
    }


def _thumbnail(image: Tensor) -> bytes:
    from PIL import Image

    small = resize(image, min(THUMBNAIL, max(image.shape[2:]))).clamp(0, 1)
    pixels = small[0].mul(255).round().permute(1, 2, 0).byte().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
