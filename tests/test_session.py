"""A transfer in the background: the same result as in the foreground, and it obeys."""

import json
import threading
import time
from dataclasses import replace

import pytest
import torch

from stylelab import images, synthesis
from stylelab.app.reweighing import Objectives
from stylelab.app.session import Session
from stylelab.controls.styles import Style
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.hooks import HOOKS
from stylelab.errors import ImageError, NetworkError, SettingError, StylelabError
from stylelab.optimisation import optimise
from stylelab.runs import calls
from stylelab.runs.metadata import metadata, read_settings
from stylelab.runs.settings import Settings
from stylelab.vgg import STYLE_LAYERS, resize


def picture(seed, height=32, width=40):
    """A smooth random image, (1, 3, H, W)."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


@pytest.fixture
def make(tiny_network):
    """Maker of sessions on a tiny network; those still running at the end are stopped."""
    made = []

    def session(network=None, **settings):
        chosen = Settings(**{"size": 40, "steps": 10, "network": "tiny"} | settings)
        run = Session(picture(0), picture(1), chosen, network=network or tiny_network())
        made.append(run)
        return run

    yield session
    for run in made:
        run.stop()


def slowed(network, monkeypatch, seconds=0.02):
    """`network`, each evaluation of which takes a while."""
    forward = network.forward

    def slow(*args):
        time.sleep(seconds)
        return forward(*args)

    monkeypatch.setattr(network, "forward", slow)
    return network


def transfer(network, **options):
    return synthesis.transfer(network, picture(0), picture(1), progress=False, **options)


@pytest.mark.parametrize("how", [{"optimiser": "lbfgs"}, {"optimiser": "adam"}])
def test_it_is_the_transfer_of_the_same_settings_bit_by_bit(make, tiny_network, how):
    run = make(init="noise", seed=3, alpha_beta=1e-3, optimiser=how["optimiser"])
    assert run.snapshot().status == "ready" and run.snapshot().best is None
    run.start()
    end = run.wait(timeout=120)
    alone = transfer(tiny_network(), init="noise", seed=3, alpha_beta=1e-3, steps=10, **how)
    assert end.status == "finished" and end.over and end.step == 10 and end.seconds > 0
    assert torch.equal(end.best, alone.images) and run.alpha_beta == 1e-3
    totals = [sum(terms.values()) for _, terms in end.losses]
    assert totals == pytest.approx(alone.losses[:, 0].tolist())
    assert [step for step, _ in end.losses] == list(range(11))


def test_colours_and_the_scale_of_the_style_are_the_settings_too(make, tiny_network):
    run = make(colours="luminance", style_scale=1.5, alpha_beta=1e-3, steps=3)
    run.start()
    content, style = picture(0), picture(1)
    style = resize(style, round(1.5 * run.snapshot().settings.size))
    asked = {"colours": "luminance", "alpha_beta": 1e-3, "steps": 3, "progress": False}
    content = resize(content, run.snapshot().settings.size)
    alone = synthesis.transfer(tiny_network(), content, style, **asked)
    assert torch.equal(run.wait(timeout=120).best, alone.images)


def test_colours_a_start_and_content_layers_meet_adam(make, tiny_network, tmp_path):
    images.save_image(picture(2), path := tmp_path / "start.png")
    own, layers = images.load_image(path), {"conv2_2": 0.25, "conv3_1": 0.75}
    asked = {"colours": "luminance", "alpha_beta": 1e-3, "optimiser": "adam", "steps": 3}
    run = make(init=str(path), content_layers={"conv2_2": 1, "conv3_1": 3}, **asked)
    run.start()
    alone = transfer(tiny_network(), init=own, content_layers=layers, **asked)
    assert torch.equal(run.wait(timeout=120).best, alone.images)


def test_a_pause_at_a_step_and_a_change_go_on_from_the_current_image(make, tiny_network):
    """After the change it is what a new L-BFGS makes of the new objective from that image."""
    run = make(alpha_beta=1.0, steps=9)
    run.pause(step=4)
    run.start()
    halfway = run.wait(timeout=120)
    assert (halfway.status, halfway.step) == ("paused", 4)
    time.sleep(0.2)
    assert run.snapshot().step == 4
    weights = {"conv1_1": 3.0, "conv3_1": 1.0}
    run.change(alpha_beta=1e-4, style_layers=weights, content_layers={"conv2_2": 1})
    run.resume()
    end = run.wait(timeout=120)
    assert (end.status, end.step) == ("finished", 9)
    assert [(step, new.alpha_beta) for step, new in end.changes] == [(4, 1e-4)]
    network = tiny_network()
    style_layers = {"conv1_1": 0.75, "conv3_1": 0.25}
    asked = {"alpha_beta": 1e-4, "style_layers": style_layers, "content_layers": ["conv2_2"]}
    transfer = synthesis.Transfer(picture(0), picture(1), **asked)
    objective = synthesis.transfer_objective(network, [transfer])
    again = optimise(
        objective, halfway.state.image, 5, parametrisation="frequencies", progress=False
    )
    assert torch.equal(end.best, again.images)
    assert [step for step, _ in end.losses] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9]
    terms = {"content conv2_2", "style conv1_1", "style conv3_1", "out of range"}
    assert set(end.losses[-1][1]) == terms


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_after_the_end_it_proceeds_as_if_there_had_been_none(make, tiny_network, optimiser):
    asked = {"alpha_beta": 1e-3, "optimiser": optimiser}
    run = make(steps=4, **asked)
    with pytest.raises(SettingError, match="ready after 0 steps"):
        run.proceed(steps=9)
    run.start()
    first = run.wait(timeout=120)
    with pytest.raises(SettingError, match="to more steps"):
        run.proceed(steps=4)
    assert run.proceed(steps=9).steps == 9
    end = run.wait(timeout=120)
    alone = transfer(tiny_network(), steps=9, **asked)
    assert (end.status, end.step, end.changes) == ("finished", 9, ())
    assert torch.equal(end.best, alone.images) and end.seconds > first.seconds
    assert [step for step, _ in end.losses] == list(range(10))
    assert [sum(terms.values()) for _, terms in end.losses] == pytest.approx(
        alone.losses[:, 0].tolist()
    )
    run.proceed(steps=12, alpha_beta=1.0)
    changed = run.wait(timeout=120)
    assert [step for step, _ in changed.changes] == [9] and changed.step == 12
    with pytest.raises(SettingError, match="size cannot change"):
        run.proceed(steps=20, size=64)


def test_several_styles_with_regions_are_blended(make, tiny_network):
    mask = torch.zeros(1, 1, 32, 40)
    mask[..., :20] = 1
    styles = [Style(picture(1), 1.0, mask), Style(picture(2), 1.0, 1 - mask)]
    settings = Settings(size=40, steps=3, network="tiny", style_weights=(0.75, 0.25))
    run = Session(picture(0), styles, settings, network=tiny_network())
    run.start()
    end = run.wait(timeout=120)
    weighed = [replace(style, weight=w) for style, w in zip(styles, (0.75, 0.25), strict=True)]
    alone = synthesis.transfer(tiny_network(), picture(0), weighed, steps=3, progress=False)
    assert torch.equal(end.best, alone.images)


WEIGHTS = {
    "strength": {"strength": 0.9},
    "ratio": {"alpha_beta": 3e-3},
    "layers": {"style_layers": {"conv1_1": 1, "conv3_1": 3}},
    "blend": {"style_weights": (0.2, 0.8)},
    "smoothing": {"tv_weight": 0.5},
    "new layers": {"content_layers": {"conv3_2": 1, "conv4_2": 2}},
    "all": {"strength": 0.2, "style_weights": (0, 1), "style_layers": {"conv2_1": 1}},
}


@pytest.mark.parametrize("colours", ["style", "luminance", "match"])
@pytest.mark.parametrize("changes", WEIGHTS.values(), ids=WEIGHTS)
def test_a_changed_objective_is_the_one_made_anew(tiny_network, changes, colours):
    mask = torch.zeros(1, 1, 32, 40)
    mask[..., :20] = 1
    styles = [Style(picture(1), 1.0, mask), Style(picture(2))]
    settings = Settings(size=40, colours=colours, style_weights=(0.5, 0.5))
    network, changed = tiny_network(), replace(settings, **changes)
    objectives = Objectives(network, picture(0), styles)
    objectives(settings)
    objective, ratio = objectives(changed)
    balanced = synthesis.balance(network, calls.as_transfer(changed, picture(0), styles))
    anew = synthesis.transfer_objective(network, [balanced])
    assert ratio == pytest.approx(balanced.alpha_beta, rel=1e-5)
    found, wanted = (each.value_and_grad(picture(3)) for each in (objective, anew))
    assert list(found[0]) == list(wanted[0])
    for name, loss in wanted[0].items():
        torch.testing.assert_close(found[0][name], loss)
    torch.testing.assert_close(found[1], wanted[1])


@pytest.mark.parametrize("changes", [{"alpha_beta": 3.0}, {"style_layers": {"conv1_1": 2}}])
def test_the_authors_objective_keeps_its_weights_when_some_change(tiny_network, changes):
    network, settings = tiny_network(), Settings(size=40, objective="authors")
    changed = replace(settings, **changes)
    objectives = Objectives(network, picture(0), picture(1))
    objectives(settings)
    objective, ratio = objectives(changed)
    anew = calls.as_transfer(changed, picture(0), picture(1))
    assert ratio == changes.get("alpha_beta", 1.0)
    found, wanted = (
        each.value_and_grad(picture(3))
        for each in (objective, synthesis.transfer_objective(network, [anew]))
    )
    for name, loss in wanted[0].items():
        torch.testing.assert_close(found[0].get(name, torch.zeros_like(loss)), loss)
    torch.testing.assert_close(found[1], wanted[1])


def test_weights_change_without_a_look_at_the_paintings(tiny_network, monkeypatch):
    network, seen = tiny_network(), []
    objectives = Objectives(network, picture(0), picture(1))
    settings = Settings(size=40)
    objectives(settings)
    objectives(replace(settings, strength=0.6))
    convolve = network.convolve
    monkeypatch.setattr(network, "convolve", lambda *a: seen.append(a[0]) or convolve(*a))
    objectives(replace(settings, strength=0.7))
    objectives(replace(settings, style_layers={"conv1_1": 2, "conv5_1": 1}))
    assert not seen


def test_pause_resume_and_stop_while_it_runs(make, tiny_network, monkeypatch):
    network, go_on = slowed(tiny_network(), monkeypatch), threading.Event()
    run, forward = make(network, steps=10_000), network.forward
    monkeypatch.setattr(network, "forward", lambda *args: go_on.wait(60) and forward(*args))
    run.start()
    run.pause()
    go_on.set()  # neither waited for a step, which would have failed by now
    paused = run.wait(timeout=60)
    assert paused.status == "paused"
    run.pause(step=paused.step + 2)  # holds after the pause now
    run.change(steps=9_999)  # and a change ends no pause
    time.sleep(0.1)
    assert run.snapshot().status == "paused" and run.snapshot().step == paused.step
    run.resume()
    again = run.wait(timeout=60)
    assert (again.status, again.step) == ("paused", paused.step + 2)
    run.resume()
    assert run.wait(step=paused.step + 4, timeout=60).step >= paused.step + 4
    run.pause()
    run.wait(timeout=60)
    run.stop()  # also out of a pause
    end = run.wait(timeout=60)
    assert end.status == "stopped" and end.best is not None and end.step < 10_000
    run.resume()
    assert run.snapshot().status == "stopped"
    with pytest.raises(SettingError, match="is over"):
        run.change(alpha_beta=1.0)
    with pytest.raises(SettingError, match="started before"):
        run.start()


def test_fewer_steps_end_it_and_the_last_of_many_changes_holds(make, tiny_network, monkeypatch):
    run = make(slowed(tiny_network(), monkeypatch), steps=10_000)
    run.start()

    def hammer(ratio):
        for i in range(20):
            run.change(alpha_beta=ratio * (i + 1))
            run.snapshot()

    threads = [threading.Thread(target=hammer, args=(10.0**-n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.change(alpha_beta=7e-3)
    now = run.snapshot()
    run.change(steps=now.step + 3)
    end = run.wait(timeout=60)
    assert end.status == "finished" and end.settings.alpha_beta == 7e-3
    assert end.changes[-1][1].alpha_beta == 7e-3
    steps = [step for step, _ in end.losses]
    assert steps == sorted(steps) and sorted(set(steps)) == list(range(end.step + 1))


@pytest.mark.parametrize(
    ("error", "message"),
    [(MemoryError("no room"), "memory"), (ZeroDivisionError("a bug"), "a bug")],
)
def test_an_error_in_the_thread_is_kept_and_raised_by_wait(make, tiny_network, error, message):
    """Memory that runs out is said as everywhere else: by the hook of the one loop."""
    network = tiny_network()
    network.hooks = HOOKS
    convolve, calls = network.convolve, []

    def broken(layer, x):
        calls.append(layer)
        if calls.count("conv1_1") == 9:
            raise error
        return convolve(layer, x)

    network.convolve = broken
    run = make(network)
    run.start()
    with pytest.raises((StylelabError, ZeroDivisionError), match=message):
        run.wait(timeout=60)
    now = run.snapshot()
    assert now.status == "failed" and now.over
    assert now.step >= 1 and now.best is not None  # the picture so far is not lost


def test_it_ends_when_no_step_lowers_the_loss(make, tiny_network):
    network = tiny_network()
    convolve, calls = network.convolve, []

    def not_a_number_later(layer, x):
        calls.append(layer)
        return convolve(layer, x) * (float("nan") if calls.count("conv1_1") > 6 else 1)

    network.convolve = not_a_number_later
    run = make(network, steps=5000)
    run.start()
    end = run.wait(timeout=120)
    assert end.status == "finished" and end.step < 200 and end.best.isfinite().all()


def test_a_checkpoint_gives_back_the_losses_of_an_earlier_session(make, tiny_network, tmp_path):
    ends = []
    for steps in (4, 7):
        network = tiny_network()
        network.hooks = (Checkpoint(tmp_path / "kept.safetensors", seconds=0),)
        run = make(network, steps=steps)
        run.start()
        ends.append(run.wait(timeout=60))
    first, second = ends
    assert [step for step, _ in second.losses] == list(range(8))
    assert second.losses[:5] == first.losses and second.seconds > first.seconds


def test_a_missing_network_layer_or_level_is_refused(make):
    run = Session(picture(0), picture(1), Settings(network="no-such-network", size=40))
    run.start()
    with pytest.raises(NetworkError, match="there is no network 'no-such-network'"):
        run.wait(timeout=60)
    deep = make(content_layers={"conv5_4": 1})
    deep.start()
    with pytest.raises(NetworkError, match="has no layer conv5_4"):
        deep.wait(timeout=60)
    run = make()
    with pytest.raises(NetworkError, match="has no layer conv5_4"):
        run.change(content_layers={"conv5_4": 1})
    with pytest.raises(SettingError, match="size cannot change"):
        run.change(size=64)
    with pytest.raises(SettingError, match="levels must be 1"):
        make(levels=2)
    assert run.snapshot().settings.content_layers == {"conv4_2": 1.0}


def test_equal_weights_are_the_papers_and_zero_leaves_a_layer_out():
    assert Settings().layer_weights == dict.fromkeys(STYLE_LAYERS, 0.2)
    some = Settings(style_layers={"conv2_1": 1, "conv1_1": 3, "conv5_1": 0})
    assert some.layer_weights == {"conv1_1": 0.75, "conv2_1": 0.25}
    assert some.layers == ("conv4_2", "conv1_1", "conv2_1")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be a whole number from 1"),
        ({"steps": True}, "steps must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"alpha_beta": float("nan")}, "alpha_beta must be a number"),
        ({"alpha_beta": 10**400}, "alpha_beta must be a number"),
        ({"content_layers": {"conv9_9": 1}}, "content_layers must be layers"),
        ({"style_layers": {}}, "style_layers must be layers"),
        ({"style_layers": {"conv1_1": 0}}, "one of them above 0"),
        ({"style_layers": ["conv1_1"]}, "style_layers must be layers"),
        ({"style_layers": {"conv1_1": -1.0}}, "style_layers must be layers"),
        ({"content_layers": "conv4_2"}, "content_layers must be layers"),
        ({"init": "zeros"}, "init must be one of content, style, noise, or a file"),
        ({"pooling": "sum"}, "pooling must be one of avg, max"),
        ({"optimiser": "sgd"}, "optimiser must be one of lbfgs, adam"),
        ({"learning_rate": 0.1}, "learning_rate is Adam's"),
        ({"optimiser": "adam", "learning_rate": 0}, "learning_rate must be a number"),
        ({"network": ""}, "network must be a name"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(SettingError, match=message):
        Settings(**wrong)


def test_settings_survive_json_and_nothing_else_passes():
    settings = Settings(size=99, alpha_beta=3e-3, style_layers={"conv3_1": 2.5}, init="noise")
    assert Settings.from_json(settings.to_json()) == settings
    for text in ("", "[]", '{"sizes": 3}', "[" * 100_000, '{"size": "3"}'):
        with pytest.raises(SettingError, match="settings must be|size must be"):
            Settings.from_json(text)


def test_settings_survive_in_a_picture(tmp_path, tiny_network):
    settings, path = Settings(alpha_beta=2e-3, network="tiny"), tmp_path / "out.png"
    sources = {role: {"file": f"{role}.jpg", "sha256": "0" * 64} for role in ("content", "style")}
    texts = metadata(settings, sources, tiny_network(), steps_done=7)
    images.save_image(picture(0), path, metadata=texts)
    found, record = read_settings(path)
    assert found == settings
    assert record["steps_done"] == 7 and record["style"]["file"] == "style.jpg"
    images.save_image(picture(0), path)
    with pytest.raises(ImageError, match=r"out\.png holds no settings"):
        read_settings(path)
    wrong = texts["Comment"].replace('"init": "content"', '"init": "zeros"')
    images.save_image(picture(0), path, metadata={"Comment": wrong})
    with pytest.raises(SettingError, match="init must be one of"):
        read_settings(path)
    record = json.loads(texts["Comment"])
    del record["content_layers"]  # as pictures had it before
    record |= {"content_layer": "conv3_1", "pooling": "avg"}
    images.save_image(picture(0), path, metadata={"Comment": json.dumps(record)})
    older = replace(settings, content_layers={"conv3_1": 1.0}, pooling="avg")
    assert read_settings(path)[0] == older
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="cannot be read as a PNG"):
        read_settings(tmp_path / "no.png")


def test_settings_of_a_picture_by_the_command_line_are_read(tmp_path):
    from stylelab.cli.main import main

    for seed, name in enumerate(("a.png", "b.png")):
        images.save_image(picture(seed, 64, 80), tmp_path / name)
    out = tmp_path / "out.png"
    arguments = ["transfer", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(out)]
    assert main([*arguments, "--size", "64", "--steps", "1", "--alpha-beta", "0.5"]) == 0
    settings, record = read_settings(out)
    assert settings == Settings(size=64, steps=1, alpha_beta=0.5)
    assert record["content"]["file"] == "a.png"
