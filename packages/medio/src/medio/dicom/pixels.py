"""Stored pixel values of DICOM files, frame by frame or straight into a volume.

Source: DICOM PS3.5 section 8 and annexes A.4, D, G.
"""

import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from io import FileIO
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from medio.dicom.decoders import Decoder, decoder_of
from medio.dicom.encapsulation import Encapsulated, Stretch
from medio.dicom.inflating import inflate_pixels
from medio.dicom.instances import Instance
from medio.dicom.layout import BIG_ENDIAN, DEFLATED, NATIVE, RLE, TRUNCATED, Layout, check_described, layout_of, short_of
from medio.dicom.native import arrange, fill_native, finish, unpack_bits
from medio.errors import CorruptFileError, GeometryError, MedioError, UnsupportedError

AfterFrame: TypeAlias = Callable[[int, npt.NDArray[Any]], None]
_Job: TypeAlias = tuple[Instance, Layout, list[tuple[int, int]]]


def stored_dtype(instance: Instance) -> np.dtype[Any]:
    """Return the type of a decoded value: (u)int8, 16 or 32 by BitsAllocated and PixelRepresentation, uint8 for one bit, float32 or 64 for Float Pixel Data.

    Raises:
        UnsupportedError: other depths.
        CorruptFileError: bits that contradict each other, more pixels than the file can hold, or none at all.
    """
    return layout_of(instance).dtype


def frames(instance: Instance, *, palette: bool = True) -> Iterator[npt.NDArray[Any]]:
    """Decode the frames in stored order, without rescale.

    Args:
        instance: the file.
        palette: turn PALETTE COLOR into RGB; False gives the indices.

    Yields:
        (H, W) arrays of `stored_dtype`, sign and high bits set right; for colour (H, W, 3) RGB. Each is the caller's own.

    Raises:
        CorruptFileError: pixels that end early or do not decode.
        UnsupportedError: a transfer syntax that is not read.
    """
    layout = layout_of(instance, palette=palette)
    with PixelReader(instance, layout) as reader:
        for index in range(layout.frames):
            frame = np.empty(layout.shape, layout.dtype)
            reader.read(index, frame)
            yield frame


def read_frames_into(
    instances: Sequence[Instance],
    out: npt.NDArray[Any],
    places: Sequence[Sequence[int | None]],
    *,
    threads: int | None = None,
    after: AfterFrame | None = None,
) -> None:
    """Decode frames straight into their places in one array.

    Args:
        instances: the files.
        out: (N, H, W), or (N, H, W, 3) for colour; filled. Its type is that of the frames, or one that holds all their values.
        places: for each file, the index along N of each of its frames; None leaves a frame out, undecoded.
        threads: at once; None for as many as there are cores, but one for uncompressed files: they are read faster than threads take turns. More may still
            help there where a file system answers slowly.
        after: called as `after(n, out[n])` by the decoding thread when a frame is in place, while it is still in the cache.

    Raises:
        CorruptFileError: pixels that end early or do not decode.
        GeometryError: a frame of another size than `out`.
        UnsupportedError: a transfer syntax that is not read, or values that the type of `out` cannot hold.
    """
    jobs: list[_Job] = []
    layouts = [layout_of(instance) for instance in instances]
    workers = max(1, threads if threads is not None else _helpful(layouts))
    for instance, layout, wanted in zip(instances, layouts, places, strict=True):
        _check_fits(layout, out)
        pairs = [(index, place) for index, place in enumerate(wanted) if place is not None]
        # A file of many frames is shared out, but one whose frames come out of one stream is not.
        share = len(pairs) if layout.syntax == DEFLATED else max(1, -(-len(pairs) // (4 * workers)) if len(pairs) > 1 else 1)
        jobs += [(instance, layout, pairs[i : i + share]) for i in range(0, len(pairs), max(share, 1))]

    def work(job: _Job) -> None:
        instance, layout, pairs = job
        with PixelReader(instance, layout) as reader:
            for index, place in pairs:
                target = out[place]
                if target.dtype == layout.dtype:
                    reader.read(index, target)
                else:
                    frame = np.empty(layout.shape, layout.dtype)
                    reader.read(index, frame)
                    target[...] = frame
                if after is not None:
                    after(place, target)

    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            work(job)
    else:
        _share_out(work, jobs, min(workers, len(jobs)))


def missing_pixels(instance: Instance) -> str:
    """Say what a file lacks of its pixels without decoding them: empty for whole ones, and for compressed ones, where only decoding can tell.

    Raises:
        CorruptFileError: pixels whose size is not described.
    """
    if instance.offset is None:
        return TRUNCATED if instance.is_image else ""
    check_described(instance)
    if instance.length is None or instance.syntax not in NATIVE or instance.syntax == DEFLATED:
        return ""
    try:
        return short_of(layout_of(instance, palette=False), instance.pixel_bytes)
    except UnsupportedError:
        return ""
    except CorruptFileError as error:
        return error.reason


class PixelReader:
    """The open pixels of one file; any frame can be read, in any order, by one thread at a time.

    Args:
        instance: the file.
        layout: what its header says.

    Raises:
        CorruptFileError: pixels that cannot be found.
        UnsupportedError: a transfer syntax that is not read.
    """

    def __init__(self, instance: Instance, layout: Layout) -> None:
        self._instance, self._layout = instance, layout
        self._decode: Decoder | None = None if layout.syntax in NATIVE else decoder_of(layout)
        self._inflated: memoryview | None = None
        self._encapsulated: Encapsulated | None = None
        self._file = FileIO(instance.path)
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def read(self, index: int, out: npt.NDArray[Any]) -> None:
        """Decode one frame into `out`, which is contiguous, of the layout's shape and type.

        Raises:
            CorruptFileError: it ends early or does not decode.
        """
        layout = self._layout
        target = out if layout.palette is None else np.empty(layout.raw_shape, layout.raw)
        if self._encapsulated is not None and self._decode is not None:
            data = self._encapsulated.frame(index)
            try:
                self._decode(data, layout, target)
            except MedioError:
                raise
            except Exception as error:  # each codec has its own errors
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise CorruptFileError(
                    layout.path,
                    f"frame {index + 1} of {layout.frames} does not decode ({reason}); the file is damaged or cut short, "
                    "fetch it again or exclude it",
                ) from error
        else:
            self._native(index, target)
        if layout.palette is not None:
            layout.palette.apply(target, out)

    def _prepare(self) -> None:
        instance, layout = self._instance, self._layout
        if layout.syntax == DEFLATED:
            self._inflated = inflate_pixels(instance, layout, self._file)
            if short := short_of(layout, len(self._inflated)):
                raise CorruptFileError(layout.path, short)
        elif self._decode is not None:
            start = instance.offset or 0
            stretch = Stretch(self._file, start, start + instance.pixel_bytes)
            tables = instance.header.get("ExtendedOffsetTable"), instance.header.get("ExtendedOffsetTableLengths")
            extended = (tables[0], tables[1]) if isinstance(tables[0], bytes) and isinstance(tables[1], bytes) else None
            self._encapsulated = Encapsulated(layout.path, stretch, layout.frames, extended=extended, single=layout.syntax == RLE)

    def _native(self, index: int, out: npt.NDArray[Any]) -> None:
        layout = self._layout
        first = index * layout.frame_bits
        big = layout.syntax == BIG_ENDIAN
        # Big-endian words of two bytes: whole words are read, and turned.
        words = big and layout.raw.itemsize == 1 and self._instance.header.pixel_vr == "OW"
        plain = layout.allocated > 1 and not words and not layout.planar and layout.photometric != "YBR_FULL_422"
        if self._inflated is not None:
            data = self._inflated[first // 8 : (first + layout.frame_bits + 7) // 8]
            if plain:
                fill_native(data, layout, out)
            else:
                arrange(_samples(data, layout, first % 8), layout, out)
        elif plain:
            if out.itemsize > 1 and big == _LITTLE:
                turned = np.empty_like(out)  # turned on the way out of the cache: a sixth of the time of byteswap(inplace=True)
                self._read_at(first // 8, turned.data.cast("B"))
                out[...] = turned.view(out.dtype.newbyteorder())
            else:
                self._read_at(first // 8, out.data.cast("B"))
            finish(layout, out)
        else:
            skip = first // 8 % 2 if words else 0
            start, stop = first // 8 - skip, (first + layout.frame_bits + 7) // 8
            held = bytearray(stop - start + ((stop - start) % 2 if words else 0))
            self._read_at(start, memoryview(held))
            if words:
                held = bytearray(np.frombuffer(held, np.uint16).byteswap().tobytes())
            arrange(_samples(memoryview(held)[skip : skip + stop - first // 8], layout, first % 8), layout, out)

    def _read_at(self, place: int, target: memoryview) -> None:
        """Fill `target` from a place within PixelData; a last odd byte may be missing."""
        self._file.seek((self._instance.offset or 0) + place)
        done = 0
        while done < len(target):
            count = self._file.readinto(target[done:])
            if not count:
                break
            done += count
        if len(target) - done > 1:
            raise CorruptFileError(
                self._layout.path, f"shrank while it was read: {done} of {len(target)} bytes of a frame; fetch it again or exclude it"
            )


_LITTLE = struct.pack("=H", 1) == b"\x01\x00"


def _samples(data: memoryview, layout: Layout, bit: int) -> npt.NDArray[Any]:
    """View the bytes of one frame as its flat samples."""
    if layout.allocated == 1:
        return unpack_bits(np.frombuffer(data, np.uint8), bit, layout.rows * layout.columns)
    return np.frombuffer(data, layout.raw.newbyteorder(">" if layout.syntax == BIG_ENDIAN else "<"))


def _check_fits(layout: Layout, out: npt.NDArray[Any]) -> None:
    if layout.shape != out.shape[1:]:
        ours, theirs = ("x".join(map(str, shape)) for shape in (layout.shape, out.shape[1:]))
        raise GeometryError(layout.path, f"frames of {ours} where {theirs} is asked for; pass files of one size")
    if layout.dtype != out.dtype and not np.can_cast(layout.dtype, out.dtype):
        raise UnsupportedError(layout.path, f"values of {layout.dtype} do not fit in an array of {out.dtype}; choose a wider type")


def _helpful(layouts: Sequence[Layout]) -> int:
    """How many threads gain: the decoders free the GIL, but plain reading is over before another thread has it."""
    if all(layout.syntax in NATIVE and layout.syntax != DEFLATED for layout in layouts):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share_out(work: Callable[[_Job], None], jobs: Sequence[_Job], workers: int) -> None:
    """Run jobs on threads that each take the next one; the error of the earliest job that failed is raised."""
    lock, rest = threading.Lock(), iter(enumerate(jobs))
    failed: dict[int, Exception] = {}

    def run() -> None:
        while not failed:
            with lock:
                number, job = next(rest, (-1, None))
            if job is None:
                return
            try:
                work(job)
            except Exception as error:
                failed[number] = error
                raise

    with ThreadPoolExecutor(workers, thread_name_prefix="medio-decode") as pool:
        wait([pool.submit(run) for _ in range(workers)])
    if failed:
        raise failed[min(failed)]
