"""Training the small network: resumed against uninterrupted, forced feeding, exact readouts."""

import itertools

import pytest
import torch

from stylelab import crops, distill, networks, readouts
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
    assert next(first)[0] == 2
    first.close()
    resumed = list(distill.train(teacher, photographs, tmp_path / "parts", RECIPE, CPU))
    assert [step for step, _, _ in whole] == [2, 4] and [step for step, _, _ in resumed] == [4]
    for key, value in whole[-1][1].state_dict().items():
        assert torch.equal(value, resumed[-1][1].state_dict()[key]), key
    assert whole[-1][2] == resumed[-1][2]


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
    student = distill.build_student(recipe)
    files, held_out = crops.split(photographs)
    sample = crops.Crops(files, 32).batch(16, -1)
    before = distill.held_out_errors(distill.Lesson(student, teacher, sample), held_out)
    _, _, after = next(distill.train(teacher, photographs, tmp_path, recipe, CPU))
    assert set(after) == set(before) and len(after) == 26  # 13 layers, a readout at each
    for layer in ("conv1_2", "conv2_1", "conv2_2", "conv3_1"):
        assert after[layer] < 0.8 * before[layer]


def test_forced_layers_are_fed_the_teachers_features(tiny_network, photographs):
    """A student with the teacher's weights has no error, and one spoilt layer spoils no other."""
    teacher = tiny_network(dtype=torch.float32)
    twin = tiny_network(dtype=torch.float32)
    image = torch.rand(2, 3, 32, 32)
    lesson = distill.Lesson(twin, teacher, image)
    for layer in lesson.layers:
        lesson.get_buffer(f"{layer}_scale").fill_(1.0)
    assert max(lesson.errors(image, forced=True).values()) < 1e-10
    with torch.no_grad():
        twin.conv3_1.bias += 1.0
    forced, free = lesson.errors(image, forced=True), lesson.errors(image)
    assert [layer for layer, error in forced.items() if error > 1e-10] == ["conv3_1"]
    assert all(free[layer] > 1e-10 for layer in lesson.layers[4:])


def test_a_narrow_student_predicts_a_wide_teacher_through_taps(photographs):
    student, teacher = distill.build_student(RECIPE), networks.load("random")
    lesson = distill.Lesson(student, teacher, torch.rand(1, 3, 32, 32))
    assert lesson.taps["conv1_1"].weight.shape == (64, 16, 1, 1)
    errors = lesson.errors(torch.rand(1, 3, 32, 32), forced=True)
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
    assert network.widths == distill.STUDENT_WIDTHS and network.pooling == "avg"
    assert network.readout("conv4_2").shape[1] == 129
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
