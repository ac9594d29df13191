"""Names of file formats by their first bytes, for messages about files that are not read."""

import codecs
from contextlib import suppress

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_SIGNATURES = {
    b"version https://git-lfs": "a Git LFS pointer; run git lfs pull",
    b"%PDF": "a PDF document; export its picture",
    b"\xff\x0a": "a JPEG XL image, which is not read; save it as PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL image, which is not read; save it as PNG",
    b"8BPS": "a Photoshop document; save it as PNG or TIFF",
    b"GIF": "a damaged GIF",
    b"RIFF": "a damaged WebP image, or a sound or film",
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"BM": "a damaged BMP",
}


def describe(head: bytes) -> str:
    """What a file that begins with `head` is and what to do, to follow "photo.jpg is "."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "an SVG drawing; export it as PNG"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page and not an image; download the image itself"
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return "a HEIC image; to read it: pip install 'stylelab[heic]', or save it as JPEG"
    if head[4:8] == b"ftyp":
        return "a film, or an image of a kind that is not read; save it as PNG"
    with suppress(UnicodeDecodeError):
        words = codecs.getincrementaldecoder("utf-8")().decode(head).split()  # may be cut
        if "".join(words).isprintable():
            return "a text file and not an image"
    return (
        "no image, or damaged; what is read: PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000, HEIC"
    )
