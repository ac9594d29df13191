"""Paint the five style pictures that stylelab's offline figures use, from nothing but numbers.

Each painting stands in for one artwork of figure 3 of Gatys et al. (2016). All share one brush
engine. A painting first *plans* a colour and a direction for every point of the canvas, then lays
thousands of strokes from coarse to fine: each takes the planned colour where it starts, jittered,
and follows the planned directions. A stroke leaves colour and paint relief in the furrows of its
bristles; at the end the relief, over a canvas weave, is lit from the upper left. Lengths are in
units of the longer side, y points down; everything is drawn at twice the size, then reduced.

    python tools/paint.py [NAME ...] [--size 640] [--output stylelab/assets/paintings]

Seeded: the same numpy and Pillow give the same bytes. About 20 seconds a painting.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[np.float32]  # (H, W), or (H, W, 3) for colours
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
SUPERSAMPLE = 2
OUTPUT = Path(__file__).resolve().parents[1] / "stylelab/assets/paintings"


def ramp(t: NDArray, *colours: str) -> Field:
    """Colours along the gradient through `colours` ("rrggbb"), at `t` in [0, 1]."""
    stops = np.array([list(bytes.fromhex(c)) for c in colours]) / 255
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, at, stops[:, c]) for c in range(3)], -1).astype(np.float32)


def bump(distance: NDArray, radius: float) -> NDArray:
    """A bell: 1 at distance 0, falling to about a third at `radius`."""
    return np.exp(-((distance / radius) ** 2))


class Canvas:
    """A canvas with wet paint: colour and relief at every point, and the plan to paint by."""

    def __init__(self, size: int, aspect: float, seed: int) -> None:
        """`aspect` is width / height, `size` the longer side of the finished picture."""
        self.unit = size * SUPERSAMPLE
        wide, high = min(1.0, aspect), min(1.0, 1 / aspect)
        self.w, self.h = (round(size * side) * SUPERSAMPLE for side in (wide, high))
        self.rng = np.random.default_rng(seed)
        y, x = np.mgrid[: self.h, : self.w].astype(np.float32) / self.unit
        self.x, self.y = x, y
        self.paint = np.full((self.h, self.w, 3), 0.5, np.float32)
        self.relief = np.zeros((self.h, self.w), np.float32)
        self.plan = self.paint.copy()
        self.angle = np.zeros_like(self.relief)
        hairs = self.rng.random((1024, 512))  # bristle marks: long along axis 0, thin across
        for axis, reach in ((0, 40), (0, 25), (1, 2)):
            hairs = sum(np.roll(hairs, k, axis) for k in range(reach))
        low, high = np.percentile(hairs, (2, 98))
        self.hairs = np.clip((hairs - low) / (high - low), 0, 1).astype(np.float32)

    def noise(self, scale: float, octaves: int = 3, stretch: float = 1.0) -> Field:
        """Smooth noise in [0, 1], features about `scale` in size and `stretch` times as wide."""
        total = np.zeros((self.h, self.w), np.float32)
        for octave in range(octaves):
            cell = scale / 2**octave
            rows = int(self.h / self.unit / cell) + 3
            cols = int(self.w / self.unit / cell / stretch) + 3
            grid = Image.fromarray(self.rng.random((rows, cols), np.float32))
            box = (1, 1, 1 + self.w / self.unit / cell / stretch, 1 + self.h / self.unit / cell)
            fine = grid.resize((self.w, self.h), Image.Resampling.BICUBIC, box)
            total += np.asarray(fine) / 2**octave
        low, high = np.percentile(total, (1, 99))
        return np.clip((total - low) / (high - low), 0, 1)

    def bands(self, stream: NDArray, count: float) -> Field:
        """Random tones in [0, 1] in about `count` bands per unit of `stream`, roughened."""
        tones = np.interp(stream * count, np.arange(-150, 150), self.rng.random(300))
        return tones + 0.35 * (self.noise(0.05, 3, 3) - 0.5)

    def window(self, cx: float, cy: float, reach: float) -> Window:
        """The part of the canvas within `reach` of a point."""
        corners = np.array([(cx - reach, cy - reach), (cx + reach, cy + reach)])
        (top, bottom), (left, right) = self._pixel(corners)
        return slice(top, bottom + 1), slice(left, right + 1)

    def polygon(self, points: NDArray, window: Window = np.s_[:, :]) -> Mask:
        """The inside of a polygon, in a window."""
        image = Image.new("1", (self.w, self.h))
        ImageDraw.Draw(image).polygon([tuple(p) for p in points * self.unit], fill=1)
        return np.asarray(image)[window]

    def mix(self, colour: Field, weight: NDArray, window: Window = np.s_[:, :]) -> None:
        """Blend `colour` into a window of the plan."""
        plan = self.plan[window]
        plan += (colour - plan) * np.asarray(weight, np.float32)[..., None]

    def follow(self, stream: NDArray, where: Mask | None = None) -> None:
        """Direct strokes along the level lines of `stream`."""
        down, right = np.gradient(stream)
        angle = np.arctan2(-right, down)
        self.angle = angle if where is None else np.where(where, angle, self.angle)

    def stroke(
        self,
        path: NDArray,
        width: float,
        colour: NDArray,
        *,
        alpha: float = 1.0,
        soft: float = 0.15,
        body: float = 1.0,
        dry: float = 0.3,
        ends: float | None = None,
        fit: float | None = None,
    ) -> None:
        """Lay one brush stroke along `path`, points (n, 2).

        `soft` is the share of the half width that fades out, `body` the thickness of the paint,
        `dry` how far the brush runs out of paint, `ends` the share of the length that tapers, and
        `fit` how far the planned colour may be from `colour` before the stroke stays off it.
        """
        path = path * self.unit
        steps = np.hypot(*np.diff(path, axis=0).T)
        length, across = float(steps.sum()) + 1e-6, width * self.unit
        n, m = int(length / 0.7) + 2, int(across / 0.7) + 2
        along, v = np.linspace(0, 1, n), np.linspace(-1, 1, m)
        at = np.concatenate(([0], np.cumsum(steps))) / length
        cx, cy = (np.interp(along, at, path[:, axis]) for axis in (0, 1))
        dx, dy = np.gradient(cx), np.gradient(cy)
        norm = np.hypot(dx, dy) + 1e-6
        x = (cx[:, None] - (dy / norm)[:, None] * v * across / 2).astype(np.int32)
        y = (cy[:, None] + (dx / norm)[:, None] * v * across / 2).astype(np.int32)
        r, c = self.rng.integers(1024), self.rng.integers(512)
        rows, cols = (np.arange(n) + r) % 1024, (np.arange(m) + c) % 512
        hair = self.hairs[rows[:, None], cols]

        ends = min(0.5, 0.5 * across / length) if ends is None else ends
        tip = np.minimum(1, np.minimum(along, 1 - along) / ends)
        girth = np.sqrt(tip * (2 - tip)) * (0.85 + 0.15 * self.hairs[rows, c])
        inside = 1 - np.abs(v) / (girth[:, None] + 1e-3)
        cover = np.clip(inside / soft, 0, 1)
        loaded = np.clip((hair - dry * (0.3 + 0.7 * along[:, None] ** 2)) * 5 + 1, 0, 1)
        a = alpha * cover * loaded
        ok = (a > 0.02) & (x >= 0) & (y >= 0) & (x < self.w) & (y < self.h)
        where, a, hair, edge = (y[ok], x[ok]), a[ok], hair[ok], inside[ok]
        if fit:
            a = a * bump(np.linalg.norm(self.plan[where] - colour, axis=-1), fit)
        a = a.astype(np.float32)
        ridge = body * (0.35 + 0.65 * hair) * np.minimum(1, 0.3 + 2.5 * edge) * np.sqrt(across / 8)
        tint = colour + 0.09 * (hair - 0.5)[:, None]
        # Samples are denser than pixels; of several on one pixel the last counts, once.
        self.paint[where] += (tint - self.paint[where]) * a[:, None]
        self.relief[where] += (ridge + 0.3 * self.relief[where] - self.relief[where]) * a

    def layer(
        self,
        width: float,
        length: float,
        cover: float = 2.0,
        *,
        where: NDArray | None = None,
        tone: float = 0.05,
        hue: float = 0.03,
        swing: float = 0.1,
        shift: Sequence[float] = (0, 0, 0),
        **brush: float,
    ) -> None:
        """Cover the canvas `cover` times with strokes by the plan, `where` (in [0, 1]) allows.

        `tone` and `hue` jitter the colour, `swing` the direction (radians); `shift` is added.
        """
        rng, w, h = self.rng, self.w / self.unit, self.h / self.unit
        count = int(cover * (w + 0.1) * (h + 0.1) / (width * length))
        start = rng.random((count, 2)) * (w + 0.1, h + 0.1) - 0.05
        if where is not None:
            start = start[rng.random(count) < where[self._pixel(start)]]
        count = len(start)
        swings = rng.normal(0, swing, count)
        halves = []
        for sign in (-1, 1):
            point, half = start.copy(), []
            step = sign * length / 16 * rng.uniform(0.5, 1.3, count)[:, None]
            for _ in range(8):
                heading = self.angle[self._pixel(point)] + swings
                point = point + step * np.stack((np.cos(heading), np.sin(heading)), -1)
                half.append(point)
            halves.append(half)
        paths = np.stack(halves[0][::-1] + [start] + halves[1], 1)
        colours = self.plan[self._pixel(start)] + np.float32(shift)
        colours = colours + rng.normal(0, tone, (count, 1)) + rng.normal(0, hue, (count, 3))
        colours = np.clip(colours, 0.02, 0.99).astype(np.float32)
        for path, colour, k in zip(paths, colours, rng.uniform(0.7, 1.25, count), strict=True):
            self.stroke(path, width * k, colour, **brush)

    def _pixel(self, points: NDArray) -> tuple[NDArray, NDArray]:
        """Indices (rows, columns) of the pixels at `points`, those outside moved to the edge."""
        x, y = (points * self.unit).astype(int).T
        return np.clip(y, 0, self.h - 1), np.clip(x, 0, self.w - 1)

    def finish(self, gloss: float = 0.12, weave: float = 0.25) -> Image.Image:
        """The dry painting, lit and reduced to its final size."""
        thread = 2 * np.pi * self.unit / 4.6 / SUPERSAMPLE
        cloth = np.sin(self.x * thread) * np.sin(self.y * thread) + self.noise(0.004, 1) - 0.5
        height = self.relief + weave * cloth / (1 + 0.6 * self.relief)
        down, right = np.gradient(height)
        light = np.tanh(0.8 * (down + right))[..., None]
        lit = self.paint * (1 + 2 * gloss * light) + 0.35 * gloss * np.maximum(light, 0) ** 2
        image = Image.fromarray((np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8))
        return image.resize(
            (self.w // SUPERSAMPLE, self.h // SUPERSAMPLE), Image.Resampling.LANCZOS
        )


def storm(size: int) -> Image.Image:
    """A gale: swept waves under a smoky sky that bursts open, a boat under an ochre sail."""
    p = Canvas(size, 1.46, seed=11)
    x, y, rng = p.x, p.y, p.rng
    drift, rise = 0.14 * (p.noise(0.16, 5) - 0.5), 0.15 * (p.noise(0.13, 5) - 0.5)
    far = np.hypot((x - 0.44 + 0.4 * (y - 0.3) + drift) / 1.3, y - 0.26 + rise)
    glow = 0.75 * bump(far, 0.10) + 0.65 * bump(far, 0.24)
    sky = 0.58 * glow + 0.42 * p.noise(0.2, 5, 1.5) - 0.12 + 0.1 * y
    p.plan = ramp(sky, "1f2927", "3a4845", "66705f", "9a8a58", "d2a850", "f0dc96", "fbf2d4")
    p.follow(np.hypot(x - 0.47, (y - 0.55) * 2.5) + 0.25 * p.noise(0.25, 3))
    spray = np.zeros_like(x)
    for depth in np.linspace(0, 1, 6):
        base, tilt = 0.37 + 0.25 * depth**1.1, rng.normal(0, 0.12)
        swell = p.noise(0.12 + 0.16 * depth, 3, 1.1)[p.h // 2] ** 1.5
        lean = x + (0.8 + depth) * (y - base)  # waves topple as they rise
        below = y - base - tilt * (x - 0.5) + (0.05 + 0.15 * depth) * np.interp(lean, x[0], swell)
        lace = (1 - np.abs(2 * p.noise(0.05 + 0.05 * depth, 4, 2) - 1)) ** 3
        facing = np.clip(np.gradient(below, axis=1) * p.unit * np.tanh(9 * (0.47 - x)), -1, 1)
        lit = 0.6 * bump(below, 0.012 + 0.02 * depth) + 0.75 * lace * bump(below, 0.25)
        lit = 0.12 + (lit + 0.12 * facing) * (0.5 + 0.85 * bump(x - 0.47, 0.3))
        mist = 0.6 * bump(below, 0.035 + 0.02 * depth) * p.noise(0.07, 4)
        p.mix(ramp(0.5 + 0.5 * glow, "84876c", "c2b485", "f3e6bc"), mist)
        sea = ramp(lit, "0c1412", "1d2c25", "3a4a38", "666f4c", "a09a66", "d6c894", "f1e9c8")
        p.mix(sea, np.clip(below / 0.006, 0, 1))
        p.follow(below + 0.08 * p.noise(0.14, 3), below > 0)
        spray = np.maximum(np.where(below > 0.02, 0, spray), bump(below, 0.008 + 0.01 * depth))
    p.paint[:] = p.plan
    p.layer(0.050, 0.20, 3, soft=0.8, body=0.4, tone=0.03, hue=0.01, fit=0.5)
    p.layer(0.024, 0.11, 3, soft=0.7, body=0.5, dry=0.5, tone=0.03, hue=0.012, fit=0.3)
    p.layer(0.011, 0.06, 3, soft=0.5, body=0.7, dry=0.6, tone=0.035, hue=0.015, fit=0.22)
    p.layer(0.005, 0.03, 2, dry=0.7, soft=0.4, tone=0.04, hue=0.015, fit=0.18, swing=0.2)
    for cx, tall in ((0.66, 0.10), (0.70, 0.17)):  # a boat: two masts, sails of a few dry strokes
        mast = np.array([(cx, 0.34), (cx + 0.35 * tall, 0.34 - tall)])
        for k in np.linspace(0.05, 1, 12):
            foot = mast[0] + tall * np.array((0.62 * k, -0.12 - 0.1 * k))
            bulge = (mast[1] + foot) / 2 + tall * np.array((0.12 * k, 0.02))
            tan = ramp(1 - k + rng.normal(0, 0.12), "7a5020", "b98030", "dca548", "f0d48a")
            cloth = np.array([mast[1], bulge, foot])
            p.stroke(cloth, 0.09 * tall, tan, ends=0.6, dry=0.4, soft=0.5)
        p.stroke(mast, 0.003, np.float32((0.16, 0.12, 0.08)), dry=0.5)
    hull = np.array([(0.63, 0.325), (0.66, 0.345), (0.71, 0.346), (0.765, 0.318)])
    p.stroke(hull, 0.024, np.float32((0.12, 0.09, 0.06)), ends=0.4, dry=0.2)
    spatter = {"shift": (0.17, 0.16, 0.12), "dry": 0.8, "swing": 0.35, "body": 1.5, "fit": 0.4}
    p.layer(0.004, 0.02, 2, where=spray, **spatter)
    return p.finish(gloss=0.14)


def swirling_night(size: int) -> Image.Image:
    """A night sky in spate: curling ridges of blue, haloed stars, dark trees and hills."""
    p = Canvas(size, 1.27, seed=5)
    x, y = p.x, p.y
    stream = y + 0.03 * np.sin(7 * x + 1) + 0.05 * p.noise(0.25, 2)
    twist = np.zeros_like(x)
    vortices = ((0.42, 0.27, 0.16, 0.4), (0.66, 0.4, 0.09, -0.17), (0.05, 0.44, 0.1, 0.2))
    for cx, cy, r, turn in vortices:
        stream = stream + turn * bump(np.hypot(x - cx, y - cy), r)
        twist += np.sign(turn) * np.arctan2(y - cy, x - cx)
    wave = np.sin((62 + 8 * p.noise(0.4, 1)) * stream + twist) + 0.5 * np.sin(131 * stream - twist)
    tone = 0.42 + 0.24 * wave + 0.6 * (p.noise(0.09, 3) - 0.5)
    p.plan = ramp(tone, "0c1440", "16286c", "24429a", "3d68b8", "7ba2cd", "bfd3d2", "e6e6c0")
    p.follow(stream)
    stars = [(0.05, 0.08, 0.045), (0.2, 0.12, 0.06), (0.5, 0.05, 0.04), (0.72, 0.16, 0.05)]
    stars += [(0.27, 0.33, 0.03), (0.9, 0.37, 0.045), (0.34, 0.48, 0.035), (0.34, 0.04, 0.025)]
    stars += [(0.8, 0.29, 0.02), (0.56, 0.53, 0.02), (0.88, 0.12, 0.12)]
    for cx, cy, r in stars:
        far = np.hypot(x - cx, y - cy)
        ring = far / r + 0.2 * (p.noise(0.03, 2) - 0.5)
        halo = ramp(ring, "fffdf0", "fdf0a0", "f3c832", "e3cf70", "b9cfb8", "6f9cc4", "4a78bc")
        p.mix(halo, np.clip(2.2 - 1.8 * ring, 0, 1) * (0.72 + 0.28 * np.cos(22 * ring)))
        p.follow(far, far < 1.2 * r)
    for k, depth in enumerate(np.linspace(0, 1, 4)):
        top = 0.58 + 0.15 * depth - 0.10 * p.noise(0.25, 2)[p.h // 2] * (1 - 0.4 * depth)
        hill = y - top[None]
        bush = p.noise(0.075, 2, 1.3) if k % 2 else 0.25 * p.noise(0.12, 2)
        rows = 0.40 + 0.26 * np.sin(110 * hill + 22 * bush) + 0.5 * (p.noise(0.05, 2) - 0.5)
        rows += 0.5 * bump(hill, 0.008) - 0.3 * bump(hill - 0.025, 0.012)
        blue, green = "070c22 122048 1f4178 4a80a4 b9d4c0", "070d10 12302a 24584a 6a9450 d0c25a"
        p.mix(ramp(rows, *(green if k % 2 else blue).split()), hill > 0)
        p.follow(hill + 0.2 * bush, hill > 0)
    for cx, tall, wide in ((0.20, 0.36, 0.045), (0.135, 0.62, 0.062), (0.07, 0.27, 0.04)):
        up = np.clip((0.85 - y) / tall, 0, 1)
        lean = x - cx - 0.006 * np.sin(14 * up + 90 * cx)
        inside = np.abs(lean) < wide * (1 - up) ** 0.8 * (0.85 + 0.2 * np.sin(31 * up))
        inside &= up < 1
        grain = p.bands(lean - 0.01 * np.sin(12 * up), 130)
        p.mix(ramp(grain, "06090c", "12241f", "2c4630", "6a6a34"), inside)
        p.angle = np.where(inside, 1.57 + 0.4 * np.sin(31 * up + 60 * lean), p.angle)
    p.paint[:] = p.plan
    p.layer(0.020, 0.08, 3, tone=0.03, fit=0.5)
    p.layer(0.010, 0.050, 2.5, tone=0.06, hue=0.035, body=1.3, fit=0.4)
    p.layer(0.0075, 0.036, 1.8, tone=0.09, hue=0.04, body=1.6, dry=0.35, fit=0.4)
    p.layer(0.005, 0.03, 0.35, tone=0.05, shift=(0.2, 0.2, 0.14), body=1.8, fit=0.5)
    p.layer(0.005, 0.035, 0.3, tone=0.04, shift=(-0.2, -0.2, -0.12), body=1.2, fit=0.5)
    return p.finish(gloss=0.16)


def burning_dusk(size: int) -> Image.Image:
    """Sunset in long waving bands of fire, over a dark fjord and a pier that runs away."""
    p = Canvas(size, 0.8, seed=3)
    x, y = p.x, p.y
    sway = 0.03 * np.sin(7.5 * x + 0.6 + 4 * y) + 0.016 * np.sin(15 * x - 9 * y)
    sky = y + sway * (0.5 + 1.2 * np.sin(5 * y + 1) ** 2)
    fire = ("8d1f14", "c8321a", "e2501f", "ee7a2a", "f3a545", "f2cf78", "a9b7a0")
    p.plan = ramp(p.bands(sky, 55), *fire)
    p.follow(sky)
    land = y - 0.345 - 0.012 * np.sin(9 * x + 2) + 0.05 * bump(x - 0.6, 0.14)
    eddy = bump(np.hypot((x - 0.56) / 1.5, y - 0.53), 0.085)
    water = y + 0.03 * np.sin(8 * x + 2) + 0.16 * eddy
    tone = p.bands(water, 50)
    p.mix(ramp(tone, "0b1420", "12263a", "1f4658", "2f5a68", "7d9490"), land > 0)
    gleam = bump(y - 0.445 - 0.012 * np.sin(12 * x), 0.028) * bump(x - 0.2, 0.34)
    p.mix(ramp(tone, "b0602a", "d99045", "e8bd6c", "e2d29a"), 1.2 * np.minimum(gleam, 0.8))
    p.follow(water, land > 0)
    shore = np.hypot(x - 0.98, (y - 1.0) * 0.8) + 0.03 * np.sin(11 * y + 3 * x)
    bank = 0.45 - shore + 0.05 * np.sin(9 * x)
    grass = ramp(p.bands(shore, 75), "101a1c", "1d3436", "4a4a30", "7d5a30", "b98a4c", "3c5a58")
    p.mix(grass, bank > 0)
    p.follow(shore, bank > 0)
    fan = np.arctan2(y - 0.36, x + 0.10)
    planks = ramp(p.bands(fan, 55), "1a1210", "45241a", "80401f", "b5702f", "6d6a4c", "d29a58")
    p.mix(planks, fan > 0.8)
    for rail in (0.62, 0.70, 0.80):
        across = (fan - rail) / 0.05 + 0.5
        p.mix(ramp(across, "120e10", "2a1614", "c2502a", "e08a4a"), np.abs(across - 0.5) < 0.5)
        p.follow(fan, (np.abs(across - 0.5) < 0.5) | (fan > 0.8))
    p.paint[:] = p.plan
    p.layer(0.022, 0.25, 3, tone=0.03, hue=0.02, swing=0.04, body=0.5, fit=0.5)
    p.layer(0.012, 0.24, 2.5, tone=0.05, hue=0.025, swing=0.04, dry=0.5, fit=0.35, body=0.7)
    p.layer(0.006, 0.18, 2, tone=0.07, hue=0.03, swing=0.04, dry=0.6, fit=0.35, body=0.8)
    p.layer(0.004, 0.16, 0.4, shift=(0.16, 0.14, 0.12), swing=0.05, dry=0.8, body=0.9, fit=0.5)
    p.layer(0.004, 0.16, 0.4, shift=(-0.25, -0.18, -0.1), swing=0.05, dry=0.7, body=0.5, fit=0.5)
    return p.finish(weave=0.35)


def dark_facets(size: int) -> Image.Image:
    """A seated form broken into facets: straight edges, each shaded away to one side."""
    p = Canvas(size, 0.77, seed=8)
    rng, edges = p.rng, []
    p.plan = ramp(p.noise(0.3, 3), "161c1e", "2a3434", "454840", "5a4d38")
    hues = [
        ("0b1012", "2a3533", "5c6358", "9f9a86", "e0d6ba"),
        ("120f0c", "3d2c1c", "785832", "b58a56", "ead0a0"),
        ("0a1417", "1f383c", "45625f", "84968b", "ccd0bc"),
    ]
    for span in np.geomspace(0.45, 0.045, 340):
        cx, cy = rng.normal((0.39, 0.52), (0.07 + 0.4 * span, 0.22 + 0.4 * span))
        if rng.random() < 0.5:
            cx, cy = rng.random(2) * (0.77, 1)
        turn = rng.choice(np.radians([-66, -30, 6, 40, 84])) + rng.normal(0, 0.07)
        thin = span * rng.uniform(0.3, 0.75)
        corner = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (span, thin) / 2
        along, across = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
        points = corner * rng.uniform(0.45, 1.2, (4, 1)) @ (along, across) + (cx, cy)
        at = p.window(cx, cy, span)
        inside = p.polygon(points, at)
        away = ((p.x[at] - cx) * across[0] + (p.y[at] - cy) * across[1]) / thin + 0.5
        body = bump(np.hypot((cx - 0.39) / 0.19, (cy - 0.52) / 0.38), 1.0)
        value = rng.beta(1.4, 1.6) * (0.52 + 0.55 * body)
        tint = ramp(value * (1.2 - 0.6 * away), *hues[rng.choice(3, p=(0.4, 0.38, 0.22))])
        p.mix(tint, inside * np.clip(1.2 - 1.1 * away, 0, 1), at)
        p.angle[at][inside] = turn + (np.pi / 2 if rng.random() < 0.3 else 0)
        edges.append((points[:2], span, value))
    p.paint[:] = p.plan
    p.layer(0.030, 0.07, 2.5, tone=0.03, hue=0.01, fit=0.25, body=0.5)
    p.layer(0.014, 0.035, 3, tone=0.04, hue=0.012, fit=0.14, body=0.8)
    p.layer(0.008, 0.022, 2.5, tone=0.045, hue=0.015, fit=0.12, dry=0.4, body=1.1)
    for (a, b), span, value in edges[20::2]:
        path = a + (b - a) * np.linspace(-0.05, 1.12, 5)[:, None]
        ink = np.float32((0.88, 0.82, 0.66) if value > 0.6 else (0.05, 0.055, 0.06))
        p.stroke(path, 0.003 + 0.006 * span, ink, alpha=0.6, dry=0.7, ends=0.5, body=0.5)
    return p.finish(gloss=0.12, weave=0.35)


def bursting_composition(size: int) -> Image.Image:
    """An outburst of wedges, arcs, blots and crossing lines in every colour, with white between."""
    p = Canvas(size, 1.45, seed=21)
    rng = p.rng
    ground = ("e8a24a", "f6eed8", "faf7ee", "f4f0e6", "dfe3ea", "f3e3b0", "b8a8c8")
    p.plan = ramp(p.noise(0.16, 3), *ground)
    p.angle = 6 * p.noise(0.3, 2)
    hues = ["d8281e"] * 2 + ["f2c318"] * 2 + ["2a4fa8"] + ["16182e"] * 2 + ["f8f5ea"] * 2
    hues += [
        "e8701c",
        "2f7d4f",
        "7a2a6a",
        "8fb4d8",
        "f3a6a0",
        "a81c2e",
        "f7e27a",
        "5a3a22",
        "5fa08c",
    ]
    for r in np.geomspace(0.17, 0.012, 330):
        cx, cy = rng.random(2) * (1, 0.69)
        if rng.random() < 0.4:
            cx, cy = rng.normal((0.48, 0.34), (0.2, 0.13))
        at = p.window(cx, cy, 2 * r)
        turn, kind = rng.choice([-0.7, 0.85, 2.4, -2.3]) + rng.normal(0, 0.35), rng.random()
        dx, dy = p.x[at] - cx, p.y[at] - cy
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        round_ = np.arctan2(v, u)
        far = np.hypot(u, v * rng.uniform(0.8, 2.2))
        if kind < 0.35:  # a wedge
            edge = np.minimum(rng.uniform(0.12, 0.4) * u - np.abs(v - 0.2 * u * u / r), 1.8 * r - u)
        elif kind < 0.6:  # an arc, thicker in the middle
            edge = 0.28 * r * np.cos(round_ * 0.8) - np.abs(far - r)
        elif kind < 0.9:  # a blot
            edge = 0.7 * r - far
            for k in range(1, 6):
                edge += r * rng.normal(0, 0.13) * np.sin(k * round_ + rng.uniform(0, 6))
        else:  # a target
            edge = 0.55 * r - np.hypot(u, v)
        one, two, three = rng.choice(hues, 3, replace=False)
        fade = rng.choice([0, 0.8]) * u / r
        tint = ramp(0.5 + 0.6 * v / r, one, two)
        if kind >= 0.9:
            tint = ramp(edge / (0.55 * r), one, one, two, two, three, three)
        soft = rng.choice([0.002, 0.002, 0.3 * r])
        p.mix(tint, np.clip(edge / soft, 0, 1) * np.clip(1 + fade, 0, 1), at)
        bend = np.arctan2(dy, dx) + np.pi / 2 if kind > 0.35 else np.full_like(u, turn)
        p.angle[at] = np.where(edge > 0, bend, p.angle[at])
    p.paint[:] = p.plan
    p.layer(0.022, 0.05, 2.5, tone=0.03, fit=0.3, body=0.6)
    p.layer(0.010, 0.03, 3, tone=0.04, hue=0.04, fit=0.2, body=0.9)
    p.layer(0.006, 0.02, 2.5, tone=0.045, hue=0.04, fit=0.18, body=1.0)
    for _ in range(190):
        start = rng.normal((0.5, 0.34), (0.28, 0.19))
        turn = rng.choice([-0.7, 0.85, 2.4, 1.5]) + rng.normal(0, 0.25)
        count = rng.choice([1, 1, 1, 1, 1, 1, 4, 7])
        length = rng.gamma(2, 0.02 if count > 1 else 0.07)
        curl = rng.choice([0, 1, 3]) * rng.normal(0, 1)
        heading = turn + curl * np.linspace(-0.5, 0.5, 30)
        path = start + np.cumsum(np.stack((np.cos(heading), np.sin(heading)), 1), 0) * length / 30
        inks = [(0.06, 0.05, 0.08)] * 5 + [(0.7, 0.1, 0.1), (0.95, 0.93, 0.88)]
        ink = np.float32(rng.choice(inks))
        width = 0.0025 + 0.005 * rng.random() ** 3
        for k in range(count):
            aside = 0.008 * k * np.array((-np.sin(turn), np.cos(turn)))
            p.stroke(path + aside, width, ink, dry=0.4, ends=0.45, body=0.8)
    return p.finish(gloss=0.10)


PAINTINGS: dict[str, Callable[[int], Image.Image]] = {
    painter.__name__: painter
    for painter in (storm, swirling_night, burning_dusk, dark_facets, bursting_composition)
}


def main() -> None:
    """Paint the named pictures, or all five."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(PAINTINGS)}")
    parser.add_argument("--size", type=int, default=640, help="longer side (%(default)s px)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (%(default)s)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in PAINTINGS]:
        parser.error(f"no painting named {', '.join(unknown)}; choose from {', '.join(PAINTINGS)}")
    if not 64 <= args.size <= 4096:
        parser.error("--size must be from 64 to 4096")
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.names or PAINTINGS:
        picture, path = PAINTINGS[name](args.size), args.output / f"{name}.jpg"
        unfinished = path.with_suffix(".tmp")
        picture.save(unfinished, "JPEG", quality=90, optimize=True)
        os.replace(unfinished, path)
        print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
