"""stylelab: Image Style Transfer Using Convolutional Neural Networks, figure by figure.

    import stylelab

    network = stylelab.load("vgg19-mini")
    content, style = stylelab.load_image("photo.jpg", 512), stylelab.load_image("painting.jpg", 512)
    result = stylelab.transfer(network, content, style)
    stylelab.save_image(result.images, "out.png")

Names are looked up when they are first used: `stylelab --help` need not wait for PyTorch.
"""

from importlib import import_module

from stylelab.engine.threads import choose_waits

choose_waits()
__version__ = "0.1.0"

_HOMES = {
    "CONTENT_LAYER": "vgg",
    "STYLE_LAYERS": "vgg",
    "VGG": "vgg",
    "Result": "optimisation",
    "Style": "controls.styles",
    "StylelabError": "errors",
    "load": "networks",
    "load_image": "images",
    "reconstruct_content": "synthesis",
    "reconstruct_style": "synthesis",
    "save_image": "images",
    "Transfer": "description",
    "transfer": "synthesis",
    "transfer_batch": "synthesis",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
