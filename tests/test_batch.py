"""Pictures by the hundred: each once, each as `stylelab transfer` makes it, all in the table."""

import csv
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from browser import browser
from cluster import running

from stylelab.cli.main import main
from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.images import load_image, read_metadata, save_image
from stylelab.runs.batch import plan, run, sheet, table
from stylelab.runs.metadata import read_settings

QUICK = ("--size", "40", "--steps", "2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two photographs and two paintings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    for number, name in enumerate(("photos/2", "photos/10", "paintings/a", "paintings/b")):
        maker = torch.Generator().manual_seed(number)
        save_image(torch.rand(1, 3, 40, 48, generator=maker), f"{name}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / ".hidden.png").write_text("no image")
    return tmp_path


def batch(*arguments: str) -> int:
    return main(["batch", *arguments, *QUICK, "-o", "out"])


def everything(*arguments: str) -> int:
    return batch("--content", "photos", "--style", "paintings", *arguments)


def rows() -> list[dict]:
    with open("out/table.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures() -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path("out", "pictures").rglob("*.png")}


def test_every_combination_is_made_once_and_stands_in_the_table(folder, capsys):
    assert everything("--alpha-beta", "1e-3", "1", "1e-3") == 0
    assert "8 pictures made, 0 were there already" in capsys.readouterr().out
    found = rows()
    made_from = {(row["content"], row["style"], float(row["alpha_beta"])) for row in found}
    assert made_from == {
        (c, s, a) for c in ("2.png", "10.png") for s in ("a.png", "b.png") for a in (1e-3, 1)
    }
    assert [row["content"] for row in found] == ["2.png"] * 4 + ["10.png"] * 4
    assert len(found) == len(pictures()) == 8 and {row["status"] for row in found} == {"done"}
    for row in found:
        record = json.loads(Path("out", "pictures", f"{row['name']}.json").read_text("utf-8"))
        assert float(row["seconds"]) == record["seconds"] > 0
        assert record["best_loss"] <= record["first_loss"] and record["threads"] >= 1
        total = record["saved_content"] + record["saved_style"]
        assert record["saved_loss"] >= total * (1 - 1e-6) and -1 <= record["edges"] <= 1
        assert Path("out", row["picture"]).with_suffix(".jpg").is_file()


def test_a_picture_is_that_of_the_command_transfer_and_can_be_made_again_from_itself(folder):
    asked = ("--alpha-beta", "0.1", "--init", "noise", "--seed", "3", "--optimizer", "adam")
    assert batch("--content", "photos/2.png", "--style", "paintings/a.png", *asked) == 0
    (name,) = pictures()
    alone = ["transfer", "photos/2.png", "paintings/a.png", *QUICK, *asked, "-o", "alone.png"]
    assert main(alone) == 0
    saved = Path("out", "pictures", name)
    assert torch.equal(load_image(saved), load_image("alone.png"))
    ours, theirs = (read_settings(each)[0] for each in (saved, "alone.png"))
    assert ours == theirs


def test_what_is_there_already_is_not_made_again_unless_what_it_is_made_from_changed(
    folder, capsys
):
    def made() -> tuple[int, int]:
        assert everything("--strength", "0.4") == 0
        words = capsys.readouterr().out.split()
        return int(words[0]), int(words[3])

    assert made() == (4, 0)
    before = pictures()
    assert made() == (0, 4) and pictures() == before
    gone, cut, unrecorded, _ = sorted(Path("out", "pictures").glob("*.png"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-9])
    unrecorded.with_suffix(".json").unlink()
    assert made() == (3, 1) and pictures() == before
    save_image(load_image("photos/2.png").flip(3), "photos/2.png")
    assert made() == (2, 2) and before.items() < pictures().items()
    assert everything("--strength", "0.4", "--force") == 0
    assert capsys.readouterr().out.startswith("4 pictures made")


def test_a_key_is_of_contents_settings_and_network_not_of_places(folder):
    (folder / "moved").mkdir()
    (folder / "photos" / "2.png").rename(folder / "moved" / "x.png")
    files = [folder / "moved" / "x.png"], [folder / "paintings" / "a.png"]
    keys = {each.key for each in plan.combined(*files, {})}
    (folder / "moved" / "x.png").rename(folder / "photos" / "2.png")
    files[0][0] = folder / "photos" / "2.png"
    keys |= {each.key for each in plan.combined(*files, {"size": [512], "pooling": [None]})}
    assert len(keys) == 1
    changes = {"size": 64, "seed": 1, "network": "random:1", "style_layers": {"conv1_1": 1.0}}
    changes["init"] = str(folder / "paintings" / "b.png")
    for name, value in changes.items():
        keys |= {each.key for each in plan.combined(*files, {name: [value]})}
    keys |= {each.key for each in plan.combined(files[1], files[0], {})}
    assert len(keys) == len(changes) + 2


def test_one_that_fails_is_a_row_with_its_reason_and_the_others_are_made(folder, capsys):
    Path("photos/5 <b>&.png").write_bytes(Path("photos/2.png").read_bytes()[:600])
    save_image(torch.rand(1, 3, 4, 400), "photos/7.png")
    assert everything() == 1
    said = capsys.readouterr().err
    assert "4 pictures made, 0 were there already, 4 failed" in said and "table.csv" in said
    failed = {row["content"]: row for row in rows() if row["status"] == "failed"}
    assert sorted(failed) == ["5 <b>&.png", "7.png"]
    assert failed["5 <b>&.png"]["reason"].startswith("5 <b>&.png is damaged")
    assert failed["7.png"]["reason"] and not failed["7.png"]["picture"]
    page = Path("out/index.html").read_text("utf-8")
    assert "5 &lt;b&gt;&amp;.png is damaged" in page and "<b>&.png" not in page
    assert everything() == 1 and "0 pictures made, 4 were there already, 4 failed" in (
        capsys.readouterr().err
    )


PLAN = """content{0}style{0}Alpha-Beta{0}steps{0}colors
photos/2.png{0}paintings/a.png{0}1e-3{0}{0}luminance

pagoda{0}paintings/b.png{0}{0}1
photos/10.png{0}storm
"""


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plan_is_a_table_whose_files_are_beside_it_and_whose_rows_say_what_differs(
    folder, delimiter, monkeypatch
):
    (folder / "plan.csv").write_text("\ufeff" + PLAN.format(delimiter), encoding="utf-8")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    found = list(plan.read(Path("../plan.csv"), {"strength": [0.2, 0.8], "steps": [7]}))
    asked = [
        (one.content.name, one.style.name, one.settings.alpha_beta, one.settings.strength)
        for one in found
    ]
    assert asked == [
        ("2.png", "a.png", 1e-3, 0.5),
        *(("china.jpg", "b.png", None, strength) for strength in (0.2, 0.8)),
        *(("10.png", "storm.jpg", None, strength) for strength in (0.2, 0.8)),
    ]
    assert [one.settings.steps for one in found] == [7, 1, 1, 7, 7]
    assert [one.settings.colours for one in found] == ["luminance"] + ["style"] * 4


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            "content,style\nphotos/2.png,paintings/a.png\nphotos/3.png,x",
            r"row 3: .*3\.png does not",
        ),
        ("content,style,size\nphotos/2.png,paintings/a.png,big", "row 2: size must be .*'big'"),
        ("content,style\nphotos/2.png", "row 2: style is empty"),
        ("content,style\nphotos/2.png,paintings/a.png,3", "row 2: 3 values for 2 columns"),
        ("content,style,network\nphotos/2.png,paintings/a.png,vgg99", "row 2: .*'vgg99'.*vgg19"),
        ("content,style,init\nphotos/2.png,paintings/a.png,no.png", r"row 2: no\.png does not"),
        (
            "content,style,strength,alpha_beta\nphotos/2.png,paintings/a.png,0.5,1",
            "row 2: give strength or alpha_beta",
        ),
        ("content,style,sise\n", "no column 'sise'.*size"),
        ("content,content\n", "first line must name"),
        ("", r"plan\.csv is an empty file"),
        ('content,style\n"photos/2.png,a', "no table that can be read"),
        ("content,style\n\n", "there is nothing to make"),
    ],
)
def test_a_plan_with_a_broken_row_is_one_line_and_nothing_is_made(folder, capsys, rows, words):
    Path("plan.csv").write_text(rows)
    assert batch("plan.csv") in (1, 2)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and not Path("out").exists()
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("", 2, "give a PLAN"),
        ("plan.csv --style paintings", 2, "give a PLAN"),
        ("--content photos", 2, "give a PLAN"),
        ("--content photos --frames photos --style paintings", 2, "give a PLAN"),
        ("--content photos --style paintings --init previous", 2, "--frames"),
        ("--frames photos --style paintings --init previous noise", 2, "--frames"),
        ("--frames photos/2.png --style paintings", 1, "not a folder"),
        ("--content empty --style paintings", 1, "holds no images"),
        ("--content photos --style gone.png", 1, "gone.png does not exist"),
        ("--content photos --style paintings --alpha-beta x", 2, "'x'"),
        ("--content photos --style paintings --resources GPU=1", 2, "--scheduler"),
    ],
)
def test_what_cannot_begin_is_one_line(folder, capsys, arguments, code, words):
    Path("empty").mkdir()
    try:
        assert batch(*arguments.split()) == code
    except SystemExit as ended:
        assert ended.code == code
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1


def test_each_frame_starts_from_the_picture_of_the_one_before(folder, capsys):
    film = ("--frames", "photos", "--style", "paintings/a.png", "--alpha-beta", "1")
    assert batch(*film, "--init", "previous") == 0
    first, second = (f"out/{row['picture']}" for row in rows())
    assert Path(first).name == "2.png" and Path(second).name == "10.png"
    assert Path(first).parent == Path(second).parent
    for frame, start in ((first, "photos/2.png"), (second, first)):
        name = Path(frame).name
        alone = ["transfer", f"photos/{name}", "paintings/a.png", *QUICK, "--alpha-beta", "1"]
        assert main([*alone, "--init", start, "-o", "alone.png"]) == 0
        assert torch.equal(load_image(frame), load_image("alone.png"))
    before = pictures()
    Path(second).unlink()
    capsys.readouterr()
    assert batch(*film, "--init", "previous") == 0 and pictures() == before
    assert capsys.readouterr().out.startswith("1 pictures made, 1 were there")
    made_from = json.loads(read_metadata(second)["Comment"])["start"]
    assert made_from["file"] == "2.png"


def test_frames_after_one_that_fails_fail_and_say_so(folder):
    Path("photos/4.png").write_text("no image")
    assert batch("--frames", "photos", "--style", "paintings", "--init", "previous") == 1
    status = [(row["content"], row["style"], row["status"]) for row in rows()]
    kinds = ("done", "failed", "failed")
    assert status == [
        (content, style, kind)
        for style in ("a.png", "b.png")
        for content, kind in zip(("2.png", "4.png", "10.png"), kinds, strict=True)
    ]
    assert rows()[2]["reason"] == "the frame before it, 4.png, was not made"


def test_two_frames_of_one_name_are_refused(folder):
    contents = [Path("photos/2.png"), Path("other/2.jpg")]
    with pytest.raises(SettingError, match="two frames are called 2"):
        list(plan.frames(contents, [Path("paintings/a.png")], {}))


def test_processes_give_the_same_bytes_and_the_same_failures(folder, one_thread):
    def ended() -> list[tuple[str, str]]:
        return [(row["status"], row["reason"]) for row in rows()]

    Path("photos/4.png").write_text("no image")
    assert everything() == 1
    here, how = pictures(), ended()
    assert everything("--force", "--jobs", "2") == 1
    assert pictures() == here and ended() == how
    assert [status for status, _ in how].count("failed") == 2


@pytest.mark.whole
def test_a_cluster_that_shares_no_folder_gives_the_same_bytes(folder, one_thread, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(folder / "cache"))
    assert everything() == 0
    here = pictures()
    with running(folder / "cluster", workers=2) as cluster:
        assert everything("--force", "--scheduler", cluster.address) == 0
        assert pictures() == here
        assert len({row["worker"] for row in rows()}) == 2


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.whole)])
def test_an_interrupt_keeps_what_is_finished_and_the_table_says_what_is_not(
    folder, capsys, monkeypatch, jobs
):
    kept, keep = [], run._Batch._keep

    def interrupt(self, picture, painted):
        if kept:
            raise KeyboardInterrupt
        kept.append(picture.key)
        keep(self, picture, painted)

    monkeypatch.setattr(run._Batch, "_keep", interrupt)
    assert everything("--jobs", jobs) == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert [row["status"] for row in rows()].count("done") == 1
    assert [row["status"] for row in rows()].count("not made yet") == 3
    assert everything() == 0
    assert "3 pictures made, 1 were there" in capsys.readouterr().out


def test_a_full_disk_ends_the_run_in_one_line(folder, capsys, monkeypatch):
    write = Path.write_bytes

    def full(self, content):
        if "pictures" in self.parts and self.suffix == ".png":
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert everything() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stylelab: out/pictures/") and "(No space left on device)" in said


def test_the_table_is_the_same_in_both_forms_and_numbers_are_numbers(tmp_path):
    wanted = [
        {"name": "a", "loss": 0.1 + 0.2, "steps": 3, "rate": None, "layers": {"conv1_1": 0.5}},
        {"name": 'b, "c"\n<d>', "loss": 2, "steps": 4, "rate": 0.5, "reason": "é"},
    ]
    table.write_csv(wanted, tmp_path / "t.csv")
    table.write_sqlite(wanted, tmp_path / "t.sqlite")
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as base:
        found = base.execute("SELECT * FROM pictures").fetchall()
        kinds = {row[1]: row[2] for row in base.execute("PRAGMA table_info(pictures)")}
    assert found == [
        ("a", 0.1 + 0.2, 3, None, "conv1_1=0.5", None),
        ('b, "c"\n<d>', 2.0, 4, 0.5, None, "é"),
    ]
    assert kinds["loss"] == kinds["rate"] == "REAL" and kinds["steps"] == "INTEGER"
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row[n] for n in kinds] for row in rows] == [
        ["" if value is None else str(value) for value in row]
        for row in (found[0], ('b, "c"\n<d>', 2, 4, 0.5, None, "é"))
    ]


def test_no_table_is_left_half_written(tmp_path):
    (tmp_path / "t.sqlite").write_text("before")
    with pytest.raises(StylelabError, match="cannot be written"):
        table.write_sqlite([{"a": 1}], tmp_path / "t.sqlite" / "inside")
    assert (tmp_path / "t.sqlite").read_text() == "before"


def test_images_of_a_folder_come_in_the_order_of_their_numbers(folder):
    found = plan.images_of(["photos", "paintings/b.png", "storm"])
    assert [each.name for each in found] == ["2.png", "10.png", "b.png", "storm.jpg"]
    with pytest.raises(ImageError, match="gallery"):
        plan.images_of(["nowhere"])


def test_a_worker_with_other_code_ends_the_run_in_one_line(folder, capsys):
    shutil.copytree(Path(plan.__file__).parents[2], folder / "other" / "stylelab")
    with open(folder / "other" / "stylelab" / "losses.py", "a") as file:
        file.write("\n# another version\n")
    asked = ("--content", "photos/2.png", "--style", "paintings/a.png", "--scheduler")
    with running(folder / "cluster") as cluster:
        cluster.add(PYTHONPATH=str(folder / "other"))
        assert batch(*asked, cluster.address) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "has the code of stylelab" in said and said.endswith("install the same on both")
        assert [row["status"] for row in rows()] == ["not made yet"]


def test_a_person_sorts_and_filters_the_sheet(tmp_path):
    common = {"content": "c.png", "style": "s.png", "width": 4, "height": 3, "status": "done"}
    made = [
        {"name": n, "picture": f"pictures/{n}.png", "size": size, "seconds": seconds, **common}
        for n, size, seconds in (("x", 64, 3.0), ("y", 128, 20.0), ("z", 96, 1.0))
    ]
    made.append({**common, "name": "w", "status": "failed", "reason": "it is broken", "size": 7})
    sheet.write(made, tmp_path / "index.html")
    with browser() as running:
        page, faults = running.new_page(), []
        page.on("pageerror", lambda fault: faults.append(fault))
        page.goto((tmp_path / "index.html").as_uri())

        def shown() -> list[str]:
            return [each.inner_text().split()[-1] for each in page.locator("figure b + span").all()]

        assert page.locator("h1").inner_text() == "3 of 4 pictures are made, 1 failed"
        assert shown() == ["64", "128", "96", "7"]
        page.select_option("#order", "seconds")
        assert shown() == ["96", "64", "128", "7"]
        page.check("#down")
        assert shown() == ["128", "64", "96", "7"]
        page.fill("#words", "SIZE 96")
        assert page.locator("figure:visible").count() == 1
        page.fill("#words", "")
        page.check("#failed")
        assert page.locator("figure:visible").inner_text().startswith("it is broken")
        assert not faults


def test_the_sheet_names_what_differs_and_nothing_else(tmp_path):
    common = {"status": "done", "content": "c", "style": "s", "width": 1, "height": 1, "size": 64}
    made = [
        {"name": str(i), "picture": f"pictures/{i} ü#.png", "steps": i, **common} for i in (1, 2)
    ]
    sheet.write(made, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "<span>steps 1</span>" in text and "size 64" not in text
    assert 'src="pictures/2%20%C3%BC%23.jpg"' in text and "http" not in text
