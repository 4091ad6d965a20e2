import functools
import itertools
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pydicom
import pytest

import medio
from medio.errors import LoaderError, SampleError
from medio.loading.dicom_dataset import DicomDataset

AFFINE = np.array([[0, 0, 0.8, -50], [0, 0.8, 0, -60], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, write_ct: Callable[..., Any]) -> Path:
    """Three CT series of 6, 7 and 8 slices of 24 x 20, two sites."""
    folder = tmp_path_factory.mktemp("archive")
    for i in range(3):
        stored = np.random.default_rng(i).integers(0, 2000, (6 + i, 24, 20)).astype(np.uint16)
        write_ct(folder / f"ct{i}", stored, AFFINE, PatientID=f"P{i}", InstitutionName="north" if i else "south")
    return folder


@pytest.fixture(scope="module")
def series(archive: Path) -> Sequence[medio.Series]:
    return medio.series(medio.scan(archive))


def test_a_whole_sample_is_what_read_gives(series: Sequence[medio.Series]) -> None:
    dataset = DicomDataset(series)
    assert (len(dataset), dataset.patients) == (3, ("P0", "P1", "P2"))
    for one, sample in zip(series, (dataset[i] for i in range(3)), strict=True):
        image = medio.read(one.paths)
        assert np.array_equal(sample["image"], image.array[None])
        assert np.array_equal(sample["affine"], image.affine)
        assert tuple(sample["spacing"]) == image.spacing
        assert sample["statistics"]["mean"] == pytest.approx(image.array.mean(dtype=np.float64))
        assert sample["key"] == (0, 0, one.series_instance_uid, 0)
        assert (sample["meta"]["patient"], sample["meta"]["unit"], sample["meta"]["modality"]) == (one.patient_id, "HU", "CT")


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("size", [(3, 8, 8), (1, 24, 20), (10, 30, 8)])
def test_a_crop_holds_the_voxels_that_its_affine_says(series: Sequence[medio.Series], partial: bool, size: tuple[int, ...]) -> None:
    dataset = DicomDataset(series, crop=medio.Crop(size, foreground=0), partial=partial)
    sampler = medio.Sampler(dataset, 3, 5)
    places = set()
    for draw in itertools.chain(*(sampler.batch_at(n) for n in range(4))):
        sample = dataset[draw]
        whole = medio.read(series[draw.index].paths)
        assert sample["image"].shape == (1, *size)
        first = np.round(np.linalg.solve(whole.affine, sample["affine"][:, 3])[:3]).astype(int)
        places.add((draw.index, *first))
        grid = np.indices(size).reshape(3, -1)
        # Through the world and back: a voxel of the crop is the voxel of the whole at the same place in the patient.
        world = sample["affine"][:3, :3] @ grid + sample["affine"][:3, 3:]
        index = np.round(medio.world_to_index(whole.affine, world.T)).astype(int).T
        inside = ((index >= 0) & (index < np.array(whole.array.shape)[:, None])).all(axis=0)
        assert np.array_equal(sample["image"].reshape(-1)[inside], whole.array[tuple(index[:, inside])])
        assert (sample["image"].reshape(-1)[~inside] == sample["image"].min()).all()
        assert ("statistics" in sample) is not partial
    assert len(places) > 1 or size[0] == 10


def test_partial_reads_no_other_slices(archive: Path, series: Sequence[medio.Series], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def counted(paths: Any, **options: Any) -> medio.Image:
        opened.append(len(paths))
        return medio.read(paths, **options)

    monkeypatch.setattr("medio.loading.dicom_dataset.read_image", counted)
    dataset = DicomDataset(series, crop=medio.Crop((3, 8, 8), foreground=0), partial=True, read=counted)
    dataset[0]
    assert opened == [3]


def test_decoded_series_are_kept_up_to_the_limit(series: Sequence[medio.Series]) -> None:
    decoded: list[Path] = []

    def counted(paths: Sequence[Path]) -> medio.Image:
        decoded.append(paths[0].parent)
        return medio.read(paths)

    roomy, narrow = (DicomDataset(series, read=counted, cache_bytes=size) for size in (1 << 20, 2 * 8 * 24 * 20 * 2))
    for i in (0, 1, 2, 0, 1, 2):
        roomy[i]
    assert len(decoded) == 3
    decoded.clear()
    for i in (0, 1, 0, 2, 0, 1):  # room for two: 1 goes out when 2 comes, 0 was used since
        narrow[i]
    assert [p.name for p in decoded] == ["ct0", "ct1", "ct2", "ct1"]


def test_what_a_transform_does_to_a_sample_stays_with_it(series: Sequence[medio.Series]) -> None:
    def spoil(sample: dict[str, Any]) -> dict[str, Any]:
        sample["image"][...] = 0
        sample["affine"][...] = 0
        sample["statistics"].clear()
        return sample

    spoilt, whole = DicomDataset(series, transform=spoil), DicomDataset(series)
    spoilt[0]
    spoilt.transform = None
    assert np.array_equal(spoilt[0]["image"], whole[0]["image"])
    assert np.array_equal(spoilt[0]["affine"], whole[0]["affine"])
    assert spoilt[0]["statistics"] == whole[0]["statistics"]


def test_labels_come_from_a_table_or_a_mapping(series: Sequence[medio.Series]) -> None:
    uids = [one.series_instance_uid for one in series]
    table = pa.table({"series_instance_uid": uids[:2], "nodule": [1, 0], "age": [50.5, None], "note": ["a", "b"]})
    for labels in (table, {uids[0]: {"nodule": 1, "age": 50.5}, uids[1]: {"nodule": 0}}):
        dataset = DicomDataset(series, labels=labels)
        assert dataset.labels == ("age", "nodule")
        assert np.array_equal(dataset[0]["label"], np.float32([50.5, 1]))
        assert np.array_equal(dataset[1]["label"], np.float32([np.nan, 0]), equal_nan=True)
        assert np.isnan(dataset[2]["label"]).all()
        assert medio.balance(dataset, "label:nodule") == pytest.approx([1 / 3] * 3)
    assert medio.balance(dataset, "site") == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    with pytest.raises(ValueError, match="needs a column series_instance_uid"):
        DicomDataset(series, labels=pa.table({"uid": uids}))
    with pytest.raises(ValueError, match="none of the labels is of a sample: 'other'"):
        DicomDataset(series, labels={"other": {"nodule": 1}})


def test_masks_in_another_orientation_and_as_seg_land_on_the_image(tmp_path: Path, series: Sequence[medio.Series]) -> None:
    first, second = series[:2]
    truth = []
    for one in (first, second):
        mask = np.zeros(medio.read(one.paths).array.shape, np.uint8)
        mask[1:3, 4:9, 5:11] = 1
        truth.append(mask)
    image = medio.read(first.paths)
    flipped = medio.reorient(medio.Image(2 * truth[0], image.affine, image.spacing), "LAI")
    # nibabel writes it by itself: RAS world, axes x, y, z
    ras = np.diag([-1.0, -1, 1, 1]) @ flipped.affine
    nibabel.save(nibabel.Nifti1Image(flipped.array.T, ras[:, [2, 1, 0, 3]]), tmp_path / "mask.nii.gz")
    segment = medio.Segment(number=1, label="lesion", code=("52988006", "SCT", "Lesion"), algorithm="a", algorithm_version="1")
    seg = medio.write_segmentation(
        truth[1], second.paths[0].parent, [segment], tmp_path / "mask.dcm", affine=medio.read(second.paths).affine
    )
    uids = [one.series_instance_uid for one in series]
    dataset = DicomDataset(series, masks={uids[0]: tmp_path / "mask.nii.gz", uids[1]: seg}, crop=medio.Crop((2, 4, 4), foreground=1))
    assert dataset.mask_classes() == [frozenset({2}), frozenset({1}), frozenset()]
    whole = DicomDataset(series, masks={uids[0]: str(tmp_path / "mask.nii.gz"), uids[1]: seg})
    assert np.array_equal(whole[0]["mask"], 2 * truth[0])
    assert np.array_equal(whole[1]["mask"], truth[1])
    assert "mask" not in whole[2]
    for index in range(2):
        for epoch in range(5):
            draw = medio.Draw(index, (0, epoch, uids[index], 0))
            assert dataset[draw]["mask"].any()  # centred on the mask every time


@pytest.mark.parametrize(("values", "message"), [(0.5, "holds fractions"), (-1.0, "negative numbers")])
def test_a_mask_that_is_none_is_refused(tmp_path: Path, series: Sequence[medio.Series], values: float, message: str) -> None:
    image = medio.read(series[0].paths)
    medio.write(medio.Image(np.full(image.array.shape, values, np.float32), image.affine, image.spacing), tmp_path / "m.nii")
    dataset = DicomDataset(series, masks={series[0].series_instance_uid: tmp_path / "m.nii"})
    with pytest.raises(SampleError, match=message):
        dataset[0]


def test_a_broken_series_is_named_and_can_be_skipped(tmp_path: Path, write_ct: Callable[..., Any]) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    paths = [write_ct(tmp_path / f"ct{i}", rng.integers(0, 9, (3, 8, 8)).astype(np.uint16), AFFINE) for i in range(3)]
    dataset = DicomDataset(medio.series(medio.scan(tmp_path)))
    whole = paths[1][1].read_bytes()
    paths[1][1].write_bytes(whole[: len(whole) - 40])  # cut after the scan, as by a disk that fails
    broken = dataset.sample_ids[next(i for i in range(3) if dataset._files[i][0].parent.name == "ct1")]
    with pytest.raises(SampleError, match=f"^{broken}: CorruptFileError"):
        [dataset[i] for i in range(3)]
    with (
        medio.make_loader(dataset, medio.Sampler(dataset, 3, 0), workers=1, on_error="skip") as loader,
        pytest.warns(UserWarning, match=broken),
    ):
        batch = next(iter(loader))
    assert broken not in {key[2] for key in batch["key"]}
    assert [skipped.sample_id for skipped in loader.quarantined] == [broken]


def test_every_radiograph_of_a_series_is_a_sample(tmp_path: Path, write_ct: Callable[..., Any]) -> None:
    stored = np.random.default_rng(0).integers(0, 4000, (2, 30, 40)).astype(np.uint16)
    for path in write_ct(tmp_path / "dx", stored, AFFINE):
        ds = pydicom.dcmread(path)
        ds.Modality, ds.SOPClassUID = "DX", "1.2.840.10008.5.1.4.1.1.1.1"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.ImagerPixelSpacing = ds.PixelSpacing
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "FrameOfReferenceUID", "RescaleType"):
            delattr(ds, keyword)
        ds.save_as(path)
    dataset = DicomDataset(medio.scan(tmp_path))
    assert [name.rsplit("/", 1)[1] for name in sorted(dataset.sample_ids)] == ["001.dcm", "002.dcm"]
    assert [dataset[i]["image"].shape for i in range(2)] == [(1, 30, 40)] * 2
    assert "affine" not in dataset[0]
    assert not np.array_equal(dataset[0]["image"], dataset[1]["image"])
    assert medio.shape_buckets(dataset).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("transport", "method"), [("ring", "fork"), ("threads", None), pytest.param("ring", "spawn", marks=pytest.mark.slow)]
)
def test_a_loader_gives_the_same_from_any_worker(series: Sequence[medio.Series], same: Any, transport: Any, method: Any) -> None:
    pytest.importorskip("torch")
    dataset = DicomDataset(series, crop=medio.Crop((3, 8, 8)), read=functools.partial(medio.read, spacing=None))
    sampler = medio.Sampler(dataset, 2, 1)
    whole = list(itertools.islice(medio.make_loader(dataset, sampler), 5))
    with medio.make_loader(dataset, sampler, workers=2, transport=transport, start_method=method) as loader:
        same(list(itertools.islice(loader, 5)), whole)


def test_a_pickle_leaves_the_decoded_series_behind(series: Sequence[medio.Series]) -> None:
    dataset = DicomDataset(series)
    before = len(pickle.dumps(dataset))
    whole = dataset[1]["image"]
    assert len(pickle.dumps(dataset)) == before
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[1]["image"], whole)


def test_shapes_are_known_without_decoding(series: Sequence[medio.Series]) -> None:
    dataset = DicomDataset(series)
    assert dataset.spatial_shapes() == [(6, 24, 20), (7, 24, 20), (8, 24, 20)]
    assert medio.shape_buckets(dataset, "length", 3).tolist() == [0, 1, 2]


def test_options_that_make_no_sense_are_refused(series: Sequence[medio.Series]) -> None:
    with pytest.raises(ValueError, match="got no series"):
        DicomDataset([])
    with pytest.raises(ValueError, match="comes twice"):
        DicomDataset([*series, series[1]])
    with pytest.raises(ValueError, match="give a crop, and neither masks nor read"):
        DicomDataset(series, partial=True)
    with pytest.raises(IndexError):
        DicomDataset(series)[3]
    assert issubclass(LoaderError, medio.MedioError)


@pytest.mark.parametrize("partial", [False, True])
def test_a_real_series_and_its_mask_lie_on_one_grid(shared_data: Path, partial: bool) -> None:
    folder = shared_data / "ct_totalseg" / "example_ct_dicom"
    (one,) = medio.series(medio.scan(folder))
    mask = shared_data / "ct_totalseg" / "example_seg_dicom.nii.gz"
    name = str(folder)  # these files have no series instance UID
    whole = DicomDataset([one], masks={name: mask})[0]
    stored = np.asarray(nibabel.load(mask).dataobj)
    assert dict(zip(*np.unique(whole["mask"], return_counts=True), strict=True)) == dict(
        zip(*np.unique(stored, return_counts=True), strict=True)
    )
    dataset = DicomDataset([one], crop=medio.Crop((5, 64, 64), foreground=0), partial=partial)
    for epoch in range(3):
        sample = dataset[medio.Draw(0, (0, epoch, name, 0))]
        z, y, x = np.round(medio.world_to_index(whole["affine"], sample["affine"][:3, 3])).astype(int)
        assert np.array_equal(sample["image"], whole["image"][:, z : z + 5, y : y + 64, x : x + 64])
        assert sample["affine"][:3, 3] == pytest.approx(medio.index_to_world(whole["affine"], (z, y, x)), abs=1e-4)
