"""The notebooks, run with papermill: which ones, with which parameters, and what became of them."""

import importlib.util
import os
import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from stylelab.errors import SettingError, StylelabError

PACKAGE = Path(__file__).resolve().parent
NOTEBOOKS = PACKAGE.parent / "notebooks"

# What papermill injects into a notebook's `parameters` cell. `size` is the longer side in pixels.
PROFILES: dict[str, dict[str, object]] = {
    "smoke": {"network": "vgg19-mini", "images": "embedded", "size": 64, "steps": 5},
    "quick": {"network": "vgg19-mini", "images": "embedded", "size": 256, "steps": 200},
    "paper": {"network": "vgg19", "images": "paper", "size": 512, "steps": 500},
}
COMMON: dict[str, object] = {"seed": 0, "device": "auto"}


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes:
        name: the notebook's name.
        path: the executed notebook, kept whatever happened.
        seconds: how long it took.
        error: the failing cell and its error, or what else went wrong; empty if nothing did.
        interrupted: whether it was stopped with Ctrl-C.
    """

    name: str
    path: Path
    seconds: float
    error: str = ""
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether the notebook ran to its end."""
        return not self.error and not self.interrupted


def find(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """The numbered notebooks of a folder in order; by default of the one beside the package.

    Raises:
        StylelabError: if there are none.
    """
    folder = NOTEBOOKS if folder is None else Path(folder)
    if found := sorted(folder.glob("[0-9]*.ipynb")):
        return found
    raise StylelabError(
        f"{folder} holds no numbered notebooks, such as 02_content_reconstructions.ipynb; they "
        "come with a checkout of the repository: name their folder with --notebooks"
    )


def choose(names: Sequence[str], found: Sequence[Path]) -> list[Path]:
    """Those of the notebooks `found` that `names` mean, by number ("2", "02") or part of the name.

    Without names that is all of them.

    Raises:
        SettingError: for a name that means none.
    """
    chosen = set()
    for name in names:
        if name.isdecimal():
            meant = {p for p in found if int(re.match("[0-9]+", p.stem)[0]) == int(name)}
        else:
            meant = {p for p in found if name.lower().removesuffix(".ipynb") in p.stem.lower()}
        if not meant:
            known = ", ".join(path.stem for path in found)
            raise SettingError(f"there is no notebook {name!r}; choose from {known}")
        chosen |= meant
    return [path for path in found if path in chosen or not names]


def parameters(profile: str, overrides: Mapping[str, object] | None = None) -> dict[str, object]:
    """The parameters of a profile, with `overrides` in place of some of them.

    Raises:
        SettingError: for an unknown profile.
    """
    if profile not in PROFILES:
        raise SettingError(f"profile must be one of {', '.join(PROFILES)}; got {profile!r}")
    return {"profile": profile, **PROFILES[profile], **COMMON, **(overrides or {})}


def default_output(values: Mapping[str, object]) -> Path:
    """The folder for figures when none is named: build/PROFILE-NETWORK, of a file its stem."""
    network = str(values["network"])
    label = network if is_named(network) else Path(network).stem
    return Path("build", re.sub(r"[^\w.-]", "-", f"{values['profile']}-{label}"))


def run_notebooks(
    names: Sequence[str] = (),
    *,
    profile: str = "quick",
    overrides: Mapping[str, object] | None = None,
    output: str | os.PathLike[str] | None = None,
    notebooks: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks in order; a failing one is kept and reported, and the others still run.

    Executed notebooks, figures and records go to one folder, where each kernel runs: `output` is
    injected as ".". Ctrl-C ends the run; what is finished stays, and the last outcome says so.

    Args:
        names: which notebooks, as `choose` reads them; all when empty.
        profile: a name out of `PROFILES`.
        overrides: parameters that differ from the profile's.
        output: the folder; `default_output` when None.
        notebooks: the folder of the notebooks; the repository's when None.
        progress: show a progress bar and a line per notebook.

    Raises:
        SettingError: for an unknown name or profile, or an override that no chosen notebook has.
        StylelabError: if notebooks or what runs them are missing, or the folder cannot be made.
    """
    chosen = choose(names, find(notebooks))
    values = parameters(profile, overrides)
    network = str(values["network"])
    if not is_named(network):
        values["network"] = str(Path(network).resolve())  # kernels run in another folder
    folder = Path(output) if output is not None else default_output(values)
    values["output"] = "."
    if folder.resolve() == chosen[0].parent.resolve():
        raise SettingError(f"--output {folder} is the folder of the notebooks; name another")
    execute = _import_execute()
    wanted = {path: execute.declared(path) for path in chosen}
    for name in overrides or {}:
        if not any(name in declared for declared in wanted.values()):
            raise SettingError(f"no notebook chosen has a parameter {name}; leave it out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StylelabError(
            f"{folder} cannot be made ({error.strerror}); choose another folder with --output"
        ) from error
    fetch_needed(network, str(values["images"]))
    outcomes: list[Outcome] = []
    with execute.this_interpreter(kernel_environment()):
        for path in chosen:
            injected = {name: values[name] for name in wanted[path] if name in values}
            outcomes.append(_run(execute, path, folder, injected, progress))
            if outcomes[-1].interrupted:
                break
    return outcomes


# Networks and images bring PyTorch: imported where used, so that `stylelab --help` comes at once.


def is_named(network: str) -> bool:
    """Whether `network` is a network's name, not the path of a file."""
    from stylelab import networks

    return network in networks.names() or re.fullmatch("random:[0-9]+", network) is not None


def fetch_needed(network: str, images: str) -> None:
    """Download what a run asks for and does not have, here, where its progress can be seen."""
    from stylelab import gallery, networks

    if network in networks.names() and networks.info(network).url:
        networks.fetch(network)
    if images == "paper":
        for name in sorted(set(gallery.cast("paper").values())):
            try:
                gallery.path(name)
            except StylelabError as error:  # the notebooks that need it will say so, others run
                print(f"stylelab: {error}", file=sys.stderr)


def kernel_environment() -> dict[str, str]:
    """Variables with which kernels, which run in another folder, find what this process finds."""
    environment = {}
    if cache := os.environ.get("STYLELAB_CACHE"):
        environment["STYLELAB_CACHE"] = str(Path(cache).expanduser().resolve())
    if (PACKAGE.parent / "pyproject.toml").exists():  # a checkout, perhaps not installed
        before = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(PACKAGE.parent), *([before] if before else [])]
        )
    return environment


def _import_execute():
    """`stylelab.execute`, whose imports are not core dependencies."""
    missing = [name for name in ("papermill", "ipykernel") if not importlib.util.find_spec(name)]
    if missing:
        raise StylelabError(
            f"running notebooks needs {' and '.join(missing)}: pip install 'stylelab[notebooks]'"
        )
    from stylelab import execute

    return execute


def _run(execute, path: Path, folder: Path, injected: dict, progress: bool) -> Outcome:
    """Run one notebook and say what became of it, on the terminal and in its `Outcome`."""
    output, began = folder / path.name, time.perf_counter()
    error, interrupted, said = "", False, "ok"
    try:
        execute.execute(path, output, injected, cwd=folder, progress=progress)
    except KeyboardInterrupt:
        interrupted, said = True, "interrupted"
    except Exception as problem:  # whatever is wrong with one notebook, the others still run
        error, said = _describe(problem), "FAILED"
    seconds = time.perf_counter() - began
    if progress:
        tqdm.write(f"{path.stem:<36}{seconds:7.1f} s  {said}", file=sys.stderr)
    if error:
        report = f"{error}\nkept as {output}"
        tqdm.write(textwrap.indent(report, "    "), file=sys.stderr)
    return Outcome(path.stem, output, seconds, error, interrupted)


def _describe(problem: Exception) -> str:
    """A failed cell's source and the end of its traceback, or the problem itself."""
    if not hasattr(problem, "traceback"):
        return f"{type(problem).__name__}: {problem}"
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(problem.traceback)).strip().splitlines()
    source = textwrap.indent(problem.source.strip(), "    ")
    return f"cell [{problem.exec_count}]:\n\n{source}\n\n" + "\n".join(trace[-12:])
