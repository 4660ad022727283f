"""Folders on S3, which are there whole or not at all.

Objects cannot be renamed, so one of a folder's objects says that it is whole: the one that holds its record, a Zarr
group's ``zarr.json`` or ``record.json``, is written last and removed first. A folder that is replaced is written whole
beside the old one before that is touched, so a killed writer loses neither. Address and credentials come from the
variables ``AWS_…`` of the environment alone. Knows nothing of what a record says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from focus_core.cubes.lock import Lock, content
from focus_core.errors import MissingInputError, TargetError

_MARKERS = ("zarr.json", "record.json")
_SCHEME = "s3://"
_THREADS = 8


def is_remote(uri: str | Path) -> bool:
    """Return whether a URI names a folder on S3."""
    return str(uri).startswith(_SCHEME)


def object_store(uri: str) -> S3Store:
    """Return the object store below an ``s3://`` URI.

    Raises
    ------
    TargetError
        If it names more than a bucket and a folder; credentials do not belong into a URI, which is recorded.
    """
    parts = urlsplit(uri)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise TargetError(
            f"'{_SCHEME}…' must name a bucket and a folder in it, and no more: give {_SCHEME}BUCKET/FOLDER, and "
            "credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    with reaching(uri):
        return S3Store.from_url(uri)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Say what an object store refused."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise TargetError(
            f"'{uri}' cannot be reached: {str(error).splitlines()[0]}; check the bucket, AWS_ENDPOINT_URL, AWS_REGION, "
            "the credentials and, for an address without TLS, AWS_ALLOW_HTTP"
        ) from error


def below(folder: Path, key: str) -> Path:
    """Return where an object's key leads to in a local folder.

    Raises
    ------
    TargetError
        If it leads outside.
    """
    path = Path(os.path.normpath(folder / key))
    if not path.is_relative_to(folder):
        raise TargetError(f"the object '{key}' would be copied outside '{folder}'; rename it")
    return path


class RemoteFolder:
    """A folder on S3.

    Parameters
    ----------
    uri
        ``s3://bucket/…/name``.

    Raises
    ------
    TargetError
        If the URI names no folder, or, from every method, the store refuses.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri).rstrip("/")
        parent, _, self._name = self.uri.rpartition("/")
        if f"{parent}/" == _SCHEME:
            raise TargetError(f"'{self.uri}' names a bucket; name a folder in it")
        self._store = object_store(parent)
        self._next = f".{self._name}.next"
        self._lock = Lock(self._store, f".{self._name}.lock", self.uri)

    def marker(self) -> bytes | None:
        """Return the object that holds the record; none where there is no whole folder."""
        return self._marker(self._name)

    def occupied(self) -> bool:
        """Return whether there is anything."""
        with reaching(self.uri):
            return bool(self._keys(self._name))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other writers out, and first mend what a killed one left.

        Raises
        ------
        BusyError
            If another writer is at work.
        """
        with reaching(self.uri):
            abandoned = self._lock.take()
        with self._lock.renewed():
            self._mend(abandoned)
            yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Lend a local path to write to; it is kept where the block fails, so that a rerun need not begin anew."""
        base = Path(tempfile.gettempdir()) / f"focus-{os.getuid()}"
        base.mkdir(mode=0o700, exist_ok=True)
        if base.is_symlink() or base.stat().st_uid != os.getuid():
            raise TargetError(f"'{base}' belongs to somebody else; set TMPDIR to a folder of your own")
        folder = base / hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        yield folder / self._name
        shutil.rmtree(folder, ignore_errors=True)

    def replace(self, folder: Path) -> None:
        """Write a local folder here, each object read back and compared; whatever was here is gone afterwards.

        Raises
        ------
        TargetError
            If the store gives back other content than was sent.
        BusyError
            If another writer took over meanwhile, because this one gave no sign of life.
        """
        with reaching(self.uri):
            try:
                if self.marker() is not None:
                    self._write(folder, self._next)
                self._write(folder, self._name)
                self._remove(self._next)
            except Exception:
                with suppress(BaseError, TargetError):
                    self._lock.refuse_lost()
                    self._drop_halves()
                raise

    def fetch(self, folder: Path) -> Path:
        """Copy everything to an empty local folder, and return that.

        Raises
        ------
        MissingInputError
            If there is no whole folder.
        """
        if self.marker() is None:
            raise MissingInputError(f"'{self.uri}' does not exist or is not finished; run the step that writes it")
        with reaching(self.uri):
            self._fetch(self._name, folder)
        return folder

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """Lend a local copy; errors as of `fetch`."""
        with tempfile.TemporaryDirectory(prefix="focus-") as folder:
            yield self.fetch(Path(folder))

    def _mend(self, abandoned: bool) -> None:
        with reaching(self.uri):
            if abandoned:
                self._drop_halves()
            if self._marker(self._next) is not None:
                with tempfile.TemporaryDirectory() as folder:
                    self._fetch(self._next, Path(folder))
                    self._write(Path(folder), self._name)
            self._remove(self._next)

    def _drop_halves(self) -> None:
        for name in (self._name, self._next):
            if self._marker(name) is None:
                self._remove(name)

    def _write(self, folder: Path, name: str) -> None:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        marker = next(file for file in _MARKERS if file in files)
        self._lock.refuse_lost()
        self._remove(name)
        with ThreadPoolExecutor(_THREADS) as pool:
            others = [file for file in files if file != marker]
            list(pool.map(lambda file: self._put(f"{name}/{file}", files[file]), others))
        self._lock.refuse_lost()
        self._put(f"{name}/{marker}", files[marker])

    def _put(self, key: str, path: Path) -> None:
        obstore.put(self._store, key, path)
        with path.open("rb") as file:
            sent = hashlib.file_digest(file, "sha256")
        found = hashlib.sha256()
        for piece in obstore.get(self._store, key):
            found.update(piece)
        if found.digest() != sent.digest():
            raise TargetError(f"'{self.uri}': the store gives back other content than was sent for '{key}'; mend it")

    def _fetch(self, name: str, folder: Path) -> None:
        def copy(key: str) -> None:
            path = below(folder, key.removeprefix(f"{name}/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for piece in obstore.get(self._store, key):
                    file.write(piece)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(copy, self._keys(name)))

    def _remove(self, name: str) -> None:
        keys = self._keys(name)
        markers = [f"{name}/{file}" for file in _MARKERS if f"{name}/{file}" in keys]
        for part in (markers, [key for key in keys if key not in markers]):
            if part:
                obstore.delete(self._store, part)

    def _keys(self, name: str) -> list[str]:
        return [item["path"] for batch in obstore.list(self._store, prefix=name) for item in batch]

    def _marker(self, name: str) -> bytes | None:
        with reaching(self.uri):
            found = (content(self._store, f"{name}/{file}") for file in _MARKERS)
            return next((held for held in found if held is not None), None)
