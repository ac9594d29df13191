"""Good starting points by name, each better for its purpose than the defaults.

That was judged by eye, on four pairs of images.

Faces need the colour of skin, and their features: a second, shallower content layer, and a little
less of the painting.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "keep-colours": {"colours": "luminance"},
    "portrait": {
        "colours": "luminance",
        "strength": 0.4,
        "content_layers": {"conv4_2": 1.0, "conv3_2": 0.5},
    },
}
