"""The peak memory of one contender, in a process of its own; prints bytes.

python -m benchmarks.memory textbook random 1024 cpu
"""

import sys

import torch

from benchmarks import contenders
from stylelab.engine.devices import pick_device


def peak(device: torch.device) -> int:
    """Bytes: on CUDA those of tensors, elsewhere the most this process had in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform.startswith("linux"):  # ru_maxrss would count the parent's memory too
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def main(name: str, network: str, size: str, device: str) -> None:
    """Load the network, and unless `name` is "nothing" do three steps with a full history."""
    where = pick_device(device)
    vgg = contenders.load(network, where)
    content, style = contenders.pair(int(size), where)
    if name != "nothing":
        contender = contenders.with_full_history(name, vgg, content, style)
        with contenders.at_work(contender):
            for _ in range(2):
                contender.step()
        contenders.synchronise(where)
    print(peak(where))


if __name__ == "__main__":
    main(*sys.argv[1:])
