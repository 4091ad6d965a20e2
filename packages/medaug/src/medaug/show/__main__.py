"""`python -m medaug.show PRESET IMAGE`: write a grid of an image before and after a preset."""

import argparse
import ast
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medaug.errors import AugmentationError
from medaug.presets import list_presets, make_preset
from medaug.show.reading import Picture, read_picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code: 0, or 2 with one line that says what to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m medaug.show", description="See what a preset does: a grid of an image before and after, as PNG."
    )
    parser.add_argument("preset", nargs="?", help="a name of --list")
    parser.add_argument("image", nargs="?", type=Path, help=".npy, .npz, PNG, JPEG, NIfTI, a DICOM file or a folder of one series")
    parser.add_argument("--mask", type=Path, help="labels on the same grid, to outline")
    parser.add_argument("--out", type=Path, default=Path("grid.png"), help="file to write (default: grid.png)")
    parser.add_argument("--count", type=int, default=8, help="how many augmented samples (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="first part of the keys (default: 0)")
    parser.add_argument("--spacing", type=_numbers, help="mm along z,y,x or y,x, or one number; where the file does not tell")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the preset, as Python writes it; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="list the presets and stop")
    options = parser.parse_args(arguments)
    if options.list:
        width = max(map(len, list_presets()))
        sys.stdout.writelines(f"{name:{width}}  {purpose}\n" for name, purpose in list_presets().items())
        return 0
    if options.preset is None or options.image is None:
        parser.error("give a preset and an image, or --list")
    try:
        sys.stdout.write(show(options) + "\n")
    except (AugmentationError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def show(options: argparse.Namespace) -> str:
    """Write the grid; says where it is.

    Raises:
        AugmentationError: for a preset, an option or a file that will not do.
        ImportError: without pillow; names the extra.
    """
    try:
        from medaug.show.drawing import Panel, draw_grid, grey_window
    except ImportError as error:
        raise ImportError('pictures need pillow: pip install "medaug[show]"') from error
    if options.count < 1:
        raise AugmentationError("--count", f"must be at least 1, got {options.count}")
    if options.out.suffix.lower() != ".png":
        raise AugmentationError(str(options.out), "is no PNG; let --out end in .png")
    if not options.out.resolve().parent.is_dir():
        raise AugmentationError(str(options.out), "lies in a folder that does not exist; make it first")
    preset = make_preset(options.preset, **_settings(options.set))
    sample = _sample(options)
    name = _stem(options.image)
    results = []
    for view in range(options.count):
        for title, result in _views(preset(dict(sample), (options.seed, 0, name, view))):
            results.append((f"{view}{title}", result))
    spacing = sample["spacing"]
    before = _array(sample)
    panels = [Panel(image=before, mask=_labels(sample), spacing=_steps(spacing), title=f"before: {name}", window=grey_window([before]))]
    window = grey_window([_array(result) for _, result in results])
    for title, result in results:
        panels.append(Panel(image=_array(result), mask=_labels(result), spacing=_steps(result["spacing"]), title=title, window=window))
    draw_grid(panels).save(options.out)
    return f"{options.out}: {name} before and {len(results)} times after {options.preset}"


def _sample(options: argparse.Namespace) -> dict[str, Any]:
    """Read the image, and the mask where one is given."""
    picture = read_picture(options.image)
    dims = picture.array.ndim - 1
    spacing = _spacing(options, picture, dims)
    sample: dict[str, Any] = {"image": torch.from_numpy(np.ascontiguousarray(picture.array, np.float32)), "spacing": spacing}
    mask = picture.mask
    if options.mask is not None:
        mask = read_picture(options.mask).array[0]
    if mask is not None:
        if mask.shape != picture.array.shape[1:]:
            raise AugmentationError(
                str(options.mask or options.image),
                f"holds a mask of shape {mask.shape}, the image has {picture.array.shape[1:]}; resample it to the image first",
            )
        sample["mask"] = torch.from_numpy(np.ascontiguousarray(np.round(mask), np.int64))
    return sample


def _spacing(options: argparse.Namespace, picture: Picture, dims: int) -> tuple[float, ...]:
    spacing: tuple[float, ...] | None = options.spacing or picture.spacing
    if spacing is None:
        raise AugmentationError(str(options.image), "does not tell its spacing; give it in mm, e.g. --spacing 0.4")
    if len(spacing) == 1:
        spacing = spacing * dims
    if len(spacing) != dims:
        raise AugmentationError(str(options.image), f"has {dims} axes, --spacing {len(spacing)} numbers; give one an axis, or one for all")
    return spacing


def _views(result: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The samples that a preset made of one: itself, or its views."""
    if isinstance(result, Mapping) and "image" in result:
        return [("", result)]
    if isinstance(result, Mapping):
        return [(f" {name}{title}", view) for name, value in result.items() for title, view in _views(value)]
    return [(f".{number}{title}", view) for number, value in enumerate(result) for title, view in _views(value)]


def _array(sample: Mapping[str, Any]) -> Any:
    return sample["image"][0].float().numpy()


def _labels(sample: Mapping[str, Any]) -> Any:
    mask = sample.get("mask")
    return None if mask is None else mask.numpy()


def _steps(spacing: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in spacing)


def _stem(path: Path) -> str:
    """The file's name without its endings."""
    return path.resolve().name.removesuffix(".gz").rsplit(".", 1)[0] if path.is_file() else path.resolve().name


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas, all above 0."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(value > 0 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is no spacing; write numbers above 0 between commas, e.g. 2.5,0.7,0.7")
    return values


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs, values read as Python's literals."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise AugmentationError("--set", f"needs OPTION=VALUE, got {text!r}")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


if __name__ == "__main__":
    sys.exit(main())
