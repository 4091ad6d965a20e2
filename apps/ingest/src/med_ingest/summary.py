"""What a dataset of shards holds, as rows to print."""

from collections import defaultdict
from dataclasses import dataclass

from medio import ShardDataset
from medio.shards.index import read_index


@dataclass(frozen=True)
class Summary:
    """Rows of the tables of `med-ingest inspect`.

    Attributes:
        facts: name and value.
        groups: split, modality, patients, samples.
        labels: label, samples where it is known, samples where it is above 0.
        classes: class of the mask, samples that show it, voxels in all.
    """

    facts: list[tuple[str, str]]
    groups: list[tuple[str, str, int, int]]
    labels: list[tuple[str, int, int]]
    classes: list[tuple[int, int, int]]


def summarise(dataset: ShardDataset) -> Summary:
    """Count a dataset from its indexes; no image is read."""
    rows = dataset.table.select(["split", "modality", "patient_id", "spacing", "unit", "labels", "arrays", "shard"]).to_pylist()
    names = sorted({row["shard"] for row in rows})
    images = [next(a for a in row["arrays"] if a["name"] == "image") for row in rows]
    # The shards of a URL are not here before they are read.
    files = [path for name in names if (path := dataset.root / f"{name}.b2z").is_file()]
    size = f", {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB" if len(files) == len(names) else ""
    facts = [
        ("samples", str(len(rows))),
        ("patients", str(len(set(dataset.patients)))),
        ("shards", f"{len(names)}{size}"),
        ("image shape", _range([image["shape"] for image in images])),
        ("image type", ", ".join(sorted({image["dtype"] for image in images}))),
        ("spacing mm", _range([row["spacing"] for row in rows])),
        ("unit", ", ".join(sorted({row["unit"] or "none" for row in rows}))),
        ("arrays", ", ".join(sorted({array["name"] for row in rows for array in row["arrays"]}))),
        ("set aside", str(len(dataset.quarantined))),
    ]
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    labels: dict[str, list[float]] = {name: [] for name in dataset.labels}
    for row in rows:
        groups[row["split"] or "none", row["modality"] or "none"].append(row["patient_id"])
        for name, value in row["labels"]:
            labels[name].append(value)
    return Summary(
        facts,
        [(*key, len(set(patients)), len(patients)) for key, patients in sorted(groups.items())],
        [(name, len(values), sum(value > 0 for value in values)) for name, values in labels.items()],
        _classes(dataset, names),
    )


def _classes(dataset: ShardDataset, shards: list[str]) -> list[tuple[int, int, int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for name in shards:
        for classes in read_index(dataset.root / f"{name}.parquet", ["foreground"])["foreground"].to_pylist():
            for entry in classes or ():
                found[entry["class"]].append(entry["count"])
    return [(number, len(counts), sum(counts)) for number, counts in sorted(found.items())]


def _range(values: list[list[float]]) -> str:
    """Write equal lists once, others axis by axis as lowest to highest."""
    if len({len(value) for value in values}) > 1:
        return "2D and 3D"
    parts = []
    for axis in zip(*values, strict=True):
        low, high = min(axis), max(axis)
        parts.append(f"{low:g}" if low == high else f"{low:g}-{high:g}")
    return " x ".join(parts)
