"""Files that are not what they seem, made as the tests need them: name, and bytes or a maker."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
FORMATS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
MODES += ("HSV", "I", "I;16", "F")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(
    width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"", *chunks
) -> bytes:
    """A PNG whose header may say anything; `chunks` (name, content) precede the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]:
        checked = name + content
        made += struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
    return made


def tiff(samples: np.ndarray, photometric: int, tags=(), byteorder="<", planar=False) -> bytes:
    """An uncompressed TIFF of `(H, W, C)` samples, written tag by tag."""
    height, width, count = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    stored = samples.transpose(2, 0, 1) if planar else samples
    data = stored.astype(samples.dtype.newbyteorder(byteorder)).tobytes()
    strips = count if planar else 1
    size = len(data) // strips
    fields = {
        **{256: (4, [width]), 257: (4, [height]), 258: (3, [8 * samples.itemsize] * count)},
        **{259: (3, [1]), 262: (3, [photometric]), 277: (3, [count]), 278: (4, [height])},
        **{273: (4, [8 + i * size for i in range(strips)]), 279: (4, [size] * strips)},
        **{284: (3, [2 if planar else 1]), 339: (3, [kind] * count), **dict(tags)},
    }
    data += bytes(len(data) % 2)
    place, more = 8 + len(data) + 2 + 12 * len(fields) + 4, b""
    directory = struct.pack(f"{byteorder}H", len(fields))
    for tag, (code, values) in sorted(fields.items()):
        value = struct.pack(f"{byteorder}{len(values)}{'H' if code == 3 else 'I'}", *values)
        if len(value) > 4:
            more, value = more + value, struct.pack(f"{byteorder}I", place + len(more))
        directory += struct.pack(f"{byteorder}HHI4s", tag, code, len(values), value)
    mark = b"II*\0" if byteorder == "<" else b"MM\0*"
    header = mark + struct.pack(f"{byteorder}I", 8 + len(data))
    return header + data + directory + bytes(4) + more


def contents() -> Iterator[tuple[str, bytes]]:
    """Over three hundred files, by a name that says what is odd about each."""
    photo = Image.fromarray(PIXELS)
    good = {suffix: encoded(photo, kind) for suffix, kind in FORMATS.items()}
    good["lzw.tif"] = encoded(photo, "TIFF", compression="tiff_lzw")
    dice = np.random.default_rng(1)
    for suffix, data in good.items():
        yield f"good.{suffix}", data
        for part in range(1, 10):
            yield f"truncated-{part}0.{suffix}", data[: len(data) * part // 10]
        for byte in (1, 2, 4, 8, 16, 32):
            yield f"first-{byte}-bytes.{suffix}", data[:byte]
        for wrong in FORMATS:
            if wrong != suffix:
                yield f"really-{suffix}.{wrong}", data
        for number in range(12):
            broken = bytearray(data)
            for place in dice.integers(0, len(data), 1 + number):
                broken[place] = dice.integers(0, 256)
            yield f"damaged-{number}.{suffix}", bytes(broken)
        head = bytearray(data)
        head[8:40] = dice.integers(0, 256, 32, dtype=np.uint8).tobytes()
        yield f"head-damaged.{suffix}", bytes(head)
        yield f"more-behind.{suffix}", data + b"<script>" * 1000
        yield f"empty.{suffix}", b""
        yield f"zeros.{suffix}", bytes(1000)
        yield f"noise.{suffix}", dice.integers(0, 256, 1000, dtype=np.uint8).tobytes()
        yield f"text.{suffix}", "Not an image, \u00e9.".encode()
    for width, height in ((1, 1), (1, 10_000), (10_000, 1), (2, 2), (15, 17), (7, 5000)):
        plain = Image.new("RGB", (width, height), "red")
        yield f"{width}-by-{height}.png", encoded(plain, "PNG")
        yield f"{width}-by-{height}.jpg", encoded(plain, "JPEG")
    vast = (20_000, 65_535, 2**31 - 1)
    for side in vast:
        yield f"declares-{side}.png", png(side, side)
        yield f"declares-{side}-bits-16.png", png(side, side, 16, 6)
        yield f"bomb-{side}.png", png(side, side, data=zlib.compress(bytes(10**6)))
        yield f"strip-{side}.png", png(side, 1)
    yield "declares-0.png", png(0, 0)
    yield "depth-3.png", png(8, 8, depth=3)
    yield "colour-9.png", png(8, 8, colour=9)
    yield "endless.png", png(4000, 4000, data=zlib.compress(bytes(200 * 10**6), 9))
    yield (
        "declares-20000.bmp",
        b"BM" + struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, 20000, 20000, 1, 24),
    )
    yield "backwards.bmp", b"BM" + struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, -5, -7, 1, 24)
    yield "declares-65535.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b","
    jpeg = bytearray(good["jpg"])
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 65_500, 65_500)
    yield "declares-65500.jpg", bytes(jpeg)
    for mode in MODES:
        try:
            odd = photo.convert(mode)
        except ValueError:
            odd = Image.new(mode, photo.size)
        for suffix in ("png", "tif"):
            try:
                yield f"mode-{mode.replace(';', '-')}.{suffix}", encoded(odd, FORMATS[suffix])
            except (OSError, KeyError, ValueError):
                continue  # Pillow does not write it
    frames = [Image.new("RGB", (48, 40), colour) for colour in ("red", "green", "blue")]
    for suffix in ("gif", "png", "webp", "tif"):
        more = {"save_all": True, "append_images": frames[1:]}
        yield f"animated.{suffix}", encoded(frames[0], FORMATS[suffix], **more)
    values = {"nan": np.nan, "infinite": np.inf, "minus-infinite": -np.inf, "vast": 1e30}
    values |= {"negative": -1.0, "tiny": 1e-45}
    for name, value in values.items():
        for kind in (np.float16, np.float32, np.float64):
            with np.errstate(over="ignore"):
                field = np.full((40, 48, 3), 0.5).astype(kind)
                field[3, 4] = kind(value)
            file = io.BytesIO()
            tifffile.imwrite(file, field)
            yield f"{name}-{np.dtype(kind)}.tif", file.getvalue()
    for kind in (np.int8, np.int16, np.int32, np.uint32, np.uint64, np.complex64):
        file = io.BytesIO()
        tifffile.imwrite(file, np.ones((40, 48), kind))
        yield f"numbers-{np.dtype(kind)}.tif", file.getvalue()
    for maps in (2, 5, 7):
        file = io.BytesIO()
        tifffile.imwrite(file, np.ones((40, 48, maps), np.uint8), photometric="minisblack")
        yield f"maps-{maps}.tif", file.getvalue()
    for name, profile in {
        "noise": bytes(range(256)) * 4,
        "short": b"x",
        "zeros": bytes(128),
    }.items():
        for suffix in ("png", "jpg", "tif", "webp"):
            data = encoded(photo, FORMATS[suffix], icc_profile=profile)
            yield f"profile-{name}.{suffix}", data
    for value in (0, 9, 255, 65_535):
        exif = Image.Exif()
        exif[0x0112] = value
        yield f"orientation-{value}.jpg", encoded(photo, "JPEG", exif=exif)
    yield "exif-damaged.jpg", encoded(photo, "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 60)
    yield "pickle.png", b"cos\nsystem\n(S'touch owned'\ntR."
    yield "page.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


def places(folder: Path) -> Iterator[tuple[str, Path]]:
    """Paths that are not files, or whose names are odd, by what they are."""
    yield "missing", folder / "missing.png"
    yield "folder", folder
    yield "beneath a file", folder / "good.png" / "x.png"
    yield "long name", folder / ("n" * 5000 + ".png")
    yield "null device", Path(os.devnull)
    good = encoded(Image.fromarray(PIXELS), "PNG")
    (folder / "good.png").write_bytes(good)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
        yield "pipe", folder / "pipe.png"
        yield "endless device", Path("/dev/zero")
        loop = folder / "loop.png"
        loop.symlink_to(loop)
        yield "loop of links", loop
        dangling = folder / "dangling.png"
        dangling.symlink_to(folder / "gone")
        yield "dangling link", dangling
        names = ("with space.png", "-dash.png", "--help.png", "new\nline.png", "tab\t.png")
        names += (
            "\u00fcml\u00e4ut \u753b \U0001f3a8.png",
            "quote'\".png",
            "$(touch owned).png",
            "a;b&c.png",
        )
        names += ("\x1b[31mred.png", "%s%n.png", "{}.png", "\\back.png", ".hidden.png", "png")
        for name in names:
            path = folder / name
            path.write_bytes(good)
            yield f"name {name!r}", path
        unreadable = folder / "unreadable.png"
        unreadable.write_bytes(good)
        unreadable.chmod(0)
        yield "unreadable", unreadable
