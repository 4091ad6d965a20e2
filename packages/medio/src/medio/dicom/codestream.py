"""What a compressed frame says of itself, read from its first markers before anything is allocated or decoded.

Source: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000), PS3.5 section 8.2.
"""

from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | memoryview

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
"""SOF markers: all of JPEG, and JPEG-LS (F7)."""
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF, 0xF7})
_J2K_START = b"\xff\x4f\xff\x51"


class Codestream(NamedTuple):
    """Size and meaning of one encoded frame.

    Attributes:
        rows: height in pixels.
        columns: width in pixels.
        samples: components a pixel.
        precision: bits a sample.
        signed: the samples are two's complement (only JPEG 2000 can say so).
        process: SOF marker of a JPEG, 0 for JPEG 2000.
        colour: `RGB` or `YBR` where the codestream says so, else empty: the header decides.
        complete: the end marker is there.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    process: int
    colour: str
    complete: bool


def describe_jpeg(data: Buffer) -> Codestream:
    """Read a JPEG or JPEG-LS codestream up to its first scan.

    Raises:
        ValueError: not a JPEG, or one that ends before its frame header.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        raise ValueError(f"starts with {bytes(data[:4]).hex() or 'nothing'}, not with a JPEG marker")
    place, end = 2, len(data)
    jfif, adobe, frame = False, -1, None
    while place + 4 <= end:
        if data[place] != 0xFF:
            raise ValueError(f"no JPEG marker at byte {place}")
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == _EOI:
            break
        length = data[place + 2] << 8 | data[place + 3]
        body = bytes(data[place + 4 : min(place + 2 + length, place + 36)])
        if marker in _FRAMES and len(body) >= 6:
            frame = marker, body
        elif marker == 0xE0 and body[:4] == b"JFIF":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == _SOS:
            break
        place += 2 + max(length, 2)
    if frame is None:
        raise ValueError("a JPEG without a frame header; it is cut short")
    process, body = frame
    samples = body[5]
    names = body[6::3][:samples]
    # Entropy-coded data never holds an end marker (a zero byte is stuffed after FF), so the last one found is the end.
    complete = _ends(data, place)
    return Codestream(
        body[1] << 8 | body[2], body[3] << 8 | body[4], samples, body[0], False, process, _colour(process, names, jfif, adobe), complete
    )


def describe_jpeg2000(data: Buffer) -> Codestream:
    """Read the size marker of a JPEG 2000 codestream, bare or in a JP2 file.

    Raises:
        ValueError: no JPEG 2000 size marker.
    """
    start = 0
    if bytes(data[:4]) != _J2K_START:
        start = bytes(data[:65536]).find(_J2K_START)
    if start < 0 or start + 43 > len(data):
        raise ValueError(f"starts with {bytes(data[:4]).hex() or 'nothing'}, not with a JPEG 2000 size marker")
    right, bottom, left, top = (int.from_bytes(data[start + place : start + place + 4], "big") for place in (8, 12, 16, 20))
    samples = int.from_bytes(data[start + 40 : start + 42], "big")
    depth = data[start + 42]
    # No byte pair above FF8F occurs in packet data, so an end marker is the end.
    return Codestream(max(bottom - top, 0), max(right - left, 0), samples, (depth & 0x7F) + 1, depth > 0x7F, 0, "", _ends(data, start))


def _ends(data: Buffer, start: int) -> bool:
    tail = max(start, len(data) - 64)
    return b"\xff\xd9" in bytes(data[tail:]) or b"\xff\xd9" in bytes(data[start:])


def _colour(process: int, names: bytes, jfif: bool, adobe: int) -> str:
    """Tell the colour space from the names of the components or, for lossy processes, from the JFIF or Adobe marker."""
    if len(names) != 3:
        return ""
    if names in (b"RGB", b"rgb"):
        return "RGB"
    # Lossless processes carry what the header names; some writers put a JFIF marker there all the same.
    if process in _LOSSLESS:
        return ""
    if jfif:
        return "YBR"
    return {0: "RGB", 1: "YBR"}.get(adobe, "")
