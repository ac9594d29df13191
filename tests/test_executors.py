"""Where jobs run: one seam, whatever is behind it, and one line when nobody is there."""

import os
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster import running
from toys import write

from stylelab.errors import SettingError, StylelabError
from stylelab.runs import collect
from stylelab.runs import notebooks as runner
from stylelab.runs.executors import Here, Processes, Workers, workers

KINDS = {"here": (1, None), "processes": (2, None), "dask": (2, "local")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A worker in a process of its own, with a working folder and a cache of its own."""
    with running(tmp_path_factory.mktemp("cluster"), workers=1) as found:
        yield found


def results(found: Workers, waiting: list, call) -> dict:
    """What became of each job: its result or its error's text."""

    def result(future):
        try:
            return collect.outcome(future)
        except collect.NoWorkers:
            raise
        except StylelabError as error:
            return str(error)

    return {job: result(f) for job, f in collect.collect(found, deque(waiting), call)}


def work(job):
    """A job that works, one whose function raises, one that cannot be described, one that dies."""
    if job == "undescribed":
        raise StylelabError("photo.jpg does not exist")
    return {"wrong": (int, ("x",)), "dead": (os.kill, (0, 9))}.get(job, (pow, (2, 10)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_job_ends_with_its_result_or_its_error_and_no_other_s(kind):
    count, scheduler = KINDS[kind]
    with workers(count, scheduler=scheduler) as found:
        ended = results(found, ["one", "wrong", "undescribed", "two"], work)
    assert ended["one"] == ended["two"] == 1024
    assert "invalid literal for int()" in ended["wrong"] and "\n" not in ended["wrong"]
    assert ended["undescribed"] == "photo.jpg does not exist"


def test_any_executor_will_do():
    with ThreadPoolExecutor(2) as own, workers(1, scheduler=own) as found:
        assert results(found, ["one", "two"], work) == {"one": 1024, "two": 1024}


def test_jobs_are_described_when_it_is_their_turn_and_more_may_come_meanwhile():
    waiting, described, ended = deque([3]), [], []

    def call(job):
        described.append((job, len(ended)))
        return pow, (2, job)

    for job, future in collect.collect(Workers(Here(), 1, True), waiting, call):
        ended.append(future.result())
        if job:
            waiting.append(job - 1)
    assert ended == [8, 4, 2, 1] and described == [(3, 0), (2, 1), (1, 2), (0, 3)]


def test_a_process_that_dies_fails_its_own_job_and_the_next_gets_a_new_one():
    with Processes(1, {"GREETING": "hello"}) as executor:
        found = Workers(executor, 1, True)
        kill, ask = (os.kill, ("pid", 9)), (os.getenv, ("GREETING",))
        before = executor.submit(os.getpid).result()
        calls = {"dead": (os.kill, (before, 9)), "alive": ask, "killed": kill}
        ended = results(found, ["dead", "alive"], calls.get)
        assert "process died" in ended["dead"] and ended["alive"] == "hello"
        assert executor.submit(os.getpid).result() != before


def test_a_cluster_s_worker_that_dies_is_replaced_by_another(cluster, tmp_path):
    once = tmp_path / "once"
    with workers(1, scheduler=cluster.address) as found:
        ended = results(found, [0, 1, 2, 3], lambda job: (die_once, (job, str(once))))
    assert ended == {0: 0, 1: 1, 2: 2, 3: 3} and once.exists()


def die_once(job: int, once: str) -> int:
    """Kill this worker, the first time that job 1 is done."""
    if job == 1 and not Path(once).exists():
        Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


@pytest.mark.whole
def test_notebooks_of_two_workers_without_a_common_folder_are_those_of_this_process(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = (
        "import os, pathlib, torch, stylelab\n"
        "photo, painting = torch.rand(2, 1, 3, 48, 48, generator=torch.manual_seed(size))\n"
        "network = stylelab.load('vgg19-mini')\n"
        "result = stylelab.transfer(network, photo, painting, steps=3)\n"
        "pathlib.Path('sub').mkdir(exist_ok=True)\n"
        "stylelab.save_image(result.images, f'sub/{name}.png', bits=16)\n"
        "place = os.environ['STYLELAB_CACHE'], os.getcwd()\n"
        "pathlib.Path(f'{name}.txt').write_text(' '.join(place))"
    )
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    for name in ("01_a", "02_b"):
        write(tmp_path / "in" / f"{name}.ipynb", code, declares=f"name = {name!r}\nsize = 1")
    write(tmp_path / "in" / "03_bad.ipynb", "open('half', 'w').write('x')", "1 / 0")
    asked = {"profile": "smoke", "notebooks": tmp_path / "in", "progress": False}
    cluster.add()
    far = runner.run_notebooks(output=tmp_path / "far", scheduler=cluster.address, **asked)
    near = runner.run_notebooks(output=tmp_path / "near", **asked)
    assert [one.ok for one in far] == [one.ok for one in near] == [True, True, False]
    assert "ZeroDivisionError" in far[2].error and far[2].path.is_file()
    for name in ("01_a", "02_b"):
        pictures = [
            (tmp_path / side / "sub" / f"{name}.png").read_bytes() for side in ("far", "near")
        ]
        assert pictures[0] == pictures[1]
        cache, folder = (tmp_path / "far" / f"{name}.txt").read_text().split()
        assert Path(cache).is_relative_to(cluster.folder)
        assert Path(folder).is_relative_to(cluster.folder) and not Path(folder).exists()
    again = runner.run_notebooks(["1", "2"], output=tmp_path / "far", scheduler="none", **asked)
    assert [one.up_to_date for one in again] == [True, True]


def test_a_network_that_is_a_file_must_be_the_same_on_the_worker(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"some")
    collect.check_file(str(file), collect.sha256_of(file))
    for sha256 in ("0" * 64, collect.sha256_of(file)):
        with pytest.raises(StylelabError, match=r"lacks .*weights\.pth.*same path"):
            collect.check_file(str(file), sha256)
        file.unlink(missing_ok=True)


@pytest.mark.parametrize("address", ["nonsense", "tcp://[", "udp://x:1", "x.json"])
def test_a_scheduler_that_is_not_there_is_one_line(address):
    with (
        pytest.raises(StylelabError, match=r"no Dask scheduler answers at|x\.json") as caught,
        workers(1, scheduler=address),
    ):
        pass
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_port_where_nobody_listens_is_one_line():
    with pytest.raises(StylelabError, match="no Dask scheduler answers at tcp://127") as caught:
        workers(1, scheduler="tcp://127.0.0.1:9").__enter__()
    assert "\n" not in str(caught.value)


def test_a_scheduler_that_goes_away_is_one_line_and_the_run_ends(tmp_path):
    with (
        running(tmp_path, workers=1) as own,
        workers(1, scheduler=own.address) as found,
        pytest.raises(collect.NoWorkers, match="the scheduler is gone"),
    ):
        for _ in collect.collect(found, deque(range(3)), lambda job: (time.sleep, (job,))):
            own.scheduler.kill()


def test_a_worker_with_other_versions_ends_the_run_in_one_line(cluster, monkeypatch):
    monkeypatch.setattr(collect, "surroundings", lambda: {"torch": "1.0"})
    with (
        workers(1, scheduler=str(cluster.file)) as found,
        pytest.raises(collect.NoWorkers, match=r"the worker .* has torch 2.*has 1\.0") as caught,
    ):
        results(found, [1], work)
    assert "\n" not in str(caught.value)


def test_resources_are_those_of_a_cluster_and_work_waits_for_a_worker_that_has_them(
    cluster, tmp_path, capsys
):
    with pytest.raises(SettingError, match="--scheduler"), workers(2, resources={"GPU": 1}):
        pass
    with workers(1, scheduler=cluster.address, resources={"GPU": 1}) as found:
        assert "has no worker with GPU=1 yet" in capsys.readouterr().err
        cluster.add(["--resources", "GPU=1"], KIND="gpu")
        assert results(found, [1], lambda job: (os.getenv, ("KIND",))) == {1: "gpu"}


def test_a_refusal_of_a_worker_s_file_system_names_the_worker():
    import pickle

    call = pickle.dumps((open, ("/proc/no/such", "w")))
    with pytest.raises(StylelabError, match=r"on the worker .*: No such file.*\(/proc/no/such\)"):
        collect.do({}, call)
