"""Files that are tables to other programs only: refused by name."""

from pathlib import Path, PurePosixPath

from mlrun.errors import MlrunError

STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"$FL2", "an SPSS file"),
    (b"<stata_dta>", "a Stata file"),
    (b"MATLAB 5", "a Matlab file"),
    (b"RDX", "an R workspace"),
    (b"<?xml", "an XML document"),
)
SUFFIXES = {  # of files that are not text
    ".ods": "an OpenDocument spreadsheet",
    ".xlsb": "a binary Excel file (.xlsb)",
    ".pkl": "a pickle, which could run code",
    ".pickle": "a pickle, which could run code",
    ".dta": "a Stata file",
    ".sas7bdat": "a SAS file",
    ".rds": "an R object",
    ".npz": "a NumPy archive",
}


def refuse_foreign(path: Path, name: str, start: bytes) -> None:
    """Refuse a file of another program.

    Args:
        path: the file, for the message.
        name: the name of its content, without .gz.
        start: the first bytes of the content.

    Raises:
        MlrunError: it is one.
    """
    what = next((found for magic, found in STARTS if start.startswith(magic)), None)
    if what is None and any(byte < 9 for byte in start):
        what = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if what is not None:
        raise MlrunError(f"{path} is {what}: save it as .xlsx or .csv")
