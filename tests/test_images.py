"""Files to tensors and back: depths, modes, profiles, orientation, and every way to go wrong."""

import contextlib
import io
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files import decode, formats
from stylelab.files.decode import size_of
from stylelab.files.local import atomic
from stylelab.images import check_output, load_image, read_metadata, save_image


def ramp(channels: int, dtype: type, height: int = 5, width: int = 7) -> np.ndarray:
    """Random `(height, width, channels)` samples that use all bits of `dtype`."""
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top, (height, width, channels), endpoint=True)
    return values.astype(dtype)


def as_tensor(samples: np.ndarray) -> torch.Tensor:
    scaled = samples.astype(np.float64) / np.iinfo(samples.dtype).max
    return torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]


def write_png(path, samples: np.ndarray, depth: int, colour_type: int, *chunks: tuple) -> None:
    """A PNG of `(H, W, C)` samples of `depth` bits; `chunks` (name, data) precede the pixels."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width = samples.shape[:2]
    bits = (samples.reshape(height, -1, 1).astype(int) >> np.arange(depth)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.astype(np.uint8))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


def srgb_from_light(light: np.ndarray) -> np.ndarray:
    """sRGB's transfer function, as in IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp"])
def test_eight_bit_colour_is_exact(tmp_path, suffix):
    samples = ramp(3, np.uint8)
    Image.fromarray(samples).save(tmp_path / f"a.{suffix}", lossless=True)
    image = load_image(tmp_path / f"a.{suffix}")
    assert image.shape == (1, 3, 5, 7) and image.dtype == torch.float32
    assert torch.equal(image, as_tensor(samples))


def test_jpeg(tmp_path):
    samples = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.jpg", quality=95)
    assert (load_image(tmp_path / "a.jpg") - as_tensor(samples)).abs().max() < 0.02


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_sixteen_bit_png_keeps_all_bits(tmp_path, channels, colour_type):
    samples = ramp(channels, np.uint16)
    write_png(tmp_path / "a.png", samples, 16, colour_type)
    expected = as_tensor(samples)
    if channels in (2, 4):
        alpha = expected[:, -1:]
        expected = expected[:, :-1] * alpha + 1 - alpha
    assert torch.allclose(load_image(tmp_path / "a.png"), expected.expand(1, 3, 5, 7), atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette(tmp_path, mode):
    source = Image.fromarray(ramp(3, np.uint8)).convert(mode)
    source.save(tmp_path / "a.png")
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(np.array(source.convert("RGB"))))


def test_alpha_is_composited_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 51)).save(tmp_path / "rgba.png")
    Image.new("LA", (4, 4), (0, 51)).save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "p.png", transparency=bytes([255, 51]))
    red = torch.tensor([1, 0.8, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert torch.allclose(load_image(tmp_path / "rgba.png"), red)
    assert torch.allclose(load_image(tmp_path / "p.png"), red)
    assert torch.allclose(load_image(tmp_path / "la.png"), torch.full((1, 3, 4, 4), 0.8))


def swapped_profile() -> bytes:
    """An ICC profile whose red and blue are exchanged: its effect cannot be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(struct.unpack_from(">I", profile, 128)[0]):
        place = 132 + 12 * i
        tag = bytes(profile[place : place + 4])
        profile[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(tag, tag)
    return bytes(profile)


def test_profile_is_converted_to_srgb_at_both_depths(tmp_path):
    source = Image.new("RGB", (8, 8), (200, 100, 50))
    source.save(tmp_path / "a.png", icc_profile=swapped_profile())
    source.save(tmp_path / "a.jpg", icc_profile=swapped_profile(), quality=95, subsampling=0)
    expected = as_tensor(np.array(source))[:, [2, 1, 0]]
    for name in ("a.png", "a.jpg"):
        assert (load_image(tmp_path / name) - expected).abs().max() < 0.02
    deep = np.array(source).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", iccprofile=swapped_profile())
    assert (load_image(tmp_path / "a.tif") - expected).abs().max() < 0.02


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_srgb_or_broken_profile_changes_nothing(tmp_path, mode):
    samples = ramp(3, np.uint8)
    source = Image.fromarray(samples).convert(mode)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"not a profile", srgb[:200]):
        source.save(tmp_path / "a.png", icc_profile=profile)
        assert torch.equal(
            load_image(tmp_path / "a.png"), as_tensor(np.array(source.convert("RGB")))
        )


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation, suffix):
    upright = Image.new("L", (32, 16), 0)
    upright.paste(255, (0, 0, 16, 8))  # bright at the top left
    upright.paste(128, (16, 0, 32, 8))  # grey at the top right
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose operation undoing each
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.convert("RGB").save(tmp_path / f"a.{suffix}", exif=exif)
    image = load_image(tmp_path / f"a.{suffix}")
    assert image.shape == (1, 3, 16, 32) and size_of(tmp_path / f"a.{suffix}") == (32, 16)
    assert image[0, 0, 4, 8] > 0.9 and 0.4 < image[0, 0, 4, 24] < 0.6 and image[0, 0, 12, 16] < 0.1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored(tmp_path):
    samples = ramp(3, np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(samples))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_png_with_a_transparent_grey(tmp_path, depth):
    samples = np.arange(40).reshape(5, 8, 1) % 2**depth * (257 if depth == 16 else 1)
    clear = int(samples[0, 1, 0])
    write_png(tmp_path / "a.png", samples, depth, 0, (b"tRNS", struct.pack(">H", clear)))
    expected = np.where(samples == clear, 1, samples / (2**depth - 1))[..., 0]
    assert np.allclose(load_image(tmp_path / "a.png")[0], expected, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 16])
def test_png_with_a_transparent_colour(tmp_path, depth):
    samples = ramp(3, np.uint8 if depth == 8 else np.uint16)
    clear = samples[2, 3].astype(">u2").tobytes()
    write_png(tmp_path / "a.png", samples, depth, 2, (b"tRNS", clear))
    expected = as_tensor(samples)
    expected[0, :, 2, 3] = 1
    assert torch.allclose(load_image(tmp_path / "a.png"), expected, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("gamma", [1.0, 0.45455, 1 / 1.8])
@pytest.mark.parametrize("colour_type", [0, 2])
def test_png_gamma(tmp_path, depth, gamma, colour_type):
    samples = ramp(1 + colour_type, np.uint8 if depth == 8 else np.uint16)
    chunk = (b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    write_png(tmp_path / "a.png", samples, depth, colour_type, chunk)
    values = samples / (2**depth - 1)
    expected = values if gamma == 0.45455 else srgb_from_light(values ** (1 / gamma))
    image = load_image(tmp_path / "a.png")[0].permute(1, 2, 0).numpy()
    assert np.abs(image - expected).max() < 0.002
    write_png(tmp_path / "a.png", samples, depth, colour_type, (b"sRGB", b"\0"), chunk)
    image = load_image(tmp_path / "a.png")[0].permute(1, 2, 0).numpy()
    assert np.allclose(image, np.broadcast_to(values, image.shape), atol=1e-6)


def test_png_with_cicp_is_srgb_or_refused(tmp_path):
    samples = ramp(3, np.uint8)
    write_png(tmp_path / "a.png", samples, 8, 2, (b"cICP", bytes([1, 13, 0, 1])))
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(samples))
    for codes, words in (((9, 16), "HDR"), ((9, 18), "HDR"), ((12, 13), "primaries 12")):
        write_png(tmp_path / "a.png", samples, 8, 2, (b"cICP", bytes([*codes, 0, 1])))
        with pytest.raises(ImageError, match=words):
            load_image(tmp_path / "a.png")


# ------------------------------------------------------------------ TIFF


def write_tiff(path, samples: np.ndarray, photometric: int, tags=(), byteorder="<", planar=False):
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
    path.write_bytes(header + data + directory + bytes(4) + more)


TURNS = {  # what each orientation asks to be done to the stored rows
    **{1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1]},
    **{5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1)},
    **{7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a)},
}
KINDS = {"grey": (1, 1), "white first": (0, 1), "RGB": (2, 3), "CMYK": (5, 4)}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(KINDS)),
    st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]),
    st.sampled_from([(), (0,), (1,), (2,), (0, 2), (1, 0)]),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from("<>"),
    st.integers(0, 2**32 - 1),
)
def test_any_tiff(tmp_path_factory, kind, dtype, extra, orientation, planar, byteorder, seed):
    """Extra samples: 0 unspecified and dropped, 1 alpha multiplied in, 2 alpha apart."""
    dice, (photometric, count) = np.random.default_rng(seed), KINDS[kind]
    height, width = dice.integers(1, 9, 2)
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    values = (dice.random((height, width, count + len(extra))) * top).astype(dtype)
    alpha = np.ones((height, width, 1))
    if 1 in extra or 2 in extra:
        place = count + [each > 0 for each in extra].index(True)
        alpha = values[..., place : place + 1].astype(float) / top
    colour = values[..., :count].astype(float) / top
    if 1 in extra:  # what is stored is rounded once more
        stored = colour * alpha * top
        values[..., :count] = stored if np.dtype(dtype).kind == "f" else stored.round()
    if kind == "CMYK":
        colour = (1 - colour[..., :3]) * (1 - colour[..., 3:])
    elif kind == "white first":
        colour = 1 - colour
    expected = TURNS[orientation](colour * alpha + 1 - alpha)
    tags = {274: (3, [orientation])} | ({338: (3, list(extra))} if extra else {})
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    write_tiff(path, values, photometric, tags, byteorder, planar)
    image = load_image(path)[0].permute(1, 2, 0).numpy()
    assert size_of(path) == (image.shape[1], image.shape[0]) == expected.shape[1::-1]
    rounding = 1 / top if 1 in extra and top > 1 else 1e-6  # of an ink, multiplied by alpha
    assert np.abs(image - np.broadcast_to(expected, image.shape)).max() < 4 * rounding


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("count", [1, 3])
def test_tiffs_of_other_depths_use_their_whole_range(tmp_path, bits, count):
    samples = np.random.default_rng(0).integers(0, 2**bits, (5, 8, count))
    packed = (samples.reshape(5, -1, 1) >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(packed.reshape(5, -1).astype(np.uint8), axis=1)[..., None]
    tags = {256: (4, [8]), 258: (3, [bits] * count), 277: (3, [count]), 339: (3, [1] * count)}
    write_tiff(tmp_path / "a.tif", rows, 2 if count == 3 else 1, tags)
    expected = (samples / (2**bits - 1)).transpose(2, 0, 1)
    assert np.allclose(load_image(tmp_path / "a.tif")[0], expected, atol=1e-6)


COMPRESSIONS = ["lzw", "zlib", "packbits", "zstd", "lzma"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 3}])
def test_compressed_tiffs(tmp_path, compression, dtype, layout):
    values = np.random.default_rng(0).random((20, 37, 3))
    values = (values * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)
    for predictor in (False, True):
        options = {"compression": compression, "predictor": predictor, "photometric": "rgb"}
        tifffile.imwrite(tmp_path / "a.tif", values, **options, **layout)
        expected = torch.from_numpy(values) if dtype == np.float32 else as_tensor(values)[0]
        expected = expected if dtype != np.float32 else expected.permute(2, 0, 1)
        assert torch.allclose(load_image(tmp_path / "a.tif")[0], expected, atol=1e-6)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "packbits", "group3", "group4"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_tiffs_as_libtiff_writes_them(tmp_path, mode, compression, capfd):
    y, x = np.mgrid[:32, :48]
    source = Image.fromarray(np.stack([5 * x, 8 * y, 3 * (x + y)], -1).astype(np.uint8))
    source = source.convert(mode)
    quality = {"quality": 100} if compression == "jpeg" else {}
    try:
        source.save(tmp_path / "a.tif", compression=compression, **quality)
    except OSError:
        pytest.skip("there is no such TIFF")
    capfd.readouterr()
    image = load_image(tmp_path / "a.tif")[0].permute(1, 2, 0).numpy()
    if mode == "RGBA":
        white = Image.new("RGBA", source.size, "white")
        source = Image.alpha_composite(white, source)
    expected = np.asarray(source.convert("RGB")) / 255
    assert np.abs(image - expected).max() < (0.1 if compression == "jpeg" else 0.01)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("photometric", [8, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab(tmp_path, photometric, dtype):
    """Colours whose L*, a*, b* (D50) and sRGB are known: from Lindbloom's calculator."""
    lab = np.array([[100, 0, 0], [0, 0, 0], [54.29, 80.81, 69.89], [29.57, 68.3, -112.03]])
    srgb = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])
    unit = 1 if dtype == np.uint8 else 256
    lightness = lab[:, :1] / 100 * (65280 if (photometric, unit) == (9, 256) else unit * 256 - 1)
    a_b = (lab[:, 1:] + (128 if photometric == 9 else 0)) * unit
    samples = np.concatenate([lightness, a_b], 1).round().astype(np.int64).astype(dtype)
    write_tiff(tmp_path / "a.tif", samples[None], photometric)
    image = load_image(tmp_path / "a.tif")[0, :, 0].T.numpy()
    assert np.abs(image - srgb).max() < (0.03 if dtype == np.uint8 else 0.015)


def test_tiffs_with_palette_or_ycbcr_of_their_own(tmp_path):
    palette = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
    indices = ramp(1, np.uint8)
    write_tiff(tmp_path / "a.tif", indices, 3, {320: (3, palette.ravel().tolist())})
    expected = palette[:, indices[..., 0]] / 65535
    assert np.allclose(load_image(tmp_path / "a.tif")[0], expected, atol=1e-6)
    source = Image.fromarray(ramp(3, np.uint8)).convert("YCbCr")
    write_tiff(tmp_path / "b.tif", np.asarray(source), 6, {530: (3, [1, 1])})
    expected = np.asarray(source.convert("RGB")) / 255
    image = load_image(tmp_path / "b.tif")[0].permute(1, 2, 0).numpy()
    assert np.abs(image - expected).max() < 0.006


REFUSED = {
    "signed": (np.ones((4, 4, 1), np.int16), 1, {}, "integers"),
    "32 bits": (np.ones((4, 4, 3), np.uint32), 2, {}, "32-bit"),
    "floats above 1": (np.full((4, 4, 3), 200, np.float32), 2, {}, "scale them"),
    "NaN": (np.full((4, 4, 3), np.nan, np.float32), 2, {}, "NaN"),
    "float LAB": (np.ones((4, 4, 3), np.float32), 8, {}, "lab"),
    "raw sensor": (np.ones((4, 4, 1), np.uint16), 32803, {}, "CFA"),
    "other inks": (np.ones((4, 4, 4), np.uint8), 5, {332: (3, [2])}, "SEPARATED"),
    "too few": (np.ones((4, 4, 2), np.uint8), 2, {}, "takes 3"),
    "DNG": (np.ones((4, 4, 3), np.uint8), 2, {50706: (3, [1, 4, 0, 0])}, "raw"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tiffs_that_are_not_read_are_refused_by_name(tmp_path, capfd, name):
    samples, photometric, tags, words = REFUSED[name]
    write_tiff(tmp_path / "a.tif", samples, photometric, tags)
    with pytest.raises(ImageError, match=words) as caught:
        load_image(tmp_path / "a.tif")
    assert str(tmp_path / "a.tif") in str(caught.value) and capfd.readouterr() == ("", "")


def test_damaged_tiffs_are_refused_without_noise(tmp_path, capfd):
    for compression in (None, *COMPRESSIONS):
        options = {"compression": compression, "photometric": "rgb"}
        tifffile.imwrite(tmp_path / "a.tif", ramp(3, np.uint16, 64, 64), **options)
        whole = (tmp_path / "a.tif").read_bytes()
        for part in range(1, 10):
            (tmp_path / "a.tif").write_bytes(whole[: len(whole) * part // 10])
            with pytest.raises(ImageError) as caught:
                load_image(tmp_path / "a.tif")
            assert "supported between" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------ other formats


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
def test_the_first_of_several_pictures_is_read_and_that_is_said(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match=f"a.{suffix} holds several pictures; the first is used"):
        image = load_image(path)
    assert np.allclose(image[0, :, 8, 8], [1, 0, 0], atol=0.02)


def test_mpo_as_of_phones(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="several pictures"):
        assert np.allclose(load_image(tmp_path / "a.jpg")[0, :, 8, 8], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("transparent", [False, True])
def test_a_gif_is_white_around_its_frame(tmp_path, transparent):
    table = bytes([0, 255, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0])  # green, red, blue, black
    control = b"\x21\xf9\x04\x01\0\0\x02\0" if transparent else b""
    frame = b"," + struct.pack("<HHHHB", 2, 1, 2, 2, 0)
    codes = [4, 1, 2, 4, 1, 2, 5]  # clear, red, blue, clear, red, blue, end; three bits each
    bits = sum(code << 3 * place for place, code in enumerate(codes)).to_bytes(3, "little")
    screen = b"GIF89a" + struct.pack("<HHBBB", 5, 4, 0x91, 0, 0)
    path = tmp_path / "a.gif"
    path.write_bytes(screen + table + control + frame + b"\x02\x03" + bits + b"\0;")
    expected = torch.ones(1, 3, 4, 5)
    expected[0, :, 1:3, 2] = torch.tensor([1.0, 0, 0])[:, None]
    if not transparent:
        expected[0, :, 1:3, 3] = torch.tensor([0, 0, 1.0])[:, None]
    assert torch.equal(load_image(path), expected)


def test_avif_jpeg_2000_and_heic(tmp_path):
    y, x = np.mgrid[:64, :96]
    pixels = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.avif", quality=95)
    Image.fromarray(pixels).save(tmp_path / "a.jp2")
    kept = [tmp_path / "a.avif", tmp_path / "a.jp2"]
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=95)
        kept.append(tmp_path / "a.heic")
    for path in kept:
        assert (load_image(path) - as_tensor(pixels)).abs().max() < 0.06
        assert size_of(path) == (96, 64)


def test_heic_without_its_reader_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ImageError, match=r"HEIC image.*stylelab\[heic\]"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Not found", "web page"),
        (b"\n <HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"Just a few words, \xc3\xa9.", "text file"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypmp42", "film"),
        (b"\x80\x81\x82\x83" * 20, formats.READABLE),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, words):
    (tmp_path / "photo.jpg").write_bytes(content)
    for function in (load_image, size_of):
        with pytest.raises(ImageError, match=words) as caught:
            function(tmp_path / "photo.jpg")
        assert str(tmp_path / "photo.jpg") in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_may_lack_its_end_marker_but_no_pixels(tmp_path, mode, options):
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "a.jpg", quality=80, **options)
    whole, data = load_image(tmp_path / "a.jpg"), (tmp_path / "a.jpg").read_bytes()
    for lost in (1, 2):
        (tmp_path / "a.jpg").write_bytes(data[:-lost])
        assert torch.equal(load_image(tmp_path / "a.jpg"), whole)
    for lost in (*range(4, 20), *range(20, len(data) - 700, 97)):
        (tmp_path / "a.jpg").write_bytes(data[:-lost])
        with pytest.raises(ImageError):
            load_image(tmp_path / "a.jpg")


def test_sizes_are_read_from_headers_alone(tmp_path):
    """Of files whose pixels are missing: nothing is decoded."""
    Image.new("RGB", (4000, 3000)).save(tmp_path / "a.png")
    Image.new("RGB", (4000, 3000)).save(tmp_path / "a.jpg")
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
        assert size_of(tmp_path / name) == (4000, 3000)
    with pytest.raises(ImageError):
        size_of(tmp_path / "missing.png")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert check_output("~/a.png") == tmp_path / "a.png"
    save_image(torch.rand(3, 4, 4), "~/a.png", metadata={"a": "b"})
    assert load_image("~/a.png").shape == (1, 3, 4, 4) and size_of("~/a.png") == (4, 4)
    assert read_metadata("~/a.png") == {"a": "b"}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_every_bad_file_is_named_in_one_line(tmp_path, monkeypatch):
    good = tmp_path / "good.png"
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(good)
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.jpg")
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.webp")
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.tif", compression="tiff_lzw")
    write_png(tmp_path / "deep.png", ramp(3, np.uint16, 64, 64), 16, 2)
    bad = [tmp_path, tmp_path / "missing.png", good / "below.png"]
    for name in ("good.png", "good.jpg", "good.webp", "good.tif", "deep.png"):
        data = (tmp_path / name).read_bytes()
        for length in (0, 1, 10, 100, len(data) // 2):
            bad.append(tmp_path / f"{length}-{name}")
            bad[-1].write_bytes(data[:length])
    bad.append(tmp_path / "text.jpg")
    bad[-1].write_text("not an image")
    for path in bad:
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="at most 0 million are read"):
        load_image(good)


def test_load_at_a_size(tmp_path):
    Image.new("RGB", (100, 50), "red").save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", 20).shape == (1, 3, 10, 20)
    with pytest.raises(SettingError):
        load_image(tmp_path / "a.png", 0)


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize(("suffix", "bits"), [("png", 8), ("png", 16), ("tif", 8), ("TIFF", 16)])
def test_round_trip_is_exact(tmp_path, suffix, bits):
    path = tmp_path / "new" / "folder" / f"a.{suffix}"
    image = torch.rand(1, 3, 33, 21)
    save_image(image, path, bits=bits, metadata={"Title": "a ≥ b"})
    again = load_image(path)
    assert (again - image).abs().max() <= 0.5 / (2**bits - 1) + 1e-7
    save_image(again[0], tmp_path / f"b.{suffix}", bits=bits, metadata={"Title": "a ≥ b"})
    assert (tmp_path / f"b.{suffix}").read_bytes() == path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("suffix", "bits"), [("png", 16), ("tif", 16), ("tif", 8)])
def test_another_reader_agrees(tmp_path, suffix, bits):
    path = tmp_path / f"a.{suffix}"
    image = torch.rand(1, 3, 33, 21)
    save_image(image, path, bits=bits, metadata={"key": "value"})
    if suffix == "png":
        with Image.open(path) as file:
            file.load()
            seen, top = np.asarray(file), 255  # the high byte is all that Pillow shows
            assert file.info["srgb"] == 0
    else:
        seen, top = tifffile.imread(path), 2**bits - 1
    assert np.abs(seen / top - image[0].permute(1, 2, 0).numpy()).max() <= 1 / top + 1e-6


def test_jpeg_is_srgb_with_full_colour_resolution(tmp_path):
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0, :, ::2] = 1
    save_image(image, tmp_path / "a.jpg", metadata={"network": "vgg"})
    assert (load_image(tmp_path / "a.jpg") - image).abs().mean() < 0.02
    with Image.open(tmp_path / "a.jpg") as file:
        assert file.info["comment"] == b'{"network": "vgg"}'
        profile = ImageCms.ImageCmsProfile(io.BytesIO(file.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_metadata_round_trip(tmp_path):
    texts = {"Software": "stylelab", "losses": "α/β = 1e-3\nsecond line", "empty": ""}
    save_image(torch.rand(3, 4, 4), tmp_path / "a.png", metadata=texts)
    assert read_metadata(tmp_path / "a.png") == texts
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(ImageError):
            read_metadata(path)


def test_values_are_clamped_and_rounded(tmp_path):
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    save_image(values.half().requires_grad_(), tmp_path / "a.png")
    seen = (load_image(tmp_path / "a.png")[0, 0, 0] * 255).round().tolist()
    assert seen == [0, 0, 1, 255]


def test_refused_images_and_paths(tmp_path):
    image = torch.rand(1, 3, 8, 8)
    file = tmp_path / "file"
    file.write_text("")
    cases = [
        (image, "file/a.png", 8),
        (image, "x" * 300 + ".png", 8),
        (image * float("nan"), "a.png", 8),
        (torch.rand(2, 3, 8, 8), "a.png", 8),
        (torch.rand(1, 4, 8, 8), "a.png", 8),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "a.png", 8),
    ]
    for tensor, name, bits in cases:
        with pytest.raises(ImageError):
            save_image(tensor, tmp_path / name, bits=bits)
    with pytest.raises(ImageError):
        save_image(image, tmp_path / "a.png", metadata={"": "no key"})
    for name, bits in (("a.gif", 8), ("a", 8), ("a.jpg", 16), ("a.png", 12)):
        with pytest.raises(SettingError):
            save_image(image, tmp_path / name, bits=bits)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="folder.png"):
        save_image(image, tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_check_output(tmp_path):
    path = tmp_path / "new" / "a.png"
    assert check_output(path) == path
    assert list(tmp_path.iterdir()) == []  # nothing was made
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for name in ("file/a.png", "folder.png", "x" * 300 + "/a.png", "nul\0.png", "\udc80\ud800.png"):
        with pytest.raises(ImageError, match=r"a\.|folder|not a possible"):
            check_output(tmp_path / name)
    for name, bits in (("a.gif", 8), ("a.jpg", 16)):
        with pytest.raises(SettingError, match=r"a\."):
            check_output(name, bits=bits)


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(StylelabError, match="cannot be written"), atomic(path / "below"):
        pass
