"""JPEG processes that only GDCM may know, decoded in a process of its own: GDCM aborts the whole process on damaged data.

Run as `python -m medio.dicom.gdcm_child`: a line of JSON and a codestream in, decoded bytes out.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.codestream import Buffer
from medio.dicom.layout import Layout
from medio.errors import UnsupportedError

TIMEOUT_S = 60.0
MEMORY_BYTES = 2 << 30
"""Address space of the child."""
_NOT_INSTALLED, _NOT_DECODED = 3, 4


def decode_elsewhere(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    """Decode one frame by GDCM in a child process, as stored, into `out`.

    Raises:
        UnsupportedError: GDCM is not installed, or does not know the process either.
        ValueError: the child crashed, hung, or gave too few bytes.
    """
    order = {
        "syntax": layout.syntax,
        "rows": layout.rows,
        "columns": layout.columns,
        "samples": layout.samples,
        "allocated": layout.allocated,
        "stored": layout.stored,
        "signed": layout.signed,
        "photometric": layout.photometric,
    }
    command = [sys.executable, "-m", "medio.dicom.gdcm_child"]
    try:
        done = subprocess.run(command, input=json.dumps(order).encode() + b"\n" + data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"GDCM did not finish in {TIMEOUT_S:g} s") from error
    if done.returncode == _NOT_INSTALLED:
        raise UnsupportedError(layout.path, 'needs GDCM for this JPEG process; pip install "medio[gdcm]"')
    if done.returncode == _NOT_DECODED:
        raise UnsupportedError(
            layout.path,
            "uses a JPEG process that neither libjpeg-turbo nor GDCM decodes (hierarchical or arithmetic); transcode it at its source",
        )
    if done.returncode != 0 or len(done.stdout) < out.nbytes:
        raise ValueError(f"GDCM ended with code {done.returncode} and {len(done.stdout)} of {out.nbytes} bytes")
    out[...] = np.frombuffer(done.stdout, out.dtype.newbyteorder("<"), out.size).reshape(out.shape)


def main() -> int:
    """Decode standard input to standard output; the return value is the exit code."""
    _limit_memory()
    order = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    try:
        import gdcm  # type: ignore[import-untyped]  # ships no types; an extra, and only ever imported here
    except ImportError:
        return _NOT_INSTALLED
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
        return _NOT_DECODED
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
