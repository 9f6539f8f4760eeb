"""Where models are kept, by Airflow's own way to files: a host's, a shared folder's or an object store's."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import ObjectStoragePath

from ml import settings


def models_dir(environ: Mapping[str, str]) -> ObjectStoragePath:
    """As `WINDSOCK_MODELS_DIR` says; a URL may name the Airflow connection that opens it."""
    return ObjectStoragePath(settings.models_url(environ))
