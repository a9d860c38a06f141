"""What a file is, told from its first bytes: for messages when it is not what it should be."""

from __future__ import annotations

from pathlib import Path

HEAD_SIZE = 1024

_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data: run `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy array, as cryoSPARC writes .cs files"),
    (b"\x95CSDAT", "a cryoSPARC CSDAT stream"),
    (b"\x1f\x8b", "a gzip file: unpack it with gunzip"),
    (b"BZh", "a bzip2 file: unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it with unzstd"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: convert it with e2proc2d.py or e2proc3d.py"),
    (b"II*\x00", "a TIFF or EER file: movies are not particles"),
    (b"MM\x00*", "a TIFF or EER file: movies are not particles"),
    (b"II+\x00", "a TIFF or EER file: movies are not particles"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)


def describe(head: bytes) -> str:
    """What the first :data:`HEAD_SIZE` bytes of a file look like, in words; their beginning where nobody knows."""
    if not head:
        return "an empty file"
    for mark, kind in _KINDS:
        if head.startswith(mark):
            return kind
    if head[208:211] == b"MAP":
        return "an MRC file"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page: the download went wrong"
    if b"\ndata_" in head or text.startswith(b"data_"):
        return "a STAR file"
    return f"{head[:16]!r}"


def describe_file(path: Path) -> str:
    """What a file that can be opened looks like, in words."""
    with path.open("rb") as stream:
        return describe(stream.read(HEAD_SIZE))
