"""Which notebooks to run, with which parameters; `run_notebooks` runs those not up to date."""

import os
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from stylelab.errors import SettingError, StylelabError
from stylelab.runs import capacity, uptodate
from stylelab.runs.folder import only_run_in
from stylelab.runs.jobs import Job, Outcome, run
from stylelab.runs.terminal import tell

PACKAGE = Path(__file__).resolve().parents[1]
NOTEBOOKS = PACKAGE.parent / "notebooks"

# What papermill injects into a notebook's `parameters` cell. `size` is the longer side in pixels.
PROFILES: dict[str, dict[str, object]] = {
    "smoke": {"network": "vgg19-mini", "images": "embedded", "size": 64, "steps": 5},
    "quick": {"network": "vgg19-mini", "images": "embedded", "size": 256, "steps": 200},
    "paper": {"network": "vgg19", "images": "paper", "size": 512, "steps": 500},
}
COMMON: dict[str, object] = {"seed": 0, "device": "auto"}


def find(folder: str | os.PathLike[str] = NOTEBOOKS) -> list[Path]:
    """The numbered notebooks of a folder in order; by default of the one beside the package.

    Raises:
        StylelabError: if there are none.
    """
    if found := sorted(Path(folder).glob("[0-9]*.ipynb")):
        return found
    raise StylelabError(
        f"{folder} holds no numbered notebooks, such as 02_content_reconstructions.ipynb; they "
        "come with a checkout of the repository: name their folder with --notebooks"
    )


def choose(names: Sequence[str], found: Sequence[Path]) -> list[Path]:
    """The notebooks of `found` with these numbers ("2", "02") or with such a part of their name.

    All of them when `names` is empty.

    Raises:
        SettingError: for a name that no notebook matches.
    """
    chosen = set()
    for name in names:
        part = re.escape(name.lower().removesuffix(".ipynb"))
        pattern = f"0*{name.lstrip('0')}(?![0-9])" if re.fullmatch("[0-9]+", name) else f".*{part}"
        meant = {path for path in found if re.match(pattern, path.stem.lower(), re.DOTALL)}
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
    """The folder for figures when none is named: build/PROFILE-NETWORK."""
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
    jobs: int = 1,
    scheduler: str | Executor | None = None,
    resources: Mapping[str, float] | None = None,
    force: bool = False,
    checkpoint: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks in order; a failing one is kept and reported, and the others still run.

    Executed notebooks, figures and records go to one folder, where each kernel runs: `output` is
    injected as ".". A notebook that is up to date (`stylelab.runs.uptodate`) does not run again.
    Ctrl-C ends the run; what is finished stays, and the outcomes say what was interrupted. Only one
    run at a time uses a folder.

    Args:
        names: which notebooks, as `choose` reads them; all when empty.
        profile: a name out of `PROFILES`.
        overrides: parameters that differ from the profile's.
        output: the folder; `default_output` when None.
        notebooks: the folder of the notebooks; the repository's when None.
        jobs: how many run at the same time, where there is memory for them, sharing the cores.
        scheduler, resources: of a Dask cluster that runs them, as `executors.workers` takes them.
        force: run also those that are up to date.
        checkpoint: save the progress of each optimisation in the output folder, from which a later
            run with the same parameters continues.
        progress: show a progress bar and a line per notebook.

    Raises:
        SettingError: for a wrong value, or an override that no chosen notebook has.
        StylelabError: if notebooks are missing, the folder cannot be made or is in use, or the
            scheduler or its workers will not do.
        ModuleNotFoundError: without the notebooks extra.
    """
    if jobs < 1:
        raise SettingError(f"jobs must be at least 1, got {jobs}")
    if scheduler and checkpoint:
        raise SettingError(
            "--checkpoint keeps progress in the output folder, which the workers of a scheduler "
            "may not see; leave out one of the two"
        )
    chosen = choose(names, find(notebooks or NOTEBOOKS))
    values = parameters(profile, overrides)
    if not is_named(str(values["network"])):  # kernels run in another folder
        values["network"] = str(Path(str(values["network"])).resolve())
    network, images, device = (str(values[name]) for name in ("network", "images", "device"))
    folder = default_output(values) if output is None else Path(output).expanduser()
    values["output"] = "."
    if folder.resolve() == chosen[0].parent.resolve():
        raise SettingError(f"--output {folder} is the folder of the notebooks; name another")
    from stylelab.engine.checkpoint import FOLDER as CHECKPOINTS  # brings PyTorch
    from stylelab.figures import records
    from stylelab.runs import execute  # needs the notebooks extra

    injected = {p.stem: {n: values[n] for n in execute.declared(p) if n in values} for p in chosen}
    for name in overrides or {}:
        if not any(name in given for given in injected.values()):
            raise SettingError(f"no notebook chosen has a parameter {name}; leave it out")
        execute.check_value(name, values[name])
    outcomes: dict[str, Outcome] = {}
    with only_run_in(folder) as state:
        fetch_needed(network, images)
        shared = uptodate.surroundings(network, images, device, is_here=not scheduler)
        prints = {p.stem: uptodate.fingerprint(p, injected[p.stem], shared) for p in chosen}
        due = []
        for path in chosen:
            name, executed = path.stem, folder / path.name
            if force or not uptodate.outputs(executed, prints[name]):
                uptodate.forget(executed)
                due.append(path)
            else:
                outcomes[name] = Outcome(name, executed, up_to_date=True)
                _report(outcomes[name], progress)
        asked = (min(jobs, len(due)), network, int(values["size"]), str(shared["device"]))
        with capacity.workers_for(*asked, scheduler, resources) as (found, cores):
            environment = (kernel_environment() if found.is_here else {}) | cores
            ready = []
            for path in due:
                own = {records.NOTES: str(state / "running" / path.stem)}
                if checkpoint:
                    kept = state / "checkpoints" / path.stem / prints[path.stem][:16]
                    own[CHECKPOINTS] = str(kept)
                weights = "" if is_named(network) else str(shared["weights"])
                job = Job(path, folder / path.name, injected[path.stem], environment | own, weights)
                ready.append(job)
            for outcome in run(ready, found, progress) if ready else ():
                outcomes[outcome.name] = outcome
                if outcome.ok:
                    made = outcome.made or records.noted(state / "running" / outcome.name)
                    uptodate.remember(outcome.path, prints[outcome.name], made)
                    shutil.rmtree(state / "checkpoints" / outcome.name, ignore_errors=True)
                _report(outcome, progress)
    return [outcomes[path.stem] for path in chosen if path.stem in outcomes]


# Networks and images bring PyTorch: imported where used, so that `stylelab --help` comes at once.


def is_named(network: str) -> bool:
    """Whether `network` is a network's name, not the path of a file."""
    from stylelab import networks

    return network in networks.names() or re.fullmatch("random:[0-9]+", network) is not None


def fetch_needed(network: str, images: str) -> None:
    """Download what a run needs, before it starts, so that the progress can be seen."""
    from stylelab import gallery, networks

    if network in networks.names() and networks.info(network).url:
        networks.fetch(network)
    if images == "paper":
        for name in sorted(set(gallery.cast("paper").values())):
            try:
                gallery.path(name)
            except StylelabError as error:  # notebooks that need it will fail, the others run
                tell(f"stylelab: {error}")


def kernel_environment() -> dict[str, str]:
    """Variables for kernels, which run in another folder: where to find cache and package."""
    environment = {}
    if cache := os.environ.get("STYLELAB_CACHE"):
        environment["STYLELAB_CACHE"] = str(Path(cache).expanduser().resolve())
    if (PACKAGE.parent / "pyproject.toml").exists():  # a checkout, perhaps not installed
        paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _report(outcome: Outcome, progress: bool) -> None:
    """Say on the terminal how a notebook ended."""
    said = "interrupted" if outcome.interrupted else "FAILED" if outcome.error else "ok"
    said = f"{outcome.seconds:7.1f} s  {said}" if not outcome.up_to_date else f"{'up to date':>21}"
    if progress:
        tell(f"{outcome.name:<36}{said}")
    if outcome.error:
        kept = f"\nkept as {outcome.path}" if outcome.path.exists() else ""
        tell(textwrap.indent(outcome.error + kept, "    "))
