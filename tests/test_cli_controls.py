"""`stylelab transfer` with several styles, masks, colours, scales, strokes and saved settings."""

import json
from pathlib import Path

import pytest
import torch

from stylelab import networks
from stylelab.cli.main import main
from stylelab.description import Transfer
from stylelab.engine import coarse_to_fine
from stylelab.files.local import sha256_of
from stylelab.images import load_image, read_metadata, save_image
from stylelab.runs.presets import PRESETS
from stylelab.runs.settings import Settings


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_network):
    """A working directory with images and masks, and `--network random`, which is a tiny one."""
    monkeypatch.chdir(tmp_path)
    maker = torch.Generator().manual_seed(0)
    for name, size in (("photo.png", (48, 64)), ("a.png", (40, 40)), ("b.png", (40, 60))):
        save_image(torch.rand(1, 3, *size, generator=maker), name)
    left = (torch.arange(64) < 30).float().expand(1, 3, 48, 64)
    save_image(left, "left.png")
    save_image(1 - left, "right.png")
    save_image(left[..., :48], "square.png")
    save_image(0 * left, "black.png")
    save_image(left * torch.tensor([1.0, 0.0, 0.0])[:, None, None], "red.png")
    load, hooks = networks.load, []

    def load_tiny(name, **settings):
        if name not in ("random", "tiny"):
            return load(name, **settings)
        network = tiny_network(dtype=torch.float32)
        network.hooks, network.pooling = hooks, settings.get("pooling") or network.pooling
        return network

    monkeypatch.setattr(networks, "load", load_tiny)
    return tmp_path


QUICK = ("--network", "random", "--size", "48", "--steps", "2", "--device", "cpu")


def run(command: str, *more: str) -> int:
    """The exit code of `stylelab transfer COMMAND -o out.png`, made quick."""
    try:
        return main(["transfer", *command.split(), "-o", "out.png", *more])
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def made(monkeypatch):
    """The transfers that commands ask for."""
    found, original = [], coarse_to_fine.transfer_batch

    def keep(network, transfers, **settings):
        found.extend(transfers)
        return original(network, transfers, **settings)

    monkeypatch.setattr(coarse_to_fine, "transfer_batch", keep)
    return found


def record(path="out.png") -> dict:
    return json.loads(read_metadata(path)["Comment"])


def test_several_styles_with_weights_make_one_picture(folder, made, capsys):
    assert run("photo.png a.png b.png --style-weights 2 1 --colors match", *QUICK) == 0
    (one,) = made
    assert isinstance(one, Transfer) and one.colours == "match"
    assert [style.weight for style in one.styles] == [2.0, 1.0]
    assert [tuple(style.image.shape[2:]) for style in one.styles] == [(48, 48), (32, 48)]
    assert record()["style_weights"] == [2, 1] and record()["colours"] == "match"
    assert record()["style"] == [
        {"file": name, "sha256": sha256_of(Path(name))} for name in ("a.png", "b.png")
    ]
    assert "in the style of a.png (48 x 48) and b.png (48 x 32)" in capsys.readouterr().out


def test_masks_give_each_style_its_region_and_one_style_all_of_them(folder, made):
    masks = "--content-mask left.png right.png --style-mask square.png square.png"
    assert run(f"photo.png a.png b.png {masks}", *QUICK) == 2  # b.png is no square
    assert run(f"photo.png a.png a.png {masks}", *QUICK) == 0
    left, square = load_image("left.png")[:, :1], load_image("square.png")[:, :1]
    first, second = made[-1].styles
    torch.testing.assert_close(first.content_mask, left)
    torch.testing.assert_close(second.content_mask, 1 - left)
    torch.testing.assert_close(second.style_mask, square)
    assert [each["file"] for each in record()["content_mask"]] == ["left.png", "right.png"]
    assert len(record()["style_mask"]) == 2 and len(record()["style"]) == 2
    assert run("photo.png a.png --content-mask left.png right.png", *QUICK) == 0
    first, second = made[-1].styles
    assert first.image is second.image and second.style_mask is None
    assert run("photo.png a.png --content-mask left.png", *QUICK) == 0
    assert len(made[-1].styles) == 1
    photo, out = load_image("photo.png", 48), load_image("out.png")
    assert torch.equal(out[..., 24:], (photo[..., 24:] * 255).round() / 255)


def test_the_scale_of_a_style_and_the_strokes_of_another(folder, made, capsys):
    assert run("photo.png a.png --style-scale 1.5 --strokes b.png", *QUICK) == 0
    assert made[-1].content.shape[2:] == (36, 48) and made[-1].styles[0].image.shape[3] == 72
    assert not torch.equal(made[-1].styles[0].image, load_image("a.png", 72))
    assert record()["style_scale"] == 1.5
    assert record()["strokes"] == [{"file": "b.png", "sha256": sha256_of(Path("b.png"))}]
    assert run("photo.png a.png --style-scale 0.5", *QUICK) == 2
    assert "a.png has 24 x 24 pixels at --size 48 and --style-scale 0.5" in capsys.readouterr().err


def test_a_saved_picture_gives_all_settings_and_its_images(folder, made):
    settings = "--style-weights 2 1 --colours luminance --style-scale 1.5 --tv-weight 0.5"
    masks = "--content-mask left.png right.png --strokes b.png --style-layers conv1_1=2,conv3_1"
    assert run(f"photo.png a.png b.png {settings} {masks}", *QUICK) == 0
    bytes_before = Path("out.png").read_bytes()
    Path("out.png").rename("first.png")
    assert run("--settings first.png --network random --device cpu") == 0
    assert Path("out.png").read_bytes() == bytes_before
    assert run("--settings first.png --colours style --strength 0.9 --device cpu") == 0
    second = record()
    assert second["colours"] == "style" and second["strength"] == 0.9
    assert second["style_weights"] == [2, 1] and second["content"] == record("first.png")["content"]
    asked = "b.png a.png --settings first.png --content-mask square.png --style-weights 1"
    assert run(asked, "--device", "cpu") == 2  # b.png is no square
    assert run("photo.png a.png --settings first.png --content-mask left.png --device cpu") == 2
    assert (
        run("photo.png a.png --settings first.png --content-mask left.png --style-weights 3") == 0
    )
    assert record()["content_mask"][0]["file"] == "left.png" and "style_mask" not in record()


def test_images_of_a_saved_picture_are_checked_and_looked_for(folder, capsys, monkeypatch):
    assert run("pagoda a.png", *QUICK) == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    again = ["transfer", "--settings", "../out.png", "-o", "again.png", "--device", "cpu"]
    assert main(again) == 0  # from the gallery, and from beside the picture
    assert Path("again.png").read_bytes() == Path("../out.png").read_bytes()
    Path("../a.png").write_bytes(Path("../b.png").read_bytes())
    assert main(again) == 1
    assert "a.png is another file (its SHA-256 differs)" in capsys.readouterr().err
    Path("../a.png").unlink()
    assert main(again) == 1
    assert "was made from a.png, and it is not here; give it" in capsys.readouterr().err
    assert main([*again[:1], "../photo.png", "../b.png", *again[1:]]) == 0
    assert record("again.png")["style"]["file"] == "b.png"


def test_the_start_of_a_saved_picture_is_found_like_its_images(folder, capsys, monkeypatch):
    """Also if its name has no dot, or is that of another way to start."""
    save_image(torch.rand(1, 3, 96, 128), "start.png")
    Path("start.png").rename("noise")
    assert run("photo.png a.png --init ./noise", *QUICK) == 0
    made, digest = Path("out.png").read_bytes(), sha256_of(Path("noise"))
    assert record()["init"] == "noise"
    assert record()["start"] == {"file": "noise", "sha256": digest}
    Path("out.png").rename("first.png")
    assert run("--settings first.png --device cpu") == 0  # from the current folder
    assert Path("out.png").read_bytes() == made
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    asked = ["transfer", "--settings", "../first.png", "-o", "again.png", "--device", "cpu"]
    assert main(asked) == 0  # from beside the picture
    assert Path("again.png").read_bytes() == made
    assert main([*asked, "--init", "../a.png"]) == 2  # a.png is a square
    assert main([*asked, "--init", "../photo.png"]) == 0
    assert record("again.png")["start"]["file"] == record("again.png")["init"] == "photo.png"
    capsys.readouterr()
    Path("../noise").write_bytes(Path("../photo.png").read_bytes())
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "noise is another file (its SHA-256 differs); give it with --init" in said
    Path("../noise").unlink()
    assert main(asked) == 1
    assert "made from noise, and it is not here; give it with --init" in capsys.readouterr().err
    assert main([*asked, "--init", "content"]) == 0
    assert record("again.png")["init"] == "content" and "start" not in record("again.png")
    nameless = {name: value for name, value in record("../first.png").items() if name != "start"}
    nameless["init"] = "../photo.png"
    save_image(torch.rand(1, 3, 8, 8), "../no.png", metadata={"Comment": json.dumps(nameless)})
    assert main([*asked[:2], "../no.png", *asked[3:]]) == 1
    assert "an unnamed image, and it is not here; give it with --init" in capsys.readouterr().err


ALL = (
    "photo.png a.png b.png --content-mask left.png right.png --style-weights 2 1 --strokes b.png "
    "--colours luminance --style-scale 1.5 --init photo.png --pooling max --levels 2 --size 96 "
    "--content-layers conv3_1=1,conv2_1=0.5 --optimizer adam --learning-rate 0.02 --steps 4"
)


def test_all_options_work_together(folder, made, capsys):
    """Saved settings and a checkpoint of them give the same picture again, byte by byte."""
    quick = ("--network", "random", "--device", "cpu")
    assert run(ALL, *quick, "--save-every", "3") == 0
    last, picture = made[-1], Path("out.png").read_bytes()
    assert last.content_weights == pytest.approx({"conv2_1": 1 / 3, "conv3_1": 2 / 3})
    assert last.init.shape == last.content.shape and len(last.styles) == 2
    assert {path.name for path in folder.glob("out-*")} == {"out-step0003.png", "out-step0006.png"}
    assert "4 + 4 steps of adam from photo.png, coarse to fine" in capsys.readouterr().out
    assert record()["start"]["file"] == "photo.png" and record()["learning_rate"] == 0.02
    Path("out.png").rename("first.png")
    assert run("--settings first.png --device cpu") == 0
    assert Path("out.png").read_bytes() == picture
    Path("out.png").rename("again.png")

    def interrupt(run, states):
        for state in states:
            if state.step == 2 and run.start.shape[3] == 96 and run.label == "transfer":
                raise KeyboardInterrupt
            yield state

    checkpoint = ("--checkpoint", "kept.safetensors", *quick)
    hooks = networks.load("random").hooks
    hooks.append(interrupt)
    assert run(ALL, *checkpoint) == 130
    hooks.remove(interrupt)
    assert Path("kept.safetensors").exists()
    assert run(ALL, *checkpoint) == 0
    assert Path("out.png").read_bytes() == picture and not list(folder.glob("kept*"))


def test_what_belongs_to_another_optimiser_or_dial_is_left_behind(folder):
    assert run("photo.png a.png --optimizer adam --learning-rate 0.1 --alpha-beta 1", *QUICK) == 0
    Path("out.png").rename("first.png")
    assert run("--settings first.png --optimizer lbfgs --strength 0.3 --device cpu") == 0
    assert (record()["optimiser"], record()["learning_rate"]) == ("lbfgs", None)
    assert (record()["alpha_beta"], record()["strength"]) == (None, 0.3)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("photo.png", 2, "required: STYLE"),
        ("photo.png a.png --style-weights 1 2", 2, "of which there is 1; got 2"),
        ("photo.png a.png b.png --style-weights 0 0", 2, "style_weights must be numbers"),
        ("photo.png a.png --style-weights -1", 2, "--style-weights"),
        ("photo.png a.png --colours red", 2, "--colours"),
        ("photo.png a.png --style-scale 0", 2, "--style-scale"),
        ("photo.png a.png --content-mask gone.png", 1, "gone.png does not exist"),
        ("photo.png a.png --content-mask black.png", 2, "black.png is black everywhere"),
        ("photo.png a.png --content-mask red.png", 1, "red.png has colours"),
        ("photo.png a.png --content-mask square.png", 2, "square.png has 48 x 48 pixels, and its"),
        ("photo.png a.png --style-mask left.png", 2, ", 0, and --style-mask, 1, differ"),
        ("photo.png a.png b.png --content-mask left.png", 2, "STYLEs, 2, and of masks, 1, differ"),
        ("photo.png a.png --content-mask left.png --style-mask a.png b.png", 2, ", 1, and --st"),
        ("photo.png a.png --strokes gone.png", 1, "gone.png does not exist"),
        ("--settings gone.png", 1, "gone.png"),
        ("--settings photo.png", 1, "photo.png holds no settings"),
    ],
)
def test_what_is_wrong_is_one_line_before_the_work(
    folder, capsys, monkeypatch, command, code, words
):
    monkeypatch.setattr(coarse_to_fine, "transfer_batch", None)
    more = () if "--settings" in command else QUICK
    assert run(command, *more) == code
    said = capsys.readouterr().err
    assert words in said and said.startswith("stylelab: ") and said.count("\n") == 1, said
    assert not Path("out.png").exists()


def test_other_weights_of_a_network_are_not_taken_for_those_of_the_picture(folder, capsys):
    assert run("photo.png a.png", *QUICK) == 0
    changed = {**record(), "network_sha256": "1" * 64}
    save_image(load_image("out.png"), "other.png", metadata={"Comment": json.dumps(changed)})
    assert run("--settings other.png --device cpu") == 2
    assert "made with other weights" in capsys.readouterr().err
    assert run("--settings other.png --network random --device cpu") == 0


def test_a_preset_is_settings_over_which_others_hold(folder, made):
    assert run("photo.png a.png --preset portrait --strength 0.7", *QUICK) == 0
    assert (made[0].colours, made[0].strength) == ("luminance", 0.7)
    assert made[0].content_weights == pytest.approx({"conv4_2": 2 / 3, "conv3_2": 1 / 3})
    kept = record()
    assert kept["content_layers"] == {"conv3_2": 0.5, "conv4_2": 1.0}
    assert (kept["colours"], kept["strength"]) == ("luminance", 0.7) and "preset" not in kept
    Path("out.png").rename("first.png")
    assert run("--settings first.png --preset keep-colours --colors match", *QUICK) == 0
    assert (made[1].colours, made[1].strength) == ("match", 0.7)
    assert run("photo.png a.png --alpha-beta 0.1", *QUICK) == 0
    Path("out.png").rename("ratio.png")
    assert run("--settings ratio.png --preset portrait", *QUICK) == 0
    assert (made[3].alpha_beta, made[3].strength) != (0.1, 0.4) and record()["alpha_beta"] is None


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_differs_from_the_defaults_in_all_that_it_names(name):
    chosen, plain = Settings(**PRESETS[name]), Settings()
    assert PRESETS[name] and all(getattr(chosen, k) != getattr(plain, k) for k in PRESETS[name])


def test_an_unknown_preset_is_refused(folder, capsys):
    assert run("photo.png a.png --preset landscape", *QUICK) == 2
    said = capsys.readouterr().err
    assert "landscape" in said and "portrait" in said and said.count("\n") == 1


def test_a_mean_of_adams_pictures_and_what_of_a_style_is_matched(folder, capsys):
    """The record has both, and --settings takes them; L-BFGS in its place drops the mean."""
    command = "photo.png a.png --style-loss wasserstein --optimizer adam"
    assert run(command, *QUICK, "--steps", "5") == 0
    best = load_image("out.png")
    assert run(f"{command} --average 0.9", *QUICK, "--steps", "5") == 0
    mean = load_image("out.png")
    assert not torch.equal(best, mean) and record()["style_loss"] == "wasserstein"
    Path("out.png").rename("kept.png")
    assert run("--settings kept.png --device cpu") == 0
    assert torch.equal(load_image("out.png"), mean)
    assert run("--settings kept.png --optimizer lbfgs --device cpu") == 0
    assert record()["average"] == 0
    assert run("photo.png a.png --average 0.9", *QUICK) == 2
    assert "average is Adam's" in capsys.readouterr().err
