"""What surrounds the package: its dependencies, its citation, and what an import brings along."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import stylelab
from stylelab import networks
from stylelab.runs import notebooks as runner

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_conda_environment_adds_nothing_to_the_project():
    environment = read_yaml("environment.yml")
    assert environment["name"] == PROJECT["name"]
    python, pip, from_pip = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    (editable,) = from_pip["pip"]
    extras = re.fullmatch(r"-e \.\[(.+)\]", editable)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_the_citation_is_of_this_version_and_names_the_paper():
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["license"] == PROJECT["license"]
    assert citation["version"] == stylelab.__version__
    (paper,) = citation["references"]
    assert (paper["year"], paper["start"], paper["end"]) == (2016, 2414, 2423)
    assert [author["family-names"] for author in paper["authors"]] == ["Gatys", "Ecker", "Bethge"]


def test_an_import_needs_the_core_dependencies_alone():
    others = ["IPython", "ipywidgets", "matplotlib", "nbformat", "papermill", "skimage", "sklearn"]
    others += ["dask", "distributed"]
    code = (
        "import sys\n"
        f"for name in {others}: sys.modules[name] = None\n"  # importing one of these now fails
        "import stylelab, stylelab.cli.main, stylelab.cli.commands, stylelab.runs.notebooks\n"
        "import stylelab.runs.executors, stylelab.runs.collect, stylelab.runs.batch.plan\n"
        "network = stylelab.load('random')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_workflows_run_what_there_is():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    workflow, paper = (read_yaml(f".github/workflows/{name}.yml") for name in ("ci", "paper"))
    for each in (workflow, paper):
        steps = [step for job in each["jobs"].values() for step in job["steps"]]
        runs = [step.get("run", "") for step in steps]
        used = {run.split()[1] for run in runs if run.startswith("make ")}
        assert {"figures", "verify"} <= used <= targets
        assert all(
            (ROOT / name).is_file() for run in runs for name in re.findall(r"tools/\S+", run)
        )
    inputs = paper[True]["workflow_dispatch"]["inputs"]  # YAML reads `on` as a yes
    assert (inputs["profile"]["default"], inputs["network"]["default"]) == ("paper", "vgg19")
    assert set(inputs["profile"]["options"]) == set(runner.PROFILES)
    assert set(inputs["network"]["options"]) <= set(networks.names())
    assert paper["jobs"]["figures"]["runs-on"] == ["self-hosted", "gpu"]
    oldest = {
        re.match(r"[\w-]+", line)[0]: line.partition(">=")[2] for line in PROJECT["dependencies"]
    }
    (install,) = (step["run"] for step in workflow["jobs"]["oldest"]["steps"] if "pip" in str(step))
    for name in ("torch", "torchvision"):
        assert f'"{name}=={oldest[name]}.*"' in install
