"""`med-ingest deidentify`: copies without names, and the proof that nothing was left."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from med_ingest.saying import Rejected, Workers, counted, reject
from medrun.cli import UserError, say, table

if TYPE_CHECKING:
    from medio import Policy


class Dates(StrEnum):
    """What becomes of dates."""

    SHIFT = "shift"
    KEEP = "keep"
    REMOVE = "remove"


def deidentify(
    source: Annotated[Path, typer.Argument(help="DICOM file, or folder of them; left as it is.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for the copies: <patient>/<series>/<instance>.dcm, all pseudonyms, and audit.parquet.")
    ],
    key_file: Annotated[
        Path, typer.Option(help="File with the secret key (16 characters or more). The same key gives the same pseudonyms.")
    ],
    make_key: Annotated[bool, typer.Option("--make-key", help="Make the key file when it does not exist.")] = False,
    dates: Annotated[Dates, typer.Option(help="Move a patient's dates together, keep them, or take them out.")] = Dates.SHIFT,
    clean_pixels: Annotated[
        bool,
        typer.Option(
            "--clean-pixels", help="Admit ultrasound and screen captures; find text in pixels by OCR and blank it. Needs medio[ocr]."
        ),
    ] = False,
    examine_all_pixels: Annotated[
        bool, typer.Option("--examine-all-pixels", help="With --clean-pixels, look for text in every image, plain CT and MR slices too.")
    ] = False,
    clean_graphics: Annotated[
        bool, typer.Option("--clean-graphics", help="Keep overlays and admit presentation states, cleaned. Needs medio[ocr].")
    ] = False,
    clean_structured: Annotated[bool, typer.Option("--clean-structured", help="Admit structured reports, their text cleaned.")] = False,
    clean_descriptors: Annotated[
        bool, typer.Option("--clean-descriptors", help="Keep descriptions and comments, cleaned; without it they go.")
    ] = False,
    keep_sex: Annotated[bool, typer.Option(help="Keep the patient's sex.")] = True,
    keep_age: Annotated[bool, typer.Option(help="Keep the patient's age; above 89 years it becomes 90.")] = True,
    keep_size_and_weight: Annotated[bool, typer.Option(help="Keep size and weight, which SUV needs.")] = True,
    keep_characteristics: Annotated[
        bool, typer.Option("--keep-characteristics", help="Keep smoking, pregnancy, allergies and the like.")
    ] = False,
    keep_device: Annotated[bool, typer.Option("--keep-device", help="Keep serial numbers and station names.")] = False,
    keep_institution: Annotated[bool, typer.Option("--keep-institution", help="Keep name and address of the institution.")] = False,
    keep_safe_private: Annotated[
        bool, typer.Option("--keep-safe-private", help="Keep the private attributes that are known to be safe, e.g. b-values.")
    ] = False,
    keep_uids: Annotated[
        bool, typer.Option("--keep-uids", help="Keep UIDs as they are; whoever has the archive can then find the patient.")
    ] = False,
    check: Annotated[
        bool, typer.Option(help="Afterwards search every copy for every identifier of its original; exit code 2 when one is found.")
    ] = True,
    workers: Workers = 1,
    rejected: Rejected = None,
) -> None:
    """Copy DICOM files without what identifies people; dates move, intervals stay.

    Only attributes that images need survive (PS3.15 Basic Profile). Files with text in their pixels or content are not copied but counted, with the reason,
    unless an option says that they are to be cleaned. Stopped and started again, it goes on where it was.

    Examples: med-ingest deidentify archive clean --key-file secret.key --make-key
    med-ingest deidentify archive clean --key-file secret.key --clean-pixels --clean-structured --workers 4
    """
    from medio import Policy, deidentify_files

    policy = Policy(
        key=_key(key_file, make=make_key),
        keep_sex=keep_sex,
        keep_age=keep_age,
        keep_size_and_weight=keep_size_and_weight,
        dates=dates.value,
        keep_characteristics=keep_characteristics,
        keep_uids=keep_uids,
        keep_device=keep_device,
        keep_institution=keep_institution,
        keep_safe_private=keep_safe_private,
        clean_descriptors=clean_descriptors,
        clean_pixels=clean_pixels,
        examine_all_pixels=examine_all_pixels and clean_pixels,
        clean_graphics=clean_graphics,
        clean_structured=clean_structured,
    )
    try:
        with counted("de-identifying") as count:
            report = deidentify_files(source, out, policy, progress=count, workers=workers)
    except ImportError as error:
        raise UserError(str(error)) from error
    reject(report.quarantined, rejected)
    say(
        f"{len(report.written)} files in {out} ({report.skipped} were there), {len(report.quarantined)} set aside", f"audit: {report.audit}"
    )
    if check and report.written:
        _check(source, out, policy)


def _check(source: Path, out: Path, policy: "Policy") -> None:
    from medio import verify_deidentified

    with counted("searching the copies") as count:
        found = verify_deidentified(source, out, policy, strict=False, progress=count)
    if found.leaks:
        table("leaks", [(leak.file, leak.tag, leak.kind) for leak in found.leaks[:40]], columns=("file", "where", "what"))
        raise UserError(f"{out}: {len(found.leaks)} leaks in {found.files} copies; do not release it")
    say(f"{found.files} copies hold no identifier of their originals")


def _key(path: Path, *, make: bool) -> str:
    if not path.is_file():
        if not make:
            raise UserError(
                f"{path}: no such key file; add --make-key to make one, and keep it: without it, new studies get other pseudonyms"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    key = path.read_text().strip()
    if len(key) < 16:
        raise UserError(f"{path}: the key has {len(key)} characters and needs 16; delete the file and use --make-key")
    return key
