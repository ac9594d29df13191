"""Nothing foreign is executed: weights, images, names, parameters and records are data."""

import ast
import io
import json
import os
import pickle
import re
import tarfile
import tempfile
import zipfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import matplotlib.text
import nbformat
import numpy as np
import papermill.translators
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import write

from stylelab import figures, gallery, networks
from stylelab.app import live_view
from stylelab.app.playground import Playground
from stylelab.app.stage import Still
from stylelab.cli.exits import complain
from stylelab.cli.main import main
from stylelab.errors import NetworkError, SettingError, StylelabError
from stylelab.figures.canvas import Canvas
from stylelab.figures.films import save_animation
from stylelab.figures.verify import verify
from stylelab.files.text import printable
from stylelab.images import save_image
from stylelab.runs import execute
from stylelab.runs import notebooks as runner
from stylelab.runs.metadata import metadata
from stylelab.runs.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CODE = "__import__('pathlib').Path({!r}).touch()"

# Texts that mean something to one of those they pass through.
EVIL = [
    "$\\frac{$",
    "$x^2$ and \\alpha",
    "_hidden",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'\"`\\",
    "```\n\n<script>alert(1)</script>\n```",
    "{{ 7 * 7 }} {size} {0.__class__} ${HOME} $(id) `id` %(size)s",
    '"""\nimport os\n"""',
    '\\"',
    "line\u2028separator\u2029paragraph\x85next\x0bvertical\x0cform",
    "\x1b]0;title\x07\x1b[2J\x9b31m",
    "\u202egnp.exe",
    "nul\0byte",
    "\r\n\r\ncarriage",
    "漢字 🎨 é",
    "../../../etc/passwd",
    "--output=x",
    "a" * 3000,
    "",
]


# Weights


class Payload:
    """Executes code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return eval, (CODE.format(str(self.canary)),)


class Module(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("executed")
        return x


def legacy(evil: Payload, path: Path) -> None:
    """The format of old versions, told by its magic number."""
    numbers = pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001)
    path.write_bytes(numbers + pickle.dumps(evil) + pickle.dumps(evil))


def tar(evil: Payload, path: Path) -> None:
    with tarfile.open(path, "w") as file:
        for name in ("storages", "tensors", "pickle"):
            entry, data = tarfile.TarInfo(name), pickle.dumps(evil)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))


def torchscript(evil: Payload, path: Path) -> None:
    torch.jit.script(Module()).save(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{path.stem}/attributes.pkl", pickle.dumps(evil))
        file.writestr("constants.pkl", pickle.dumps(evil))


def behind_a_header(evil: Payload, path: Path) -> None:
    header = json.dumps({"__metadata__": {"stylelab": "__import__('os')"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + pickle.dumps(evil))


# What writes a file of weights with code in it.
KINDS = {
    "pickle 0": lambda evil, path: path.write_bytes(pickle.dumps(evil, protocol=0)),
    "pickle 2": lambda evil, path: path.write_bytes(pickle.dumps(evil, protocol=2)),
    "pickle 5": lambda evil, path: path.write_bytes(pickle.dumps(evil, protocol=5)),
    "zip": lambda evil, path: torch.save({"a": torch.zeros(1), "more": evil}, path),
    "whole module": lambda evil, path: torch.save(Module(), path),
    **{each.__name__: each for each in (legacy, tar, torchscript, behind_a_header)},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, whose environment asks PyTorch to be less careful."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    return tmp_path


def test_the_payload_would_work(folder):
    KINDS["zip"](Payload(folder / "canary"), folder / "a.pth")
    torch.load(folder / "a.pth", weights_only=False)
    assert (folder / "canary").exists()


@pytest.mark.filterwarnings("ignore")  # of PyTorch: TorchScript is old, a protocol unusual
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_with_code_are_refused_and_not_executed(folder, capfd, kind, suffix):
    path, canary = folder / f"a{suffix}", folder / "canary"
    KINDS[kind](Payload(canary), path)
    with pytest.raises(NetworkError, match=r"cannot be read as weights|is not a VGG-19") as caught:
        networks.load(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not canary.exists() and "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["transfer", "pagoda", "storm", "-o", "out.png", "--network", "a.pth"],
        ["distil", "--images", ".", "--output", "new", "--teacher", "a.pth"],
    ],
)
def test_neither_are_they_by_the_command_line(folder, capsys, arguments):
    KINDS["zip"](Payload(folder / "canary"), folder / "a.pth")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("stylelab: a.pth cannot be read as weights")
    assert not (folder / "canary").exists() and not (folder / "out.png").exists()


def test_a_picture_cannot_name_a_file_of_weights(folder, tiny_network):
    path, canary = folder / "a.pth", folder / "canary"
    KINDS["zip"](Payload(canary), path)
    files = {role: {"file": "a.png", "sha256": "0" * 64} for role in ("content", "style")}
    texts = metadata(Settings(network=str(path)), files, tiny_network())
    texts["Comment"] = json.dumps(json.loads(texts["Comment"]) | {"network": str(path)})
    save_image(torch.zeros(1, 3, 8, 8), folder / "saved.png", metadata=texts)
    app = Playground(Settings(size=64, steps=1), device="cpu")
    send(app.buttons.load, "saved.png", (folder / "saved.png").read_bytes())
    assert "a.pth is not" in app._message.value
    assert app.controls.settings.network == "vgg19-mini" and not canary.exists()


# Parameters of notebooks

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(EVIL),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_a_parameter_becomes_a_literal_and_nothing_else(value):
    execute.check_value("a", value)
    source = papermill.translators.PythonTranslator.codify({"a": value})
    (statement,) = ast.parse(source).body
    assert ast.literal_eval(statement.value) == value


@pytest.mark.parametrize(
    "value",
    [
        Path('"; raise SystemExit #'),
        ('"; raise SystemExit #',),
        {1: "a"},
        b"bytes",
        {"a", "b"},
        np.int64(3),
        "no UTF-8: \udcff",
        ["\ud800"],
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_parameters_are_refused_before_the_work(folder, value):
    path = write(folder / "notebooks" / "01_one.ipynb", declares="text = ''")
    with pytest.raises(SettingError, match="the parameter text must be text, a number"):
        runner.run_notebooks(overrides={"text": value}, notebooks=path.parent, output="out")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["a = 1; b", "text\nimport os", "__import__", "", "text "])
def test_only_names_that_a_notebook_declares_are_injected(folder, name):
    path = write(folder / "notebooks" / "01_one.ipynb", declares="text = ''")
    with pytest.raises(SettingError, match="no notebook chosen has a parameter"):
        runner.run_notebooks(overrides={name: 1}, notebooks=path.parent, output="out")


def test_parameters_arrive_in_the_notebook_as_they_were(folder, capsys):
    """So does the name of a file, and braces in the name of a folder are braces."""
    values = {f"p{i}": text for i, text in enumerate(EVIL)} | {"all": EVIL, "by": {"{size}": EVIL}}
    if os.name != "nt":
        values["network"] = "a'\"\\ {network} {0} $HOME\u2028#\x1b[31m.pth"
        (folder / values["network"]).write_bytes(b"weights")
    declares = "\n".join(f"{name} = None" for name in values)
    names = ", ".join(f"{name}={name}" for name in values)
    write(folder / "{size}" / "01_one.ipynb", HAND_OVER.format(names), declares=declares)
    (outcome,) = runner.run_notebooks(overrides=values, notebooks="{size}", output="out {x}")
    assert outcome.ok, outcome.error
    if "network" in values:
        values["network"] = str(folder / values["network"])
    assert json.loads((folder / "out {x}" / "found.json").read_text("ascii")) == values
    executed = nbformat.read(outcome.path, as_version=4)
    assert executed.metadata.papermill.parameters.p3 == EVIL[3]
    assert "\x1b[31m" not in capsys.readouterr().err


HAND_OVER = "import json\nwith open('found.json', 'w') as file:\n    json.dump(dict({}), file)"


# What a terminal shows


@settings(max_examples=200, deadline=None)
@given(text=st.text() | st.sampled_from(EVIL))
def test_a_message_is_one_line_that_a_terminal_does_not_obey(text):
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        complain(text)
    line = stream.getvalue()
    assert line.startswith("stylelab: ") and line.endswith("\n")
    assert line[:-1].isprintable() and printable(line) == line
    line.encode()  # also names of files that are no UTF-8


def test_what_can_be_read_is_left_as_it_is():
    text = "C:\\Users\\é\\漢字 🎨 'a' \"b\" α/β → 1e-3\nsecond line"
    assert printable(text) == text
    assert printable("\x1b[31m\u202e\x9b\udcff\0\t") == r"\x1b[31m\u202e\x9b\udcff\x00\t"


@pytest.mark.skipif(os.name == "nt", reason="such names there are not")
def test_names_of_files_reach_the_terminal_escaped(folder, capsys):
    name = "\x1b]0;title\x07\x1b[2J.png"
    (folder / name).write_text("no image")
    assert main(["transfer", name, "storm", "-o", "out.png"]) == 1
    assert main(["verify", name]) == 1
    notebooks = write(folder / "notebooks" / "01_\x1b[2J.ipynb", "1 / 0 # \x1b[2J").parent
    assert main(["figures", "--notebooks", str(notebooks), "--output", "out"]) == 1
    said = capsys.readouterr().err
    assert "\\x1b]0;title\\x07\\x1b[2J.png is not a" in said and "ZeroDivisionError" in said
    assert "\x1b]" not in said and "\x1b[2J" not in said


# Figures


def shown(figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_labels_and_names_of_curves_are_shown_as_they_are():
    texts = [text for text in EVIL if len(text) < 100]
    panels = [figures.Panel(torch.zeros(1, 3, 8, 8), text) for text in texts]
    curves = figures.loss_curves(SimpleNamespace(losses=torch.rand(3, len(texts)) + 1), texts)
    for figure in (figures.panel_grid(panels, columns=9, width=9), curves):
        assert set(texts) <= set(shown(figure))


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("text", [*EVIL[:4], "weights $x of \\foo{ and $^"])
def test_so_are_footers_with_the_names_of_networks(tiny_network, text):
    network = tiny_network()
    network.name = text
    footer = figures.footer([network], ["pagoda"], text)
    panels = [figures.Panel(torch.zeros(1, 3, 8, 8), "a")]
    figure = figures.panel_grid(panels, columns=1, footer=footer, width=4)
    assert footer in [" ".join(each.split()) for each in shown(figure)]
    assert shown(Canvas(4, 2, text).figure)


HEADERS = ["[]", "3", "null", "1e999", '{"units": 3}', '{"units": {"conv1_1": "a"}}', "{", '"a"']
HEADERS += ['{"units": {"conv1_1": 0}}', '{"padding": "evil"}', '{"pooling": []}', '{"units": [1]}']


@pytest.mark.parametrize("header", HEADERS)
def test_damaged_headers_of_weights_are_refused(folder, tiny_network, header):
    state = {key: value.float() for key, value in tiny_network().state_dict().items()}
    safetensors.torch.save_file(state, "a.safetensors", {"stylelab": header})
    with pytest.raises(NetworkError, match=r"a\.safetensors (cannot be read as|is not a VGG)"):
        networks.load("a.safetensors")


NAMES = ["../x", "a/b", "/x", "..", ".", ".hidden", "", "a\\b", "a\nb", "a\0b", "C:x", "x/../../y"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_figures_and_panels_stay_in_their_folder(folder, name):
    panel = {"a": torch.zeros(1, 3, 8, 8)}
    drawn = figures.panel_grid([figures.Panel(panel["a"], "a")], columns=1, width=2)
    record = {"figure": name, "parameters": {}, "settings": {}, "network": {}, "claims": []}
    for save, *arguments in (
        (figures.save_picture, drawn, name, "out"),
        (figures.save_figure, drawn, record, "out", panel),
        (figures.panel_path, "out", name, "a"),
        (figures.panel_path, "out", "a", name),
        (save_animation, {0: panel["a"]}, name, "out"),
    ):
        with pytest.raises(SettingError, match="name may have letters"):
            save(*arguments)
    assert list(folder.iterdir()) == []


def test_a_record_cannot_lead_out_of_its_folder(folder):
    (folder / "a.png").write_bytes(b"")
    record = {"figure": "../..", "panels": ["a"], "claims": [], "network": {}, "images": {}}
    (folder / "a.json").write_text(json.dumps(record | {"sha256": ""}))
    with pytest.raises(StylelabError, match="name may have letters"):
        verify(folder)


@pytest.mark.parametrize("name", [*NAMES, "*", "~", "$HOME", "passwd"], ids=ascii)
def test_names_of_notebooks_and_of_the_gallery_lead_nowhere_else(folder, name):
    notebooks = write(folder / "notebooks" / "01_one.ipynb").parent
    (folder / "x.ipynb").write_text("{}")
    if name not in ("", "."):  # parts of the name of each
        with pytest.raises(SettingError, match="there is no notebook"):
            runner.run_notebooks([name], notebooks=notebooks)
    with pytest.raises(SettingError, match="there is no image named"):
        gallery.path(name)
    with pytest.raises(NetworkError, match="there is no network"):
        networks.path(name)
    assert not (folder / "build").exists()


@pytest.mark.parametrize("name", [*NAMES, *EVIL], ids=ascii)
def test_the_default_folder_is_inside_build(name):
    folder = runner.default_output({"profile": "quick", "network": name + ".pth"})
    assert folder.parent == Path("build") and folder.name.startswith("quick-")
    assert re.fullmatch(r"[\w.-]+", folder.name)


# Pages


class Tags(HTMLParser):
    """The tags and attributes' names of a page: what is in it but texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _ in attributes]))

    def handle_comment(self, data):
        self.found.append("comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


TEXT = st.text() | st.sampled_from(EVIL)
GREY = torch.full((1, 3, 8, 8), 0.5)


@settings(max_examples=100, deadline=None)
@given(name=TEXT, alt=TEXT)
def test_texts_change_nothing_of_the_live_view(name, alt):
    assert Tags(live_view.picture(GREY, alt)).found == Tags(live_view.picture(GREY, "a")).found
    losses = [(0, {name: 2.0}), (1, {name: 1.0})]
    plain = [(0, {"a": 2.0}), (1, {"a": 1.0})]
    assert Tags(live_view.curves(losses, 1)).found == Tags(live_view.curves(plain, 1)).found


# The playground


def send(button, name: str, content: bytes) -> None:
    """What the page sends when a file is chosen."""
    item = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    button.set_trait("value", ({**item, "last_modified": datetime.now(UTC)},))


@pytest.fixture(scope="module")
def app():
    made = Playground(Settings(size=64, steps=1), device="cpu")
    yield made
    made.close()


@pytest.mark.parametrize("name", [*NAMES, *EVIL], ids=ascii)
def test_an_upload_is_written_to_a_folder_of_its_own_alone(folder, app, monkeypatch, name):
    written, own = [], folder / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    original = Path.write_bytes

    def noted(path: Path, data: bytes) -> int:
        written.append(path)
        return original(path, data)

    save_image(GREY, folder / "grey.png")
    image = (folder / "grey.png").read_bytes()
    (folder / "grey.png").unlink()
    app._say("")
    monkeypatch.setattr(Path, "write_bytes", noted)
    send(app.controls.content._upload, name, image)
    assert not app._message.value.count("alert")
    assert len(written) == 1 and written[0].resolve().parent.parent == own
    assert list(folder.iterdir()) == [own] and list(own.iterdir()) == []
    send(app.controls.content._upload, name + ".png", b"no image")
    assert list(folder.iterdir()) == [own] and list(own.iterdir()) == []
    found = Tags(app._message.value + app.controls.content._thumbnail.value).found
    assert [tag for tag, _ in found] == ["div", "img"]


def test_titles_and_messages_of_the_playground_are_texts(app, monkeypatch):
    for text in EVIL:
        app._say(text)
        assert [tag for tag, _ in Tags(app._message.value).found] == ["div"]
        app.stage.still = Still(GREY, text)
        app.refresh()
        assert [tag for tag, _ in Tags(app.stage.preview.value).found] == ["img"]


# JupyterLab

OPENING = re.compile(
    r"""(?<!id-)token\s*[=:]\s*(''|""|\s|$)|password\s*=\s*(''|""|\s|$)|(--ip\b|\.ip\s*=)(?!\s*(127\.0|localhost))|0\.0\.0\.0"""
    r"""|allow_origin|allow_remote_access|disable_check_xsrf|allow_unauthenticated|--no-auth""",
    re.MULTILINE | re.IGNORECASE,
)


def instructions():
    """What starts JupyterLab, or tells how to."""
    for pattern in ("*", "docs/*.md", "book/**/*", ".github/**/*", "tools/*", "notebooks/**/*.*"):
        yield from (path for path in ROOT.glob(pattern) if path.is_file())
    yield from (path for path in (ROOT / "tests").glob("*.py") if path != Path(__file__))


@pytest.mark.parametrize("path", sorted(set(instructions())), ids=lambda path: path.name)
def test_jupyterlab_is_started_with_its_token_and_for_this_computer_alone(path):
    text = path.read_text("utf-8", errors="replace")
    if path.suffix == ".ipynb":  # whose outputs may look like anything
        text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    assert not OPENING.search(text)


def test_what_would_open_it_is_recognised():
    for flag in (
        *("--NotebookApp.token=''", "--ServerApp.token= x", "--ip=*", "c.ServerApp.ip = '*'"),
        *("--ServerApp.password=''", "--ServerApp.disable_check_xsrf=True"),
    ):
        assert OPENING.search(f"jupyter lab {flag}\n"), flag
    for flag in ("--IdentityProvider.token={token}", "--ServerApp.ip=127.0.0.1", "notebooks"):
        assert not OPENING.search(f"jupyter lab {flag}\n"), flag
