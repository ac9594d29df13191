"""The command line: what it refuses, how it says so, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylelab import __version__, gallery, networks, optimisation, synthesis
from stylelab.cli.main import main as cli
from stylelab.errors import DownloadError, StylelabError
from stylelab.images import load_image, read_metadata, save_image
from stylelab.runs import notebooks as runner

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two images, photo.jpg (64 x 48) and painting.png."""
    monkeypatch.chdir(tmp_path)
    maker = torch.Generator().manual_seed(0)
    save_image(torch.rand(1, 3, 48, 64, generator=maker), "photo.jpg")
    save_image(torch.rand(1, 3, 40, 40, generator=maker), "painting.png")
    return tmp_path


@pytest.fixture(autouse=True)
def small_random_network(monkeypatch, tiny_network):
    """`--network random` is a tiny one: these tests are about words, not pictures."""
    load = networks.load

    def load_tiny(name, **settings):
        if name != "random":
            return load(name, **settings)
        return tiny_network(dtype=torch.float32).to(settings.get("device", "cpu"))

    monkeypatch.setattr(networks, "load", load_tiny)


def run(*arguments: str) -> int:
    """The exit code of `stylelab ARGUMENTS`, run in this process."""
    try:
        return cli.main(arguments)
    except SystemExit as stop:
        return stop.code


def transfer(*arguments: str) -> int:
    quick = ("--network", "random", "--size", "48", "--steps", "2", "--device", "cpu")
    return run("transfer", *arguments, *quick)


def complaint(capsys) -> str:
    """The one line said on stderr."""
    said = capsys.readouterr().err
    assert said.startswith("stylelab: ") and said.count("\n") == 1, said
    return said


def test_a_transfer_writes_the_image_with_its_settings(folder, capsys):
    assert transfer("photo.jpg", "painting.png", "-o", "new/out.png", "--alpha-beta", "1e-2") == 0
    assert load_image("new/out.png").shape == (1, 3, 36, 48)
    record = json.loads(read_metadata("new/out.png")["Comment"])
    assert record["alpha_beta"] == 0.01 and record["steps_done"] == 2
    assert record["content"]["file"] == "photo.jpg"
    assert record["best_loss"] <= record["first_loss"]
    said = capsys.readouterr().out
    assert "photo.jpg (48 x 36) in the style of painting.png (48 x 48)" in said
    assert "tiny on cpu" in said


@pytest.mark.parametrize("init", ["content", "style", "noise"])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_starts_and_formats(folder, init, suffix):
    assert transfer("photo.jpg", "painting.png", "-o", f"out{suffix}", "--init", init) == 0
    assert load_image(f"out{suffix}").shape == (1, 3, 36, 48)


def test_images_by_name_unless_there_is_such_a_file(folder):
    (folder / "storm").write_bytes((folder / "painting.png").read_bytes())
    assert transfer("storm", "swirling_night", "-o", "out.png") == 0
    record = json.loads(read_metadata("out.png")["Comment"])
    assert record["content"]["file"] == "storm"
    assert record["style"]["file"] == gallery.path("swirling_night").name


def test_an_interrupted_transfer_keeps_the_best_image_so_far(folder, capsys, monkeypatch):
    original = optimisation.lbfgs

    def interrupted(*args, **kwargs):
        for state in original(*args, **kwargs):
            if state.step == 1:
                raise KeyboardInterrupt
            yield state

    monkeypatch.setattr(optimisation, "lbfgs", interrupted)
    assert transfer("photo.jpg", "painting.png", "-o", "out.png") == 130
    assert load_image("out.png").shape == (1, 3, 36, 48)
    assert capsys.readouterr().err.endswith(
        "stylelab: interrupted after 0 of 2 steps; the best image so far is out.png\n"
    )


def test_a_missing_image(folder, capsys):
    assert transfer("gone.jpg", "painting.png", "-o", "out.png") == 1
    assert "gone.jpg does not exist" in complaint(capsys)


def test_text_named_jpg(folder, capsys):
    (folder / "text.jpg").write_text("this is not an image")
    assert transfer("photo.jpg", "text.jpg", "-o", "out.png") == 1
    assert "text.jpg is not" in complaint(capsys)


def test_an_image_of_three_pixels(folder, capsys):
    save_image(torch.rand(1, 3, 1, 3), "dots.png")
    assert transfer("dots.png", "painting.png", "-o", "out.png") == 1
    assert "dots.png has 3 x 1 pixels; network tiny needs at least 32" in complaint(capsys)


def test_a_truncated_jpeg(folder, capsys):
    data = (folder / "photo.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    assert transfer("cut.jpg", "painting.png", "-o", "out.png") == 1
    assert "cut.jpg" in complaint(capsys)


def test_a_folder_as_image(folder, capsys):
    assert transfer(str(folder), "painting.png", "-o", "out.png") == 1
    assert "is a folder" in complaint(capsys)


@pytest.mark.parametrize(
    ("output", "code"),
    [("photo.jpg/out.png", 1), ("folder.png", 1), ("out.gif", 2), ("out", 2), (".", 2)],
)
def test_an_output_that_cannot_be_written_is_found_before_the_work(folder, capsys, output, code):
    (folder / "folder.png").mkdir()
    assert transfer("photo.jpg", "painting.png", "-o", output) == code
    complaint(capsys)


def test_sixteen_bits(folder, capsys):
    assert transfer("photo.jpg", "painting.png", "-o", "out.png", "--bits", "16") == 0
    assert (folder / "out.png").read_bytes()[24] == 16  # IHDR's bit depth
    capsys.readouterr()
    assert transfer("photo.jpg", "painting.png", "-o", "out.jpg", "--bits", "16") == 2
    assert "JPEG has 8 bits only" in complaint(capsys)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder, capsys):
    (folder / "locked").mkdir(mode=0o500)
    assert transfer("photo.jpg", "painting.png", "-o", "locked/out.png") == 1
    assert "locked" in complaint(capsys)


def test_neither_image_is_overwritten(folder, capsys):
    before = (folder / "photo.jpg").read_bytes()
    assert transfer("photo.jpg", "painting.png", "-o", "./photo.jpg") == 2
    assert "name another file" in complaint(capsys)
    assert (folder / "photo.jpg").read_bytes() == before


def test_a_size_too_small_for_the_network(folder, capsys):
    assert run("transfer", "photo.jpg", "painting.png", "-o", "o.png", "--network", "random",
               "--size", "40") == 2  # fmt: skip
    assert "photo.jpg has 40 x 30 pixels at --size 40" in complaint(capsys)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--size", value) for value in ("0", "-1", "1.5", "big", "")],
        *[("--steps", value) for value in ("-1", "many")],
        *[("--seed", value) for value in ("-1", "1e3", str(2**64))],
        *[("--alpha-beta", value) for value in ("-1", "nan", "inf", "a")],
        *[("--network", value) for value in ("vgg20", "random:x", "gone.pth", ".")],
        *[("--device", value) for value in ("tpu", "cuda:99")],
        ("--init", "middle"),
        ("--colour", "red"),
    ],
)
def test_wrong_options_of_transfer(folder, capsys, option, value):
    assert run("transfer", "photo.jpg", "painting.png", "-o", "out.png", f"{option}={value}") == 2
    assert option in complaint(capsys)
    assert not (folder / "out.png").exists()


def test_weights_that_are_not(folder, capsys):
    (folder / "weights.pth").write_text("no")
    assert run("transfer", "photo.jpg", "painting.png", "-o", "out.png",
               "--network", "weights.pth") == 1  # fmt: skip
    assert "weights.pth cannot be read" in complaint(capsys)


@pytest.mark.parametrize(
    "arguments",
    [[], ["paint"], ["transfer", "a.jpg"], ["transfer", "a", "b"], ["figures", "--profile", "big"]],
)
def test_wrong_use(capsys, arguments):
    assert run(*arguments) == 2
    assert "--help" in complaint(capsys)


@pytest.mark.parametrize(
    "error",
    [
        *(MemoryError(), RuntimeError("CUDA out of memory. Tried"), OSError(28, "No space", "x")),
        *(OSError("odd"), StylelabError("two\nlines"), torch.OutOfMemoryError("out of memory")),
    ],
)
def test_failures_are_one_line(folder, capsys, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(synthesis, "transfer", fail)
    assert transfer("photo.jpg", "painting.png", "-o", "out.png") == 1
    complaint(capsys)


def test_figures_hands_over_its_options(folder, capsys, monkeypatch):
    asked = {}

    def run_notebooks(names, **settings):
        asked.update(settings, names=names)
        outcomes = [runner.Outcome("02_a", Path("out/02_a.ipynb"), 1.0)]
        errors = {"smoke": "cell [1]: no", "quick": "", "paper": ""}
        error, stopped = errors[settings["profile"]], settings["profile"] == "paper"
        return [*outcomes, runner.Outcome("03_b", Path("out/03_b.ipynb"), 1.0, error, stopped)]

    monkeypatch.setattr(runner, "run_notebooks", run_notebooks)
    assert run("figures", "02", "--size", "128", "--output", "out", "--seed", "0") == 0
    assert asked["jobs"] == 1 and asked["force"] is False
    assert asked["names"] == ["02"] and asked["profile"] == "quick" and asked["output"] == "out"
    assert asked["overrides"] == {"size": 128, "seed": 0}
    assert "are in out" in capsys.readouterr().out
    assert run("figures", "--jobs", "3", "--force") == 0
    assert asked["jobs"] == 3 and asked["force"] is True
    assert run("figures", "--profile", "smoke") == 1
    assert "1 of 2 notebooks failed; see out" in complaint(capsys)
    assert run("figures", "--profile", "paper") == 130
    assert "finished before is in out" in complaint(capsys)


@pytest.mark.parametrize("arguments", [["99"], ["02", "--init", "noise"], ["--jobs", "0"]])
def test_figures_that_there_are_not(folder, capsys, arguments):
    assert run("figures", *arguments) == 2
    complaint(capsys)


def test_figures_without_notebooks(folder, capsys):
    assert run("figures", "--notebooks", str(folder)) == 1
    complaint(capsys)


@pytest.mark.parametrize("well", [True, False])
def test_verify_prints_its_table_and_says_whether_all_is_well(folder, capsys, monkeypatch, well):
    asked = []

    def stub(*args, **kwargs):
        asked.append((args, kwargs))
        return "a table", well

    monkeypatch.setattr("stylelab.verify.verify", stub)
    (folder / "made").mkdir()
    assert run("verify", "made") == (0 if well else 1)
    assert run("verify", "made", "--reference", ".", "--network", "photo.jpg") == (not well)
    assert asked[0] == ((Path("made"),), {"reference": None, "network": None})
    assert asked[1] == ((Path("made"),), {"reference": Path("."), "network": "photo.jpg"})
    said = capsys.readouterr()
    assert said.out == "a table\n" * 2
    complaints = said.err.splitlines()
    assert len(complaints) == (0 if well else 2)
    assert all(line.startswith("stylelab: not all figures of made") for line in complaints)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["gone"], 1),
        (["photo.jpg"], 1),
        ([".", "--reference", "gone"], 1),
        ([], 2),
        ([".", "--network", "gone.pth"], 2),
    ],
)
def test_nothing_to_verify(folder, capsys, arguments, code):
    assert run("verify", *arguments) == code
    complaint(capsys)


def test_verify_says_what_it_needs(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "stylelab.figures.verify", None)
    assert run("verify", ".") == 1
    assert "pip install 'stylelab[notebooks]'" in complaint(capsys)


def test_networks_lists_them_all(capsys):
    assert run("networks") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in networks.names())
    assert "575 MB" in said


def test_fetch(capsys, monkeypatch):
    fetched = []

    def fetch(name):
        if name == "neckarfront":
            raise DownloadError("the address is gone")
        fetched.append(name)
        return Path("cache", name)

    monkeypatch.setattr(networks, "fetch", fetch)
    monkeypatch.setattr(gallery, "path", fetch)
    assert run("fetch", "vgg19-caffe", "starry_night", "starry_night") == 0
    assert fetched == ["vgg19-caffe", "starry_night"]
    assert run("fetch") == 1  # one is gone; the others are still fetched
    assert "vgg19" in fetched and "vgg19-caffe" not in fetched[2:]
    assert set(gallery.names("paper")) - set(fetched) == {"neckarfront"}
    assert run("fetch", "all") == 1 and fetched[-1] == "vgg19-caffe"
    capsys.readouterr()
    assert run("fetch", "vgg19", "nothing") == 2
    assert "'nothing'" in complaint(capsys)


def command(*arguments: str) -> subprocess.CompletedProcess:
    """`python -m stylelab ARGUMENTS` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "stylelab", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_as_a_process():
    told = command("--help")
    assert told.returncode == 0
    for word in ("figures", "transfer", "fetch", "networks", "examples:", "exit codes:"):
        assert word in told.stdout
    assert command("--version").stdout == f"stylelab {__version__}\n"
    refused = command("transfer", "a.jpg", "b.jpg", "-o", "c.png", "--size", "0")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    failed = command("transfer", "a.jpg", "b.jpg", "-o", "c.png")
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
