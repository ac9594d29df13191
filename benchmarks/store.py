"""Results in one JSON file: written after every measurement, and none is done twice."""

import json
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch

from stylelab import __version__
from stylelab.errors import SettingError
from stylelab.files.local import atomic

RESULTS = Path(__file__).parent / "results"


def machine(device: torch.device) -> dict:
    """What a time depends on, apart from the code."""
    found = {
        "device": device.type,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stylelab": __version__,
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    try:
        found["neural-style"] = metadata.version("neural-style")
    except metadata.PackageNotFoundError:
        found["neural-style"] = None
    return found


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class Store:
    """Measurements by key, such as `step/random/512`, with the machine they were done on.

    Raises:
        SettingError: if the file is of another machine or of other versions.
    """

    def __init__(self, path: Path, here: dict) -> None:
        self.path, self.data = path, {"machine": here, "measurements": {}}
        if path.exists():
            self.data = read(path)
            there = self.data["machine"]
            if other := sorted(k for k in here | there if here.get(k) != there.get(k)):
                told = ", ".join(f"{k} {there.get(k)!r}, here {here.get(k)!r}" for k in other)
                raise SettingError(
                    f"{path} was measured elsewhere ({told}); give another --name, or delete it"
                )

    def measure(self, key: str, work: Callable[[], dict], force: bool = False) -> bool:
        """Keep what `work` returns under `key`; whether that was done, and not there already."""
        if key in self.data["measurements"] and not force:
            return False
        self.data["measurements"][key] = work()
        with atomic(self.path) as temporary:
            temporary.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
        return True


def read(path: Path) -> dict:
    """The machine and measurements in a file; SettingError if it is not one of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["machine"], data["measurements"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            f"{path} is not a file of results ({type(error).__name__}); delete it to begin anew"
        ) from error
    return data
