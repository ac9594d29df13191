"""The benchmarks: the textbook minimises the same, and results are kept and told as measured."""

import json
import os
import sys

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks import (
    contenders,
    large,
    measure,
    neural_style_program,
    plot,
    quality,
    reached,
    report,
    store,
    textbook,
)
from stylelab import networks
from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.images import save_image
from stylelab.synthesis import transfer_objective
from stylelab.vgg import LAYERS

CPU = torch.device("cpu")


def a_pair(size=48, dtype=torch.float32):
    content, style = torch.rand(2, 1, 3, size, size + 7, generator=torch.manual_seed(3)).to(dtype)
    return content, style


@pytest.mark.parametrize("name", ["random", "vgg19-mini"])
def test_the_textbook_has_the_same_loss_and_gradient(name):
    network, (content, style) = networks.load(name), a_pair()
    image = (content + 0.1 * style).requires_grad_()
    loss = textbook.TextbookLoss(network, content, style, contenders.ALPHA_BETA)(image)
    loss.backward()
    terms, gradient = contenders.objective(network, content, style).value_and_grad(image)
    torch.testing.assert_close(loss, sum(terms.values())[0], rtol=1e-4, atol=0)
    error = (image.grad - gradient).abs().max()
    assert error < 1e-3 * gradient.abs().max()


@pytest.mark.parametrize("readouts", [False, True])
def test_the_textbook_has_the_same_loss_to_rounding(tiny_network, readouts):
    network, (content, style) = tiny_network(readouts=readouts), a_pair(dtype=torch.float64)
    image = (content + 0.1 * style).requires_grad_()
    loss = textbook.TextbookLoss(network, content, style, contenders.ALPHA_BETA)(image)
    loss.backward()
    terms, gradient = contenders.objective(network, content, style).value_and_grad(image)
    torch.testing.assert_close(loss, sum(terms.values())[0], rtol=1e-11, atol=0)
    torch.testing.assert_close(image.grad, gradient, rtol=1e-9, atol=1e-15)


def test_the_textbook_evaluates_and_keeps_everything(tiny_network):
    whole = textbook.TextbookVGG(networks.load("random"))
    found = whole(torch.rand(1, 3, 32, 32))
    assert [name for name in found if name.startswith("conv")] == list(LAYERS)
    assert found["pool5"].shape == (1, 512, 1, 1)
    assert all(p.is_contiguous() and not p.requires_grad for p in whole.parameters())
    cut = textbook.TextbookVGG(tiny_network())(torch.rand(1, 3, 32, 32).double())
    assert list(cut)[-2:] == ["pool4", "conv5_1"]


def test_single_iterations_are_those_of_the_loop(tiny_network):
    network, (content, style) = tiny_network(), a_pair(dtype=torch.float64)
    loss = textbook.TextbookLoss(network, content, style, contenders.ALPHA_BETA)
    records = textbook.Textbook(loss, content).run(40)
    singly = textbook.Textbook(loss, content, per_call=1)
    for _ in range(20):
        singly.step()
    assert len(records) == 40 and len(singly.records) == 20
    times, losses = zip(*records, strict=True)
    assert list(times) == sorted(times) and losses[-1] < losses[0] / 2
    torch.testing.assert_close([one[1] for one in singly.records], list(losses[:20]))


@pytest.mark.parametrize("name", contenders.NAMES)
def test_histories_are_full_before_a_step_is_timed(tiny_network, name):
    network, (content, style) = tiny_network(dtype=torch.float32), a_pair()
    contender = contenders.with_full_history(name, network, content, style)
    contender.step()
    if name == "textbook":
        assert contender.stored == textbook.HISTORY
        loss = contender.records[-1][1]
    else:
        assert contender.state.step == 30 and not contender.state.refused.any()
        assert (contender.state.snapshot()["pairs"].square().sum(3) > 0).all()  # every s and y
        loss = float(contender.state.loss)
    terms, _ = contenders.objective(network, content, style).value_and_grad(content)
    start = float(sum(terms.values()))
    assert loss < 2 * start < 100  # of the transfer, not of the quadratic


def test_neural_style_gets_the_same_network():
    network, image = networks.load("random"), torch.rand(1, 3, 16, 16)
    state = neural_style_program.state_dict(network)
    assert list(state)[::2][:3] == ["features.0.weight", "features.2.weight", "features.5.weight"]
    assert len(state) == 32 and state["features.34.bias"].shape == (512,)
    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    given = 256 * image.flip(1) - mean
    found = torch.conv2d(given, state["features.0.weight"], state["features.0.bias"])
    wanted = torch.conv2d(network.input(image), network.conv1_1.weight, network.conv1_1.bias)
    assert (found - wanted).abs().max() < 0.03 * wanted.abs().max()  # 256 in place of 255


def test_results_are_kept_and_not_measured_twice(tmp_path):
    path, here = tmp_path / "cpu.json", store.machine(CPU)
    kept = store.Store(path, here)
    assert kept.measure("a", lambda: {"seconds": 1})
    again = store.Store(path, here)
    assert not again.measure("a", lambda: {"seconds": 2})
    assert again.data["measurements"] == {"a": {"seconds": 1}}
    assert again.measure("a", lambda: {"seconds": 3}, force=True)
    with pytest.raises(KeyboardInterrupt):
        again.measure("b", interrupt)
    assert json.loads(path.read_text())["measurements"] == {"a": {"seconds": 3}}
    with pytest.raises(SettingError, match=r"cpu\.json was measured elsewhere \(torch '2"):
        store.Store(path, here | {"torch": "0"})
    path.write_text("[]")
    with pytest.raises(SettingError, match="not a file of results"):
        store.Store(path, here)


def interrupt():
    raise KeyboardInterrupt


def results(**measurements):
    return {"machine": store.machine(CPU) | {"neural-style": None}, "measurements": measurements}


def test_the_table_tells_medians_ratios_and_goals():
    def a_step(theirs, ours, pixels):
        return {"pixels": pixels, "seconds": {"textbook": theirs, "stylelab": ours}}

    measured = {
        "step/random/256": a_step([4, 100, 3], [3, 2, 0.5], [2, 2]),
        "step/random/512": a_step([1, 1], [0.8, 0.8], [4, 4]),
        "step/random/2048": a_step([16, 16], [16, 16], [16, 16]),
        "memory/random/1024": {"bytes": {"textbook": 10**10, "stylelab": 4 * 10**9}},
        "to-loss/vgg19-mini/256": {
            "steps": 500,
            "most": 1000,
            "runs": [
                {
                    "textbook": {"seconds": 100, "records": [[100, 2.0]]},
                    "plain": {"seconds": None, "steps": 500},
                    "coarse to fine": {"seconds": 20, "steps": 60},
                }
            ],
        },
        "finish/vgg19-mini/256": {"levels": 3, "steps": 60, "seconds": [12, 11, 90], "loss": 3.0},
    }
    lines = report.table(results(**measured)).splitlines()

    def row(beginning):
        (found,) = [line for line in lines if line.startswith(f"| {beginning}")]
        return [cell.strip() for cell in found.strip("|").split(" | ")][1:]

    assert row("a step, VGG-19, 256") == ["0.50 (2 s, textbook 4 s)", "yes"]
    assert row("a step, VGG-19, 512") == ["0.80 (0.8 s, textbook 1 s)", "**no**"]
    assert row("time per pixel, VGG-19") == ["1.25 (textbook 1.00)", "**no**"]
    assert row("time per pixel, vgg19-mini") == ["not measured", "–"]
    assert row("peak memory, VGG-19") == ["0.40 (4.00 GB, textbook 10.00 GB)", "yes"]
    told, verdict = row("to textbook's loss, vgg19-mini, 256")
    assert "plain: not in 1000 steps; coarse to fine 0.20 (20 s, 60 steps)" in told
    assert verdict == "yes"
    told, verdict = row("a finished transfer, vgg19-mini, 256")
    assert told.startswith("12 s") and "loss 1.50 of textbook's" in told and verdict == "**no**"
    assert row("500 steps") == ["not measured", "unconfirmed: no GPU here"]
    assert row("a step of neural-style")[0].endswith("is not installed here")


def test_the_program_measures_what_is_asked_for_and_draws_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    asked = "step to-loss finish memory panels --networks vgg19-mini --sizes 96 --name here"
    few = "--repeats 1 --steps 12 --coarse-steps 2 --finish-steps 2 --levels 2 --quick"
    monkeypatch.setattr(sys, "argv", ["benchmarks", *asked.split(), *few.split()])
    monkeypatch.setattr(measure, "COARSE_LEVELS", 2)
    program.main()
    found = json.loads((tmp_path / "here.json").read_text())["measurements"]
    assert sorted(found) == [
        f"{kind}/vgg19-mini/96" for kind in ("finish", "memory", "step", "to-loss")
    ]
    assert all(
        seconds > 0
        for times in found["step/vgg19-mini/96"]["seconds"].values()
        for seconds in times
    )
    assert len(found["to-loss/vgg19-mini/96"]["runs"][0]["textbook"]["records"]) == 12
    assert min(found["memory/vgg19-mini/96"]["bytes"].values()) > 0
    said = capsys.readouterr().out
    assert "memory/vgg19-mini/96 ... done" in said
    program.main()
    assert "is there already" in capsys.readouterr().out
    assert plot.save(tmp_path / "here.json").stat().st_size > 10_000


def test_the_page_on_speed_has_the_table_of_the_results(tmp_path):
    page = tmp_path / "speed.md"
    page.write_bytes(report.PAGE.read_bytes())
    report.write(page, store.RESULTS / "cpu.json")
    assert page.read_bytes() == report.PAGE.read_bytes()
    assert report.table(store.read(store.RESULTS / "cpu.json")) in page.read_text(encoding="utf-8")


def test_neural_style_is_given_weights_with_which_its_loss_is_the_same():
    """Its losses written out: means of squares, of Gram matrices over all their entries' terms."""
    network, (content, style) = networks.load("random"), a_pair(32)
    network.units |= {"conv2_1": 100, "conv4_2": 400}
    scales = neural_style_program.same_loss(network)
    state = neural_style_program.state_dict(network, scales)
    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]

    def features(image):
        x, found, index = 256 * image.flip(1) - mean * 256 / 255, {}, 0
        for layer in LAYERS[:13]:
            if layer.endswith("_1") and layer != "conv1_1":
                x, index = torch.nn.functional.avg_pool2d(x, 2), index + 1
            names = (f"features.{index}.{part}" for part in ("weight", "bias"))
            x = found[layer] = torch.conv2d(x, *(state[name] for name in names), padding=1).relu()
            index += 2
        return found

    def gram(maps):
        flat = maps[0].flatten(1)
        return flat @ flat.T / maps.numel()

    image = (content + 0.2 * style).clamp(0, 1)
    theirs, ps, ss = features(image), features(content), features(style)
    loss = 5 * (theirs["conv4_2"] - ps["conv4_2"]).square().mean()
    for layer in ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"):
        loss += 100 * (gram(theirs[layer]) - gram(ss[layer])).square().mean()
    terms, _ = transfer_objective(network, [Transfer(content, style, 1e-2)]).value_and_grad(image)
    assert float(loss) == pytest.approx(500 * float(sum(terms.values())), rel=0.03)  # 256 for 255


def test_neural_style_takes_a_whole_vgg19_alone(tiny_network):
    assert neural_style_program.takes(networks.load("random"))
    assert not neural_style_program.takes(networks.load("vgg19-mini"))
    assert not neural_style_program.takes(tiny_network())


def test_the_pictures_of_neural_style_have_the_times_of_their_files(monkeypatch, tmp_path):
    at = neural_style_program.Program(tmp_path, 8, CPU)

    def run(steps, every):
        assert (steps, every) == (40, 5)
        for step in range(every, steps, every):
            store_picture(tmp_path / f"out_{step}.png", step, 1000 + 3 * step)

    monkeypatch.setattr(at, "seconds", run)
    found = [(step, taken, float(image.mean())) for step, taken, image in at.pictures([10, 15, 30])]
    assert found == [(step, 3 * step, pytest.approx(step / 255)) for step in (10, 15, 30)]


def store_picture(path, level, written):
    save_image(torch.full((1, 3, 8, 8), level / 255), path)
    os.utime(path, (written, written))


def test_the_clock_stands_while_a_picture_is_measured(monkeypatch):
    now = iter([100, 103, 150, 152, 200])  # begun, stopped and on, stopped and on
    monkeypatch.setattr(quality.time, "perf_counter", lambda: next(now))
    watch = quality.Watch([2, 4], lambda picture: {"level": picture}, CPU)
    watch.begin()
    for step in range(1, 6):
        watch.see(step, lambda step=step: 10.0 * step)
    assert watch.steps == [2, 4] and watch.seconds == [3, 5]
    assert watch.measures == {"level": [20, 40]}


def a_run(seconds, style, edges):
    steps = list(range(10, 10 * len(seconds) + 1, 10))
    return {"steps": steps, "seconds": seconds, "measures": {"style": style, "edges": edges}}


@pytest.mark.parametrize(
    "style, edges, expected",
    [
        ([3, 1, 0.5], [0.9, 0.8, 0.7], 15),  # style 2 is half way from the first to the second
        ([2, 1, 0.5], [0.9, 0.8, 0.7], 10),  # at the first
        ([4, 3, 1], [0.9, 0.3, 0.1], None),  # edges were lost first
        ([4, 3, 1], [0.1, 0.3, 0.69], 27.5),  # edges come last: 0.5925 of 0.3 to 0.69
        ([4, 3, 2.5], [0.9, 0.9, 0.9], None),
    ],
)
def test_quality_is_reached_where_style_and_edges_are(style, edges, expected):
    """Style 2 and edges 0.6025, less the hundredth that is not seen."""
    found = reached.seconds_to(a_run([10, 20, 30], style, edges), 2, 0.6025)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_the_table_of_quality_is_of_the_best_way_and_tells_what_was_never_reached():
    theirs = a_run([20, 40], [3.0, 2.0], [0.9, 0.8])
    ours = {
        "slow": a_run([20, 40], [3.0, 2.5], [0.9, 0.8]),
        "fast": a_run([8, 16], [2.0, 1.0], [0.8, 0.7]),
        "coarse": a_run([4, 8], [2.0, 1.0], [0.7, 0.6]),
    }
    for run in (theirs, *ours.values()):
        for octave in ("finest", "second"):
            for name in ("luminance", "chroma"):
                run["measures"][f"{octave} {name}"] = [1.25, 1.5]
            for where in ("", " in calm places", " of the artwork"):
                run["measures"][f"{octave} regularity{where}"] = [0.125, 0.25]
        for whose in ("", " of the photograph", " of the artwork"):
            run["measures"][f"rim{whose}"] = [8, 9]
    one = {"network": "a", "judge": "b", "images": "embedded", "pixels": [192, 256], "goals": [20]}
    runs = {"textbook": theirs} | {f"stylelab, {name}": run for name, run in ours.items()}
    measured = {f"quality/{work}": one | {"runs": runs} for work in "xyz"}
    lines = report.table(results(**measured)).splitlines()
    (told,) = [line for line in lines if line.startswith("| to textbook's quality after 20 steps")]
    assert "a, 256 px, embedded images, judged by b: at most 0.35 of its time" in told
    assert "slow never (never to never), by style alone never" in told
    assert "fast 0.20 (0.20 to 0.20), by style alone 0.20" in told
    assert "coarse never (never to never), by style alone 0.10" in told
    assert told.endswith("textbook 40 s | yes |")
    assert "| textbook after 20 steps, a, 256 px" in "\n".join(lines)
    assert not any("neural-style" in line.split("|")[1] for line in lines if line[:1] == "|")


def test_the_program_measures_quality_and_draws_it(monkeypatch, tmp_path, capsys, tiny_network):
    judge = tmp_path / "judge.pth"
    torch.save(tiny_network(dtype=torch.float32).state_dict(), judge)
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "QUICK_CHECKPOINTS", (1, 2))
    monkeypatch.setattr(quality, "QUICK_GOALS", (2,))
    asked = ["benchmarks", "quality", "--quick", "--sizes", "64", "--name", "here", "--judge"]
    monkeypatch.setattr(sys, "argv", [*asked, str(judge)])
    program.main()
    found = json.loads((tmp_path / "here.json").read_text())["measurements"]
    works = ("storm", "swirling_night")
    assert list(found) == [f"quality/vgg19-mini/64/judge/{work}" for work in works]
    for one in found.values():
        assert list(one["runs"]) == [name for name in quality.CONTENDERS if name != "neural-style"]
        for run in one["runs"].values():
            assert run["steps"] == [1, 2] and 0 < run["seconds"][0] < run["seconds"][1]
            assert run["measures"]["edges"][1] < one["photograph"]["edges"] == pytest.approx(1)
    assert "to textbook's quality after 2 steps, vgg19-mini, 64 px" in capsys.readouterr().out
    assert plot.save(tmp_path / "here.json").stat().st_size > 10_000
    monkeypatch.setattr(sys, "argv", [*asked, "vgg19-mini", "--force"])
    with pytest.raises(SystemExit, match="vgg19-mini is optimised; the judge must be another"):
        program.main()


@pytest.mark.parametrize("asked", ["quality", "quality step --judge random", "step --networks x"])
def test_wrong_requests_are_refused(monkeypatch, asked):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *asked.split()])
    with pytest.raises(SystemExit, match="2"):
        program.main()


PARTS = [("quality", report.QUALITY), ("large", report.LARGE), ("scratch", report.SCRATCH)]


@pytest.mark.parametrize("name, part", PARTS)
def test_the_page_on_speed_has_the_tables(tmp_path, name, part):
    if not (results := store.RESULTS / f"{name}.json").exists():
        pytest.skip("not measured yet")
    page = tmp_path / "speed.md"
    page.write_bytes(report.PAGE.read_bytes())
    report.write(page, results, *part)
    assert page.read_bytes() == report.PAGE.read_bytes()


def test_large_pictures_are_measured_once_told_and_drawn(monkeypatch, tmp_path, capsys):
    cases = [("vgg19-mini", 64, way) for way in ("whole", "tiles:32", "scratch:32", "recomputed")]
    monkeypatch.setattr(large, "RESULTS", tmp_path)
    monkeypatch.setattr(large, "apart", large.measure)
    monkeypatch.setattr(large, "CASES", [*cases, ("random", 2048, "whole")])
    monkeypatch.setattr(sys, "argv", ["large"])
    there = store.Store(tmp_path / "large.json", store.machine(CPU))
    there.measure("large/random/2048/whole", lambda: {"error": "not tried"})
    large.main()
    said = capsys.readouterr().out
    found = store.read(tmp_path / "large.json")
    assert found["measurements"]["large/vgg19-mini/64/tiles:32"]["tile"] == 32
    assert "| vgg19-mini | 64 | `--tile 32` |" in said and "not tried" in said
    assert "| vgg19-mini | 64 | `--tile 32`, `--scratch` |" in said
    assert report.table(found).endswith(large.table(found["measurements"]))
    assert plot.save(tmp_path / "large.json").stat().st_size > 10_000
    large.main()
    assert "'seconds'" not in capsys.readouterr().out  # nothing was measured again


def test_a_whole_picture_that_cannot_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(large.memory, "free", lambda device: 1e9)
    assert "not tried: 39 GB" in large.apart("vgg19-mini", 8192, "whole")["error"]


def test_the_page_on_speed_has_the_sizes_that_the_estimate_gives():
    assert large.estimate() in (store.RESULTS.parents[1] / "docs/speed.md").read_text("utf-8")
