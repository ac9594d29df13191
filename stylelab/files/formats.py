"""Names of file formats by their first bytes, for messages about files that are not read."""

READABLE = "PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000 or HEIC"
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_SIGNATURES = {
    b"version https://git-lfs": "a Git LFS pointer; run git lfs pull",
    b"%PDF": "a PDF document; export its picture",
    b"\xff\x0a": "a JPEG XL image, which is not read; save it as PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL image, which is not read; save it as PNG",
    b"8BPS": "a Photoshop document; save it as PNG or TIFF",
    b"\x76\x2f\x31\x01": "an OpenEXR image; save it as PNG",
    b"#?RADIANCE": "a Radiance HDR image; save it as PNG",
    b"gimp xcf": "a GIMP document; export it as PNG",
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\0\0\1\0": "an icon; save it as PNG",
    b"GIF": "a damaged GIF",
    b"RIFF": "a damaged WebP image, or a sound or film",
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"BM": "a damaged BMP",
}


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is HEIC or HEIF (and not AVIF, its relative)."""
    return head[4:8] == b"ftyp" and b"avi" not in head[8:32] and head[8:12] in HEIF_BRANDS


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
    if head[4:8] == b"ftyp":
        return "a film, or an image of a kind that is not read; save it as PNG"
    try:
        text = head[:-4].decode() if len(head) > 100 else head.decode()  # cut within a character?
        if all(char.isprintable() or char.isspace() for char in text):
            return "a text file and not an image"
    except UnicodeDecodeError:
        pass
    return f"no image, or is damaged; {READABLE} are read"
