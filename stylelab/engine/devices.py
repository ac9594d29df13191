"""Devices by name."""

import torch

from stylelab.errors import SettingError


def pick_devices(devices: str) -> list[torch.device]:
    """The devices in a list such as "cuda:0,cuda:1", as `pick_device` picks each.

    Raises SettingError also for a list with "auto" in it: that is one device by itself.
    """
    names = devices.split(",")
    if len(names) > 1 and "auto" in names:
        raise SettingError(f"auto chooses one device; name each of several, got {devices!r}")
    return [pick_device(name.strip()) for name in names]


def pick_device(device: str = "auto") -> torch.device:
    """The device called "cpu", "cuda", "cuda:1", "mps" or "auto": CUDA, else MPS, else the CPU.

    Raises SettingError if there is no device of that name here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next((kind for kind, is_there in there.items() if is_there), "cpu"))
    kind, _, index = str(device).partition(":")
    numbered = kind == "cuda" and index.isascii() and index.isdecimal()
    if kind not in ("cpu", *there) or (":" in str(device) and not numbered):
        raise SettingError(f"device must be auto, cpu, cuda, cuda:NUMBER or mps, got {device!r}")
    if numbered and there["cuda"]:
        there["cuda"] = int(index) < torch.cuda.device_count()
    if not there.get(kind, True):
        raise SettingError(f"device {device} is not available here; use auto or cpu")
    return torch.device(device)
