"""Decode standard input to standard output by GDCM; run by `gdcm_child.py` in a process of its own, which GDCM may abort."""

import json
import sys

NOT_INSTALLED, NOT_DECODED = 3, 4
MEMORY_BYTES = 2 << 30
"""Address space of this process."""


def main() -> int:
    """Decode standard input to standard output; the return value is the exit code."""
    _limit_memory()
    order = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    try:
        import gdcm  # type: ignore[import-untyped]  # ships no types; an extra, and only ever imported here
    except ImportError:
        return NOT_INSTALLED
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((order["columns"], order["rows"], 1))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    sequence = gdcm.SequenceOfFragments.New()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    sequence.AddFragment(fragment)
    element.SetValue(sequence.__ref__())
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(order["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(order["syntax"])))
    depth = gdcm.PixelFormat(order["samples"], order["allocated"], order["stored"], order["stored"] - 1, int(order["signed"]))
    image.SetPixelFormat(depth)
    pixels = image.GetBuffer()
    if not pixels:
        return NOT_DECODED
    # GDCM hands bytes to Python as a str.
    sys.stdout.buffer.write(pixels.encode("utf-8", errors="surrogateescape"))
    return 0


def _limit_memory() -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    raise SystemExit(main())
