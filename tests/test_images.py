"""Files to tensors and back: depths, modes, profiles, orientation, and every way to go wrong."""

import io
import struct
import tempfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.files.local import atomic
from stylelab.images import check_output, load_image, read_metadata, resize, save_image


def ramp(channels: int, dtype: type, height: int = 5, width: int = 7) -> np.ndarray:
    """Random `(height, width, channels)` samples that use all bits of `dtype`."""
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top, (height, width, channels), endpoint=True)
    return values.astype(dtype)


def as_tensor(samples: np.ndarray) -> torch.Tensor:
    scaled = samples.astype(np.float64) / np.iinfo(samples.dtype).max
    return torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]


def write_png16(path, samples: np.ndarray, colour_type: int, extra: bytes = b"") -> None:
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
        + (chunk(b"tRNS", extra) if extra else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


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
    write_png16(tmp_path / "a.png", samples, colour_type)
    expected = as_tensor(samples)
    if channels in (2, 4):
        alpha = expected[:, -1:]
        expected = expected[:, :-1] * alpha + 1 - alpha
    assert torch.allclose(load_image(tmp_path / "a.png"), expected.expand(1, 3, 5, 7), atol=1e-6)


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2)])
def test_sixteen_bit_png_with_one_transparent_colour(tmp_path, channels, colour_type):
    samples = ramp(channels, np.uint16)
    write_png16(tmp_path / "a.png", samples, colour_type, samples[2, 3].astype(">u2").tobytes())
    image, expected = (
        load_image(tmp_path / "a.png"),
        as_tensor(samples).repeat(1, 3 // channels, 1, 1),
    )
    expected[0, :, 2, 3] = 1
    assert torch.allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_tiff_keeps_all_bits(tmp_path, channels, compression, byteorder):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(channels, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples if channels > 1 else samples[..., 0],
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
        byteorder=byteorder,
    )
    expected = as_tensor(samples)
    if channels == 4:
        expected = expected[:, :3] * expected[:, 3:] + 1 - expected[:, 3:]
    assert torch.allclose(load_image(tmp_path / "a.tif"), expected.expand(1, 3, 5, 7), atol=1e-6)


def test_sixteen_bit_planar_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(3, np.uint16)
    planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert torch.allclose(load_image(tmp_path / "a.tif"), as_tensor(samples), atol=1e-6)


def test_sixteen_bit_tiff_with_white_as_zero(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(1, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples[..., 0], photometric="miniswhite")
    expected = 1 - as_tensor(samples).expand(1, 3, 5, 7)
    assert torch.allclose(load_image(tmp_path / "a.tif"), expected, atol=1e-6)


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


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    assert torch.allclose(load_image(tmp_path / "a.tif"), red.expand(1, 3, 8, 8), atol=0.02)


def test_lab_is_converted(tmp_path):
    convert = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    source = Image.new("RGB", (8, 8), (180, 90, 40))
    ImageCms.applyTransform(source, convert).save(tmp_path / "a.tif")
    difference = load_image(tmp_path / "a.tif") - as_tensor(np.array(source))
    assert difference.abs().max() < 0.02


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
    tifffile = pytest.importorskip("tifffile")
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
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
    assert image.shape == (1, 3, 16, 32)
    assert image[0, 0, 4, 8] > 0.9 and 0.4 < image[0, 0, 4, 24] < 0.6 and image[0, 0, 12, 16] < 0.1


def test_orientation_of_sixteen_bit_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(3, np.uint16)
    expected = as_tensor(np.ascontiguousarray(np.rot90(samples, -1)))
    orientation = {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}
    tifffile.imwrite(tmp_path / "a.tif", samples, **orientation)
    planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "b.tif", planes, planarconfig="separate", **orientation)
    for name in ("a.tif", "b.tif"):
        assert torch.allclose(load_image(tmp_path / name), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored(tmp_path):
    samples = ramp(3, np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert torch.equal(load_image(tmp_path / "a.png"), as_tensor(samples))


def test_animation_gives_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert load_image(tmp_path / name)[0, :, 0, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff(tmp_path, channels):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).random((5, 7, channels), np.float32)
    photometric = "rgb" if channels == 3 else "minisblack"
    path = tmp_path / "a.tif"

    def write(values):
        tifffile.imwrite(path, values.squeeze(), photometric=photometric)

    write(values)
    expected = torch.from_numpy(values).permute(2, 0, 1)[None].expand(1, 3, 5, 7)
    assert torch.allclose(load_image(path), expected)
    for bad, words in ((np.nan, "NaN"), (np.inf, "NaN or infinite"), (255.0, "scale them")):
        values[0, 0, 0] = bad
        write(values)
        with pytest.raises(ImageError, match=words) as caught:
            load_image(path)
        assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_every_bad_file_is_named_in_one_line(tmp_path, monkeypatch):
    good = tmp_path / "good.png"
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(good)
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.jpg")
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.webp")
    Image.fromarray(ramp(3, np.uint8, 64, 64)).save(tmp_path / "good.tif", compression="tiff_lzw")
    write_png16(tmp_path / "deep.png", ramp(3, np.uint16, 64, 64), 2)
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


# ------------------------------------------------------------------ resizing


def test_resize_shapes():
    image = torch.rand(2, 3, 30, 60)
    assert resize(image, 20).shape == (2, 3, 10, 20)
    assert resize(image, 120).shape == (2, 3, 60, 120)
    assert resize(image, (7, 9)).shape == (2, 3, 7, 9)
    assert resize(image, 60) is image
    assert resize(torch.rand(1, 3, 1000, 2), 10).shape == (1, 3, 10, 1)


def test_resize_is_antialiased_and_stays_in_range():
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    assert (resize(stripes, 16)[..., 2:-2] - 0.5).abs().max() < 0.02
    larger = resize((torch.rand(1, 3, 8, 8) > 0.5).float(), 50)
    assert larger.min() >= 0 and larger.max() <= 1


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "8", (1, 2, 3), (0, 4), (4.0, 4)])
def test_resize_refuses_other_sizes(size):
    with pytest.raises(SettingError):
        resize(torch.rand(1, 3, 8, 8), size)


@pytest.mark.parametrize(
    "image", [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), np.ones((1, 3, 8, 8))]
)
def test_resize_refuses_other_images(image):
    with pytest.raises(ImageError):
        resize(image, 8)


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
        seen, top = pytest.importorskip("tifffile").imread(path), 2**bits - 1
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
    for name in ("file/a.png", "folder.png", "x" * 300 + "/a.png"):
        with pytest.raises(ImageError, match=r"a\.|folder"):
            check_output(tmp_path / name)
    for name, bits in (("a.gif", 8), ("a.jpg", 16)):
        with pytest.raises(SettingError, match=r"a\."):
            check_output(name, bits=bits)


def test_check_output_in_a_folder_that_is_read_only(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ImageError, match="Permission denied.*choose a folder"):
        check_output(tmp_path / "a.png")


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
