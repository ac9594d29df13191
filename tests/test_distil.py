"""Training the small network: resumed against uninterrupted, teacher forcing, exact readouts."""

import importlib.util
import itertools
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from stylelab import networks
from stylelab.distil import crops, matching, readouts, training, visited
from stylelab.distil.recipe import Recipe
from stylelab.errors import NetworkError, SettingError
from stylelab.images import save_image
from stylelab.losses import gram_matrix
from stylelab.vgg import STYLE_LAYERS

ROOT = Path(__file__).parents[1]
SMALL = {"forced_steps": 2, "batch_size": 4, "crop_size": 32, "checkpoint_every": 2}
RECIPE = Recipe(steps=4, **SMALL)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Forty smooth random pictures."""
    folder = tmp_path_factory.mktemp("photographs")
    for i in range(40):
        small = torch.rand(1, 3, 6, 6, generator=torch.manual_seed(i))
        big = torch.nn.functional.interpolate(small, 66, mode="bicubic").clamp(0, 1)
        save_image(big, folder / f"{i:02}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Readouts are fitted and errors measured on photographs of the size that they have here."""
    monkeypatch.setattr(readouts, "SIZE", 64)


@pytest.fixture
def teacher(tiny_network):
    return tiny_network(readouts=True, dtype=torch.float32)


def curve(folder):
    """What a run recorded at its checkpoints."""
    return json.loads((folder / "curve.json").read_text(encoding="utf-8"))


def test_held_out_images_and_their_copies_are_not_trained_on(photographs):
    train, held_out = crops.split(photographs)
    assert [file.name for file in held_out] == ["00.png", "20.png"]
    assert len(train) == 38
    (photographs / "20b.png").write_bytes((photographs / "20.png").read_bytes())
    train, held_out = crops.split(photographs)
    (photographs / "20b.png").unlink()
    assert "20b.png" not in [file.name for file in train + held_out]


def test_crops_depend_on_their_seed_alone(photographs):
    source = crops.Crops(crops.split(photographs)[0], 32)
    batch = source.batch(8, 7)
    torch.rand(3)
    assert torch.equal(batch, source.batch(8, 7))
    assert not torch.equal(batch, source.batch(8, 8))
    assert batch.shape == (8, 3, 32, 32) and batch.min() >= 0 and batch.max() <= 1
    neighbours = (batch[..., 1:] - batch[..., :-1]).abs().mean((1, 2, 3))
    assert neighbours[2:].max() < neighbours[0]  # the first is blended with noise
    with pytest.raises(SettingError, match="100 pixels"):
        crops.Crops(crops.split(photographs)[0], 100)


def test_a_resumed_run_is_the_uninterrupted_one(teacher, photographs, tmp_path, monkeypatch):
    whole = training.train(teacher, photographs, tmp_path / "whole", RECIPE)
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(training.tqdm, "write", None)  # it ends at the first checkpoint
        training.train(teacher, photographs, tmp_path / "parts", RECIPE)
    assert [point["step"] for point in curve(tmp_path / "parts")] == [2]
    resumed = training.train(teacher, photographs, tmp_path / "parts", RECIPE)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")
    assert [point["step"] for point in curve(tmp_path / "parts")] == [2, 4]


def test_training_visits_what_optimisation_passes_through(tiny_network, tmp_path, monkeypatch):
    """Two visits of 16 optimisations; a run that ends between them goes on with the same images."""
    monkeypatch.setattr(visited, "KEPT", (1, 3, 5))
    folder = tmp_path / "photographs"
    for i in range(40):
        small = torch.rand(1, 3, 6, 6, generator=torch.manual_seed(i))
        big = torch.nn.functional.interpolate(small, 120, mode="bicubic").clamp(0, 1)
        save_image(big, folder / f"{i:02}.png")
    teacher = tiny_network(readouts=True, dtype=torch.float32)
    recipe = Recipe(steps=4, **SMALL | {"forced_steps": 0, "visit_every": 2})
    training.train(teacher, folder, tmp_path / "whole", recipe)
    found = [
        safetensors.torch.load_file(tmp_path / "whole" / "visited" / f"{step:07}.safetensors")
        for step in (1, 3)
    ]
    for each in found:
        images = each["images"]
        assert images.shape == (2 * 8 * len(visited.KEPT), 3, 48, 48)
        assert images.dtype == torch.uint8 and images.float().std() > 10
    assert not torch.equal(found[0]["images"], found[1]["images"])
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(training.tqdm, "write", None)  # it ends at the first checkpoint
        training.train(teacher, folder, tmp_path / "parts", recipe)
    kept = tmp_path / "parts" / "visited"
    (kept / "0000002.safetensors").write_bytes(b"of another run, which visited at other steps")
    (kept / "0000001.safetensors").rename(kept / "away")
    with pytest.raises(SettingError, match=r"0000001\.safetensors is missing"):
        training.train(teacher, folder, tmp_path / "parts", recipe)
    (kept / "away").rename(kept / "0000001.safetensors")
    training.train(teacher, folder, tmp_path / "parts", recipe)
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")
    every_step = Recipe(steps=2, **SMALL | {"forced_steps": 0, "visit_every": 1})
    training.train(teacher, folder, tmp_path / "every", every_step)
    assert len(list((tmp_path / "every" / "visited").iterdir())) == 2
    with pytest.raises(SettingError, match="side of 130 pixels"):
        crops.Crops(crops.split(folder)[0], 32).plain(1, 0, 130)


def test_half_of_a_batch_are_visited_images(photographs):
    source = crops.Crops(crops.split(photographs)[0], 32)
    black = torch.zeros(3, 40, 40, dtype=torch.uint8)
    batch = source.batch(6, 7, [black])
    assert (batch[3:] == 0).all() and (batch[:3].amax((1, 2, 3)) > 0).all()


def test_an_earlier_student_is_inherited_by_a_wider_one(tiny_network):
    """It computes what the earlier one did, in its first filters."""
    earlier, wider = tiny_network(), tiny_network()
    for layer, before in zip(wider.layers, ("input", *wider.layers), strict=False):
        maps = 3 if before == "input" else 9
        wider.widths[layer] = 9
        setattr(wider, layer, torch.nn.Conv2d(maps, 9, 3).double())
    matching.inherit(wider, earlier)
    image = torch.rand(1, 3, 32, 32).double()
    for layer, features in earlier(image, earlier.layers).items():
        torch.testing.assert_close(wider(image, [layer])[layer][:, :6], features)


def test_a_checkpoint_of_another_run_is_refused(teacher, photographs, tmp_path):
    training.train(teacher, photographs, tmp_path, Recipe(steps=1, **SMALL))
    teacher.pooling = "max"
    with pytest.raises(SettingError, match="other steps, teacher"):
        training.train(teacher, photographs, tmp_path, RECIPE)


def test_training_lowers_the_error_on_held_out_images(teacher, photographs, tmp_path):
    longer = {"steps": 60, "forced_steps": 40, "batch_size": 8, "checkpoint_every": 60}
    files, held_out = crops.split(photographs)
    sample = crops.Crops(files, 32).batch(64, -1)
    untrained = matching.FeatureMatching(matching.build_student("avg"), teacher, sample)
    before = training.held_out_errors(untrained, held_out)
    training.train(teacher, photographs, tmp_path, Recipe(**SMALL | longer))
    (after,) = curve(tmp_path)
    assert after.pop("step") == 60
    assert set(after) == set(before) and len(after) == 39  # 13 layers; readout and Gram at each
    for layer in ("conv1_2", "conv2_1", "conv2_2", "conv3_1"):
        assert after[layer] < 0.85 * before[layer]


def test_forced_layers_are_fed_the_teachers_features(tiny_network):
    """A student with the teacher's weights has no error, and one spoilt layer spoils no other."""
    teacher, twin = (tiny_network(dtype=torch.float32) for _ in range(2))
    for network in (teacher, twin):
        for layer in network.layers:
            network.get_submodule(layer).weight.abs_().mul_(0.3)  # no filter is silent
    image = torch.rand(2, 3, 32, 32)
    match = matching.FeatureMatching(twin, teacher, image)
    for target in match.targets.values():
        target.scale.fill_(1.0)
    assert max(match.errors(image, teacher_forcing=True).values()) < 1e-10
    with torch.no_grad():
        twin.conv3_1.bias += 1.0
    forced, free = match.errors(image, teacher_forcing=True), match.errors(image)
    assert [layer for layer, error in forced.items() if error > 1e-10] == ["conv3_1"]
    assert all(free[layer] > 1e-10 for layer in match.layers[4:])


def measure_tool():
    spec = importlib.util.spec_from_file_location("measure_tool", ROOT / "tools" / "measure.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def silence(network, layer, filters):
    """Filters that never respond."""
    with torch.no_grad():
        network.get_submodule(layer).weight[filters] = 0.0
        network.get_submodule(layer).bias[filters] = -1.0


def test_silent_filters_of_the_teacher_are_no_targets(teacher):
    silence(teacher, "conv2_1", [1, 4])
    image = torch.rand(2, 3, 32, 32)
    target = matching.FeatureMatching(matching.build_student("avg"), teacher, image).targets[
        "conv2_1"
    ]
    features = teacher(image, ["conv2_1"])["conv2_1"][:, [0, 2, 3, 5]]
    deviation = features.transpose(0, 1).flatten(1).std(1)
    found = target.of(teacher(image, ["conv2_1"])["conv2_1"])
    torch.testing.assert_close(found, features / deviation[:, None, None])


def test_errors_in_the_readouts_space_are_shares_of_the_variances_there(tiny_network):
    """Computed in that space position by position, as the definition says."""
    teacher, student = tiny_network(readouts=True), tiny_network()
    sample, image = torch.rand(5, 3, 32, 32).double(), torch.rand(1, 3, 32, 32).double()
    with torch.no_grad():
        student.conv2_1.weight *= 1.3
    match = matching.FeatureMatching(student, teacher, sample).eval()
    scale, readout = match.targets["conv2_1"].scale, teacher.readout("conv2_1")
    assert len(scale) == 6  # none is silent

    def read_out(network, picture, factor):
        rows = network(picture, ["conv2_1"])["conv2_1"].transpose(0, 1).flatten(1)
        rows = rows * factor[:, None]
        return readout @ torch.cat([rows, torch.ones_like(rows[:1])])

    def gram(rows):
        return rows @ rows.T / rows.shape[1]

    one = torch.ones(6)
    known = torch.stack([gram(read_out(teacher, picture[None], one)) for picture in sample])
    gram_variance = (known - known.mean(0)).square().sum((1, 2)).mean()
    variance = read_out(teacher, sample, one).var(1, correction=0).sum()
    found, wanted = read_out(student, image, 1 / scale), read_out(teacher, image, one)
    expected = {
        "conv2_1 readout": (found - wanted).square().sum(0).mean() / variance,
        "conv2_1 gram": (gram(found) - gram(wanted)).square().sum() / gram_variance,
    }
    errors = match.errors(image)
    for name, error in expected.items():
        torch.testing.assert_close(errors[name], error)


def test_free_filters_that_fell_silent_are_revived(teacher):
    student, image = matching.build_student("avg"), torch.rand(4, 3, 32, 32)
    silence(student, "conv2_2", slice(None))
    match = matching.FeatureMatching(student, teacher, image)
    first, then = (len(match.targets[layer].active) for layer in ("conv2_2", "conv3_1"))
    before = student.conv2_2.weight[:first].clone()
    match.revive_silent_filters(image, 0)
    assert 0 < first < 80
    assert torch.equal(student.conv2_2.weight[:first], before)
    assert not student.conv3_1.weight[:then, first:].any()  # targets ignore them at first
    found = student(image, ["conv2_2"])["conv2_2"][:, first:]
    assert (found.mean((0, 2, 3)) > 0.1).all()
    kept = [p.clone() for p in student.parameters()]
    match.revive_silent_filters(image, 1)
    assert all(torch.equal(a, b) for a, b in zip(kept, student.parameters(), strict=True))


def test_a_silent_filter_with_a_target_still_learns(teacher):
    student = matching.build_student("avg")
    silence(student, "conv1_1", [0])
    image = torch.rand(2, 3, 32, 32)
    match = matching.FeatureMatching(student, teacher, image)
    match.errors(image)["conv1_1"].backward()
    assert student.conv1_1.weight.grad[0].abs().max() > 0
    match.eval()  # what is measured on held-out images is what the network gives
    assert not student(image, ["conv1_1"])["conv1_1"][:, 0].any()
    assert match.errors(image)["conv1_1"] > 0.1


def test_a_narrow_student_predicts_a_wide_teacher_through_taps():
    student, teacher = matching.build_student("avg"), networks.load("random")
    match = matching.FeatureMatching(student, teacher, torch.rand(1, 3, 32, 32))
    active = len(match.targets["conv1_1"].active)
    assert active > 16 and match.taps["conv1_1"].weight.shape == (active, 16, 1, 1)
    errors = match.errors(torch.rand(1, 3, 32, 32), teacher_forcing=True)
    assert len(errors) == 13 and all(torch.isfinite(error) for error in errors.values())


def test_fitted_readouts_measure_in_the_teachers_space(teacher, tiny_network, photographs):
    """A student that knows the teacher's features up to a linear map measures its distances."""
    student = tiny_network(dtype=torch.float32)
    with torch.no_grad():
        student.conv5_1.weight *= 3.0  # the last layer: nothing after it needs to know
        student.conv5_1.bias *= 3.0
    files, held_out = crops.split(photographs)
    fitted = readouts.fit(student, teacher, files[:8])
    errors = readouts.relative_errors(student, fitted, teacher, held_out)
    assert max(errors.values()) < 1e-6
    readouts.attach(student, fitted, teacher.units)
    assert student.units == teacher.units
    image = torch.rand(1, 3, 32, 32)
    for layer in STYLE_LAYERS:
        norms = [
            gram_matrix(net(image, [layer])[layer], net.readout(layer)).norm()
            for net in (student, teacher)
        ]
        torch.testing.assert_close(norms[0], norms[1], rtol=1e-3, atol=0)
    aligned = measure_tool().align(student, teacher, files[:8])
    errors = readouts.relative_errors(student, aligned, teacher, held_out)
    assert max(errors.values()) < 1e-5  # the stored factor, turned back
    agreement = readouts.style_agreement(student, teacher, files[:6], pairs=20)
    for layer in STYLE_LAYERS:
        assert agreement[layer]["correlation"] > 0.9999
        assert agreement[layer]["ratio"] == pytest.approx(1, abs=1e-3)


def test_relative_errors_are_shares_of_the_teachers_variance(teacher, tiny_network, photographs):
    """Against the numbers of all images at once; a readout of zeros predicts the constant 0."""
    files = crops.split(photographs)[1]
    zero = {"conv1_1": torch.zeros(7, 7).double()}
    student = tiny_network(dtype=torch.float32)
    student.widths = {"conv1_1": 6}
    error = readouts.relative_errors(student, zero, teacher, files)["conv1_1"]
    pictures = [training.load_image(file, readouts.SIZE) for file in files]
    rows = torch.cat([teacher(p, ["conv1_1"])["conv1_1"][0].flatten(1) for p in pictures], 1)
    wanted = teacher.readout("conv1_1") @ torch.cat([rows, torch.ones_like(rows[:1])])
    expected = wanted.square().mean(1).sum() / wanted.var(1, correction=0).sum()
    assert error == pytest.approx(float(expected), rel=1e-4)


def test_a_run_makes_a_network_that_loads_and_can_be_trained_further(
    tiny_network, photographs, tmp_path, capsys, monkeypatch
):
    torch.save(tiny_network(dtype=torch.float32).state_dict(), tmp_path / "teacher.pth")

    def run(output, **settings):
        recipe = Recipe(steps=2, **SMALL | {"checkpoint_every": 1} | settings)
        given = str(tmp_path / "teacher.pth"), None, photographs, tmp_path / output
        assert training.train_and_export(*given, recipe, "cpu") == 0
        return networks.load(str(tmp_path / output / "network.safetensors"))

    network, points = run("out"), curve(tmp_path / "out")
    printed = capsys.readouterr()
    assert "conv5_1: relative error" in printed.out
    assert "step 2: held-out error conv1_1 " in printed.out + printed.err
    assert network.widths == matching.STUDENT_WIDTHS and network.pooling == "avg"
    assert network.readout("conv4_2").shape[1] == network.widths["conv4_2"] + 1
    assert [point["step"] for point in points] == [1, 2] and points[1]["conv5_1"] > 0
    assert run("out").sha256 == network.sha256  # finished: exported again from the checkpoint

    start = {"start_from": str(tmp_path / "out" / "network.safetensors"), "learning_rate": 1e-9}
    further = run("further", **start, second_learning_rate=1e-9, average_decay=0.0)
    shipped = (tmp_path / "further" / "network.safetensors").read_bytes()
    assert b"network.safetensors" in shipped and str(tmp_path).encode() not in shipped
    kept = network.conv1_1.weight != 0
    torch.testing.assert_close(further.conv1_1.weight[kept], network.conv1_1.weight[kept])
    monkeypatch.setattr(matching, "STUDENT_WIDTHS", dict.fromkeys(network.widths, 8))
    with pytest.raises(SettingError, match="network is no earlier student: .* wider"):
        run("other", **start)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"teacher": "vgg99"}, NetworkError, "vgg99"),
        ({"images": "nowhere"}, SettingError, "nowhere holds 0 images"),
        ({"device": "tpu"}, SettingError, "device"),
    ],
)
def test_wrong_settings_are_named(photographs, tmp_path, wrong, error, message):
    given = {"teacher": "random", "pooling": None, "images": photographs, "device": "cpu"}
    with pytest.raises(error, match=message):
        training.train_and_export(**given | wrong, output=tmp_path, recipe=RECIPE)


def test_the_schedule_has_two_parts():
    recipe = Recipe(steps=1000, forced_steps=400)
    rates = [training.schedule(step, recipe) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 50) and max(rates[:400]) == pytest.approx(1, rel=0.05)
    assert rates[399] < 1e-3 and rates[999] < 1e-3
    second = recipe.second_learning_rate / recipe.learning_rate
    assert max(rates[400:]) == pytest.approx(second, rel=0.05)
    assert all(b <= a for a, b in itertools.pairwise(rates[450:]))
