"""The command line: what it makes, what it refuses and how it says so, and its exit codes."""

import hashlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylelab import __version__, adam, description, gallery, networks, optimisation, synthesis
from stylelab.cli.main import main
from stylelab.controls.statistics import TERMS
from stylelab.engine import coarse_to_fine
from stylelab.errors import DownloadError, StylelabError
from stylelab.files.weights import CONVENTIONS
from stylelab.images import load_alpha, load_image, read_metadata, save_image
from stylelab.parametrisation import name_of
from stylelab.runs import calls
from stylelab.runs import notebooks as runner
from stylelab.runs.settings import OPTIONS, RATE, Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with photo.jpg (64 x 48), painting.png and a file that is no image."""
    monkeypatch.chdir(tmp_path)
    maker = torch.Generator().manual_seed(0)
    save_image(torch.rand(1, 3, 48, 64, generator=maker), "photo.jpg")
    save_image(torch.rand(1, 3, 40, 40, generator=maker), "painting.png")
    save_image(torch.rand(1, 3, 1, 3), "dots.png")
    Path("text.jpg").write_text("this is not an image")
    Path("cut.jpg").write_bytes(Path("photo.jpg").read_bytes()[:500])
    Path("folder.png").mkdir()
    return tmp_path


@pytest.fixture(autouse=True)
def small_random_network(monkeypatch, tiny_network):
    """`--network random` is a tiny one: these tests are not about pictures. Returns its hooks."""
    load, hooks = networks.load, []

    def load_tiny(name, **settings):
        if name != "random":
            return load(name, **settings)
        network = tiny_network(dtype=torch.float32).to(settings.get("device", "cpu"))
        network.hooks = hooks
        return network

    monkeypatch.setattr(networks, "load", load_tiny)
    return hooks


def run(*arguments: str) -> int:
    """The exit code of `stylelab ARGUMENTS`, run in this process."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code


QUICK = ("--network", "random", "--size", "48", "--steps", "2", "--device", "cpu")


def transfer(*arguments: str) -> int:
    """The exit code of `stylelab transfer photo.jpg painting.png -o out.png ...`, made quick."""
    return run("transfer", "photo.jpg", "painting.png", "-o", "out.png", *QUICK, *arguments)


def complaint(capsys) -> str:
    """The one line said on stderr."""
    said = capsys.readouterr().err
    assert said.startswith("stylelab: ") and said.count("\n") == 1, said
    return said


def test_a_transfer_writes_the_image_with_its_settings(folder, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    asked = ["--output=~/new/out.png", "--alpha-beta", "1e-1", "--tv-weight", "0.5"]
    assert transfer(*asked, "--style-layers", "conv1_1=2,conv3_1") == 0
    assert load_image("new/out.png").shape == (1, 3, 36, 48) and not Path("~").exists()
    record = json.loads(read_metadata("new/out.png")["Comment"])
    assert record["alpha_beta"] == 0.1 and record["steps_done"] == 2 and record["tv_weight"] == 0.5
    assert record["style_layers"] == {"conv1_1": 2, "conv3_1": 1}
    assert record["content"]["file"] == "photo.jpg"
    assert record["best_loss"] <= record["first_loss"]
    said = capsys.readouterr().out
    assert "photo.jpg (48 x 36) in the style of painting.png (48 x 48)" in said
    assert "network tiny with avg pooling on cpu" in said and "2 steps of lbfgs" in said


def test_max_pixels_is_the_users(folder, capsys, monkeypatch):
    monkeypatch.setenv("STYLELAB_MAX_PIXELS", "10")
    assert transfer("-o", "out.png") == 1
    assert "at most 10 are read" in capsys.readouterr().err
    assert transfer("-o", "out.png", "--max-pixels", "1000000") == 0


@pytest.mark.parametrize(
    ("output", "init", "bits"),
    [
        *(("a.jpg", "style", 8), ("a.tif", "content", 16), ("a.png", "noise", 16)),
        ("a.webp", "start.png", 8),
    ],
)
def test_starts_and_formats(folder, output, init, bits):
    save_image(torch.rand(1, 3, 96, 128), "start.png")
    assert transfer("-o", output, "--init", init, "--bits", str(bits)) == 0
    assert load_image(output).shape == (1, 3, 36, 48)
    if output.endswith("png"):
        assert Path(output).read_bytes()[24] == bits  # IHDR's bit depth


def test_of_several_pictures_in_a_file_the_first_is_used_and_this_is_said(folder, capsys):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save("two.gif", save_all=True, append_images=frames[1:])
    assert run("transfer", "two.gif", "painting.png", "-o", "out.png", *QUICK) == 0
    said = capsys.readouterr().err
    assert "stylelab: two.gif holds several pictures" in said and "Warning" not in said


def test_images_by_name_unless_there_is_such_a_file(folder):
    (folder / "storm").write_bytes((folder / "painting.png").read_bytes())
    assert run("transfer", "storm", "swirling_night", "-o", "out.png", *QUICK) == 0
    record = json.loads(read_metadata("out.png")["Comment"])
    assert record["content"]["file"] == "storm"
    assert record["style"]["file"] == gallery.path("swirling_night").name


def test_an_interrupted_transfer_keeps_the_best_image_so_far(folder, capsys, small_random_network):
    def interrupt(run, states):
        yield next(states)
        raise KeyboardInterrupt

    small_random_network.append(interrupt)
    assert transfer() == 130
    assert load_image("out.png").shape == (1, 3, 36, 48)
    said = capsys.readouterr().err
    assert "interrupted after 0 of 2 steps; the best image so far is out.png\n" in said


def test_an_enlarged_picture_is_said_aloud_and_need_not_be(folder, capsys):
    assert transfer("--size", "80") == 0
    assert "photo.jpg is enlarged from 64 x 48 pixels" in capsys.readouterr().out
    assert transfer("--size", "original") == 0
    said = capsys.readouterr().out
    assert "photo.jpg is enlarged" not in said and "painting.png is enlarged" in said
    assert load_image("out.png").shape == (1, 3, 48, 64)
    assert json.loads(read_metadata("out.png")["Comment"])["size"] == 64


@pytest.mark.parametrize(
    ("content", "style", "code", "words"),
    [
        ("gone.jpg", "painting.png", 1, "gone.jpg does not exist"),
        ("photo.jpg", "text.jpg", 1, "text.jpg is"),
        ("dots.png", "painting.png", 1, "dots.png has 3 x 1 pixels; network tiny needs"),
        ("cut.jpg", "painting.png", 1, "cut.jpg"),
        (".", "painting.png", 1, "is a folder"),
        ("a\0b.jpg", "painting.png", 2, "NUL"),
        ("photo.jpg", "photo.jpg", 2, "same picture"),
        ("-photo.jpg", "painting.png", 2, "./-photo.jpg"),
    ],
)
def test_images_are_refused_before_the_work(
    folder, capsys, monkeypatch, content, style, code, words
):
    monkeypatch.setattr(coarse_to_fine, "transfer_batch", None)
    assert run("transfer", content, style, "-o", "out.png", *QUICK) == code
    assert words in complaint(capsys) and not Path("out.png").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("-o photo.jpg/out.png", 1, "photo.jpg"),
        ("-o folder.png", 1, "folder.png is a folder"),
        ("-o out.gif", 2, "must end in"),
        ("-o nul\0.png", 2, "NUL"),
        ("-o ./photo.jpg", 2, "name another file"),
        ("--checkpoint ./out.png", 2, "name another file"),
        ("-o a.jpg --bits 16", 2, "8 bits"),
        ("-o a.webp --bits 16", 2, "8 bits"),
        ("-o a.jpg --keep-alpha", 2, "no transparency"),
        ("--keep-alpha", 2, "photo.jpg has no transparency"),
        ("--init painting.png", 2, "init has 48 x 48 pixels, and content 48 x 36"),
        ("--init text.jpg", 1, "text.jpg is"),
        ("-o painting.png --init painting.png", 2, "name another file"),
        ("--init shot-step0050.png -o shot.png --save-every 7", 2, "--save-every would replace"),
        ("--learning-rate 0.1", 2, "is Adam's"),
        ("--size 40", 2, "40 x 30 pixels at --size 40"),
        ("--network text.jpg", 1, "text.jpg cannot be read"),
        ("--content-layer conv5_4", 1, "no layer conv5_4"),
        ("--content-layers conv3_1,conv5_4", 1, "no layer conv5_4"),
    ],
)
def test_options_are_refused_first(folder, capsys, monkeypatch, options, code, words):
    monkeypatch.setattr(coarse_to_fine, "transfer_batch", None)
    before = Path("photo.jpg").read_bytes()
    Path("shot-step0050.png").write_bytes(Path("painting.png").read_bytes())
    assert transfer(*options.split(" ")) == code
    assert words in complaint(capsys)
    assert not Path("out.png").exists() and Path("photo.jpg").read_bytes() == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder, capsys):
    (folder / "locked").mkdir(mode=0o500)
    assert transfer("-o", "locked/out.png") == 1
    assert "locked" in complaint(capsys)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--size", ["0", "-1", "1.5", "big", "", "٣٠٠", "1_000"]),
        ("--steps", ["-1", "many", "²"]),
        ("--seed", ["-1", "1e3", str(2**64), "9" * 5000]),
        ("--alpha-beta", ["-1", "nan", "inf", "a", "1e31", "١"]),
        ("--content-layer", ["conv9_9", "", "conv4_2=0"]),
        ("--style-layers", ["", "conv1_1=0", "conv1_1=a", "relu1_1", "conv1_1=1=1"]),
        ("--network", ["vgg20", "random:x", "random:٣", "gone.pth", ".", "/proc/self/mem"]),
        ("--device", ["tpu", "cuda:99", "cpu:3", "cuda:٠"]),
        ("--init", ["middle", "gone.png", "."]),
        ("--pooling", ["sum", ""]),
        ("--optimizer", ["sgd", "Adam", ""]),
        ("--learning-rate", ["0", "-1", "11", "a"]),
        ("--save-every", ["0", "-5", "1.5", "a"]),
        ("--colour", ["red"]),
    ],
)
def test_wrong_options_are_named(folder, capsys, option, values):
    for value in values:
        assert transfer(f"{option}={value}") == 2
        assert option in (said := complaint(capsys)) and "Errno" not in said
    assert not Path("out.png").exists()


def test_the_ends_of_a_range_belong_to_it(folder):
    for name in ("alpha_beta", "seed", "levels", "tv_weight"):
        most = OPTIONS[name].most
        assert OPTIONS[name].read(f"{most:.12g}") == most
    assert transfer("--alpha-beta", "1e30", "--seed", str(OPTIONS["seed"].most)) == 0


def test_settings_agree_with_the_method():
    described = calls.as_transfer(Settings(), torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    plain = synthesis.Transfer(described.content, described.style)
    names = ("strength", "alpha_beta", "content_weights", "layer_weights", "init", "seed")
    for name in (*names, "tv_weight", "style_loss", "objective"):
        assert getattr(described, name) == getattr(plain, name)
    for door in (synthesis.transfer, synthesis.transfer_batch):
        parameters = inspect.signature(door).parameters
        assert parameters["steps"].default == Settings().steps
        assert name_of(parameters["parametrisation"].default) == Settings().parametrisation
    for door in (synthesis.transfer, synthesis.transfer_batch):
        optimiser = inspect.signature(door).parameters["optimiser"].default
        assert optimisation.optimiser_of(optimiser) == calls.how(Settings())["optimiser"]
    assert OPTIONS["init"].choices == description.STARTS
    assert OPTIONS["style_loss"].choices == tuple(TERMS)
    assert OPTIONS["objective"].choices == description.OBJECTIVES
    assert OPTIONS["convention"].choices == tuple(CONVENTIONS)
    assert OPTIONS["optimiser"].choices == tuple(optimisation.OPTIMISERS)
    assert RATE == adam.RATE


def test_every_setting_is_a_flag_with_one_default(folder, monkeypatch):
    made = []
    original = calls.as_transfer
    monkeypatch.setattr(calls, "as_transfer", lambda s, *i: made.append(s) or original(s, *i))
    assert transfer() == 0
    assert made == [Settings(network="random", size=48, steps=2)]
    texts = {"style_layers": "conv1_1=0.5", "content_layers": "conv3_2", "init": "noise"}
    texts |= {"strength": "0.25", "parametrisation": "pixels", "optimiser": "adam"}
    texts |= {
        "style_loss": "covariance",
        "average": "0.9",
        "pooling": "max",
        "colours": "match",
        "objective": "authors",
        "convention": "caffe",
    }
    for name in set(OPTIONS) - {"network", "size", "steps", "levels"}:
        more = ("--optimizer", "adam") if name in ("learning_rate", "average") else ()
        assert transfer(f"--{name.replace('_', '-')}", texts.get(name, "3"), *more) == 0
        default, changed = Settings().as_dict()[name], made[-1].as_dict()[name]
        assert changed != default


def record_of(path: str) -> dict:
    return json.loads(read_metadata(path)["Comment"])


def test_both_spellings_and_one_content_layer_as_before(folder):
    assert transfer("--optimizer", "adam", "--content-layer", "conv3_1") == 0
    british = ("--optimiser", "adam", "--content-layers", "conv3_1=2")
    assert transfer("-o", "b.png", *british) == 0
    assert torch.equal(load_image("out.png"), load_image("b.png"))
    assert record_of("out.png")["content_layers"] == {"conv3_1": 1.0}


def test_a_start_of_ones_own_is_in_the_record(folder):
    (folder / "inits").mkdir()
    save_image(torch.rand(1, 3, 48, 64), "inits/mine.webp")
    assert transfer("--init", "./inits/mine.webp", "--steps", "0") == 0
    assert (load_image("out.png") - load_image("inits/mine.webp", 48)).abs().max() < 0.003
    record = record_of("out.png")
    digest = hashlib.sha256(Path("inits/mine.webp").read_bytes()).hexdigest()
    assert record["start"] == {"file": "mine.webp", "sha256": digest}
    assert record["init"] == "mine.webp"
    assert transfer() == 0 and "start" not in record_of("out.png")


def test_pooling_is_the_networks_own_unless_another_is_asked_for(folder, capsys):
    asked = ("transfer", "photo.jpg", "painting.png", "-o", "out.png", *QUICK)
    asked = (*asked, "--network=vgg19-mini", "--steps=0")
    for given, setting, used in (((), None, "max"), (("--pooling", "avg"), "avg", "avg")):
        assert run(*asked, *given) == 0
        record = record_of("out.png")
        assert (record["pooling"], record["pooling_used"]) == (setting, used)
        assert f"with {used} pooling" in capsys.readouterr().out


def test_alpha_is_kept_if_it_is_asked_for(folder):
    alpha = torch.zeros(1, 1, 48, 64)
    alpha[..., 16:32] = 0.5
    alpha[..., 32:] = 1
    save_image(torch.rand(1, 3, 48, 64), "photo.png", alpha=alpha)
    asked = ("transfer", "photo.png", "painting.png", *QUICK, "--size", "original")
    for output in ("a.png", "a.tif", "a.webp"):
        more = ("--levels", "1", "--save-every", "1")
        assert run(*asked, "-o", output, "--keep-alpha", *more) == 0
        for path in (output, output.replace(".", "-step0001.")):
            assert (load_alpha(path) - alpha).abs().max() < 0.003
    assert record_of("a.png")["keep_alpha"] is True
    assert run(*asked, "-o", "b.png") == 0
    assert load_alpha("b.png") is None and record_of("b.png")["keep_alpha"] is False


def test_pictures_on_the_way(folder, capsys, monkeypatch, small_random_network):
    assert transfer("-o", "new/a.jpg", "--steps", "5", "--save-every", "2") == 0
    names = {"a.jpg", "a-step0002.jpg", "a-step0004.jpg"}
    assert {path.name for path in Path("new").iterdir()} == names
    assert transfer("--steps", "4") == 0
    expected = load_image("out.png")
    assert transfer("-o", "b.png", "--steps", "6", "--save-every", "4") == 0
    assert torch.equal(load_image("b-step0004.png"), expected)
    record, end = record_of("b-step0004.png"), record_of("b.png")
    assert record["steps_done"] == 4 and record["steps"] == 6
    assert record["first_loss"] == end["first_loss"] > record["best_loss"] >= end["best_loss"]
    levels = ("--size", "96", "--levels", "2", "--steps", "3", "--save-every", "2")
    assert transfer("-o", "c.png", *levels) == 0
    sizes = {p.name: Image.open(p).size for p in folder.glob("c-step*")}
    assert sizes == {"c-step0002.png": (48, 36), "c-step0004.png": (96, 72)}

    def interrupt(run, states):
        for state in states:
            yield state
            if state.step == 3:
                raise KeyboardInterrupt

    small_random_network.append(interrupt)
    assert transfer("-o", "d.png", "--steps", "6", "--save-every", "2") == 130
    assert Path("d.png").exists() and Path("d-step0002.png").exists()
    small_random_network.clear()
    capsys.readouterr()
    (folder / "e-step0002.png").mkdir()
    assert transfer("-o", "e.png", "--steps", "6", "--save-every", "2") == 0
    said = capsys.readouterr().err
    assert said.count("e-step0002.png is a folder") == 1 and "the work goes on" in said
    assert Path("e-step0004.png").exists()


@pytest.mark.parametrize(
    "error",
    [
        *(MemoryError(), RuntimeError("CUDA out of memory. Tried"), OSError(28, "No space", "x")),
        *(OSError(5, "odd"), StylelabError("two\nlines"), torch.OutOfMemoryError("out of memory")),
    ],
)
def test_failures_are_one_line(folder, capsys, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(coarse_to_fine, "transfer_batch", fail)
    assert transfer() == 1
    assert "Errno" not in complaint(capsys)


@pytest.mark.parametrize(
    ("error", "interrupted", "code", "words"),
    [
        ("", False, 0, "are in out"),
        ("cell [1]: no", False, 1, "1 of 2 notebooks failed; see out"),
        ("", True, 130, "finished before is in out"),
    ],
)
def test_figures_hands_over_its_options_and_says_how_it_went(
    capsys, monkeypatch, error, interrupted, code, words
):
    asked = {}

    def run_notebooks(names, **settings):
        asked.update(settings, names=names)
        good = runner.Outcome("02_a", Path("out/02_a.ipynb"))
        return [good, runner.Outcome("03_b", Path("out/03_b.ipynb"), 1.0, error, interrupted)]

    monkeypatch.setattr(runner, "run_notebooks", run_notebooks)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://x:1")
    given = ("--size", "128", "--seed", "0", "--jobs", "3", "--force", "--resources", "GPU=1")
    assert run("figures", "02", *given) == code
    assert asked["scheduler"] == "tcp://x:1" and asked["resources"] == {"GPU": 1}
    assert asked["names"] == ["02"] and asked["profile"] == "quick" and asked["output"] is None
    assert asked["overrides"] == {"size": 128, "seed": 0}
    assert asked["jobs"] == 3 and asked["force"] is True and asked["checkpoint"] is False
    assert words in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        *((" ", 2), ("paint", 2), ("transfer a.jpg", 2), ("verify", 2)),
        *(("figures --profile big", 2), ("figures 99", 2), ("figures 02 --init noise", 2)),
        *(("figures --jobs 0", 2), ("figures --notebooks folder.png", 1)),
        *(("figures --resources GPU", 2), ("figures 02 --resources GPU=1", 2)),
        *(("figures --scheduler local --checkpoint", 2), ("figures 02 --scheduler udp://x", 1)),
        *(("verify photo.jpg", 1), ("verify . --reference gone", 1)),
        ("verify . --network gone.pth", 2),
        ("lecture folder.png page.html", 1),
        ("lecture folder.png page.html --quality 96", 2),
        ("distil --teacher random --images folder.png --output o", 2),
        ("distil --teacher random --images . --output o --seed ٣", 2),
    ],
)
def test_commands_that_cannot_begin(folder, capsys, arguments, code):
    assert run(*arguments.split()) == code
    complaint(capsys)


@pytest.mark.parametrize("well", [True, False])
def test_verify_prints_its_table_and_says_whether_all_is_well(folder, capsys, monkeypatch, well):
    asked = []
    monkeypatch.setattr(
        "stylelab.figures.verify.verify", lambda *a, **b: asked.append((a, b)) or ("a table", well)
    )
    assert run("verify", ".", "--reference", ".", "--network", "photo.jpg") == (not well)
    assert asked == [((Path("."),), {"reference": Path("."), "network": "photo.jpg"})]
    said = capsys.readouterr()
    assert said.out == "a table\n" and len(said.err.splitlines()) == (not well)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("stylelab.figures.verify", ["verify", "."]), ("papermill", ["figures", "--output", "o"])],
)
def test_what_must_be_installed_is_said(folder, capsys, monkeypatch, module, arguments):
    monkeypatch.delitem(sys.modules, "stylelab.runs.execute", raising=False)
    monkeypatch.delattr("stylelab.runs.execute", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert run(*arguments) == 1
    assert "pip install 'stylelab[notebooks]'" in complaint(capsys)


def test_distil_hands_over_its_recipe(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "stylelab.distil.training.train_and_export", lambda *given: asked.extend(given) or 0
    )
    given = ("--teacher", "random", "--images", ".", "--output", "out", "--device", "cpu")
    assert run("distil", *given, "--steps", "7", "--learning-rate", "0.5") == 0
    *before, recipe, device = asked
    assert before == ["random", None, Path("."), Path("out")] and device == "cpu"
    assert (recipe.steps, recipe.learning_rate) == (7, 0.5)


def test_networks_lists_them_all(capsys):
    assert run("networks") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in networks.names())


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
    assert set(fetched[2:]) == {"vgg19", *gallery.names("paper")} - {"neckarfront"}
    capsys.readouterr()
    assert run("fetch", "vgg19", "nothing") == 2
    assert "'nothing'" in complaint(capsys)


def command(
    arguments: str, redirected: str = "", before: str = "", **variables: str
) -> subprocess.CompletedProcess:
    """`python -m stylelab.cli ARGUMENTS` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | variables
    line = f"{before} {sys.executable} -m stylelab.cli {arguments} {redirected}"
    return subprocess.run(
        line, shell=True, env=environment, capture_output=True, text=True, timeout=120
    )


def test_as_a_process(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('the help needs no PyTorch')")
    told = command("--help", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert told.returncode == 0, told.stderr
    for word in ("figures", "transfer", "fetch", "networks", "examples:", "exit codes:"):
        assert word in told.stdout
    assert command("--version").stdout == f"stylelab {__version__}\n"
    refused = command("transfer a.jpg b.jpg -o c.png --size 0")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="its shell redirects in another way")
def test_the_same_command_gives_the_same_bytes_even_without_standard_streams(folder):
    """In three processes, the metadata included."""
    asked = "transfer pagoda swirling_night --size 64 --steps 20 --init noise --seed 7 --bits 16 -o"
    full = "2>/dev/full" if sys.platform == "linux" else ""
    for name, redirected in (("a.png", ""), ("b.png", "<&- >&- 2>&-"), ("c.png", full)):
        assert command(f"{asked} {name}", redirected).returncode == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() == Path("c.png").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such a limit is not kept")
def test_with_too_little_memory_a_transfer_is_refused_in_one_line(folder):
    asked = "transfer pagoda swirling_night --size 9000 -o out.png"
    done = command(asked, before="ulimit -v 8000000;", OMP_NUM_THREADS="1")
    assert done.returncode == 1 and not done.stdout and done.stderr.count("\n") == 1
    assert "the largest size that fits is about" in done.stderr
