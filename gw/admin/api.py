"""The routes, on litestar. Imported by `serve` only when the address is served: litestar takes half a second to import."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, MediaType, Response, get
from litestar.response import Stream

from gw.admin.view import View

UNAVAILABLE = 503


def application(view: View) -> Litestar:
    """Three GETs that read `view`."""

    @get("/metrics", sync_to_thread=False)
    def metrics() -> Stream:
        pieces, media_type = view.metrics()
        return Stream(pieces, media_type=media_type.removesuffix("; charset=utf-8"))  # litestar adds it again

    @get("/healthz", media_type=MediaType.JSON, sync_to_thread=False)
    def healthz() -> Response[dict[str, Any]]:
        return Response({"status": "ok"}) if view.alive() else Response({"status": "failed", "reason": "no worker lives"}, status_code=UNAVAILABLE)

    @get("/readyz", media_type=MediaType.JSON, sync_to_thread=False)
    def readyz() -> Response[dict[str, Any]]:
        reason = view.unready()
        return Response({"status": "ready"}) if reason is None else Response({"status": "unready", **reason}, status_code=UNAVAILABLE)

    return Litestar([metrics, healthz, readyz], openapi_config=None, logging_config=None)
