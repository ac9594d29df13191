"""What every notebook works with: a network, images by their part, and a folder for its figures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from stylelab import gallery, networks
from stylelab.engine.devices import pick_device
from stylelab.figures import films, panels, records, watching
from stylelab.optimisation import Result
from stylelab.parametrisation import name_of

Drawing = Figure | Sequence[panels.Panel]
STARTS = {"noise": "white noise", "content": "the content image", "style": "the style image"}


class Lab:
    """A notebook's network and images, and how it shows and saves its figures.

    Its arguments are the notebook's parameters; `others` are kept in its records too. A *part* is
    the role of an image: "content", "C", "night", ... (see `gallery.cast`). A *drawing* is a
    matplotlib figure, or a list of panels to lay out in `columns`.

    Attributes:
        network: the network, on its device.
        cast: the name of an image in the gallery by its part.
        parameters: the notebook's parameters.
        output: the folder for figures.
        records: the records of the figures saved so far, by name.

    Raises:
        SettingError: for a device or a kind of images that does not exist.
        NetworkError: if the network cannot be loaded.
    """

    def __init__(
        self,
        profile: str,
        network: str,
        images: str,
        size: int,
        steps: int,
        seed: int,
        device: str,
        output: str | Path,
        **others: object,
    ) -> None:
        self.parameters = {"profile": profile, "network": network, "images": images, "size": size}
        self.parameters |= {"steps": steps, **others, "seed": seed, "device": device}
        self.network = networks.load(network, device=pick_device(device))
        if watching.is_watched():
            self.network.hooks = (*self.network.hooks, watching.watch)
        self.cast, self.output, self.records = gallery.cast(images), Path(output), {}

    def open(self, part: str, size: int | None = None) -> Tensor:
        """The image that plays `part`, `(1, 3, H, W)`; its longer side is the notebook's `size`."""
        return gallery.open(self.cast[part], size or self.parameters["size"])

    def footer(self, parts: Iterable[str], *notes: str) -> str:
        """The line under a figure: the network, notes, and the images that play `parts`."""
        return panels.footer([self.network], [self.cast[part] for part in parts], *notes)

    def show(
        self, name: str, drawing: Drawing, columns: int = 3, footer: str = "", width: float = 10.0
    ) -> object:
        """Save a drawing as `<name>.png`, without a record, and return it for the page."""
        if not isinstance(drawing, Figure):
            drawing = panels.panel_grid(drawing, columns=columns, footer=footer, width=width)
        return records.show(records.save_picture(drawing, name, self.output))

    def save(
        self,
        name: str,
        drawing: Drawing,
        *,
        images: Mapping[str, str],
        columns: int = 3,
        rows: Sequence[str] = (),
        headings: Sequence[str] = (),
        pictures: Mapping[str, Tensor] | None = None,
        settings: Mapping[str, object] = {},
        results: Mapping[str, Result] = {},
        facts: Mapping[str, float] = {},
    ) -> object:
        """Save a figure of the paper with its record and panels, and return it for the page.

        Args:
            name: the figure's name, as `claims.CLAIMS` knows it.
            drawing: its named panels are saved, and the paper's claims are checked on them.
            images: the parts of the images used, by the names that the record gives them.
            columns, rows, headings: of a drawing of panels, as `panels.panel_grid` takes them.
            pictures: in place of named panels, for a drawing that is not of panels.
            settings, results, facts: as `make_record` takes them.
        """
        pictures = dict(pictures or {})
        if not isinstance(drawing, Figure):
            pictures |= {panel.name: panel.image for panel in drawing if panel.name}
            footer = self.footer(images.values(), self.note(*results.values(), **settings))
            layout = {"columns": columns, "rows": rows, "headings": headings}
            drawing = panels.panel_grid(drawing, **layout, footer=footer)
        record = self.records[name] = records.make_record(
            name,
            parameters=self.parameters,
            network=self.network,
            images={key: self.cast[part] for key, part in images.items()},
            results=results,
            settings=settings,
            panels=pictures,
            facts=facts,
        )
        return records.show(records.save_figure(drawing, record, self.output, pictures))

    def note(
        self,
        *results: Result,
        alpha_beta: object = None,
        init: object = "noise",
        size: int | None = None,
        steps: int | None = None,
        **others: object,
    ) -> str:
        """How a figure was made, for its footer: ratio, start, steps of the first result, size.

        `steps` are told if there is no result. What is not one ratio or one start, since panels
        differ in it, is left out; so are `others`.
        """
        one = isinstance(alpha_beta, float)
        words = [f"α/β = {panels.power_of_ten(alpha_beta)}"] if one else []
        words += [f"from {STARTS[init]}"] if isinstance(init, str) else []
        words += [f"{each.steps} steps in {name_of(each.parametrisation)}" for each in results[:1]]
        words += [f"{steps} steps"] if steps and not results else []
        return ", ".join([*words, f"{size or self.parameters['size']} px"])

    def claims(self, name: str, said: str = "the paper's statement, with our bounds") -> object:
        """The claims about a saved figure, under `said`; what was measured; whether each holds."""
        rows = [
            (claim["statement"], "; ".join(records.numbers(claim)), ("NO", "yes")[claim["holds"]])
            for claim in self.records[name]["claims"]
        ]
        return records.table((said, "measured", "holds"), rows)

    def made_with(self) -> object:
        """What the notebook ran with: network, device and versions, for its last cell."""
        what = {"network": self.network.name}
        what |= {"device": f"{self.network.device}, {records.threads()}"} | records.versions()
        return records.table(what, [what.values()])

    def film(self, name: str, frames: Mapping[int, Tensor]) -> object:
        """Save pictures by their steps as `<name>.gif`, and return it for the page."""
        from IPython.display import Image

        path = films.save_animation(frames, name, self.output)
        return Image(data=path.read_bytes(), width=2 * films.WIDTH)
