"""JPEG processes that only GDCM may know, decoded in a process of its own: GDCM aborts the whole process on damaged data.

The process runs `gdcm_program.py`, which imports nothing of this package: a line of JSON and a codestream in, decoded bytes out.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.codestream import Buffer
from medio.dicom.gdcm_program import NOT_DECODED, NOT_INSTALLED
from medio.dicom.layout import Layout
from medio.errors import UnsupportedError

TIMEOUT_S = 60.0
_PROGRAM = Path(__file__).with_name("gdcm_program.py")


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
    command = [sys.executable, "-P", str(_PROGRAM)]
    try:
        done = subprocess.run(command, input=json.dumps(order).encode() + b"\n" + data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"GDCM did not finish in {TIMEOUT_S:g} s") from error
    if done.returncode == NOT_INSTALLED:
        raise UnsupportedError(layout.path, 'needs GDCM for this JPEG process; pip install "medio[gdcm]"')
    if done.returncode == NOT_DECODED:
        raise UnsupportedError(
            layout.path,
            "uses a JPEG process that neither libjpeg-turbo nor GDCM decodes (hierarchical or arithmetic); transcode it at its source",
        )
    if done.returncode != 0 or len(done.stdout) < out.nbytes:
        raise ValueError(f"GDCM ended with code {done.returncode} and {len(done.stdout)} of {out.nbytes} bytes")
    out[...] = np.frombuffer(done.stdout, out.dtype.newbyteorder("<"), out.size).reshape(out.shape)
