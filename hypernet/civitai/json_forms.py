"""Results of this package as JSON, for pages and programs."""

from __future__ import annotations

from typing import Any

from hypernet.civitai.advice import Advice
from hypernet.civitai.answers import Model, Page, Version
from hypernet.civitai.get import Got
from hypernet.civitai.lookup import Looked
from hypernet.civitai.tasks import Task
from hypernet.text import json_safe


def page_form(page: Page) -> dict[str, Any]:
    """A page of a search."""
    return {"models": [model_form(model) for model in page.models], "cursor": page.cursor}


def model_form(model: Model) -> dict[str, Any]:
    """One card."""
    preview = model.preview
    return {
        "id": model.id,
        "name": model.name,
        "creator": model.creator,
        "downloads": model.downloads,
        "likes": model.likes,
        "tags": list(model.tags),
        "description": model.description,
        "preview": preview.url if preview else None,
        "versions": [version_form(version) for version in model.versions],
    }


def version_form(version: Version) -> dict[str, Any]:
    """One of a model's versions."""
    return {
        "id": version.id,
        "name": version.name,
        "base": version.base_model,
        "words": list(version.trained_words),
        "published": version.published,
        "files": [
            {"id": file.id, "name": file.name, "size": file.size, "format": file.format} for file in version.files
        ],
    }


def got_form(got: Got) -> dict[str, Any]:
    """What was downloaded."""
    return {
        "path": json_safe(str(got.path)),
        "already": got.already,
        "pickle": got.pickle,
        "model": got.model.id,
        "version": got.version.id,
        "base": got.version.base_model,
        "words": list(got.version.trained_words),
        **advice_form(got.advice),
        "preview": json_safe(str(got.preview)) if got.preview else None,
        "notes": list(got.notes),
    }


def looked_form(looked: Looked) -> dict[str, Any]:
    """What Civitai knows about one of the user's files."""
    version, update = looked.version, looked.update
    return {
        "name": looked.entry.name,
        "path": looked.entry.shown_path,
        "sha256": looked.sha256 or None,
        "title": looked.model.name if looked.model else version.model if version else None,
        "model": version.model_id if version else None,
        "version": version.id if version else None,
        "newer": update.id if update else None,
        **advice_form(looked.advice),
        "notes": list(looked.notes),
    }


def advice_form(said: Advice) -> dict[str, Any]:
    """Recommended settings."""
    return {
        "range": list(said.range) if said.range else None,
        "strength": said.strength,
        "sampler": said.sampler or None,
        "steps": said.steps,
        "cfg": said.cfg,
    }


def task_form(task: Task) -> dict[str, Any]:
    """The state of a task, with its result if there is one."""
    progress, result = task.progress, task.result
    return {
        "task": task.id,
        "doing": progress.doing if progress else "",
        "done": progress.done if progress else 0,
        "total": progress.total if progress else None,
        "unit": progress.unit if progress else "files",
        "finished": task.finished,
        "error": task.error or None,
        "got": got_form(result) if isinstance(result, Got) else None,
        "looked": [looked_form(one) for one in result] if isinstance(result, list) else None,
    }
