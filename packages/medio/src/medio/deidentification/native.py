"""The size of uncompressed pixels: fewer bytes are a file cut short, more are room for something else."""

from pydicom.dataset import Dataset


def native_size(dataset: Dataset) -> int | None:
    """Return how many bytes uncompressed PixelData must have, without padding; None where there are none, or compressed ones.

    Raises:
        AttributeError, TypeError, ValueError: the header does not say how large the pixels are.
    """
    if "PixelData" not in dataset or dataset["PixelData"].is_undefined_length:
        return None
    values = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.get("NumberOfFrames") or 1)
    needed = (values * int(dataset.BitsAllocated) + 7) // 8
    return needed * 2 // 3 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else needed
