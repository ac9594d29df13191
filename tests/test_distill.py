"""Training the small network: resumed against uninterrupted, forced feeding, exact readouts."""

import itertools
import json

import pytest
import torch

from stylelab import networks
from stylelab.distil import crops, lesson, readouts
from stylelab.distil import training as distill
from stylelab.errors import SettingError
from stylelab.images import save_image
from stylelab.losses import gram_matrix
from stylelab.vgg import STYLE_LAYERS

CPU = torch.device("cpu")
RECIPE = distill.Recipe(steps=4, forced=2, batch=4, size=32, every=2)


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


@pytest.fixture
def teacher(tiny_network):
    return tiny_network(readouts=True, dtype=torch.float32)


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
    assert torch.equal(source.batch(4, 7), source.batch(4, 7))
    assert not torch.equal(source.batch(4, 7), source.batch(4, 8))
    assert source.batch(4, 7).shape == (4, 3, 32, 32)
    assert source.batch(4, 7).min() >= 0 and source.batch(4, 7).max() <= 1


def test_a_resumed_run_is_the_uninterrupted_one(teacher, photographs, tmp_path):
    whole = list(distill.train(teacher, photographs, tmp_path / "whole", RECIPE, CPU))
    first = distill.train(teacher, photographs, tmp_path / "parts", RECIPE, CPU)
    assert [point["step"] for point in next(first)[1]] == [2]
    first.close()
    resumed = list(distill.train(teacher, photographs, tmp_path / "parts", RECIPE, CPU))
    assert len(whole) == 2 and len(resumed) == 1
    (student, curve), (other, its_curve) = whole[-1], resumed[-1]
    for key, value in student.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    assert curve == its_curve and [point["step"] for point in curve] == [2, 4]


def test_a_checkpoint_of_another_recipe_is_refused(teacher, photographs, tmp_path):
    next(distill.train(teacher, photographs, tmp_path, RECIPE, CPU))
    other = distill.Recipe(steps=6, forced=2, batch=4, size=32, every=2)
    with pytest.raises(SettingError, match="use another --output"):
        next(distill.train(teacher, photographs, tmp_path, other, CPU))


def test_a_checkpoint_of_another_teacher_or_other_images_is_refused(
    teacher, tiny_network, photographs, tmp_path
):
    next(distill.train(teacher, photographs, tmp_path, RECIPE, CPU))
    other = tiny_network(readouts=True, dtype=torch.float32)
    other.pooling = "max"
    with pytest.raises(SettingError, match="began with other teacher; use another"):
        next(distill.train(other, photographs, tmp_path, RECIPE, CPU))


def test_training_lowers_the_error_on_held_out_images(teacher, photographs, tmp_path):
    recipe = distill.Recipe(steps=60, forced=40, batch=8, size=32, every=60)
    student = lesson.build_student()
    files, held_out = crops.split(photographs)
    sample = crops.Crops(files, 32).batch(64, -1)
    before = distill.held_out_errors(lesson.Lesson(student, teacher, sample), held_out)
    _, (after,) = next(distill.train(teacher, photographs, tmp_path, recipe, CPU))
    assert after.pop("step") == 60
    assert set(after) == set(before) and len(after) == 39  # 13 layers; readout and Gram at each
    for layer in ("conv1_2", "conv2_1", "conv2_2", "conv3_1"):
        assert after[layer] < 0.8 * before[layer]


def test_forced_layers_are_fed_the_teachers_features(tiny_network, photographs):
    """A student with the teacher's weights has no error, and one spoilt layer spoils no other."""
    teacher = tiny_network(dtype=torch.float32)
    twin = tiny_network(dtype=torch.float32)
    for network in (teacher, twin):
        for layer in network.layers:
            network.get_submodule(layer).weight.abs_().mul_(0.3)  # no filter is silent
    image = torch.rand(2, 3, 32, 32)
    task = lesson.Lesson(twin, teacher, image)
    for layer in task.layers:
        task.get_buffer(f"{layer}_scale").fill_(1.0)
    assert max(task.errors(image, forced=True).values()) < 1e-10
    with torch.no_grad():
        twin.conv3_1.bias += 1.0
    forced, free = task.errors(image, forced=True), task.errors(image)
    assert [layer for layer, error in forced.items() if error > 1e-10] == ["conv3_1"]
    assert all(free[layer] > 1e-10 for layer in task.layers[4:])


def silence(network, layer, filters):
    """Filters that never respond."""
    with torch.no_grad():
        network.get_submodule(layer).weight[filters] = 0.0
        network.get_submodule(layer).bias[filters] = -1.0


def test_silent_filters_of_the_teacher_are_no_targets(tiny_network):
    teacher = tiny_network(readouts=True, dtype=torch.float32)
    silence(teacher, "conv2_1", [1, 4])
    image = torch.rand(2, 3, 32, 32)
    task = lesson.Lesson(lesson.build_student(), teacher, image)
    assert task.get_buffer("conv2_1_active").tolist() == [0, 2, 3, 5]
    assert task.get_buffer("conv2_1_metric").shape == (4, 4)


def test_gram_errors_are_shares_of_the_teachers_spread(tiny_network):
    """Computed in the readout's space position by position, as the definition says."""
    teacher, student = tiny_network(readouts=True), tiny_network()
    sample, image = torch.rand(5, 3, 32, 32).double(), torch.rand(1, 3, 32, 32).double()
    with torch.no_grad():
        student.conv2_1.weight *= 1.3
    task = lesson.Lesson(student, teacher, sample)
    scale, readout = task.get_buffer("conv2_1_scale"), teacher.readout("conv2_1")
    assert len(scale) == 6  # none is silent

    def gram(network, picture, factor):
        rows = network(picture, ["conv2_1"])["conv2_1"][0].flatten(1) * factor[:, None]
        rows = readout @ torch.cat([rows, torch.ones_like(rows[:1])])
        return rows @ rows.T / rows.shape[1]

    known = torch.stack([gram(teacher, one[None], torch.ones(6)) for one in sample])
    spread = (known - known.mean(0)).square().sum((1, 2)).mean()
    miss = gram(student, image, 1 / scale) - gram(teacher, image, torch.ones(6))
    expected = miss.square().sum() / spread
    torch.testing.assert_close(task.errors(image)["conv2_1 gram"], expected)


def test_free_filters_that_fell_silent_are_revived(tiny_network):
    teacher = tiny_network(dtype=torch.float32)
    student, image = lesson.build_student(), torch.rand(4, 3, 32, 32)
    silence(student, "conv2_2", slice(None))
    task = lesson.Lesson(student, teacher, image)
    first, then = (len(task.get_buffer(f"{layer}_active")) for layer in ("conv2_2", "conv3_1"))
    before = student.conv2_2.weight[:first].clone()
    assert first > 0 and task.revive(image, 0) >= 80 - first
    assert torch.equal(student.conv2_2.weight[:first], before)
    assert not student.conv3_1.weight[:then, first:].any()  # targets ignore them at first
    found = student(image, ["conv2_2"])["conv2_2"][:, first:]
    assert (found.mean((0, 2, 3)) > 0.1).all()
    kept = [p.clone() for p in student.parameters()]
    assert task.revive(image, 1) == 0
    assert all(torch.equal(a, b) for a, b in zip(kept, student.parameters(), strict=True))


def test_a_silent_filter_with_a_target_still_learns(tiny_network):
    teacher, student = tiny_network(dtype=torch.float32), lesson.build_student()
    silence(student, "conv1_1", [0])
    image = torch.rand(2, 3, 32, 32)
    task = lesson.Lesson(student, teacher, image)
    task.errors(image)["conv1_1"].backward()
    assert student.conv1_1.weight.grad[0].abs().max() > 0
    task.eval()  # what is measured on held-out images is what the network gives
    assert not student(image, ["conv1_1"])["conv1_1"][:, 0].any()
    assert task.errors(image)["conv1_1"] > 0.1


def test_a_student_begins_with_an_earlier_one(tiny_network):
    """Its filters are the earlier one's, each by a factor of its own."""
    teacher, other = tiny_network(dtype=torch.float32), lesson.build_student(1)
    for layer in other.layers:
        other.get_submodule(layer).weight.data.abs_().mul_(0.2)  # no filter is silent
    student, image = lesson.build_student(), torch.rand(2, 3, 32, 32)
    task = lesson.Lesson(student, teacher, image)
    task.adopt(other, image)
    with torch.no_grad():
        mine, theirs = (network(image, task.layers) for network in (student, other))
    for layer in task.layers:
        active = task.get_buffer(f"{layer}_active")
        a, b = mine[layer][:, : len(active)], theirs[layer][:, active]
        factor = (a * b).sum((0, 2, 3)) / b.square().sum((0, 2, 3)).clamp_min(1e-12)
        torch.testing.assert_close(a, b * factor[:, None, None], rtol=1e-3, atol=1e-4)
        assert not (factor < 0).any() and factor.any()
    error = task.eval().errors(image)
    assert error["conv1_1"] <= lesson.Lesson(other, teacher, image).eval().errors(image)["conv1_1"]


def test_a_narrow_student_predicts_a_wide_teacher_through_taps(photographs):
    student, teacher = lesson.build_student(), networks.load("random")
    task = lesson.Lesson(student, teacher, torch.rand(1, 3, 32, 32))
    active = len(task.get_buffer("conv1_1_active"))
    assert active > 16 and task.taps["conv1_1"].weight.shape == (active, 16, 1, 1)
    errors = task.errors(torch.rand(1, 3, 32, 32), forced=True)
    assert len(errors) == 13 and all(torch.isfinite(error) for error in errors.values())


def test_fitted_readouts_measure_in_the_teachers_space(tiny_network, photographs):
    """A student that knows the teacher's features up to a linear map measures its distances."""
    teacher = tiny_network(readouts=True, dtype=torch.float32)
    student = tiny_network(dtype=torch.float32)
    with torch.no_grad():
        student.conv5_1.weight *= 3.0  # the last layer: nothing after it needs to know
        student.conv5_1.bias *= 3.0
    files, held_out = crops.split(photographs)
    fitted = readouts.fit(student, teacher, files[:8], 64)
    errors = readouts.relative_errors(student, fitted, teacher, held_out, 64)
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
    aligned = readouts.align(student, teacher, files[:8], 64)
    errors = readouts.relative_errors(student, aligned, teacher, held_out, 64)
    assert max(errors.values()) < 1e-5  # the stored factor, turned back
    agreement = readouts.style_agreement(student, teacher, files[:6], pairs=20, size=64)
    for layer in STYLE_LAYERS:
        assert agreement[layer]["correlation"] > 0.9999
        assert agreement[layer]["ratio"] == pytest.approx(1, abs=1e-3)


def test_the_command_makes_a_network_that_loads(tiny_network, photographs, tmp_path, capsys):
    weights = tiny_network(dtype=torch.float32).state_dict()
    torch.save(weights, tmp_path / "teacher.pth")
    options = {"teacher": tmp_path / "teacher.pth", "images": photographs, "device": "cpu"}
    options |= {"output": tmp_path / "out", "steps": 2, "every": 1, "batch": 4, "size": 32}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    assert distill.main(arguments) == 0
    printed = capsys.readouterr()
    assert "conv5_1: relative error" in printed.out
    assert "step 2: held-out error conv1_1 " in printed.out + printed.err
    network = networks.load(str(tmp_path / "out" / "network.safetensors"))
    assert network.widths == lesson.STUDENT_WIDTHS and network.pooling == "avg"
    assert network.readout("conv4_2").shape[1] == network.widths["conv4_2"] + 1
    curve = json.loads((tmp_path / "out" / "curve.json").read_text(encoding="utf-8"))
    assert [point["step"] for point in curve] == [1, 2] and curve[1]["conv5_1"] > 0
    distill.main(arguments)  # done already: exports again from the checkpoint
    assert networks.load(str(tmp_path / "out" / "network.safetensors")).sha256 == network.sha256


@pytest.mark.parametrize(
    ("name", "value", "code", "message"),
    [
        ("teacher", "vgg99", 1, "no network 'vgg99'"),
        ("images", "nowhere", 2, "nowhere holds 0 images"),
        ("device", "tpu", 2, "device must be"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(
    photographs, tmp_path, capsys, name, value, code, message
):
    options = {"teacher": "random", "images": photographs, "device": "cpu", "output": tmp_path}
    options[name] = value
    assert distill.main([f"--{key}={each}" for key, each in options.items()]) == code
    said = capsys.readouterr().err
    assert said.startswith("stylelab: ") and message in said and said.count("\n") == 1


def test_the_schedule_has_two_parts():
    recipe = distill.Recipe(steps=1000, forced=400)
    rates = [distill.schedule(step, recipe) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 50) and max(rates[:400]) == pytest.approx(1, rel=0.05)
    assert rates[399] < 1e-3 and rates[999] < 1e-3
    assert max(rates[400:]) == pytest.approx(recipe.second_rate / recipe.rate, rel=0.05)
    assert all(b <= a for a, b in itertools.pairwise(rates[450:]))
