"""One hypernetwork from Civitai into a folder, with its preview, trigger words and recommended settings beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hypernet import atomic, files
from hypernet.civitai import answers
from hypernet.civitai.advice import Advice, advice
from hypernet.civitai.answers import File, Image, Model, Version
from hypernet.civitai.client import Civitai
from hypernet.civitai.connection import CivitaiError
from hypernet.civitai.download import downloaded, sha256
from hypernet.civitai.filenames import safe_stem
from hypernet.civitai.progress import Watch
from hypernet.civitai.reference import Reference, reference
from hypernet.errors import UnreadableFile
from hypernet.library import SUFFIXES, Library, sidefiles
from hypernet.library.sidefiles import Recommended, Source
from hypernet.text import printable

_MODEL_SUFFIXES = (*SUFFIXES, ".ckpt", ".pth", ".bin")
"""Files with the same stem share their side files, if they have one of these suffixes."""
_MAX_DESCRIPTION = 4000  # characters of the maker's text that go into NAME.json


@dataclass(frozen=True)
class Got:
    """What `get` did."""

    path: Path
    """The hypernetwork, ready for use."""
    model: Model
    version: Version
    file: File
    advice: Advice
    """What the description recommends."""
    preview: Path | None
    """The picture that was written."""
    already: bool
    """Whether the file was here before. Then only missing side files were added."""
    notes: tuple[str, ...]
    """What did not work without being a reason to fail, a sentence each."""

    @property
    def pickle(self) -> bool:
        """Whether it is a pickle, which other programs execute. `safe_copy` makes a .safetensors of it."""
        return self.path.suffix != ".safetensors"


def get(
    civitai: Civitai,
    wanted: str | Reference,
    folder: Path,
    *,
    as_safetensors: bool = False,
    adult: bool = False,
    library: Library | None = None,
    watch: Watch | None = None,
) -> Got:
    """Downloads a hypernetwork into `folder` and writes its side files.

    wanted: address, id, `model@version`, hash, or what `reference` made of one.
    as_safetensors: keep only a .safetensors. adult: whether a picture for adults may become the preview.
    library: if a file in it has the same sha256, nothing is downloaded.
    Existing files and the user's own notes are never replaced. Raises HypernetError, OSError.
    """
    watch = watch or Watch()
    watch.report("Asking Civitai", 0, None)
    meant = reference(wanted, civitai.http.site) if isinstance(wanted, str) else wanted
    model, version = civitai.resolve(meant, watch)
    file = chosen(model, version, meant)
    path, already = _here(file, folder, library, watch), True
    if path is None:
        path, already = _downloaded(civitai, file, version, folder, as_safetensors, watch), False
    elif as_safetensors:
        path = safe_copy(path)
    notes = []
    try:
        preview = add_preview(civitai, path, version, watch, adult=adult)
    except CivitaiError as error:
        preview = None
        notes.append(f"It has no preview: {error}")
    said = describe(path, model, version, file, civitai.http.site)
    return Got(path, model, version, file, said, preview, already, tuple(notes))


def safe_copy(path: Path) -> Path:
    """A .safetensors beside a pickle, with the same network and side files; the pickle stays. Raises HypernetError."""
    target = path.with_suffix(".safetensors")
    if not target.exists():
        files.save(files.load(path, mapped=False), target)
    return target


def chosen(model: Model, version: Version, meant: Reference) -> File:
    """The file of a version to download. Raises CivitaiError if there is none, or none of a hypernetwork."""
    kind = model.kind or version.kind
    if kind != answers.KIND:
        raise CivitaiError(f"“{model.name}” is no hypernetwork but of the kind {kind or 'unknown'}.")
    ours = [file for file in version.files if file.kind in ("Model", "Pruned Model", "")]
    if meant.file is not None:
        ours = [file for file in ours if file.id == meant.file]
    elif meant.hash:
        ours = [file for file in ours if _has(file, meant.hash)] or ours
    elif meant.format:
        ours = [file for file in ours if file.format.lower() == meant.format.lower()]
    if not ours:
        raise CivitaiError(f"“{model.name}”, version “{version.name}”: Civitai offers no such file for download.")
    return max(ours, key=lambda file: (file.primary, file.format.lower().startswith("safetensor")))


def describe(path: Path, model: Model, version: Version, file: File, site: str) -> Advice:
    """Writes what Civitai says into NAME.json and NAME.civitai.info. What the user wrote there is kept.

    Returns what the descriptions recommend. Raises HypernetError.
    """
    said = advice(version.description, model.description)
    user, ours = sidefiles.user_metadata(path, plain_file), sidefiles.recommended(path, plain_file)
    text = "\n\n".join(part for part in (version.description, model.description) if part)
    sidefiles.write_user_metadata(
        path,
        replace(
            user,
            description=user.description or text[:_MAX_DESCRIPTION],
            sd_version=user.sd_version or version.base,
            activation_text=user.activation_text or ", ".join(version.trained_words),
            preferred_weight=user.preferred_weight or said.preferred,
        ),
        plain_file,
    )
    source = Source(f"{site}/models/{model.id}?modelVersionId={version.id}", model.id, version.id, file.sha256)
    sidefiles.write_recommended(
        path,
        Recommended(
            range=ours.range or said.range,
            sampler=ours.sampler or said.sampler,
            steps=ours.steps or said.steps,
            cfg=ours.cfg or said.cfg,
            tags=ours.tags or model.tags,
            source=source,
        ),
        plain_file,
    )
    sidefiles.write_civitai_info(path, _info(model, version), plain_file)
    return said


def add_preview(civitai: Civitai, path: Path, version: Version, watch: Watch, *, adult: bool = False) -> Path | None:
    """Downloads a preview if the file has none. adult: whether any picture will do.

    Raises CivitaiError, HypernetError, Cancelled.
    """
    if sidefiles.preview(path, plain_file) is not None:
        return None
    image = _pick(version.images, adult)
    if image is None:
        return None
    watch.report("Downloading the preview", 0, None)
    picture, suffix = civitai.picture(image, watch)
    return sidefiles.write_preview(path, picture, suffix, plain_file)


def plain_file(path: Path) -> bool:
    """Whether a side file exists and is not a link, which might lead out of the folder."""
    return path.is_file() and not path.is_symlink()


def _downloaded(
    civitai: Civitai, file: File, version: Version, folder: Path, as_safetensors: bool, watch: Watch
) -> Path:
    """Downloads, reads and names the file."""
    if file.dangerous and not as_safetensors:
        raise CivitaiError(
            f"{printable(file.name)}: Civitai's scan found something in this file that other programs would run. "
            "It can only be kept as .safetensors, which nothing is run from."
        )
    with downloaded(civitai.http, file, folder, watch) as part:
        watch.report(f"Reading {printable(file.name)}", 0, None)
        try:
            network = files.load(part, mapped=False)  # our own reader, which executes nothing
            container = files.peek(part).container
        except UnreadableFile as error:
            raise UnreadableFile(file.name or "The file", error.problem, "Nothing of it was kept.") from None
        convert = as_safetensors and container != "safetensors"
        suffix = ".safetensors" if as_safetensors or container == "safetensors" else ".pt"
        for stem in _stems(file, version):
            target = folder / f"{stem}{suffix}"
            if _taken(folder, stem):
                continue
            try:
                if convert:
                    files.save(network, target)
                else:
                    atomic.move_new(part, target)
            except FileExistsError:
                continue
            return target
    raise AssertionError("unreachable")


def _here(file: File, folder: Path, library: Library | None, watch: Watch) -> Path | None:
    """Where the same file is already: in the library or the folder, itself or converted."""
    if not file.sha256:
        return None
    entry = library.by_hash(file.sha256) if library is not None else None
    if entry is not None and entry.path.is_file():
        return entry.path
    stem = safe_stem(file.name, "")
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if sidefiles.recommended(path, plain_file).source.sha256 == file.sha256:
            return path
        if path.stem == stem and sha256(path, watch) == file.sha256:
            return path
    return None


def _stems(file: File, version: Version) -> Iterator[str]:
    """Names for the file, the best first."""
    stem = safe_stem(file.name or version.model, f"civitai-{version.id}")
    yield stem
    yield f"{stem}-{version.id}"
    for number in range(2, 1000):
        yield f"{stem}-{version.id} ({number})"


def _taken(folder: Path, stem: str) -> bool:
    """Whether a file has this stem, ignoring case: the two would share their side files."""
    with os.scandir(folder) as entries:
        names = [entry.name.casefold() for entry in entries]
    return any(f"{stem}{suffix}".casefold() in names for suffix in _MODEL_SUFFIXES)


def _has(file: File, digest: str) -> bool:
    return any(known.startswith(digest) for known in (file.sha256, *file.hashes.values()) if known)


def _pick(images: tuple[Image, ...], adult: bool) -> Image | None:
    still = [image for image in images if not image.video]
    safe = [image for image in still if image.safe]
    return next(iter(safe or (still if adult else ())), None)


def _info(model: Model, version: Version) -> dict[str, object]:
    """A version in the API's own form, with its model's texts, as Civitai Helper stores it."""
    info = dict(version.raw)
    about = info.get("model")
    info["modelId"] = version.model_id
    info["model"] = {
        **(about if isinstance(about, dict) else {}),
        "name": model.name,
        "type": model.kind,
        "nsfw": model.adult,
        "description": model.raw.get("description"),
        "tags": list(model.tags),
    }
    images = info.get("images")
    if isinstance(images, list) and len(str(images)) > sidefiles.MAX_JSON // 4:
        info["images"] = [{"url": image.url} for image in version.images[:10]]
    return info
