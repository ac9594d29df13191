"""How threads wait: chosen by whether the machine is busy, and never against the user."""

import os

import pytest

from stylelab.engine import threads


@pytest.fixture
def choice(tmp_path, monkeypatch):
    """What is chosen where the system counts threads as in `running`."""

    def choose(running: str, **chosen: str) -> str | None:
        for name in threads.CHOICES:
            monkeypatch.delenv(name, raising=False)
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "loadavg").write_text(f"0.10 0.20 0.30 {running}/95 4711\n")
        monkeypatch.setattr(threads, "RUNNING", tmp_path / "loadavg")
        threads.choose_waits()
        found = os.environ.get("OMP_WAIT_POLICY")
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        return found

    return choose


def test_threads_give_up_their_cores_beside_other_work_only(choice):
    assert choice("1") is None
    assert choice("2") == choice("9") == "PASSIVE"


def test_the_users_choice_stands(choice):
    assert choice("2", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
    assert choice("2", GOMP_SPINCOUNT="5") is None


def test_other_systems_are_left_alone(choice, monkeypatch, tmp_path):
    choice("2")
    monkeypatch.setattr(threads, "RUNNING", tmp_path / "nothing")
    threads.choose_waits()
    assert "OMP_WAIT_POLICY" not in os.environ
