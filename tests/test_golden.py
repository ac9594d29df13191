"""tools/golden.py, on files in the same form that torchvision's layers and autograd alone make."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import vgg

FILE = Path(__file__).parents[1] / "tools" / "golden.py"
SPEC = importlib.util.spec_from_file_location("golden_tool", FILE)
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)
STYLE = (1, 6, 11, 20, 29)  # of torchvision's modules, and 22 is conv4_2
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Golden files of a network with random weights, and these in weights.pth."""
    folder = tmp_path_factory.mktemp("golden")
    torch.manual_seed(0)
    network = vgg.make_layers(vgg.cfgs["E"])[:30]
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.ReLU):
            module.inplace = False
    state = {f"features.{key}": value for key, value in network.state_dict().items()}
    torch.save(state, folder / "weights.pth")
    first = {}
    for number, at in enumerate((0, 2, 5), 1):
        first[f"conv{number}WeightValues"] = network[at].weight.flatten().tolist()
        first[f"conv{number}BiasValues"] = network[at].bias.tolist()
    (folder / "vgg19_first_layers.json").write_text(json.dumps(first))
    content, style, image = torch.rand(3, 1, 3, 16, 16)
    image.requires_grad_()

    def features(x):
        x, found = (
            (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None],
            [],
        )
        for module in network:
            found.append(x := module(x))
        return found

    def gram(x):
        return x[0].flatten(1) @ x[0].flatten(1).T / x.numel()

    ours, theirs = features(image), features(style)
    losses = {f"relu{i}": nn.functional.mse_loss(gram(ours[i]), gram(theirs[i])) for i in STYLE}
    losses["content"] = nn.functional.mse_loss(ours[22], features(content)[22])
    slopes = {
        key: torch.autograd.grad(loss, image, retain_graph=True)[0] for key, loss in losses.items()
    }
    total = sum(slopes.values()).flatten().tolist()
    values = {key: loss.item() for key, loss in losses.items()}
    slopes = {key: slope.flatten().tolist() for key, slope in slopes.items()}
    names = {"content": content, "style": style, "input": image}
    pictures = {f"{name}ImageValues": x.flatten().tolist() for name, x in names.items()}
    expected = {"expectedContentLoss": values.pop("content"), "expectedStyleLossByLayer": values}
    gradients = {"content": slopes.pop("content"), "styleByLayer": slopes, "total": total}
    indices = {"imageSize": 16, "styleLayerIndices": STYLE}
    found = {**pictures, **expected, **indices, "expectedGradients": gradients}
    (folder / "vgg19_losses_16px.json").write_text(json.dumps(found))
    return folder


def check(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["golden.py", *arguments])
    return tool.main()


def test_a_whole_network_agrees_and_a_changed_number_is_seen(folder, monkeypatch, capsys):
    weights = ("--network", str(folder / "weights.pth"))
    assert check(monkeypatch, str(folder), *weights) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 6 + 2 * 6 + 1 and "TOO LARGE" not in said
    path = folder / "vgg19_losses_16px.json"
    before = path.read_text()
    values = json.loads(before)
    values["expectedStyleLossByLayer"]["relu29"] *= 1.001
    path.write_text(json.dumps(values))
    assert check(monkeypatch, str(folder), *weights) == 1
    assert "TOO LARGE" in capsys.readouterr().out
    path.write_text(before)


def test_three_layers_are_checked_where_the_weights_are_not(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path))
    assert check(monkeypatch, str(folder)) == 0
    said = capsys.readouterr().out
    assert "only the first three" in said and said.count("style conv") == 4
