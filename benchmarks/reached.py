"""When a run has the quality that another one had, from what `benchmarks.quality` measured."""

from collections.abc import Iterator

EDGES = 0.01  # by which edges may agree less: no eye sees it


def groups(found: dict) -> Iterator[tuple[str, list[dict]]]:
    """What was measured alike, on several artworks, with its title."""
    together: dict[str, list[dict]] = {}
    for key, one in found.items():
        if key.startswith("quality/"):
            title = f"{one['network']}, {max(one['pixels'])} px, {one['images']} images"
            together.setdefault(f"{title}, judged by {one['judge']}", []).append(one)
    yield from together.items()


def at(run: dict, step: int, name: str) -> float:
    """A measure at a checkpoint."""
    return run["measures"][name][run["steps"].index(step)]


def seconds_at(run: dict, step: int) -> float:
    """The time taken to a checkpoint."""
    return run["seconds"][run["steps"].index(step)]


def seconds_to(run: dict, style: float, edges: float) -> float | None:
    """Seconds until style is at most, and edges at least, what is given; None if never.

    Between two checkpoints, both are taken to go straight from the one to the other. The first
    checkpoint counts as a whole.
    """
    over = [value - style for value in run["measures"]["style"]]
    short = [edges - EDGES - value for value in run["measures"]["edges"]]
    seconds = run["seconds"]
    if over[0] <= 0 and short[0] <= 0:
        return seconds[0]
    for i in range(1, len(seconds)):
        spans = [_reached(values[i - 1], values[i]) for values in (over, short)]
        begins, ends = max(one[0] for one in spans), min(one[1] for one in spans)
        if begins <= ends:
            return seconds[i - 1] + begins * (seconds[i] - seconds[i - 1])
    return None


def _reached(a: float, b: float) -> tuple[float, float]:
    """From where to where, as parts of the way from a to b, a value is not above 0."""
    if a <= 0 and b <= 0:
        return 0.0, 1.0
    if a > 0 and b > 0:
        return 1.0, 0.0
    return (a / (a - b), 1.0) if a > 0 else (0.0, a / (a - b))


def shares(several: list[dict], name: str, step: int, edges: bool = True) -> list[float]:
    """For each artwork, seconds to the textbook's quality after `step` steps over the textbook's.

    Infinite where it was not reached. Without `edges`, by style alone.
    """
    found = []
    for one in several:
        textbook, ours = one["runs"]["textbook"], one["runs"][name]
        least = at(textbook, step, "edges") if edges else -1.0
        taken = seconds_to(ours, at(textbook, step, "style"), least)
        found.append(float("inf") if taken is None else taken / seconds_at(textbook, step))
    return found
