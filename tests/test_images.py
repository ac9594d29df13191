"""Files to tensors and back: depths, modes, profiles, orientation, and every way to go wrong."""

import io
import json
import struct
import sys
import zlib

import hostile
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.files.decode import size_of
from stylelab.files.local import atomic
from stylelab.images import check_output, load_alpha, load_image, read_metadata, save_image
from stylelab.vgg import resize


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
    height, width = samples.shape[:2]
    bits = (samples.reshape(height, -1, 1).astype(int) >> np.arange(depth)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.astype(np.uint8))
    data = zlib.compress(rows)
    path.write_bytes(hostile.png(width, height, depth, colour_type, data, *chunks))


def srgb_from_light(light: np.ndarray) -> np.ndarray:
    """sRGB's transfer function, as in IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "gif"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_eight_bits_are_read_exactly(tmp_path, mode, suffix):
    source = Image.fromarray(ramp(3, np.uint8)).convert(mode)
    if suffix == "gif":
        source = source.convert("P")
    source.save(tmp_path / f"a.{suffix}", lossless=True)
    image = load_image(tmp_path / f"a.{suffix}")
    assert image.shape == (1, 3, 5, 7) and image.dtype == torch.float32
    assert torch.equal(image, as_tensor(np.array(source.convert("RGB"))))


GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6


@pytest.mark.parametrize(
    ("colour_type", "depth"),
    [(GREY, depth) for depth in (1, 2, 4, 8, 16)]
    + [(kind, depth) for kind in (COLOUR, GREY_ALPHA, COLOUR_ALPHA) for depth in (8, 16)],
)
@pytest.mark.parametrize("gamma", [None, 1.0, 0.45455, 1 / 1.8])
def test_any_png(tmp_path, colour_type, depth, gamma):
    """With the colour of one pixel declared transparent where there is no alpha."""
    count = {GREY: 1, COLOUR: 3, GREY_ALPHA: 2, COLOUR_ALPHA: 4}[colour_type]
    samples = np.random.default_rng(0).integers(0, 2**depth, (5, 8, count))
    chunks, values = [], samples / (2**depth - 1)
    if gamma:
        chunks.append((b"gAMA", struct.pack(">I", round(gamma * 100_000))))
    if colour_type in (GREY, COLOUR):
        chunks.append((b"tRNS", samples[2, 3].astype(">u2").tobytes()))
        alpha = (samples != samples[2, 3]).any(-1, keepdims=True)
    else:
        values, alpha = values[..., :-1], values[..., -1:]
    as_is = gamma in (None, 0.45455)
    for more, is_srgb in (([], as_is), ([(b"sRGB", b"\0")], True)):  # sRGB overrules gAMA
        write_png(tmp_path / "a.png", samples, depth, colour_type, *more, *chunks)
        colour = values if is_srgb else srgb_from_light(values ** (1 / gamma))
        image = load_image(tmp_path / "a.png")[0].permute(1, 2, 0).numpy()
        assert np.abs(image - (colour * alpha + 1 - alpha)).max() < (1e-6 if is_srgb else 0.002)


def test_alpha_is_composited_on_white(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "a.png", transparency=bytes([255, 51]))
    Image.new("RGBA", (4, 4), (255, 0, 0, 51)).save(tmp_path / "a.webp", lossless=True)
    red = torch.tensor([1, 0.8, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    for name in ("a.png", "a.webp"):
        assert torch.allclose(load_image(tmp_path / name), red)


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


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IGNORED = {
    "sRGB": {"icc_profile": SRGB},
    "no profile": {"icc_profile": b"not a profile"},
    "half a profile": {"icc_profile": SRGB[:200]},
    "damaged EXIF": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"},
}


@pytest.mark.parametrize("name", IGNORED)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_what_is_damaged_beside_the_pixels_changes_nothing(tmp_path, mode, name):
    source = Image.fromarray(ramp(3, np.uint8)).convert(mode)
    source.save(tmp_path / "a.png", **IGNORED[name])
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(np.array(source.convert("RGB"))))


TURNS = {  # what each orientation asks to be done to the stored rows
    **{1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1]},
    **{5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1)},
    **{7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a)},
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation, suffix):
    y, x = np.mgrid[:16, :32]
    stored, exif = np.stack([4 * x + 8 * y] * 3, -1).astype(np.uint8), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif)
    expected = TURNS[orientation](stored) / 255
    image = load_image(tmp_path / f"a.{suffix}")[0].permute(1, 2, 0).numpy()
    assert image.shape == expected.shape and np.abs(image - expected).max() < 0.05
    assert size_of(tmp_path / f"a.{suffix}") == expected.shape[1::-1]


def test_png_with_cicp_is_srgb_or_refused(tmp_path):
    samples = ramp(3, np.uint8)
    write_png(tmp_path / "a.png", samples, 8, 2, (b"cICP", bytes([1, 13, 0, 1])))
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(samples))
    for codes, words in (((9, 16), "HDR"), ((9, 18), "HDR"), ((12, 13), "primaries 12")):
        write_png(tmp_path / "a.png", samples, 8, 2, (b"cICP", bytes([*codes, 0, 1])))
        with pytest.raises(ImageError, match=words):
            load_image(tmp_path / "a.png")


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
    path.write_bytes(hostile.tiff(values, photometric, tags, byteorder, planar))
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
    (tmp_path / "a.tif").write_bytes(hostile.tiff(rows, 2 if count == 3 else 1, tags))
    expected = (samples / (2**bits - 1)).transpose(2, 0, 1)
    assert np.allclose(load_image(tmp_path / "a.tif")[0], expected, atol=1e-6)


COMPRESSIONS = ["lzw", "zlib", "packbits", "zstd", "lzma"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 3}])
def test_compressed_tiffs(tmp_path, compression, layout):
    fractions = np.random.default_rng(0).random((20, 37, 3))
    options = {"compression": compression, "photometric": "rgb", **layout}
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
        values = (fractions * top).astype(dtype)
        for predictor in (False, True):
            tifffile.imwrite(tmp_path / "a.tif", values, predictor=predictor, **options)
            image = load_image(tmp_path / "a.tif")[0].permute(1, 2, 0).numpy()
            assert np.allclose(image, values / top, atol=1e-6)


LIBTIFF = [("1", kind) for kind in ("group3", "group4", "packbits")]
LIBTIFF += [(mode, "jpeg") for mode in ("L", "RGB", "CMYK", "YCbCr")]


@pytest.mark.parametrize(("mode", "compression"), LIBTIFF)
def test_tiffs_as_libtiff_writes_them(tmp_path, mode, compression):
    y, x = np.mgrid[:32, :48]
    source = Image.fromarray(np.stack([5 * x, 8 * y, 3 * (x + y)], -1).astype(np.uint8))
    source = source.convert(mode)
    options = {"quality": 100} if compression == "jpeg" else {}
    source.save(tmp_path / "a.tif", compression=compression, **options)
    image = load_image(tmp_path / "a.tif")[0].permute(1, 2, 0).numpy()
    expected = np.asarray(source.convert("RGB")) / 255
    assert np.abs(image - expected).max() < (0.1 if compression == "jpeg" else 0.01)


BYTES, COLOUR_MAP = np.ones((4, 4, 3), np.uint8), {320: (3, [0] * 768)}
REFUSED = {
    "signed": (np.ones((4, 4, 1), np.int16), 1, {}, "integers"),
    "32 bits": (np.ones((4, 4, 3), np.uint32), 2, {}, "32-bit"),
    "floats above 1": (np.full((4, 4, 3), 200, np.float32), 2, {}, "scale them"),
    "NaN": (np.full((4, 4, 3), np.nan, np.float32), 2, {}, "nan"),
    "LAB": (BYTES, 8, {}, "CIELAB"),
    "LAB of ICC": (BYTES.astype(np.uint16), 9, {}, "ICCLAB"),
    "YCbCr": (BYTES, 6, {530: (3, [1, 1])}, "YCbCr"),
    "palette and alpha": (BYTES[..., :2], 3, {338: (3, [2]), **COLOUR_MAP}, "palette"),
    "raw sensor": (BYTES[..., :1].astype(np.uint16), 32803, {}, "CFA"),
    "other inks": (np.ones((4, 4, 4), np.uint8), 5, {332: (3, [2])}, "SEPARATED"),
    "too few": (BYTES[..., :2], 2, {}, "too few"),
    "DNG": (BYTES, 2, {50706: (3, [1, 4, 0, 0])}, "raw"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tiffs_that_are_not_read_are_refused_by_name(tmp_path, capfd, name):
    samples, photometric, tags, words = REFUSED[name]
    (tmp_path / "a.tif").write_bytes(hostile.tiff(samples, photometric, tags))
    with pytest.raises(ImageError, match=words) as caught:
        load_image(tmp_path / "a.tif")
    assert str(tmp_path / "a.tif") in str(caught.value) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif", "mpo"])
def test_the_first_of_several_pictures_is_read_and_that_is_said(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match=f"a.{suffix} holds several pictures; the first is used"):
        image = load_image(path)
    assert np.allclose(image[0, :, 8, 8], [1, 0, 0], atol=0.02)


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


@pytest.mark.parametrize("suffix", ["avif", "jp2", "heic"])
def test_avif_jpeg_2000_and_heic(tmp_path, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    y, x = np.mgrid[:64, :96]
    pixels = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", quality=95)
    assert (load_image(tmp_path / f"a.{suffix}") - as_tensor(pixels)).abs().max() < 0.06
    assert size_of(tmp_path / f"a.{suffix}") == (96, 64)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Not found", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"Just a few words, \xc3\xa9.", "text file"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypmp42", "film"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"HEIC.*stylelab\[heic\]"),
        pytest.param(b"\x80\x81\x82\x83" * 20, "HEIC", id="noise"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, monkeypatch, content, words):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
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


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert check_output("~/a.png") == tmp_path / "a.png"
    save_image(torch.rand(3, 4, 4), "~/a.png", metadata={"a": "b"})
    assert load_image("~/a.png").shape == (1, 3, 4, 4) and size_of("~/a.png") == (4, 4)
    assert read_metadata("~/a.png") == {"a": "b"}


def test_size_and_limit(tmp_path, monkeypatch):
    Image.new("RGB", (100, 50), "red").save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", 20).shape == (1, 3, 10, 20)
    with pytest.raises(SettingError):
        load_image(tmp_path / "a.png", 0)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="a.png has 100 x 50 pixels"):
        load_image(tmp_path / "a.png")


def test_the_limit_is_the_users(tmp_path, monkeypatch):
    Image.new("RGB", (100, 50), "red").save(tmp_path / "a.png")
    monkeypatch.setenv("STYLELAB_MAX_PIXELS", "4999")
    with pytest.raises(ImageError, match=r"at most 4,999 are read: .* raise --max-pixels"):
        load_image(tmp_path / "a.png")
    monkeypatch.setenv("STYLELAB_MAX_PIXELS", "5000")
    assert load_image(tmp_path / "a.png").shape == (1, 3, 50, 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit, which it refuses twice
    assert load_image(tmp_path / "a.png").shape == (1, 3, 50, 100)
    assert Image.MAX_IMAGE_PIXELS == 10
    for wrong in ("0", "-1", "1e6", "many", "9" * 30, "٣"):
        monkeypatch.setenv("STYLELAB_MAX_PIXELS", wrong)
        with pytest.raises(SettingError, match="STYLELAB_MAX_PIXELS must be a whole number"):
            load_image(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_no_larger_than_is_needed(tmp_path, monkeypatch, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    x, y = np.meshgrid(np.linspace(0, 6, 640), np.linspace(0, 4, 480))
    pixels = np.stack([np.sin(x) + 1, np.cos(y) + 1, np.sin(x + y) + 1], -1) * 127
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole = load_image(tmp_path / "a.jpg", 40)
    monkeypatch.setattr(decode, "LARGE_JPEG", 1000)
    monkeypatch.setattr(decode, "MAX_PIXELS", 80 * 60)  # an eighth of its sides
    assert whole.shape[2:] == ((30, 40) if orientation == 1 else (40, 30))
    assert (load_image(tmp_path / "a.jpg", 40) - whole).abs().max() < 0.01
    for size in (41, 640, None):  # of an eighth, less than twice that is left
        with pytest.raises(ImageError, match="at most 4,800 are read"):
            load_image(tmp_path / "a.jpg", size)


@pytest.mark.parametrize(
    ("suffix", "bits"), [("png", 8), ("png", 16), ("tif", 8), ("TIFF", 16), ("webp", 8)]
)
def test_round_trip_is_exact(tmp_path, suffix, bits):
    path = tmp_path / "new" / "folder" / f"a.{suffix}"
    image = torch.rand(1, 3, 33, 21)
    save_image(image, path, bits=bits, metadata={"Title": "a ≥ b"})
    again = load_image(path)
    assert (again - image).abs().max() <= 0.5 / (2**bits - 1) + 1e-7
    save_image(again[0], tmp_path / f"b.{suffix}", bits=bits, metadata={"Title": "a ≥ b"})
    assert (tmp_path / f"b.{suffix}").read_bytes() == path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as file:  # another reader agrees, to the 8 bits that it has
        if suffix == "png":
            assert np.abs(np.asarray(file) / 255 - image[0].permute(1, 2, 0).numpy()).max() < 0.005
            assert file.info["srgb"] == 0


def test_jpeg_is_srgb_with_full_colour_resolution(tmp_path):
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0, :, ::2] = 1
    save_image(image, tmp_path / "a.jpg", metadata={"network": "vgg"})
    assert (load_image(tmp_path / "a.jpg") - image).abs().mean() < 0.02
    with Image.open(tmp_path / "a.jpg") as file:
        assert file.info["comment"] == b'{"network": "vgg"}'
        profile = ImageCms.ImageCmsProfile(io.BytesIO(file.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_webp_has_its_texts_and_profile(tmp_path):
    save_image(torch.rand(1, 3, 8, 8), tmp_path / "a.webp", metadata={"network": "α"})
    with Image.open(tmp_path / "a.webp") as file:
        assert json.loads(file.getexif()[0x010E]) == {"network": "α"}
        profile = ImageCms.ImageCmsProfile(io.BytesIO(file.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@pytest.mark.parametrize(
    ("suffix", "bits"), [("png", 8), ("png", 16), ("tif", 8), ("tif", 16), ("webp", 8)]
)
def test_alpha_goes_to_the_file_and_back(tmp_path, suffix, bits):
    """Also under full transparency, where the colours must be those that were saved."""
    image, alpha = torch.rand(1, 3, 6, 9), torch.rand(1, 1, 6, 9).round(decimals=1)
    alpha[..., :2] = 0
    path = tmp_path / f"a.{suffix}"
    save_image(image, path, bits=bits, alpha=alpha, metadata={"a": "b"})
    step = 0.51 / (2**bits - 1)
    assert (load_alpha(path) - alpha).abs().max() <= step
    assert (load_image(path) - (image * alpha + 1 - alpha)).abs().max() <= 2 * step
    if bits == 8:  # as another reader sees it
        stored = np.asarray(Image.open(path)).transpose(2, 0, 1)[None] / 255
        assert np.abs(stored - torch.cat([image, alpha], 1).numpy()).max() <= step
    half = torch.nn.functional.avg_pool2d(image, 3)
    save_image(half, path, bits=bits, alpha=torch.full((1, 1, 6, 9), 0.25))  # resized to 2 x 3
    assert torch.allclose(load_alpha(path), torch.full((1, 1, 2, 3), 0.25), atol=0.002)


def test_alpha_is_upright_and_resized_as_its_image(tmp_path):
    samples = ramp(4, np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.webp", lossless=True, exact=True)
    expected = as_tensor(samples[..., 3:])
    assert torch.equal(load_alpha(tmp_path / "a.webp"), expected)
    assert torch.equal(load_alpha(tmp_path / "a.webp", 4), resize(expected, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored left is the top, from right to left
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(load_alpha(tmp_path / "a.png"), expected.mT.flip(3))
    Image.fromarray(samples[..., :3]).save(tmp_path / "b.png")
    assert load_alpha(tmp_path / "b.png") is None
    for wrong in (torch.rand(6, 9), torch.rand(1, 3, 6, 9), 0.5):
        with pytest.raises(ImageError, match="alpha must be"):
            save_image(torch.rand(1, 3, 6, 9), tmp_path / "c.png", alpha=wrong)


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


@pytest.mark.parametrize(
    "image",
    [
        torch.full((1, 3, 8, 8), float("nan")),
        torch.rand(2, 3, 8, 8),
        torch.rand(3, 0, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        np.zeros((3, 8, 8)),
        None,
    ],
)
def test_images_that_are_refused(tmp_path, image):
    with pytest.raises(ImageError, match="a.png"):
        save_image(image, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_is_refused(tmp_path):
    cases = [("a.png", {"": "x"}), ("a.png", {"\u03b1": "x"}), ("a.png", {"a": "\udc80"})]
    for name, texts in [*cases, ("a.jpg", {"a": "x" * 70_000})]:
        with pytest.raises(ImageError):
            save_image(torch.rand(3, 4, 4), tmp_path / name, metadata=texts)
    assert list(tmp_path.iterdir()) == []


def test_paths_that_are_refused_before_a_long_run(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    names = ("file/a.png", "folder.png", "x" * 300 + "/a.png", "nul\0.png", "\udc80\ud800.png")
    for name in names:
        with pytest.raises(ImageError):
            check_output(tmp_path / name)
        with pytest.raises(ImageError):
            save_image(torch.rand(1, 3, 8, 8), tmp_path / name)
    for name, bits in (("a.gif", 8), ("a", 8), ("a.jpg", 16), ("a.webp", 16), ("a.png", 12)):
        with pytest.raises(SettingError, match="a"):
            check_output(tmp_path / name, bits=bits)
    for name, asked, words in (
        ("a.jpg", {"alpha": True}, "no transparency"),
        ("a.webp", {"side": 16384}, "at most 16383 pixels"),
    ):
        with pytest.raises(SettingError, match=words):
            check_output(tmp_path / name, **asked)
    assert check_output(tmp_path / "new" / "a.png") == tmp_path / "new" / "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


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
