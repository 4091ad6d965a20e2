"""The readers that `bench_reader.py` compares with, each giving (D, H, W) rescaled values in order of position, or (H, W) for a film."""

import multiprocessing
import zlib
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imagecodecs
import numpy as np
from reader_data import Sample


class PeerError(Exception):
    """A peer that is not installed, or cannot read a syntax."""


def _named(read: Callable[[Sequence[Path]], np.ndarray]) -> Callable[[Sequence[Path]], np.ndarray]:
    def call(paths: Sequence[Path]) -> np.ndarray:
        try:
            return read(paths)
        except ImportError as error:
            raise PeerError(f"not installed ({error.name})") from error
        except Exception as error:  # what a peer raises is its affair; the table names it
            raise PeerError(
                f"fails: {str(error).strip().splitlines()[-1][:100] if str(error).strip() else type(error).__name__}"
            ) from error

    return call


@_named
def _monai(paths: Sequence[Path]) -> np.ndarray:
    """As MONAI's users read: LoadImage by ITKReader, with its default of float32."""
    from monai.data import ITKReader
    from monai.transforms import LoadImage

    return _flat(LoadImage(reader=ITKReader(), image_only=True)(_place(paths)).numpy().T)


@_named
def _itk_reader(paths: Sequence[Path]) -> np.ndarray:
    """MONAI's reader alone: no MetaTensor, no conversion."""
    from monai.data import ITKReader

    reader = ITKReader()
    array, _ = reader.get_data(reader.read(_place(paths)))
    return _flat(array.T)


@_named
def _torchio(paths: Sequence[Path]) -> np.ndarray:
    import torchio

    image = torchio.ScalarImage(_place(paths))
    return _flat(image.data[0].numpy().T)


@_named
def _simpleitk(paths: Sequence[Path]) -> np.ndarray:
    import SimpleITK

    if len(paths) == 1:
        return _flat(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(paths[0]))))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    return SimpleITK.GetArrayFromImage(reader.Execute())


@_named
def _pydicom(paths: Sequence[Path]) -> np.ndarray:
    import pydicom

    slices = [pydicom.dcmread(path) for path in paths]
    if len(slices) == 1:
        return slices[0].pixel_array
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    stored = np.stack([s.pixel_array for s in slices])
    return stored.astype(np.int16) * np.int16(slices[0].RescaleSlope) + np.int16(slices[0].RescaleIntercept)


@_named
def _dicomsdl(paths: Sequence[Path]) -> np.ndarray:
    import dicomsdl

    files = [dicomsdl.open(str(path)) for path in paths]
    if len(files) == 1:
        return files[0].pixelData(storedvalue=True)
    files.sort(key=lambda f: float(f.ImagePositionPatient[2]))
    stored = np.stack([f.pixelData(storedvalue=True) for f in files])
    return stored.astype(np.int16) * np.int16(files[0].RescaleSlope) + np.int16(files[0].RescaleIntercept)


def _place(paths: Sequence[Path]) -> str:
    """A series is given as its folder, a film as its file."""
    return str(paths[0].parent if len(paths) > 1 else paths[0])


def _flat(array: np.ndarray) -> np.ndarray:
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array


PEERS = {
    "MONAI": _monai,
    "MONAI ITKReader": _itk_reader,
    "TorchIO": _torchio,
    "SimpleITK": _simpleitk,
    "pydicom": _pydicom,
    "dicomsdl": _dicomsdl,
}


class GdcmChild:
    """GDCM in a process of its own, because it can end the whole process; it times itself."""

    def __enter__(self) -> Self:
        self._process: Any = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def read(self, paths: Sequence[Path]) -> Any:
        """Return the values, wall seconds and CPU seconds."""
        context = multiprocessing.get_context("spawn")
        if self._process is None:
            self._ours, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._ours.send([str(path) for path in paths])
            answer = self._ours.recv()
        except (EOFError, OSError) as error:
            self._stop()
            raise PeerError("ends the process") from error
        if isinstance(answer, str):
            raise PeerError(answer)
        return answer

    def _stop(self) -> None:
        if self._process is not None:
            self._ours.close()
            self._process.join(5)
            if self._process.is_alive():
                self._process.kill()
            self._process = None


def _serve(pipe: Connection) -> None:
    import time

    while True:
        try:
            names = pipe.recv()
        except EOFError:
            return
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            array = _gdcm(names)
            pipe.send((array, time.perf_counter() - wall, time.process_time() - cpu))
        except ImportError as error:
            pipe.send(f"not installed ({error.name})")
        except ValueError as error:
            pipe.send(f"fails: {error}")


def _gdcm(names: Sequence[str]) -> np.ndarray:
    import gdcm

    planes = []
    for name in names:
        reader = gdcm.ImageReader()
        reader.SetFileName(name)
        if not reader.Read():
            raise ValueError("cannot read the file")
        image = reader.GetImage()
        # GDCM hands its buffer to Python as a str.
        data = image.GetBuffer().encode("utf-8", errors="surrogateescape")
        plane = np.frombuffer(data, np.uint16).reshape(image.GetDimension(1), image.GetDimension(0))
        planes.append((image.GetOrigin(2), plane, image.GetIntercept(), image.GetSlope()))
    if len(planes) == 1:
        return planes[0][1]
    planes.sort(key=lambda item: item[0])
    return np.stack([p for _, p, _, _ in planes]).astype(np.int16) * np.int16(planes[0][3]) + np.int16(planes[0][2])


def raw_reader(sample: Sample) -> Callable[[], Any]:
    """Give the floor: the decoder on codestreams in memory into one fresh array, or open and read."""
    shape = (sample.count, *sample.truths[0].shape[-2:])
    kind = sample.uid.rsplit("1.2.840.10008.1.2", 1)[1]
    if kind in (".1", ".2"):
        places = [(path, path.stat().st_size - shape[1] * shape[2] * 2) for paths in sample.reads for path in paths]

        def read() -> np.ndarray:
            out = np.empty(shape, np.uint16)
            for (path, offset), plane in zip(places, out, strict=True):
                with path.open("rb", buffering=0) as file:
                    file.seek(offset)
                    file.readinto(plane)
                if kind == ".2":
                    plane.byteswap(inplace=True)
            return out

        return read
    if kind == ".1.99":
        blobs = [_deflated(path) for paths in sample.reads for path in paths]
        size = max(len(zlib.decompress(blob, -zlib.MAX_WBITS)) for blob in blobs)

        def inflate() -> np.ndarray:
            out = np.empty(shape, np.uint16)
            buffer = np.empty(size, np.uint8)
            for blob, plane in zip(blobs, out, strict=True):
                whole = np.asarray(imagecodecs.deflate_decode(blob, raw=True, out=buffer))
                plane.reshape(-1)[...] = whole[len(whole) - plane.nbytes :].view(np.uint16)
            return out

        return inflate
    decode: Callable[..., Any] = {
        ".5": lambda data, out: imagecodecs.dicomrle_decode(data, "<u2", out=out.reshape(-1).view(np.uint8)),
        ".4.70": imagecodecs.jpeg8_decode,
        ".4.80": imagecodecs.jpegls_decode,
        ".4.90": imagecodecs.jpeg2k_decode,
        ".4.201": imagecodecs.htj2k_decode,
    }[kind]

    def run() -> np.ndarray:
        out = np.empty(shape, np.uint16)
        for stream, plane in zip(sample.streams, out, strict=True):
            decode(stream, out=plane)
        return out

    return run


def _deflated(path: Path) -> bytes:
    data = path.read_bytes()
    place = 144 + int.from_bytes(data[140:144], "little")  # preamble, mark, and the group length that says where the dataset begins
    return data[place:]
